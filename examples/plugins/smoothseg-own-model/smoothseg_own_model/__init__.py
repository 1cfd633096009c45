"""Your own network, with its weight file, as the segmenter `own-model`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import smoothseg

if TYPE_CHECKING:
    import torch

    from smoothseg_own_model.segmenter import OwnModel

SMOOTHSEG_PROTOCOL = 2

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)
"""What the network tells apart, in the order of its output channels."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the network's images were normalised with, a number a channel, for values in 0..1."""


@dataclasses.dataclass(frozen=True)
class OwnModelRecipe:
    """A network of one's own: see network.py of the plugin."""

    weights: str = smoothseg.option(
        "own-model.pth", "state dict of the network: path, https://...#sha256=..."
    )

    def load(self, device: torch.device | str) -> OwnModel:
        """Return the segmenter on `device`; raise `WeightsError` unless the file is exactly the network's."""
        from smoothseg import weights
        from smoothseg_own_model.network import Network
        from smoothseg_own_model.segmenter import OwnModel

        network, loaded = Network(len(CLASSES)), weights.load(self.weights, package=__name__)
        weights.load_state(network, loaded)
        return OwnModel(network, {loaded.path.name: loaded.digest}, device)


@smoothseg.hookimpl
def register_segmenters(register: smoothseg.Register) -> None:
    """Offer `own-model`."""
    register("own-model", OwnModelRecipe)
