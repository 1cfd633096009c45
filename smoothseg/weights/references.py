"""From a weight reference to its file.

A reference is one of

- a name in the catalogue of the plugin's package (`streets`, `256-uncond`; see `catalogue.py`);
- `auto`: the catalogue's file for the dataset;
- a path;
- `https://...#sha256=...` (`&member=FILE` for a file of an archive) or `hf://owner/name/file@revision`; see
  `sources.py`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smoothseg.errors import ConfigError, PluginError, WeightsError
from smoothseg.files import path_of
from smoothseg.weights.catalogue import Entry, automatic, catalogue, unknown
from smoothseg.weights.downloads import fetch
from smoothseg.weights.sources import Source
from smoothseg.weights.transfer import Progress

__all__ = ["AUTO", "ensure", "locate", "package_of", "pinned"]

AUTO = "auto"
"""The reference that stands for the catalogue's file for the dataset."""


def package_of(recipe: Any) -> str:
    """Return the import package whose catalogue a recipe's weight references are looked up in."""
    kind = recipe if isinstance(recipe, type) else type(recipe)
    return str(kind.__module__).partition(".")[0]


def pinned(recipe: Any, *, component: str, dataset: str | None = None) -> Any:
    """Return `recipe` completed from the catalogue: with the weights' name for `auto`, and their options.

    component: the recipe's name. dataset: that of the dataset, for `auto`; of several files for one dataset it
    selects the first whose options agree with the recipe's. A recipe without weights, or whose weights are not in the
    catalogue, is returned unchanged.

    Raises `ConfigError` if the plugin knows no weights for `auto`, or if an option of the recipe differs from that of
    its weights. An option with its default value counts as not given.
    """
    reference, package = getattr(recipe, "weights", None), package_of(recipe)
    if reference == AUTO:
        entry = automatic(
            package,
            component=component,
            dataset=dataset,
            agrees=lambda entry: not any(_differing(recipe, entry, component)),
        )
    elif isinstance(reference, str) and reference in catalogue(package):
        entry = catalogue(package)[reference]
    else:
        return recipe
    for key, given, value in _differing(recipe, entry, component):
        raise ConfigError(f"weights '{entry.name}' of {component} have {key}={value}, got {key}={given}")
    return dataclasses.replace(recipe, weights=entry.name, **entry.options)


def _differing(recipe: Any, entry: Entry, component: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each option whose given value differs from that of `entry`: name, given, the entry's."""
    fields = {field.name: field for field in dataclasses.fields(recipe)}
    for key, value in entry.options.items():
        if key not in fields:
            raise PluginError(
                f"weights '{entry.name}' have the option {key}, which {component} does not take"
            )
        given = getattr(recipe, key)
        if given not in (fields[key].default, value):
            yield key, given, value


def locate(
    reference: str, *, package: str, component: str | None = None
) -> tuple[Path | Source, Entry | None]:
    """Return the path or source of the file of `reference`, and its entry if it is a name in the catalogue.

    package: import package whose catalogue knows names. component: the one that reads the file, for `auto`
    (without a dataset) if a package has several.

    Raises `WeightsError` if a path does not exist, `UnknownNameError` for a name that is not in the catalogue,
    `ConfigError` for an address that cannot be used.
    """
    named = catalogue(package)
    if reference == AUTO:
        reference = automatic(package, component=component, dataset=None).name
    if reference in named:
        entry = named[reference]
        place = entry.path or entry.download
        assert place is not None
        return place, entry
    if "://" in reference:
        return Source.of(reference), None
    path = path_of(reference)
    if os.path.isfile(path):  # also of names that no file can have
        return path, None
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(f"weight file {reference} does not exist")
    raise unknown(package, reference)


def ensure(recipe: Any, *, component: str, progress: Progress | None = None) -> None:
    """Fetch the weights of `recipe` unless they are local or already in the cache.

    A recipe's option `weights`, if it has one, is its weight reference. progress: see `downloads.fetch`. Raises what
    `locate` and `fetch` raise.
    """
    reference = getattr(recipe, "weights", None)
    if isinstance(reference, str):
        place, _ = locate(reference, package=package_of(recipe), component=component)
        if isinstance(place, Source) and not place.path.is_file():
            fetch(place, progress=progress)
