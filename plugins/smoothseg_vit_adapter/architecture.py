"""Which ViT-Adapter: the sizes of backbone and head, how it is tested, and the published ones by name.

ViT-Adapter is the network of Chen et al., "Vision Transformer Adapter for Dense Predictions" (ICLR 2023), on BEiT
(Bao et al., ICLR 2022); its heads are UPerNet (Xiao et al., ECCV 2018) and Mask2Former (Cheng et al., CVPR 2022).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from smoothseg import ConfigError, UnknownNameError, WeightsError
from smoothseg.weights import path_of, read_json

__all__ = [
    "MULTIPLE",
    "PATCH",
    "PRESETS",
    "Architecture",
    "Backbone",
    "Mask2Former",
    "Pipeline",
    "UPerNet",
    "named",
]

PATCH = 16
"""Side in pixels of the square patch that becomes a token."""

MULTIPLE = 32
"""What both sides of the images in the network must be a multiple of: the coarsest map has that stride."""

_STRICT = pydantic.ConfigDict(extra="forbid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """A BEiT with its adapter.

    native: height and width in pixels of the images that the tables of relative positions are made for; images of
        another size get interpolated tables.
    width: channels C of a token, and of every map. heads: of self-attention. ratio: hidden channels of the blocks'
        MLPs over C.
    blocks: transformer blocks of each of the four interactions.
    stem: channels of the spatial prior at stride 4; later ones have 2, 4 and 4 times as many.
    points, deformable_heads, deformable_ratio: of the deformable attention, whose values have `deformable_ratio` x C
        channels. feed_forward: hidden channels of the extractors' feed-forward layers over C.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STRICT

    native: tuple[int, int]
    width: int
    heads: int
    blocks: tuple[int, int, int, int]
    stem: int
    deformable_heads: int
    ratio: float = 4.0
    points: int = 4
    deformable_ratio: float = 0.5
    feed_forward: float = 0.25

    def __post_init__(self) -> None:
        _positive(self, "native", "width", "heads", "blocks", "stem", "points", "deformable_heads")
        if any(side % MULTIPLE for side in self.native):
            raise ConfigError(f"native={self.native} must be multiples of {MULTIPLE}")
        if self.width % self.heads:
            raise ConfigError(f"heads={self.heads} must divide width={self.width}")
        if int(self.width * self.deformable_ratio) % self.deformable_heads or self.deformable_ratio <= 0:
            raise ConfigError(
                f"deformable_heads={self.deformable_heads} must divide deformable_ratio x width = "
                f"{self.width * self.deformable_ratio}"
            )
        if min(int(self.width * self.ratio), int(self.width * self.feed_forward)) < 1:
            raise ConfigError(
                f"ratio={self.ratio} and feed_forward={self.feed_forward} must leave hidden channels"
            )

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return sum(self.blocks)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width in tokens of a native image."""
        return self.native[0] // PATCH, self.native[1] // PATCH


@dataclasses.dataclass(frozen=True, kw_only=True)
class UPerNet:
    """A pyramid-pooling and feature-pyramid head.

    width: channels of every level. pools: sides of the pooled maps. auxiliary: channels of the auxiliary head at
        stride 16, which published training used and the published checkpoints hold; None if there is none.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STRICT

    kind: Literal["upernet"] = "upernet"
    width: int
    pools: tuple[int, ...] = (1, 2, 3, 6)
    auxiliary: int | None = None

    def __post_init__(self) -> None:
        _positive(self, "width", "pools", *(["auxiliary"] if self.auxiliary is not None else []))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask2Former:
    """A head of queries, each of which claims a mask and a class.

    width: channels of the pixel decoder, the queries and the masks. queries: their number.
    pixel_layers, pixel_heads, pixel_points, pixel_ffn: layers of the pixel decoder, and of each the heads and points
        of its deformable attention and the hidden channels of its feed-forward part. decoder_*: of the layers that
        the queries go through.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STRICT

    kind: Literal["mask2former"] = "mask2former"
    width: int
    queries: int
    pixel_layers: int
    pixel_heads: int
    pixel_points: int = 4
    pixel_ffn: int
    decoder_layers: int
    decoder_heads: int
    decoder_ffn: int

    def __post_init__(self) -> None:
        _positive(self, *(field.name for field in dataclasses.fields(self) if field.name != "kind"))
        for name, heads in (("pixel_heads", self.pixel_heads), ("decoder_heads", self.decoder_heads)):
            if self.width % heads:
                raise ConfigError(f"{name}={heads} must divide width={self.width}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pipeline:
    """How published results were made with a network.

    mode: the `whole` image at once, or `slide`: square windows every `stride` pixels, averaged. crop: side of a window,
        at least `stride`, so that every pixel is seen.
    short, long, multiple: the image is scaled so that its short side is `short` and its long side at most `long`,
        then each side up to a multiple of `multiple`; short and long are None where images stay as they are.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STRICT

    mode: Literal["whole", "slide"]
    crop: int
    stride: int
    short: int | None = None
    long: int | None = None
    multiple: int = 1

    def __post_init__(self) -> None:
        scaled = self.short is not None
        if scaled != (self.long is not None):
            raise ConfigError(f"short={self.short} and long={self.long} go together")
        _positive(self, "crop", "stride", "multiple", *(["short", "long"] if scaled else []))
        if self.stride > self.crop:
            raise ConfigError(
                f"windows of crop={self.crop} every stride={self.stride} pixels do not see all of them: stride must "
                "be at most crop"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """A segmentation network: `backbone`, `head`, the number of `classes`, and how it is tested."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STRICT

    backbone: Backbone
    head: Annotated[UPerNet | Mask2Former, pydantic.Field(discriminator="kind")]
    pipeline: Pipeline
    classes: int

    def __post_init__(self) -> None:
        _positive(self, "classes")

    def config(self) -> dict[str, Any]:
        """Return JSON values from which `from_config` makes an equal architecture."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, origin: str) -> Architecture:
        """Return the architecture of `config`; `WeightsError` names `origin` and what does not fit."""
        try:
            return pydantic.TypeAdapter(cls).validate_python(config)
        except ConfigError as error:
            raise WeightsError(f"the ViT-Adapter config of {origin}: {error}") from None
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(piece) for piece in first["loc"])
            raise WeightsError(f"the ViT-Adapter config of {origin} at '{where}': {first['msg']}") from None


