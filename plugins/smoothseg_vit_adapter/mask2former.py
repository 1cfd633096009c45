"""Which class each pixel is, told by masks: Mask2Former's head on a backbone's four maps.

Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation" (CVPR 2022): queries look at one
level of memory after another, only where the mask they predict is, and each ends up as a class and a mask.
State-dict keys are those of mmdetection's `Mask2FormerHead`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional

from smoothseg import ConfigError
from smoothseg_vit_adapter.pixel_decoder import GROUPS, LEVELS, FeedForward, PixelDecoder, sine_positions

__all__ = ["Mask2FormerHead"]


class _Attention(nn.Module):
    """PyTorch's attention, with one mask for all heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        blocked: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (B, Q, width); `blocked` (B, Q, S) is true where a query must not look."""
        if blocked is not None:
            blocked = blocked.repeat_interleave(self.attn.num_heads, dim=0)
        found: torch.Tensor = self.attn(queries, keys, values, attn_mask=blocked, need_weights=False)[0]
        return found


class _DecoderLayer(nn.Module):
    """Masked attention to a memory, attention among the queries, a feed-forward part; each normalised after its sum."""

    def __init__(self, *, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([_Attention(width, heads) for _ in range(2)])
        self.ffns = nn.ModuleList([FeedForward(width, ffn)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])

    def forward(
        self,
        queries: torch.Tensor,
        places: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        blocked: torch.Tensor,
    ) -> torch.Tensor:
        found = self.attentions[0](queries + places, keys, values, blocked)
        queries = self.norms[0](queries + found)
        placed = queries + places
        queries = self.norms[1](queries + self.attentions[1](placed, placed, queries))
        result: torch.Tensor = self.norms[2](queries + self.ffns[0](queries))
        return result


class _Decoder(nn.Module):
    def __init__(self, layers: Sequence[_DecoderLayer], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.post_norm = nn.LayerNorm(width)


class Mask2FormerHead(nn.Module):
    """Mask2Former's pixel decoder, transformer decoder and predictions.

    in_channels: of the maps at strides 4, 8, 16 and 32. width: channels of queries and memories, a multiple of 32 and
    at least 64. out_width: channels of the mask features. pixel_*, decoder_*: number of layers, attention heads,
    inner width of the feed-forward parts and, in the pixel decoder, how many places a head looks at in a level.

    Raises `ConfigError` if there are not four maps or `width` does not suit the normalisations and heads.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        width: int,
        out_width: int,
        classes: int,
        queries: int,
        pixel_layers: int,
        pixel_heads: int,
        pixel_points: int,
        pixel_ffn: int,
        decoder_layers: int,
        decoder_heads: int,
        decoder_ffn: int,
    ) -> None:
        super().__init__()
        if len(in_channels) != LEVELS + 1:
            raise ConfigError(f"a Mask2Former head takes {LEVELS + 1} maps, got in_channels={in_channels}")
        if width < 2 * GROUPS or width % GROUPS:
            raise ConfigError(
                f"width={width} of a Mask2Former head must be a multiple of {GROUPS} from {2 * GROUPS} on"
            )
        for name, heads in (("pixel_heads", pixel_heads), ("decoder_heads", decoder_heads)):
            if heads < 1 or width % heads:
                raise ConfigError(f"{name}={heads} of a Mask2Former head must divide its width={width}")
        self.pixel_decoder = PixelDecoder(
            in_channels=in_channels,
            width=width,
            out_width=out_width,
            layers=pixel_layers,
            heads=pixel_heads,
            points=pixel_points,
            ffn=pixel_ffn,
        )
        self.transformer_decoder = _Decoder(
            [_DecoderLayer(width=width, heads=decoder_heads, ffn=decoder_ffn) for _ in range(decoder_layers)],
            width,
        )
        self.query_embed = nn.Embedding(queries, width)
        self.query_feat = nn.Embedding(queries, width)
        self.level_embed = nn.Embedding(LEVELS, width)
        self.cls_embed = nn.Linear(width, classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, out_width),
        )

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return float32 scores (B, classes, H/4, W/4): the queries' class probabilities, weighted by their masks.

        They are not negative and do not sum to one; the probability of "no class" is left out.

        maps: (B, C, h, w) at strides 4, 8, 16 and 32 of images whose sides are multiples of 32.
        """
        mask_features, memories = self.pixel_decoder(maps)
        *_, queries = self.decoded(mask_features, memories)
        logits, masks = self._predicted(queries, mask_features)
        probabilities = logits.float().softmax(dim=-1)[..., :-1]
        return torch.einsum("bqc,bqhw->bchw", probabilities, masks.float().sigmoid())

    def predictions(self, maps: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield what the queries predict before the first layer of the decoder and after each: classes and masks.

        Class logits (B, Q, classes + 1), the last for "no class", and mask logits (B, Q, H/4, W/4). `forward` makes the
        scores of the last ones.
        """
        mask_features, memories = self.pixel_decoder(maps)
        for queries in self.decoded(mask_features, memories):
            yield self._predicted(queries, mask_features)

    def decoded(
        self, mask_features: torch.Tensor, memories: Sequence[torch.Tensor]
    ) -> Iterator[torch.Tensor]:
        """Yield the queries (B, Q, width), normalised for predicting, before the first layer and after each."""
        values, keys, features = [], [], []
        for memory, embedding in zip(memories, self.level_embed.weight, strict=True):
            size = (memory.shape[-2], memory.shape[-1])
            values.append(memory.flatten(2).transpose(1, 2) + embedding)
            keys.append(
                values[-1] + sine_positions(size, len(embedding), device=memory.device, dtype=memory.dtype)
            )
            # Interpolating the features gives the masks of their products: no mask is made at full size on the way.
            features.append(_resized(mask_features.detach(), size).flatten(2))
        places = self.query_embed.weight
        queries = self.query_feat.weight.expand(len(mask_features), -1, -1)
        normalised = self.transformer_decoder.post_norm(queries)
        yield normalised
        for i, layer in enumerate(self.transformer_decoder.layers):
            level = i % LEVELS
            blocked = self._blocked(normalised, features[level])
            queries = layer(queries, places, keys[level], values[level], blocked)
            normalised = self.transformer_decoder.post_norm(queries)
            yield normalised

    @torch.no_grad()
    def _blocked(self, queries: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return (B, Q, S), true where a query's mask has probability below 1/2.

        A query with no such mask anywhere looks everywhere: it would have nothing to attend to.
        """
        outside = torch.bmm(self.mask_embed(queries), features) < 0
        return outside & ~outside.all(dim=-1, keepdim=True)

    def _predicted(
        self, queries: torch.Tensor, mask_features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_embed(queries), mask_features)
        return self.cls_embed(queries), masks


def _resized(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
