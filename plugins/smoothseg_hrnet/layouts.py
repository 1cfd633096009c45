"""How the keys of a checkpoint that was not written by smoothseg become HRNet's.

Three layouts are known, told apart by their prefixes:

- HRNet's own keys, as they are.
- What the authors' training scripts save (and the noise-trained checkpoints of SegCertify and of the UAI 2023
  diffusion certification): a wrapper holds the network as `model`, the criterion's class weights, and, where noise is
  added in training, the `std` (in adversarial training also the `mean`) that images are normalised with. These must
  be ImageNet's, which smoothseg takes out: any others would make it a network of other images.
- mmsegmentation's `HRNet` backbone with an `FCNHead` on all branches, whose first convolution has no bias.

Keys are renamed. None is dropped except the wrapper's, in the table below. Any other key keeps its name, so that
loading refuses it by that name.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from smoothseg import WeightsError, networks

__all__ = ["renamed"]

_WRAPPER = "model."
_CLASS_WEIGHTS = "loss.criterion.weight"
_NORMALISATION = {"mean": networks.IMAGENET_MEAN, "std": networks.IMAGENET_STD}
"""Tensors of the training wrapper that are no part of the network, (1, 3, 1, 1), and what they must hold."""

_TOLERANCE = 1e-3

_BACKBONE = "backbone."
_FCN_HEAD = {
    "decode_head.convs.0.conv.weight": "last_layer.0.weight",
    "decode_head.convs.0.bn.weight": "last_layer.1.weight",
    "decode_head.convs.0.bn.bias": "last_layer.1.bias",
    "decode_head.convs.0.bn.running_mean": "last_layer.1.running_mean",
    "decode_head.convs.0.bn.running_var": "last_layer.1.running_var",
    "decode_head.convs.0.bn.num_batches_tracked": "last_layer.1.num_batches_tracked",
    "decode_head.conv_seg.weight": "last_layer.3.weight",
    "decode_head.conv_seg.bias": "last_layer.3.bias",
}


def renamed(state: Mapping[str, torch.Tensor], *, origin: str) -> dict[str, torch.Tensor]:
    """Return `state` under HRNet's keys; tensors are shared, not copied.

    Raises `WeightsError`, which names `origin`, if the file says that its network expects images that are
    normalised differently.
    """
    if any(key.startswith(_BACKBONE) for key in state):
        return _from_mmsegmentation(state)
    if any(key.startswith(_WRAPPER) for key in state):
        for key in _NORMALISATION:
            if key in state:
                _check_normalisation(key, state[key], origin)
        return _from_wrapper(state)
    return dict(state)


def _check_normalisation(key: str, tensor: torch.Tensor, origin: str) -> None:
    own = torch.tensor(_NORMALISATION[key], device="cpu").view(1, -1, 1, 1)
    if tensor.shape != own.shape:
        raise WeightsError(
            f"{origin}: expected {key} to be {tuple(own.shape)}, a number a channel, got {tuple(tensor.shape)}"
        )
    if not tensor.is_meta and not torch.allclose(tensor.to(own), own, rtol=0, atol=_TOLERANCE):
        given = ", ".join(f"{number:.4g}" for number in tensor.flatten().tolist())
        raise WeightsError(
            f"{origin} normalises images with {key} {given}, smoothseg with ImageNet's "
            f"{', '.join(map(str, _NORMALISATION[key]))}: its scores would be wrong"
        )


def _from_wrapper(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # A key without the prefix that is not the wrapper's own keeps its name with a mark in front: it must neither
    # be taken for a key of the network nor overwrite one.
    return {
        key.removeprefix(_WRAPPER) if key.startswith(_WRAPPER) else f"(outside model) {key}": tensor
        for key, tensor in state.items()
        if key not in (_CLASS_WEIGHTS, *_NORMALISATION)
    }


def _from_mmsegmentation(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    own = {
        key.removeprefix(_BACKBONE)
        if key.startswith(_BACKBONE)
        else _FCN_HEAD.get(key, f"(outside backbone) {key}"): tensor
        for key, tensor in state.items()
    }
    weight = own.get("last_layer.0.weight")
    if weight is not None:
        own["last_layer.0.bias"] = weight.new_zeros(len(weight))
    return own
