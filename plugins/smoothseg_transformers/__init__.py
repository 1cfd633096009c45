"""Segmentation networks of Hugging Face's transformers: SegFormer, Mask2Former and UPerNet, from a hub or a folder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import smoothseg

if TYPE_CHECKING:
    import torch

    from smoothseg_transformers.segmenter import TransformersSegmenter

__all__ = ["TransformersRecipe"]


@dataclasses.dataclass(frozen=True)
class TransformersRecipe:
    """SegFormer, Mask2Former or UPerNet of transformers, by hub id or folder; extra `transformers`.

    Images are normalised as the model's `preprocessor_config.json` says, and not resized: that is `--scale`'s. Classes
    are those of its `id2label`. A checkpoint that was trained with `do_reduce_labels` has no background among them:
    they count from the first real class, as the labels of smoothseg's datasets do.
    """

    model: str | None = smoothseg.option(
        None, "id on the Hugging Face hub (owner/name), or a folder of a saved model"
    )
    revision: str | None = smoothseg.option(
        None, "branch, tag or commit of a model on the hub; the default branch if not given"
    )
    precision: Literal["float32", "bfloat16"] = smoothseg.option("float32", "arithmetic of the network")

    def load(self, device: torch.device | str) -> TransformersSegmenter:
        """Return the segmenter with its weights on `device`; nothing is loaded partially.

        Raises `ConfigError` if no model is given or transformers is not installed.
        """
        from smoothseg_transformers import checkpoint, segmenter

        if self.model is None:
            raise smoothseg.ConfigError(
                "segmenter 'transformers' needs a model: transformers:model=OWNER/NAME on the Hugging Face hub, or "
                "transformers:model=FOLDER"
            )
        loaded = checkpoint.load(self.model, revision=self.revision)
        return segmenter.TransformersSegmenter(loaded, precision=self.precision, device=device)


@smoothseg.hookimpl
def register_segmenters(register: smoothseg.Register) -> None:
    """Offer `transformers`."""
    register("transformers", TransformersRecipe)
