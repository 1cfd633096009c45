"""Which label stands for what: CamVid's 11 classes, their order and their colours."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BICYCLIST",
    "BUILDING",
    "CAR",
    "CLASSES",
    "FENCE",
    "PALETTE",
    "PAVEMENT",
    "PEDESTRIAN",
    "POLE",
    "ROAD",
    "SIGN",
    "SKY",
    "TREE",
    "VOID",
]

CLASSES: Final = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)

PALETTE: Final = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)

VOID: Final = 11
"""The label of pixels that belong to no class; grass and hedges are `TREE`, as in CamVid."""
