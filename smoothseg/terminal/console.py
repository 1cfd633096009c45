"""What a terminal shows of text that others wrote: the text, whatever is in it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from smoothseg.errors import visible

__all__ = ["Plain"]


class Plain(Console):
    """A console that takes no text for markup, an emoji or a command to the terminal.

    It may get texts as they are, also in the cells of tables. A `Text` is shown as it was made.
    """

    def __init__(self, **options: Any) -> None:
        """options: those of rich's console."""
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` with escapes for what is not `visible`; line breaks remain."""
        return super().render_str("\n".join(map(visible, text.split("\n"))), **options)
