"""What is the moving average of a network's weights? It is the result of a training run."""

from __future__ import annotations

import copy

import torch

__all__ = ["Average"]


class Average:
    """Exponential moving average of the parameters and floating-point buffers of a network.

    After t updates the decay is min(decay, (1 + t) / (10 + t)), so that the initial weights do not dominate a short
    run. Running statistics of batch normalisation are averaged like weights; integer buffers are copied.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: torch.nn.Module, updates: int) -> None:
        """Move the average towards `network`; `updates` is the number of earlier updates."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        source = network.state_dict()
        floating = [
            (own, source[key]) for key, own in self.network.state_dict().items() if own.is_floating_point()
        ]
        if floating:
            torch._foreach_lerp_([own for own, _ in floating], [new for _, new in floating], 1 - decay)
        for key, own in self.network.state_dict().items():
            if not own.is_floating_point():
                own.copy_(source[key])
