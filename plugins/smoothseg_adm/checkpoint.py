"""Where each tensor of a guided-diffusion checkpoint goes in `UNet2DModel`.

guided-diffusion numbers the blocks of each half consecutively. It holds the queries, keys and values of an attention
layer in one tensor, whose rows are ordered by head and then by query, key and value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from smoothseg import ConfigError, WeightsError
from smoothseg_adm.architecture import Architecture

__all__ = ["Source", "convert", "table"]

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
}
_ATTENTION = {"norm": "group_norm", "proj_out": "to_out.0"}
_QKV = ("to_q", "to_k", "to_v")


@dataclasses.dataclass(frozen=True)
class Source:
    """The guided-diffusion tensor that holds one of ours; part: 0, 1, 2 for its queries, keys, values, else None."""

    key: str
    part: int | None = None


def table(architecture: Architecture) -> dict[str, Source]:
    """Return, for every key of `UNet2DModel`, where guided-diffusion keeps its tensor."""
    return {
        f"{ours}.{kind}": Source(f"{theirs}.{kind}", part)
        for ours, theirs, part in _modules(architecture)
        for kind in ("weight", "bias")
    }


def convert(
    state: Mapping[str, torch.Tensor], network: nn.Module, architecture: Architecture, *, origin: str
) -> dict[str, torch.Tensor]:
    """Return the guided-diffusion state dict `state` in the keys and shapes of the U-Net `network`.

    Tensors may lie on any device, `meta` included; none is left out or made up. Raises `WeightsError` with `origin` and
    the first keys that are missing, unexpected or of another shape.
    """
    if architecture.patch != 1:
        raise ConfigError(f"no guided-diffusion checkpoint has patch={architecture.patch}; expected 1")
    wanted = table(architecture)
    used = {source.key for source in wanted.values()}
    _refuse(origin, "missing", [key for key in used if key not in state])
    _refuse(origin, "unexpected", [key for key in state if key not in used])
    converted, wrong = {}, []
    for key, own in network.state_dict().items():
        source = wanted[key]
        tensor = state[source.key]
        whole = list(own.shape)
        if source.part is not None:
            whole[0] *= 3
        # 1x1 convolutions over positions are stored with a last side of 1, linear layers without
        squeezed = (
            list(tensor.shape[:-1])
            if tensor.ndim == len(whole) + 1 and tensor.shape[-1] == 1
            else list(tensor.shape)
        )
        if squeezed != whole:
            wrong.append(f"{source.key} {tuple(tensor.shape)} instead of {tuple(whole)}")
            continue
        if source.part is not None:
            tensor = tensor.reshape(-1, 3, architecture.head_width, *tensor.shape[1:])[:, source.part]
        converted[key] = tensor.reshape(own.shape)
    _refuse(origin, "of another shape", wrong)
    return converted


def _refuse(origin: str, what: str, keys: list[str]) -> None:
    if keys:
        shown = ", ".join(sorted(keys)[:3]) + (", ..." if len(keys) > 3 else "")
        raise WeightsError(
            f"{origin} is not a guided-diffusion checkpoint of this architecture: {len(keys)} {what} ({shown})"
        )


def _modules(architecture: Architecture) -> Iterator[tuple[str, str, int | None]]:
    """Yield (our module, their module, part) for every layer with parameters, in the order of the forward pass."""
    widths, blocks, attention = architecture.widths, architecture.blocks, architecture.attention
    lowest = len(widths) - 1
    yield "time_embedding.linear_1", "time_embed.0", None
    yield "time_embedding.linear_2", "time_embed.2", None
    yield "conv_in", "input_blocks.0.0", None

    number, channels = 1, widths[0]
    for level, width in enumerate(widths):
        ours = f"down_blocks.{level}"
        for block in range(blocks):
            theirs = f"input_blocks.{number}"
            yield from _residual(f"{ours}.resnets.{block}", f"{theirs}.0", shortcut=channels != width)
            if level in attention:
                yield from _attention(f"{ours}.attentions.{block}", f"{theirs}.1")
            channels = width
            number += 1
        if level != lowest:
            yield from _resample(architecture, f"{ours}.downsamplers.0", f"input_blocks.{number}.0", "op")
            number += 1

    yield from _residual("mid_block.resnets.0", "middle_block.0", shortcut=False)
    yield from _attention("mid_block.attentions.0", "middle_block.1")
    yield from _residual("mid_block.resnets.1", "middle_block.2", shortcut=False)

    number = 0
    for level in reversed(range(len(widths))):
        ours = f"up_blocks.{lowest - level}"
        for block in range(blocks + 1):
            theirs = f"output_blocks.{number}"
            yield from _residual(f"{ours}.resnets.{block}", f"{theirs}.0", shortcut=True)
            if level in attention:
                yield from _attention(f"{ours}.attentions.{block}", f"{theirs}.1")
            if level and block == blocks:
                place = 2 if level in attention else 1
                yield from _resample(architecture, f"{ours}.upsamplers.0", f"{theirs}.{place}", "conv")
            number += 1
    yield "conv_norm_out", "out.0", None
    yield "conv_out", "out.2", None


def _residual(ours: str, theirs: str, *, shortcut: bool) -> Iterator[tuple[str, str, None]]:
    for their, our in _RESIDUAL.items():
        yield f"{ours}.{our}", f"{theirs}.{their}", None
    if shortcut:
        yield f"{ours}.conv_shortcut", f"{theirs}.skip_connection", None


def _attention(ours: str, theirs: str) -> Iterator[tuple[str, str, int | None]]:
    for their, our in _ATTENTION.items():
        yield f"{ours}.{our}", f"{theirs}.{their}", None
    for part, our in enumerate(_QKV):
        yield f"{ours}.{our}", f"{theirs}.qkv", part


def _resample(
    architecture: Architecture, ours: str, theirs: str, layer: str
) -> Iterator[tuple[str, str, None]]:
    if architecture.resample == "convolution":
        yield f"{ours}.conv", f"{theirs}.{layer}", None
    else:
        yield from _residual(ours, theirs, shortcut=False)
