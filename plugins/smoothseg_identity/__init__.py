"""The denoiser that changes nothing: SegCertify, and every comparison without denoising."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import smoothseg

if TYPE_CHECKING:
    import torch


class Identity:
    """Returns the noisy image as it is."""

    @property
    def digests(self) -> Mapping[str, str]:
        """Empty: there are no weights."""
        return {}

    def denoise(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return `noisy`, (B, 3, H, W)."""
        return noisy


@dataclasses.dataclass(frozen=True)
class IdentityRecipe:
    """No denoising: the segmenter sees the noisy image."""

    @property
    def calls(self) -> int:
        """Network calls a sample: none."""
        return 0

    def load(self, device: torch.device) -> Identity:
        """Return the identity; `device` does not matter."""
        return Identity()


@smoothseg.hookimpl
def register_denoisers(register: smoothseg.Register) -> None:
    register("identity", IdentityRecipe)
