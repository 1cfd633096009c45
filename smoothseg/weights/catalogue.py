"""Which weight files a plugin package knows by name: those it includes, and official ones to be fetched.

The file `weights/catalogue.yaml` of the package has an entry for each name:

    streets:                         # a file beside the catalogue
      file: streets.safetensors
      licence: Apache-2.0
      source: trained with examples/train/streets-hrnet.yaml
      datasets: [streets, any]       # `weights=auto` takes it for these; `any` is for those that no entry names
    w48-cityscapes:                  # a file to be fetched
      url: https://...
      sha256: "0123..."              # of what the address gives; its first 8 digits and more will do. Left out where
      size: 264012345                # none is published: it is then recorded at the first download
      member: best.pth               # the file wanted, where the address gives an archive
      licence: MIT
      source: HRNet-Semantic-Segmentation
      component: hrnet               # of the plugin's components, the one that reads it; may be left out with one
      options: {width: w48}          # what the file does not say of itself
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from smoothseg.errors import ConfigError, PluginError, UnknownNameError
from smoothseg.files import read_yaml
from smoothseg.weights.sources import Source

__all__ = ["Entry", "automatic", "catalogue"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A weight file with a name.

    path: the file, if the package includes it. download: where it comes from otherwise. licence, source: of the
    file, in words. component: the component that reads it, None for any of the package. datasets: those for which
    `auto` selects it. options: the component's options that the file does not contain.
    """

    name: str
    path: Path | None
    download: Source | None
    licence: str
    source: str
    component: str | None = None
    datasets: tuple[str, ...] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def holds(self, sha256: str) -> bool:
        """Tell whether a file with this hash is known to be the entry's."""
        known = self.download
        return (
            known is not None
            and known.member is None
            and known.sha256 is not None
            and sha256.startswith(known.sha256)
        )

    def fits(self, component: str | None) -> bool:
        """Tell whether `component` reads it."""
        return component is None or self.component is None or self.component == component


@functools.cache
def catalogue(package: str) -> Mapping[str, Entry]:
    """Return what the importable `package` knows by name; included files without an entry have their file name.

    Raises `PluginError` if its catalogue is invalid.
    """
    folder = resources.files(package) / "weights"
    if not folder.is_dir():
        return {}
    place = Path(str(folder))
    listed = read_catalogue(place / "catalogue.yaml", package) if (place / "catalogue.yaml").is_file() else {}
    named = {entry.path for entry in listed.values()}
    brought = {
        path.stem: Entry(path.stem, path, None, licence="not stated", source=f"comes with {package}")
        for path in sorted(place.glob("*.safetensors"))
        if path not in named
    }
    return {**brought, **listed}


def read_catalogue(path: Path, package: str) -> dict[str, Entry]:
    """Return the entries of a catalogue file, by name."""
    try:
        content = read_yaml(path)
    except ConfigError as error:
        raise PluginError(f"{package}: {error}") from None
    return {
        name: _entry(name, given, path.parent, f"{package}: weights '{name}'")
        for name, given in content.items()
    }


def automatic(
    package: str,
    *,
    component: str | None,
    dataset: str | None,
    agrees: Callable[[Entry], bool] = lambda entry: True,
) -> Entry:
    """Return the entry that `weights=auto` selects: the first of `dataset` that `agrees`, or of `any` if none names it.

    dataset: a dataset's name, None if unknown. Raises `ConfigError` if there is none.
    """
    entries = [entry for entry in catalogue(package).values() if entry.fits(component)]
    named = [entry for entry in entries if dataset in entry.datasets]
    for entry in named or entries:
        if agrees(entry) and (named or "any" in entry.datasets):
            return entry
    what = component or package
    known = ", ".join(entry.name for entry in entries) or "none"
    whose = (
        f"{what} has no weights for dataset '{dataset}'" if dataset else f"{what} has no weights of its own"
    )
    raise ConfigError(
        f"{whose} and these options (known by name: {known}): give a name or a file with {what}:weights=..."
    )


def unknown(package: str, name: str) -> UnknownNameError:
    """Return the error for a name that is not in the catalogue of `package`."""
    return UnknownNameError.of("weights", name, catalogue(package), listed=f"{package} knows")


@dataclasses.dataclass(frozen=True)
class _Given:
    """An entry as it is written."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    licence: str
    source: str
    file: str | None = None
    url: str | None = None
    member: str | None = None
    sha256: str | None = None
    size: int | None = None
    component: str | None = None
    datasets: list[str] = dataclasses.field(default_factory=list)
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def _entry(name: str, written: Any, folder: Path, what: str) -> Entry:
    import pydantic  # here, because it is slow to import and few commands need a catalogue

    try:
        given = pydantic.TypeAdapter(_Given).validate_python(written)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(piece) for piece in first["loc"]) or "the entry"
        raise PluginError(f"{what}: {where}: {first['msg']}") from None
    path, download = None, None
    if given.url is not None:
        try:
            download = Source.at(given.url, member=given.member, sha256=given.sha256, size=given.size)
        except ConfigError as error:
            raise PluginError(f"{what}: {error}") from None
    elif given.file is not None:
        path = folder / given.file
        if not path.is_file():
            raise PluginError(f"{what}: {path} does not exist")
    else:
        raise PluginError(f"{what} needs a file or a url")
    return Entry(
        name,
        path,
        download,
        given.licence,
        given.source,
        given.component,
        tuple(given.datasets),
        given.options,
    )
