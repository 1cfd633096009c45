"""DnCNN and FFDNet, the classic convolutional denoisers, as the denoisers `dncnn` and `ffdnet`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import smoothseg
from smoothseg_kair.sizes import DnCNNSizes, FFDNetSizes, Form

if TYPE_CHECKING:
    import torch

    from smoothseg.weights import Weights
    from smoothseg_kair.denoiser import ConvolutionalDenoiser
    from smoothseg_kair.network import DnCNN, FFDNet

__all__ = ["DnCNNRecipe", "FFDNetRecipe"]


@dataclasses.dataclass(frozen=True)
class DnCNNRecipe:
    """DnCNN denoiser, which is not told the noise level; published checkpoints or networks trained here.

    DnCNN (Zhang et al., TIP 2017) estimates the noise and subtracts it. Taken as they were published are KAIR's
    blind colour network (`dncnn_color_blind.pth`), trained on white noise of sigma 0 to 55/255 = 0.22 and not made for
    stronger noise, and the networks of denoised smoothing (Salman et al., NeurIPS 2020), with batch normalisation
    and each for the one sigma it was trained on.

    The estimate is clipped to [0, 1], as that of an image.
    """

    weights: str = smoothseg.option(
        "auto",
        "name (`smoothseg weights list`), path, https://...#sha256=... or hf://...; auto: by the dataset",
    )
    precision: Literal["float32", "bfloat16"] = smoothseg.option("float32", "arithmetic of the network")
    depth: int = smoothseg.option(20, "convolutions of a network to train")
    width: int = smoothseg.option(64, "channels of a network to train")
    form: Form = smoothseg.option(
        "kair", "network to train: kair, plain convolutions, or salman, with batch normalisation"
    )

    def __post_init__(self) -> None:
        DnCNNSizes(depth=self.depth, width=self.width, form=self.form)

    def load(self, device: torch.device | str) -> ConvolutionalDenoiser:
        """Return the denoiser with its weights on `device`; nothing is loaded partially."""
        from smoothseg_kair import denoiser

        return denoiser.dncnn(self.weights, precision=self.precision, device=device)

    def converted(self) -> Weights:
        """Return the weight file in this network's own keys, with its sizes."""
        from smoothseg_kair import denoiser

        return denoiser.converted("dncnn", self.weights)

    def network(self, classes: Sequence[str] | None) -> DnCNN:
        """Return an untrained network; a denoiser has no use for `classes`."""
        from smoothseg_kair import network

        sizes = DnCNNSizes(depth=self.depth, width=self.width, form=self.form)
        return network.DnCNN(sizes).start_training()


@dataclasses.dataclass(frozen=True)
class FFDNetRecipe:
    """FFDNet denoiser, which is told the noise level; published checkpoints or networks trained here.

    FFDNet (Zhang et al., TIP 2018) works at half the resolution, on 2x2 pixels as channels beside a map of sigma, and
    costs about a third of a DnCNN. KAIR's `ffdnet_color.pth` was trained on white noise of sigma 0 to 75/255 = 0.29 and
    is not made for stronger noise.

    The estimate is clipped to [0, 1], as that of an image.
    """

    weights: str = smoothseg.option(
        "auto",
        "name (`smoothseg weights list`), path, https://...#sha256=... or hf://...; auto: by the dataset",
    )
    precision: Literal["float32", "bfloat16"] = smoothseg.option("float32", "arithmetic of the network")
    depth: int = smoothseg.option(12, "convolutions of a network to train")
    width: int = smoothseg.option(96, "channels of a network to train")

    def __post_init__(self) -> None:
        FFDNetSizes(depth=self.depth, width=self.width)

    def load(self, device: torch.device | str) -> ConvolutionalDenoiser:
        """Return the denoiser with its weights on `device`; nothing is loaded partially."""
        from smoothseg_kair import denoiser

        return denoiser.ffdnet(self.weights, precision=self.precision, device=device)

    def converted(self) -> Weights:
        """Return the weight file in this network's own keys, with its sizes."""
        from smoothseg_kair import denoiser

        return denoiser.converted("ffdnet", self.weights)

    def network(self, classes: Sequence[str] | None) -> FFDNet:
        """Return an untrained network; a denoiser has no use for `classes`."""
        from smoothseg_kair import network

        return network.FFDNet(FFDNetSizes(depth=self.depth, width=self.width)).start_training()


@smoothseg.hookimpl
def register_denoisers(register: smoothseg.Register) -> None:
    """Offer `dncnn` and `ffdnet`."""
    register("dncnn", DnCNNRecipe)
    register("ffdnet", FFDNetRecipe)
