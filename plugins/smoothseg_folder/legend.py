"""Which classes a class list names, and the colour of each.

The list is a file in one of two forms. **Text** (any suffix other than those below): one class per line,
`name` or `name r g b`. Empty lines and lines that begin with `#` are skipped. Names may contain spaces; a name that
ends in a number needs the other form.

    road 128 64 128
    traffic light 250 170 30

**YAML or JSON** (`.yaml`, `.yml`, `.json`): a list of names, or a mapping from name to `[r, g, b]`, or a list of
such mappings.

    - road: [128, 64, 128]
    - traffic light: [250, 170, 30]

The order is the order of the label indices. Colours are 0..255, for all classes or for none; without colours,
`smoothseg.data.palettes` makes them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from smoothseg import DataError
from smoothseg.data import Colour, palette, parse_json, parse_yaml, read_text

__all__ = ["Legend", "read"]

_LARGEST = 255
_LONGEST = 500
_LINE = re.compile(r"(?P<name>\S.*?)(?P<numbers>(\s+-?[0-9]+)*)")


@dataclasses.dataclass(frozen=True)
class Legend:
    """Class names in the order of the label indices, and an RGB colour (0..255) for each."""

    names: tuple[str, ...] = ()
    colours: tuple[Colour, ...] = ()


def read(path: Path) -> Legend:
    """Return the classes in the file `path`; raise `DataError` with its name for what is not a class list."""
    try:
        text = read_text(path, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: the class list cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a class list in UTF-8: {error}") from error
    form = _structured if path.suffix.lower() in {".yaml", ".yml", ".json"} else _lines
    entries = list(form(path, text))
    if not 1 <= len(entries) <= _LARGEST:
        raise DataError(f"{path}: expected 1 to {_LARGEST} classes, got {len(entries)}")
    first: dict[str, int] = {}
    for index, (name, _) in enumerate(entries):
        if name in first:
            raise DataError(f"{path}: the class '{name}' is listed twice, as {first[name]} and as {index}")
        first[name] = index
    coloured = [colour for _, colour in entries if colour is not None]
    if not coloured:
        coloured = list(palette(len(entries)))
    elif len(coloured) != len(entries):
        bare = next(name for name, colour in entries if colour is None)
        raise DataError(f"{path}: expected a colour for every class or for none, got none for '{bare}'")
    return Legend(tuple(first), tuple(coloured))


def _lines(path: Path, text: str) -> Iterator[tuple[str, Colour | None]]:
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped) if len(stripped) <= _LONGEST else None
        values = [int(value) for value in match["numbers"].split()] if match else []
        if match is None or len(values) not in (0, 3):
            raise DataError(
                f"{path}, line {number}: expected 'name' or 'name r g b', got '{stripped}'; "
                f"a name that ends in a number can be given in YAML"
            )
        yield match["name"], _colour(f"{path}, line {number}", match["name"], values) if values else None


def _structured(path: Path, text: str) -> Iterator[tuple[str, Colour | None]]:
    try:
        content = parse_json(text, pairs=_distinct) if path.suffix.lower() == ".json" else parse_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"{path}: not a class list: {' '.join(str(error).split())}") from error
    if not isinstance(content, list | dict):
        raise DataError(f"{path}: expected a list of class names, got {type(content).__name__}")
    for item in content if isinstance(content, list) else [content]:
        pairs = list(item.items()) if isinstance(item, dict) else [(item, None)]
        for name, colour in pairs:
            if not isinstance(name, str) or not name.strip():
                raise DataError(f"{path}: expected class names, got {name!r}; quote it if it is a name")
            yield name.strip(), None if colour is None else _colour(str(path), name, colour)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"'{key}' is listed twice")
        found[key] = value
    return found


def _colour(where: str, name: str, value: Any) -> Colour:
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(
            isinstance(level, int) and not isinstance(level, bool) and 0 <= level <= 255 for level in value
        )
    ):
        raise DataError(f"{where}: expected three integers 0..255 as the colour of '{name}', got {value}")
    return value[0], value[1], value[2]
