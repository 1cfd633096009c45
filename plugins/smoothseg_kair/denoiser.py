"""How a noisy image becomes a clean estimate: one pass of a DnCNN or an FFDNet, an image at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch

from smoothseg import networks
from smoothseg.weights import Weights
from smoothseg.weights import load as load_weights
from smoothseg_kair import checkpoint
from smoothseg_kair.network import DnCNN, FFDNet

__all__ = ["ConvolutionalDenoiser", "dncnn", "ffdnet"]

_PACKAGE = "smoothseg_kair"
_READERS: Mapping[str, Callable[[Weights], DnCNN | FFDNet]] = {
    "dncnn": checkpoint.dncnn,
    "ffdnet": checkpoint.ffdnet,
}


@final
class ConvolutionalDenoiser:
    """A DnCNN or an FFDNet with its weights; see `smoothseg.Denoiser`.

    The network is taken over: put into eval mode, its batch norms folded into the convolutions before them, moved
    to `device` in `precision`.
    """

    def __init__(
        self,
        network: DnCNN | FFDNet,
        *,
        digests: Mapping[str, str],
        precision: networks.Precision,
        device: torch.device | str,
    ) -> None:
        # the layers are a chain: a convolution feeds nothing but the layer after it
        networks.fold_batch_norms(network.eval())
        self._network = networks.frozen(network, precision=precision, device=device)
        self._digests = dict(digests)

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the weight file, by name."""
        return self._digests

    @torch.inference_mode()
    def denoise(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return the clean estimate, clipped to [0, 1]; see `smoothseg.Denoiser.denoise`.

        No random numbers are drawn: `seeds` are counted but not used.
        """
        if len(seeds) != len(noisy):
            raise ValueError(f"expected {len(noisy)} seeds, one a row, got {len(seeds)}")

        def estimate(rows: list[int]) -> torch.Tensor:
            level = torch.full((len(rows),), sigma, dtype=torch.float32, device=noisy.device)
            clean: torch.Tensor = self._network(noisy[rows], level)
            return clean.clamp(0, 1)

        return networks.in_rows(estimate, len(noisy))


def dncnn(
    reference: str, *, precision: networks.Precision, device: torch.device | str
) -> ConvolutionalDenoiser:
    """Return the denoiser of the DnCNN in the weight file `reference`, strictly loaded, on `device`."""
    return _denoiser(*_read("dncnn", reference), precision, device)


def ffdnet(
    reference: str, *, precision: networks.Precision, device: torch.device | str
) -> ConvolutionalDenoiser:
    """Return the denoiser of the FFDNet in the weight file `reference`, strictly loaded, on `device`."""
    return _denoiser(*_read("ffdnet", reference), precision, device)


def converted(name: str, reference: str) -> Weights:
    """Return the weight file `reference` of the network `name` in its own keys, with its sizes; see `Convertible`."""
    network, weights = _read(name, reference)
    return dataclasses.replace(weights, state=network.state_dict(), network=name, config=network.config)


def _read(name: str, reference: str) -> tuple[DnCNN | FFDNet, Weights]:
    weights = load_weights(reference, package=_PACKAGE, component=name)
    return _READERS[name](weights), weights


def _denoiser(
    network: DnCNN | FFDNet, weights: Weights, precision: networks.Precision, device: torch.device | str
) -> ConvolutionalDenoiser:
    digests = {weights.path.name: weights.digest}
    return ConvolutionalDenoiser(network, digests=digests, precision=precision, device=device)
