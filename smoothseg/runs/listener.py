"""The interfaces through which a run reports its progress and has its results drawn; it knows nothing else of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from smoothseg.certificates.stopping import Look
    from smoothseg.protocols import Sample
    from smoothseg.runs.plan import Method
    from smoothseg.runs.preparing import Job

__all__ = ["Illustrator", "Listener", "Listeners"]


class Listener:
    """Receives the progress of a run; subclasses override the methods that they need."""

    def opened(self) -> None:
        """The directory is ready; no network has run yet."""

    def started(self, job: Job) -> None:
        """A certificate is being made."""

    def sampled(self, count: int) -> None:
        """Another `count` noise samples of the certificate are labelled."""

    def looked(self, job: Job, look: Look) -> None:
        """So much of the certificate is certified now; it may stop at any time."""

    def certified(self, job: Job, entry: Mapping[str, Any], before: bool) -> None:
        """A certificate is in the directory. entry: its ledger line. before: an earlier run made it."""

    def failed(self, job: Job, reason: str, before: bool) -> None:
        """A certificate cannot be made. reason: one line. before: an earlier run tried it, and this one did not."""


class Listeners(Listener):
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def opened(self) -> None:
        """Notify every listener."""
        for each in self._listeners:
            each.opened()

    def started(self, job: Job) -> None:
        """Notify every listener."""
        for each in self._listeners:
            each.started(job)

    def sampled(self, count: int) -> None:
        """Notify every listener."""
        for each in self._listeners:
            each.sampled(count)

    def looked(self, job: Job, look: Look) -> None:
        """Notify every listener."""
        for each in self._listeners:
            each.looked(job, look)

    def certified(self, job: Job, entry: Mapping[str, Any], before: bool) -> None:
        """Notify every listener."""
        for each in self._listeners:
            each.certified(job, entry, before)

    def failed(self, job: Job, reason: str, before: bool) -> None:
        """Notify every listener."""
        for each in self._listeners:
            each.failed(job, reason, before)


class Illustrator(Protocol):
    """Draws the certificates of one image."""

    def begin(self) -> None:
        """Write what all pictures of the run share; the directory is ready."""

    def missing(self, key: str) -> Sequence[Method]:
        """Return the methods whose pictures of the image `key` are missing."""

    def draw(self, sample: Sample, method: Method) -> None:
        """Draw the certificates of `sample` and `method`; all of them are in the directory."""

    def forget(self, key: str, method: Method) -> None:
        """Remove the picture of the image `key`: one of its certificates becomes another."""
