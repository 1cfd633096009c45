"""Total variation denoising on scikit-image, as the denoiser `tv`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import smoothseg

if TYPE_CHECKING:
    import torch

SMOOTHSEG_PROTOCOL = 2


@dataclasses.dataclass(frozen=True)
class TVRecipe:
    """Total variation (Chambolle): keeps edges, needs no training and no GPU.

    `weight` * sigma is what scikit-image's `denoise_tv_chambolle` calls weight: the noisier, the smoother.

    Source: Chambolle, "An Algorithm for Total Variation Minimization and Applications" (2004).
    """

    weight: float = smoothseg.option(1.0, "how smooth, in units of the noise: 0.5 keeps more detail, 2 less")
    steps: int = smoothseg.option(100, "iterations at most")

    def __post_init__(self) -> None:
        if not 0 < self.weight < 100:
            raise smoothseg.ConfigError(f"denoiser 'tv': weight must lie in 0 to 100, got {self.weight}")
        if self.steps < 1:
            raise smoothseg.ConfigError(f"denoiser 'tv': steps must be at least 1, got {self.steps}")

    @property
    def calls(self) -> int:
        """Network calls a sample: none."""
        return 0

    def load(self, device: torch.device | str) -> TotalVariation:
        """Return the denoiser; it works on the CPU, whatever `device` is."""
        return TotalVariation(self.weight, self.steps)


class TotalVariation:
    """Smooths image by image and channel by channel; see `smoothseg.Denoiser`."""

    def __init__(self, weight: float, steps: int) -> None:
        self._weight = weight
        self._steps = steps

    @property
    def digests(self) -> Mapping[str, str]:
        """Empty: there are no weights."""
        return {}

    def denoise(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return the smoothed `noisy`, (B, 3, H, W); it draws nothing, so `seeds` are not needed."""
        import torch
        from skimage.restoration import denoise_tv_chambolle

        rows = [
            denoise_tv_chambolle(row, weight=self._weight * sigma, max_num_iter=self._steps, channel_axis=0)
            for row in noisy.cpu().numpy()
        ]
        return torch.stack([torch.from_numpy(row) for row in rows]).to(noisy)


@smoothseg.hookimpl
def register_denoisers(register: smoothseg.Register) -> None:
    """Offer `tv`."""
    register("tv", TVRecipe)
