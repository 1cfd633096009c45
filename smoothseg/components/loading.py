"""From a recipe to its component: fetch the weights, and name the plugin in errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smoothseg.certificates.certifier import Certifier
from smoothseg.components.plugins import plugins
from smoothseg.errors import PluginError, SmoothsegError, first_line
from smoothseg.protocols import Dataset, Denoiser, Segmenter
from smoothseg.weights.references import ensure

if TYPE_CHECKING:
    import torch

    from smoothseg.weights.transfer import Progress

__all__ = ["PROTOCOLS", "lacking", "load", "owner"]

PROTOCOLS: dict[str, type[Any]] = {
    "denoiser": Denoiser,
    "segmenter": Segmenter,
    "certifier": Certifier,
    "dataset": Dataset,
}

_ON_DEVICE = ("denoiser", "segmenter")


def load(
    kind: str,
    recipe: Any,
    *,
    device: torch.device | None = None,
    progress: Progress | None = None,
    partial: bool = False,
) -> Any:
    """Return the component of a registered recipe; it has every member of its protocol.

    device: for denoisers and segmenters. progress: receives the progress of weights that must be fetched first.
    partial: also return a component that lacks a member, for callers that report this.

    Passes on smoothseg's errors from the recipe. Raises `PluginError` with the plugin's name for any other error, and
    for a component that lacks a member of its protocol.
    """
    registry = plugins()[kind]
    name, whose = registry.name_of(recipe), owner(kind, recipe)
    try:
        if kind in _ON_DEVICE:
            ensure(recipe, component=name, progress=progress)
            component = recipe.load(device)
        else:
            component = recipe.load()
    except (SmoothsegError, OSError, MemoryError):
        raise
    except Exception as error:  # a plugin may raise anything; the message names the plugin
        if type(error).__name__ == "OutOfMemoryError":  # torch's
            raise
        raise PluginError(
            f"{kind} '{name}' of {whose} could not be loaded: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not partial and (missing := lacking(component, kind)):
        raise PluginError(
            f"{kind} '{name}' of {whose} is no smoothseg.{PROTOCOLS[kind].__name__}: {type(component).__name__} has no "
            f"{' and no '.join(missing)}"
        )
    return component


def owner(kind: str, recipe: Any) -> str:
    """Return the plugin of a registered recipe, with its distribution and version."""
    registry = plugins()[kind]
    return registry.entry(registry.name_of(recipe)).owner


def lacking(component: Any, kind: str) -> list[str]:
    """Return the members of the protocol of `kind` that `component` lacks."""
    members = [
        name
        for name in vars(PROTOCOLS[kind])
        if not name.startswith("_") or name in ("__len__", "__getitem__")
    ]
    return sorted(name for name in members if not hasattr(component, name))
