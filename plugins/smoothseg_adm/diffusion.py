"""From the network's output to x_0, and along the ancestral chain to x_0 (Ho et al., NeurIPS 2020).

Images are in [-1, 1] here. `scaled` is x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise, `level` the standard deviation
of its noise over that of its image, sqrt((1 - abar_t) / abar_t).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from smoothseg_adm.schedule import LINEAR, Posterior

__all__ = ["ancestral", "moments", "scale", "start"]


def scale(noisy: torch.Tensor, level: float | torch.Tensor) -> torch.Tensor:
    """Return `scaled` for [0, 1] images with noise of standard deviation level / 2, which [-1, 1] doubles."""
    return (2 * noisy - 1) / (1 + level * level) ** 0.5


def start(scaled: torch.Tensor, level: float, output: torch.Tensor) -> torch.Tensor:
    """Return the estimate of x_0 (B, 3, H, W), clipped to [-1, 1].

    output: of the network, (B, 3 or 6, H, W) with the noise in its first three channels.
    """
    return (math.sqrt(1 + level * level) * scaled - level * output[:, :3]).clamp(-1, 1)


def moments(
    scaled: torch.Tensor, output: torch.Tensor, posterior: Posterior, index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and log variance, (B, 3, H, W) each, of the image one kept timestep earlier.

    output: of the network at `posterior.timesteps[index]`. Channels 3 to 5, where there are any, say where between
    -1 (the posterior's) and 1 (beta) the log variance lies; without them it is the posterior's.
    """
    level = float(LINEAR.levels[posterior.timesteps[index]])
    mean = (
        float(posterior.start[index]) * start(scaled, level, output)
        + float(posterior.current[index]) * scaled
    )
    low, high = float(posterior.log_variance[index]), float(posterior.log_beta[index])
    if output.shape[1] == 3:
        return mean, torch.full_like(mean, low)
    return mean, low + (output[:, 3:] + 1) / 2 * (high - low)


def ancestral(
    network: Callable[[torch.Tensor, int], torch.Tensor],
    scaled: torch.Tensor,
    posterior: Posterior,
    draw: Callable[[int], torch.Tensor],
) -> torch.Tensor:
    """Return x_0 drawn by stepping down all kept timesteps from the last to the first.

    network: (x_t, t) to its output. draw: t to N(0, 1) noise like `scaled`; not asked for at the last step, which
    ends at the mean.
    """
    for index in reversed(range(len(posterior.timesteps))):
        timestep = int(posterior.timesteps[index])
        mean, log_variance = moments(scaled, network(scaled, timestep), posterior, index)
        scaled = mean + (log_variance / 2).exp() * draw(timestep) if index else mean
    return scaled
