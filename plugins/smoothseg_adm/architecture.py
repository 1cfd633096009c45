"""Which U-Net: widths, depth and attention of an ADM, the published sizes by name, and the layers that make it.

ADM is the U-Net of Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis" (NeurIPS 2021).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import pydantic

from smoothseg import ConfigError, UnknownNameError, WeightsError
from smoothseg.weights import path_of, read_json

__all__ = ["PRESETS", "Architecture", "named"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """An ADM U-Net.

    native: side in pixels of the square images it was or is to be trained on.
    widths: channels of each level, finest first; a level has half the resolution of the one before.
    blocks: residual blocks per level on the way down (the way up has one more).
    attention: levels with self-attention, 0 for the finest; the middle block always has it.
    head_width: channels of an attention head.
    groups: groups of every normalisation.
    resample: `residual` changes resolution in residual blocks, `convolution` in single convolutions.
    patch: the U-Net sees patch x patch pixels as channels, so its finest level is smaller by that factor (as in
        FFDNet, Zhang et al., TIP 2018); 1 in every published ADM.
    embedding: sines and cosines of the timestep; None for as many as the finest level has channels.
    learned_variance: three more output channels for the variance of the ancestral step.
    """

    native: int
    widths: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    head_width: int
    groups: int = 32
    resample: Literal["residual", "convolution"] = "residual"
    patch: int = 1
    embedding: int | None = None
    learned_variance: bool = True

    def __post_init__(self) -> None:
        if (
            not self.widths
            or min(self.native, self.blocks, self.head_width, self.groups, self.patch, *self.widths) < 1
        ):
            raise ConfigError(f"every size of an ADM must be at least 1, got {self}")
        if any(width % self.groups for width in self.widths):
            raise ConfigError(f"groups={self.groups} must divide every one of widths={self.widths}")
        if any(not 0 <= level < len(self.widths) for level in self.attention):
            raise ConfigError(f"attention={self.attention} must name levels 0 to {len(self.widths) - 1}")
        for width in {self.widths[level] for level in self.attention} | {self.widths[-1]}:
            if width % self.head_width:
                raise ConfigError(
                    f"head_width={self.head_width} must divide the width {width} under attention"
                )
        if self.native % self.multiple:
            raise ConfigError(f"native={self.native} must be a multiple of {self.multiple}")
        if self.sinusoids < 2 or self.sinusoids % 2:
            raise ConfigError(f"embedding={self.sinusoids} must be even and at least 2")

    @property
    def multiple(self) -> int:
        """What both sides of an image must be a multiple of."""
        return self.patch << (len(self.widths) - 1)

    @property
    def sinusoids(self) -> int:
        """How many sines and cosines make a timestep's embedding."""
        return self.widths[0] if self.embedding is None else self.embedding

    @property
    def outputs(self) -> int:
        """Channels of the output at the image's resolution: noise, then the variance if it is learned."""
        return 6 if self.learned_variance else 3

    def config(self) -> dict[str, Any]:
        """Return JSON values from which `from_config` makes an equal architecture."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, origin: str) -> Architecture:
        """Return the architecture of `config`; `WeightsError` names `origin` and the keys that do not fit."""
        known = {field.name for field in dataclasses.fields(cls)}
        required = {field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING}
        if wrong := sorted((set(config) - known) | (required - set(config))):
            raise WeightsError(f"the ADM config of {origin} has unknown or missing keys: {', '.join(wrong)}")
        try:
            return pydantic.TypeAdapter(cls).validate_python(config)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(piece) for piece in first["loc"])
            raise WeightsError(
                f"the ADM config of {origin} has {where}={first['input']}: {first['msg']}"
            ) from None

    def unet2d(self) -> dict[str, Any]:
        """Return the arguments with which diffusers' `UNet2DModel` is this U-Net, but for its number of sinusoids."""
        plain = {"residual": "Resnet{}sampleBlock2D", "convolution": "{}Block2D"}[self.resample]

        def kinds(way: str) -> list[str]:
            return [
                f"Attn{way}Block2D" if i in self.attention else plain.format(way)
                for i in range(len(self.widths))
            ]

        resample = {"residual": "resnet", "convolution": "conv"}[self.resample]
        return {
            "sample_size": self.native // self.patch,
            "in_channels": 3 * self.patch**2,
            "out_channels": self.outputs * self.patch**2,
            "time_embedding_dim": 4 * self.sinusoids,
            "freq_shift": 0,
            "flip_sin_to_cos": True,
            "down_block_types": tuple(kinds("Down")),
            "up_block_types": tuple(reversed(kinds("Up"))),
            "block_out_channels": self.widths,
            "layers_per_block": self.blocks,
            "downsample_type": resample,
            "upsample_type": resample,
            "act_fn": "silu",
            "attention_head_dim": self.head_width,
            "norm_num_groups": self.groups,
            "attn_norm_num_groups": self.groups,
            "norm_eps": 1e-5,
            "resnet_time_scale_shift": "scale_shift",
            "add_attention": True,
        }


PRESETS: Mapping[str, Architecture] = {
    "256-uncond": Architecture(
        native=256, widths=(256, 256, 512, 512, 1024, 1024), blocks=2, attention=(3, 4, 5), head_width=64
    ),
    "512-uncond": Architecture(
        native=512,
        widths=(128, 256, 256, 512, 512, 1024, 1024),
        blocks=2,
        attention=(4, 5, 6),
        head_width=64,
        embedding=256,
    ),
    "small": Architecture(
        native=64,
        widths=(64, 64, 96, 128),
        blocks=1,
        attention=(3,),
        head_width=32,
        groups=16,
        resample="convolution",
        patch=2,
        learned_variance=False,
    ),
}
"""Architectures by name: published ones, and `small`, which two CPU cores can train."""


def named(architecture: str) -> Architecture:
    """Return the preset called `architecture`, or the one described in a `.json` file at that path.

    Raises `UnknownNameError` for a name that is not a preset, `ConfigError` for a file that cannot be used.
    """
    if architecture in PRESETS:
        return PRESETS[architecture]
    if not architecture.endswith(".json"):
        raise UnknownNameError.of("ADM architecture", architecture, PRESETS)
    path = path_of(architecture)
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"architecture file {path} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"architecture file {path} must hold a JSON object")
    return Architecture.from_config(config, origin=str(path))
