"""What a shell can complete: names of components, and behind `name:` their options and values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from smoothseg.components.plugins import plugins
from smoothseg.components.registry import Entry
from smoothseg.errors import PluginError

__all__ = ["Candidate", "candidates"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One word that may stand where the unfinished one does, and what it means in a few words."""

    word: str
    help: str


def candidates(kind: str, unfinished: str) -> list[Candidate]:
    """Return what may follow `unfinished`, the beginning of a spec `name:key=value,...` of a `kind` of component.

    Before the colon they are names; behind it the options that are not given yet, and behind an `=` the values of an
    option that has a few.
    """
    name, colon, rest = unfinished.partition(":")
    if not colon:
        return [
            Candidate(entry.name, entry.summary)
            for entry in plugins()[kind]
            if entry.name.startswith(unfinished)
        ]
    if name not in plugins()[kind]:
        return []
    return list(_options(plugins()[kind].entry(name), f"{name}:", rest))


def _options(entry: Entry, before: str, rest: str) -> Iterator[Candidate]:
    *whole, last = rest.split(",")
    before += "".join(f"{part}," for part in whole)
    given = {part.partition("=")[0] for part in whole}
    key, equals, value = last.partition("=")
    for field in entry.fields:
        if equals and field.name == key:
            for choice in [*_choices(field.type), *(_weights(entry) if key == "weights" else ())]:
                if choice.startswith(value):
                    yield Candidate(f"{before}{key}={choice}", field.help)
        elif not equals and field.name not in given and field.name.startswith(key):
            yield Candidate(f"{before}{field.name}=", field.help)


def _weights(entry: Entry) -> list[str]:
    """Return the names of weights that the component's plugin knows; none if its catalogue is broken."""
    from smoothseg.weights.catalogue import catalogue
    from smoothseg.weights.references import package_of

    try:
        return [each.name for each in catalogue(package_of(entry.recipe)).values() if each.fits(entry.name)]
    except PluginError:  # a shell has no place for an error
        return []


def _choices(annotation: str) -> list[str]:
    """Return the values of a field's type, as its source names it, that are few."""
    if annotation == "bool":
        return ["false", "true"]
    literal = re.search(r"Literal\[(.*?)\]", annotation)
    return re.findall(r"[\"']([^\"']+)[\"']", literal[1]) if literal else []