def _positive(sizes: Any, *names: str) -> None:
    for name in names:
        value = getattr(sizes, name)
        if not value or any(number < 1 for number in (value if isinstance(value, tuple) else (value,))):
            raise ConfigError(f"{name} must be at least 1, got {value}")


def _large(side: int) -> Backbone:
    return Backbone(
        native=(side, side), width=1024, heads=16, blocks=(6, 6, 6, 6), stem=64, deformable_heads=16
    )


_LARGE_MASK2FORMER = Mask2Former(
    width=1024,
    queries=100,
    pixel_layers=6,
    pixel_heads=32,
    pixel_ffn=4096,
    decoder_layers=9,
    decoder_heads=32,
    decoder_ffn=4096,
)
_PASCAL_CONTEXT = Pipeline(mode="slide", crop=480, stride=320, short=520, long=4096, multiple=32)
_CITYSCAPES = Pipeline(mode="slide", crop=896, stride=512, short=1024, long=2048)

PRESETS: Mapping[str, Architecture] = {
    "small": Architecture(
        backbone=Backbone(
            native=(96, 128),
            width=96,
            heads=4,
            blocks=(2, 2, 2, 2),
            stem=32,
            deformable_heads=4,
            points=2,
        ),
        head=UPerNet(width=48),
        pipeline=Pipeline(mode="whole", crop=192, stride=128),
        classes=11,
    ),
    "large-480-upernet": Architecture(
        backbone=_large(480),
        head=UPerNet(width=1024, auxiliary=256),
        pipeline=_PASCAL_CONTEXT,
        classes=59,
    ),
    "large-480-mask2former": Architecture(
        backbone=_large(480), head=_LARGE_MASK2FORMER, pipeline=_PASCAL_CONTEXT, classes=59
    ),
    "large-896-mask2former": Architecture(
        backbone=_large(896), head=_LARGE_MASK2FORMER, pipeline=_CITYSCAPES, classes=19
    ),
}
"""Architectures by name: `small`, which two CPU cores can train, and the published ones for Pascal-Context (480) and
Cityscapes (896)."""


def named(architecture: str, classes: int) -> Architecture:
    """Return the preset called `architecture`, or the one in a `.json` file at that path, for that many classes.

    Raises `UnknownNameError` for a name that is not a preset, `ConfigError` or `WeightsError` for a file that cannot
    be used.
    """
    if architecture in PRESETS:
        return dataclasses.replace(PRESETS[architecture], classes=classes)
    if not architecture.endswith(".json"):
        raise UnknownNameError.of("ViT-Adapter architecture", architecture, PRESETS)
    path = path_of(architecture)
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"architecture file {path} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"architecture file {path} must hold a JSON object")
    return Architecture.from_config({**config, "classes": classes}, origin=str(path))
