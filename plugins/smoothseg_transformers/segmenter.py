"""How images of any size go through a network of transformers, and how its outputs become scores of classes."""

from __future__ import annotations

from typing import Any, final

import torch

from smoothseg import networks
from smoothseg_transformers.checkpoint import Checkpoint

__all__ = ["TransformersSegmenter"]


@final
class TransformersSegmenter(networks.ImageSegmenter):
    """SegFormer, Mask2Former or UPerNet with its weights; see `networks.ImageSegmenter`.

    The network of `checkpoint` is taken over: moved to `device` in `precision`.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, precision: networks.Precision, device: torch.device | str
    ) -> None:
        super().__init__(classes=checkpoint.classes, digests=checkpoint.digests)
        self._network: Any = networks.frozen(
            checkpoint.network, precision=precision, device=device, channels_last=False
        )
        self._dtype = networks.DTYPES[precision]
        self._checkpoint = checkpoint

    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """Return float32 scores at a quarter of the resolution (published models); see `networks.ImageSegmenter`.

        Those of SegFormer and UPerNet are logits. Those of Mask2Former are the sum over its queries of the probability
        of the class times that of the mask, in [0, number of queries].
        """
        # Stages halve the sides again and again, and some need a pixel or more at the coarsest: reflected until every
        # stage divides evenly, any image has them, and every score stands for as many pixels as the others.
        normalised = networks.normalised(image, mean=self._checkpoint.mean, std=self._checkpoint.std)
        padded = networks.pad(normalised, self._checkpoint.multiple).to(self._dtype)
        return networks.cropped(self._network_scores(padded), padded.shape[-2:], image.shape[-2:])

    def _network_scores(self, padded: torch.Tensor) -> torch.Tensor:
        """Return what the network scores at its own stride, in float32."""
        if self._checkpoint.kind == "mask2former":
            # Cheng et al., "Masked-attention Mask Transformer" (2022), semantic inference: the class that is no
            # object is left out, and masks need not add up to one. Its authors upsample the masks before the sigmoid;
            # here the sum is upsampled instead, which needs one value per class, not per query, at every pixel.
            output = self._network(pixel_values=padded)
            classes = output.class_queries_logits.float().softmax(dim=-1)[..., :-1]
            masks = output.masks_queries_logits.float().sigmoid()
            return torch.einsum("bqc,bqhw->bchw", classes, masks)
        if self._checkpoint.kind == "upernet":
            # Its forward would upsample the scores to the size of the image, and compute the auxiliary head's too.
            features = self._network.backbone(padded).feature_maps
            scores: torch.Tensor = self._network.decode_head(features).float()
            return scores
        logits: torch.Tensor = self._network(pixel_values=padded).logits.float()
        return logits
