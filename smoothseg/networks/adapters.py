"""How a user's model becomes a segmenter: a torch module with the names of its classes and its normalisation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import nn

from smoothseg.errors import ConfigError, PluginError
from smoothseg.networks import fitting

__all__ = ["ModuleSegmenter", "class_count", "state_digest"]


@final
class ModuleSegmenter:
    """A torch module as a `smoothseg.Segmenter`; see `smoothseg.segmenter`.

    The segmenter takes over the module: it puts it into eval mode before each call, and `to` moves it. The module sees
    one image at a time, so a row of the result cannot depend on its batch.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        multiple: int,
    ) -> None:
        self.module = module.eval()
        self._classes = tuple(classes)
        self._mean, self._std = tuple(mean), tuple(std)
        self._multiple = multiple

    @classmethod
    def of(
        cls,
        module: nn.Module,
        *,
        classes: Sequence[str] | int,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        multiple: int,
    ) -> ModuleSegmenter:
        """Return `module` as a segmenter; raise `ConfigError` for what `smoothseg.segmenter` does not take."""
        if not isinstance(module, nn.Module):
            raise ConfigError(f"expected a torch module, got {type(module).__name__}")
        if isinstance(classes, int) and not isinstance(classes, bool):
            names = tuple(f"class {index}" for index in range(classes))
        else:
            names = () if isinstance(classes, str | bool) else tuple(map(str, classes))
        if not names or len(set(names)) != len(names):
            raise ConfigError(
                f"classes must be different names or their number, at least one, got {classes!r}"
            )
        if not isinstance(multiple, int) or multiple < 1:
            raise ConfigError(f"multiple must be a whole number of at least 1, got {multiple!r}")
        means, deviations = _channels(mean, "mean"), _channels(std, "std")
        if not all(each > 0 for each in deviations):
            raise ConfigError(f"std must be positive, got {std!r}")
        return cls(module, classes=names, mean=means, std=deviations, multiple=multiple)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices."""
        return self._classes

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the tensors that the module holds now, under its class's name."""
        return {f"{type(self.module).__name__}.state": state_digest(self.module)}

    def to(self, device: torch.device | str) -> ModuleSegmenter:
        """Move the module to `device` and return the segmenter."""
        self.module.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        """Return what a certificate says of it, as JSON values."""
        kind = type(self.module)
        return {
            "name": f"{kind.__module__}.{kind.__qualname__}",
            "mean": list(self._mean),
            "std": list(self._std),
            "multiple": self._multiple,
        }

    @torch.inference_mode()
    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return the module's scores (B, C, h, w) of images (B, 3, H, W); see `smoothseg.Segmenter.segment`."""
        self.module.eval()
        seen = fitting.normalised(images, mean=self._mean, std=self._std)
        return fitting.in_rows(lambda rows: self._scores(seen[rows]), len(seen))

    def _scores(self, images: torch.Tensor) -> torch.Tensor:
        padded = fitting.pad(images, self._multiple)
        scores = _scores_of(self.module(padded), self.module)
        if padded.shape == images.shape:
            return scores
        if scores.ndim != 4 or any(
            side % length for side, length in zip(padded.shape[-2:], scores.shape[-2:], strict=True)
        ):
            raise PluginError(
                f"{type(self.module).__name__} returned scores {tuple(scores.shape)}, which do not lie evenly on an "
                f"image padded to {padded.shape[-2]}x{padded.shape[-1]}"
            )
        return fitting.cropped(scores, padded.shape, images.shape)


def _scores_of(result: Any, module: nn.Module) -> torch.Tensor:
    """Return the scores in what a segmentation module returns: a tensor, `out` of torchvision's or `logits`."""
    if isinstance(result, torch.Tensor):
        return result
    for name in ("out", "logits"):
        found = result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)
        if isinstance(found, torch.Tensor):
            return found
    raise PluginError(
        f"{type(module).__name__} returned {type(result).__name__}, expected scores (B, C, h, w), or a mapping "
        "with 'out' or 'logits'"
    )


def class_count(module: nn.Module, size: tuple[int, int], device: torch.device) -> int:
    """Return how many classes `module` scores, from one pass over a grey image of `size` (h, w)."""
    with torch.inference_mode():
        scores = _scores_of(module.eval().to(device)(torch.full((1, 3, *size), 0.5, device=device)), module)
    if scores.ndim != 4:
        raise PluginError(
            f"{type(module).__name__} returned scores {tuple(scores.shape)}, expected (1, C, h, w)"
        )
    return scores.shape[1]


def state_digest(module: nn.Module) -> str:
    """Return the sha256 of a module's tensors: of their names, types, shapes and bytes.

    They are its parameters, all its buffers, and tensors that are plain attributes.
    """
    held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, child in module.named_modules():
        held |= {
            f"{name}.{key}": value for key, value in vars(child).items() if isinstance(value, torch.Tensor)
        }
    digest = hashlib.sha256()
    for name, tensor in sorted(held.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _channels(value: float | Sequence[float], what: str) -> tuple[float, ...]:
    """Return `value` for each of three channels; raise `ConfigError` if it is not one number or three."""
    values = [value] * 3 if isinstance(value, int | float) else list(value)
    if len(values) != 3 or not all(isinstance(each, int | float) and math.isfinite(each) for each in values):
        raise ConfigError(
            f"{what} must be one number or three (red, green, blue, in 0..1 units), got {value!r}"
        )
    return tuple(float(each) for each in values)
