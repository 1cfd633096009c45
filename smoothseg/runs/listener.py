"""Who is told how a run goes on, and who draws what it finds; a run knows them by these protocols alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from smoothseg.protocols import Sample
    from smoothseg.runs.plan import Method
    from smoothseg.runs.preparing import Job

__all__ = ["Illustrator", "Listener", "Listeners"]


class Listener:
    """Is told how a run goes on; a class that derives from it leaves out what it does not want to know."""

    def opened(self) -> None:
        """The directory is ready; no network has run yet."""

    def started(self, job: Job) -> None:
        """A certificate is being made."""

    def sampled(self, count: int) -> None:
        """So many more noise samples of it are labelled."""

    def certified(self, job: Job, entry: Mapping[str, Any], before: bool) -> None:
        """A certificate is in the directory. entry: its line in the ledger. before: an earlier run had made it."""


class Listeners(Listener):
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def opened(self) -> None:
        """Tell all of them."""
        for each in self._listeners:
            each.opened()

    def started(self, job: Job) -> None:
        """Tell all of them."""
        for each in self._listeners:
            each.started(job)

    def sampled(self, count: int) -> None:
        """Tell all of them."""
        for each in self._listeners:
            each.sampled(count)

    def certified(self, job: Job, entry: Mapping[str, Any], before: bool) -> None:
        """Tell all of them."""
        for each in self._listeners:
            each.certified(job, entry, before)


class Illustrator(Protocol):
    """Draws the certificates of one image."""

    def missing(self, key: str) -> Sequence[Method]:
        """Return the methods whose pictures of the image `key` are not there yet."""

    def draw(self, sample: Sample, method: Method) -> None:
        """Draw the certificates of `sample` and `method`, which are all in the directory."""
