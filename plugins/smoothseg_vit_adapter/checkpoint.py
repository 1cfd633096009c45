"""How the keys of a checkpoint that was not written by smoothseg become ours.

The modules have the names of the published checkpoints, so keys stay as they are, but for the two entries below. What
else there is keeps its name, so that loading refuses it by that name.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from smoothseg import WeightsError
from smoothseg_vit_adapter.architecture import Architecture, Mask2Former
from smoothseg_vit_adapter.beit import position_index

__all__ = ["classes", "own"]

_INDEX = "backbone.blocks.{}.attn.relative_position_index"
"""Which row of its table each pair of tokens has, a block: it follows from the window, so it is checked, not kept."""

_UNUSED_CLASSIFIER = ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")
"""Of a Mask2Former head in files from before June 2022: a layer of its base class that nothing calls."""

_CLASSIFIERS = {"decode_head.cls_embed.weight": 1, "decode_head.conv_seg.weight": 0}
"""Rows of the last layer by key, Mask2Former's first, and how many of them stand for no class."""


def classes(state: Mapping[str, torch.Tensor], *, origin: str) -> int:
    """Return how many classes a checkpoint scores; `WeightsError` if it has neither head."""
    for key, others in _CLASSIFIERS.items():
        if key in state:
            return len(state[key]) - others
    raise WeightsError(
        f"{origin} holds no ViT-Adapter segmenter: there is neither of {', '.join(_CLASSIFIERS)} among "
        f"{len(state)} keys ({', '.join(list(state)[:3])}, ...)"
    )


def own(
    state: Mapping[str, torch.Tensor], architecture: Architecture, *, origin: str
) -> dict[str, torch.Tensor]:
    """Return `state` under our keys; tensors are shared, not copied.

    Raises `WeightsError` if an index buffer is missing or not that of the architecture's window.
    """
    state = dict(state)
    index = position_index(architecture.backbone.window)
    for block in range(architecture.backbone.depth):
        key = _INDEX.format(block)
        if key not in state:
            raise WeightsError(f"{origin} is no ViT-Adapter checkpoint: {key} is missing")
        stored = state.pop(key)
        if stored.shape != index.shape or not (stored.is_meta or torch.equal(stored.to(index), index)):
            height, width = architecture.backbone.native
            raise WeightsError(
                f"{origin} was not made for images of {height}x{width}: {key} {tuple(stored.shape)} is not "
                f"their index {tuple(index.shape)}"
            )
    if isinstance(architecture.head, Mask2Former):
        for key in _UNUSED_CLASSIFIER:
            state.pop(key, None)
    return state
