"""A request to stop that comes from outside, while the noise samples of an image are drawn."""

from __future__ import annotations

__all__ = ["Stop"]


class Stop:
    """Passes a request on to a certifier that may stop at any time.

    heeded: a certifier is at work that will see the request. As long as it is not, whoever wants to stop must end the
    work in another way. asked: the reason of the request, a constant of `certificates.stopping`, or None. ending: what
    ends the run once the certificate is saved, or None.
    """

    def __init__(self) -> None:
        self.heeded = False
        self.asked: str | None = None
        self.ending: BaseException | None = None

    def ask(self, reason: str, *, ending: BaseException | None = None) -> bool:
        """Ask to stop, if the request will be heeded and there was none to end the run; return whether that is so."""
        if not self.heeded or self.ending is not None or (self.asked is not None and ending is None):
            return False
        self.asked, self.ending = reason if self.asked is None else self.asked, ending
        return True

    def finish(self) -> BaseException | None:
        """Begin anew, for the next certificate; return what ends the run now, if that was asked for."""
        self.heeded = False  # first: from here on a signal raises by itself
        ending, self.asked, self.ending = self.ending, None, None
        return ending
