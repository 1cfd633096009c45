"""Components given from Python: datasets by name, and the user's own networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smoothseg.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from smoothseg.networks import ModuleSegmenter
    from smoothseg.protocols import Dataset, Sample

__all__ = ["Named", "dataset", "described", "own", "segmenter"]


def segmenter(
    module: torch.nn.Module,
    *,
    classes: Sequence[str] | int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    multiple: int = 1,
) -> ModuleSegmenter:
    """Return a torch module as a segmenter.

    module: maps images (B, 3, H, W) to scores (B, C, h, w) at any stride, as a tensor, or as `out` of a mapping
        (torchvision) or `logits` (transformers). It is set to eval mode and moved to the device.
    classes: the names of the C classes, or their number.
    mean, std: images in [0, 1] are normalised by subtracting `mean` and dividing by `std`. Each is one number, or one
        per channel (for ImageNet `smoothseg.networks.IMAGENET_MEAN` and `smoothseg.networks.IMAGENET_STD`).
    multiple: the number that must divide the sides of images; others are padded by reflection and the scores cropped.

    Raises `ConfigError`.
    """
    from smoothseg.networks import adapters

    return adapters.ModuleSegmenter.of(module, classes=classes, mean=mean, std=std, multiple=multiple)


def dataset(spec: str | Mapping[str, Any]) -> Dataset:
    """Return the dataset that `--dataset` names, such as `"folder:root=photos"` or `"streets:count=4"`."""
    from smoothseg.components.plugins import plugins

    recipe = plugins()["dataset"].recipe(spec)
    return Named(recipe, recipe.load())


class Named:
    """A dataset with its recipe."""

    def __init__(self, recipe: Any, loaded: Dataset) -> None:
        self.recipe = recipe
        self._loaded = loaded
        self.classes, self.palette, self.ignore = loaded.classes, loaded.palette, loaded.ignore
        self.keys = loaded.keys

    def __len__(self) -> int:
        return len(self._loaded)

    def __getitem__(self, index: int) -> Sample:
        return self._loaded[index]


def own(kind: str, given: Any, dataset: Dataset, size: tuple[int, int], device: torch.device) -> Any:
    """Return a component that was passed as an object; a module is moved to `device` and set to eval mode."""
    from torch import nn

    from smoothseg.components import loading
    from smoothseg.networks import adapters

    if kind == "segmenter" and isinstance(given, nn.Module) and loading.lacking(given, kind):
        count = adapters.class_count(given, size, device)
        names = tuple(dataset.classes) if len(dataset.classes) == count else count
        given = segmenter(given, classes=names)
    if isinstance(given, adapters.ModuleSegmenter):
        return given.to(device)
    if missing := loading.lacking(given, kind):
        raise ConfigError(
            f"{kind} must be a name, a mapping with a name, or a smoothseg.{loading.PROTOCOLS[kind].__name__}; "
            f"{type(given).__name__} has no {' and no '.join(missing)}"
        )
    return given.eval().to(device) if isinstance(given, nn.Module) else given


def described(component: Any) -> Mapping[str, Any]:
    """Return the provenance of a component that was passed as an object."""
    from smoothseg.networks.adapters import ModuleSegmenter

    if isinstance(component, ModuleSegmenter):
        return component.describe()
    kind = type(component)
    return {"name": f"{kind.__module__}.{kind.__qualname__}"}
