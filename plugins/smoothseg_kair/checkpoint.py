"""How a weight file becomes a network: which of the published forms it has, and the sizes it shows.

- KAIR's DnCNN and FFDNet: the layers are `model`, every other one a convolution; batch norms were made part of them.
- The DnCNN of denoised smoothing: the layers are `dncnn`, with batch norms; where it was trained on several GPUs at
  once, every key starts with `module.`.

Depth and width are read off the keys and shapes. Every tensor must then be present in its shape, and no other.
"""

from __future__ import annotations

import dataclasses
import functools
import re

from smoothseg import WeightsError
from smoothseg.weights import Weights, check_network, filled
from smoothseg_kair.network import CHAINS, DnCNN, FFDNet
from smoothseg_kair.sizes import DnCNNSizes, FFDNetSizes, Form, read

__all__ = ["dncnn", "ffdnet"]

_PARALLEL = "module."
_FORMS: tuple[Form, ...] = ("kair", "salman")


def dncnn(weights: Weights) -> DnCNN:
    """Return the DnCNN of `weights`; raise `WeightsError` naming the keys or shapes that are not one's."""
    if weights.network is not None:
        check_network(weights, "dncnn")
        sizes = read(DnCNNSizes, weights.config, origin=str(weights.path))
        return filled(lambda: DnCNN(sizes), weights)
    for form in _FORMS:
        chain = CHAINS[form]
        for prefix in ("", _PARALLEL):
            if f"{prefix}{chain}.0.weight" in weights.state:
                last, width = _extent(weights, f"{prefix}{chain}.")
                # a step along the chain is a convolution and a ReLU, or a convolution, a batch norm and a ReLU
                depth = last // 2 + 1 if form == "kair" else (last + 4) // 3
                sizes = DnCNNSizes(depth=max(depth, 2), width=width, form=form)
                return filled(functools.partial(DnCNN, sizes), _renamed(weights, prefix, chain))
    raise _unknown(weights, "DnCNN", [f"{chain}.0.weight" for chain in CHAINS.values()])


def ffdnet(weights: Weights) -> FFDNet:
    """Return the FFDNet of `weights`; raise `WeightsError` naming the keys or shapes that are not one's."""
    if weights.network is not None:
        check_network(weights, "ffdnet")
        stated = read(FFDNetSizes, weights.config, origin=str(weights.path))
        return filled(lambda: FFDNet(stated), weights)
    if "model.0.weight" not in weights.state:
        raise _unknown(weights, "FFDNet", ["model.0.weight"])
    last, width = _extent(weights, "model.")
    sizes = FFDNetSizes(depth=max(last // 2 + 1, 2), width=width)
    return filled(lambda: FFDNet(sizes), weights)


def _extent(weights: Weights, chain: str) -> tuple[int, int]:
    """Return the place of the last convolution and the channels that come out of the first."""
    first = weights.state[f"{chain}0.weight"]
    if first.ndim != 4 or not len(first):
        raise WeightsError(
            f"{weights.path}: {chain}0.weight has shape {tuple(first.shape)}, not a convolution's"
        )
    places = (
        key.removeprefix(chain).removesuffix(".weight") for key in weights.state if key.startswith(chain)
    )
    return max(int(place) for place in places if re.fullmatch("[0-9]{1,9}", place)), len(first)


def _renamed(weights: Weights, prefix: str, chain: str) -> Weights:
    """Return `weights` without `prefix` at the keys of layers of `chain`; any other keeps its name and is refused."""
    if not prefix:
        return weights
    state = {
        # a key without the prefix must not be taken for one that had it
        key.removeprefix(prefix)
        if re.match(rf"{prefix}{chain}\.[0-9]+\.", key)
        else key
        if key.startswith(prefix)
        else f"(outside {prefix[:-1]}) {key}": tensor
        for key, tensor in weights.state.items()
    }
    return dataclasses.replace(weights, state=state)


def _unknown(weights: Weights, network: str, expected: list[str]) -> WeightsError:
    found = f"{', '.join(list(weights.state)[:3])}{', ...' if len(weights.state) > 3 else ''}"
    return WeightsError(
        f"{weights.path} holds no {network}: there is no {' or '.join(expected)} among its "
        f"{len(weights.state)} keys ({found})"
    )
