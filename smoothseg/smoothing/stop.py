"""A request to stop that comes from outside, while the noise samples of an image are drawn."""

from __future__ import annotations

__all__ = ["Stop"]


class Stop:
    """Passes a request on to a certifier that may stop at any time.

    heeded: a certifier is at work that will see the request. As long as it is not, whoever wants to stop must end the
    work in another way. asked: the reason of the request, a constant of `certificates.stopping`, or None.
    """

    def __init__(self) -> None:
        self.heeded = False
        self.asked: str | None = None

    def ask(self, reason: str) -> bool:
        """Ask to stop, if the request will be heeded and there was none before; return whether that is so."""
        if not self.heeded or self.asked is not None:
            return False
        self.asked = reason
        return True

    def clear(self) -> None:
        """Begin anew, for the next certificate."""
        self.heeded, self.asked = False, None
