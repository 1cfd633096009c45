"""Shows the argument lines of a docstring, `name: what it is`, as a list; griffe runs this when the site is built."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ARGUMENT = re.compile(r"(\w+(?:, \w+)*): (?=\S)")


class Arguments(griffe.Extension):
    """Makes list items of the lines of every paragraph that begins with `name: `."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of `obj`, as the documentation will show it."""
        if obj.docstring is not None:
            paragraphs = obj.docstring.value.split("\n\n")
            obj.docstring.value = "\n\n".join(map(_listed, paragraphs))


def _listed(paragraph: str) -> str:
    if not _ARGUMENT.match(paragraph):
        return paragraph
    lines = (
        _ARGUMENT.sub(r"- `\1`: ", line, count=1) if _ARGUMENT.match(line) else f"  {line.strip()}"
        for line in paragraph.splitlines()
    )
    return "\n".join(lines)
