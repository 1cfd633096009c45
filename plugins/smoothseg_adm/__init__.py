"""The guided-diffusion U-Net (ADM) on diffusers' layers, as the denoiser `adm`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    import torch

    from smoothseg.weights import Weights
    from smoothseg_adm.denoiser import ADMDenoiser
    from smoothseg_adm.network import ADM

__all__ = ["ADMRecipe"]


@dataclasses.dataclass(frozen=True)
class ADMRecipe:
    """ADM diffusion denoiser, single or multi step; published checkpoints or networks trained here.

    The noise level gives the timestep t* of the diffusion. A single step is the network's estimate of the clean image
    at t*, clipped. Multi step is ancestral sampling from t* to 0, as in the paper, each row with noise of its own;
    `respacing=k` thins the chain to k evenly spaced timesteps and recomputes its betas from their abar.

    The published pipeline (Laousy et al., UAI 2023) denoises the noisy image at its own size, resized bilinearly and
    without antialiasing to the network's square, at the timestep of sigma itself: that is the run's
    `convention=paper`, `denoise_at=full` and `scale=1` with `adm:fit=resize,antialias=false,timestep=direct`.
    """

    weights: str = smoothseg.option(
        "auto",
        "name (`smoothseg weights list`), path, https://...#sha256=... or hf://...; auto: by the dataset",
    )
    steps: Literal["single", "multi"] = smoothseg.option(
        "single", "estimate the clean image at once, or sample the chain"
    )
    respacing: int | None = smoothseg.option(
        None, "multi step: network calls the chain is thinned to; none takes every timestep"
    )
    timestep: Literal["interpolated", "nearest", "first-at-least", "direct"] = smoothseg.option(
        "interpolated",
        "timestep of a noise level; first-at-least is Carlini et al.'s rule, direct the UAI 2023 paper's: "
        "first sigma_t >= sigma, without doubling",
    )
    fit: Literal["pad", "resize", "tile"] = smoothseg.option(
        "pad",
        "how images meet the network's size: reflected at the border, resized to it, or in overlapping tiles",
    )
    antialias: bool = smoothseg.option(
        True, "fit=resize: average over the pixels left out, and count on less noise for it"
    )
    tile: int = smoothseg.option(256, "side of a tile in pixels, a multiple of what the network needs")
    overlap: int = smoothseg.option(64, "pixels that neighbouring tiles share at least")
    rows: int = smoothseg.option(
        1, "images in the network at a time, whatever the batch; more may be faster on a GPU"
    )
    precision: Literal["float32", "bfloat16"] = smoothseg.option("float32", "arithmetic of the network")
    architecture: str = smoothseg.option(
        "small",
        "sizes to train, or of a checkpoint without them: small, 256-uncond, 512-uncond or a .json file",
    )

    def __post_init__(self) -> None:
        if self.respacing is not None and (self.steps != "multi" or self.respacing < 1):
            raise smoothseg.ConfigError(
                f"respacing={self.respacing} needs steps=multi and at least 1 network call"
            )
        if not 0 <= self.overlap <= self.tile // 2:
            raise smoothseg.ConfigError(
                f"overlap={self.overlap} must be between 0 and half of tile={self.tile}"
            )
        if self.rows < 1:
            raise smoothseg.ConfigError(f"rows={self.rows} must be at least 1")

    @property
    def calls(self) -> int:
        """Network calls a sample, for estimates; a chain that is not thinned counts with the most there can be."""
        return 1 if self.steps == "single" else self.respacing or 1000

    def load(self, device: torch.device | str) -> ADMDenoiser:
        """Return the denoiser with its weights on `device`; nothing is loaded partially."""
        from smoothseg_adm import denoiser

        return denoiser.load(self, device)

    def converted(self) -> Weights:
        """Return the weight file in this network's own keys, with its sizes."""
        from smoothseg_adm import denoiser

        return denoiser.converted(self)

    def network(self, classes: Sequence[str] | None) -> ADM:
        """Return an untrained network of size `architecture`; a denoiser has no use for `classes`."""
        from smoothseg_adm import architecture, network

        return network.ADM(architecture.named(self.architecture)).start_training()


@smoothseg.hookimpl
def register_denoisers(register: smoothseg.Register) -> None:
    """Offer `adm`."""
    register("adm", ADMRecipe)
