"""How a run is stopped from outside: by a signal, or because a certificate takes too long."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Expired", "Terminated", "limited", "terminable"]

_GRACE = 10.0
"""Seconds that code which does not return to Python has, after the limit, before it is given up."""


class Expired(BaseException):
    """The time is over. It is no `Exception`, so that a component that catches everything lets it pass."""


class Terminated(BaseException):
    """The process is asked to end, by SIGTERM: what `KeyboardInterrupt` is for SIGINT."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` in the block on SIGTERM, if this is the main thread, which alone may ask for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def limited(
    seconds: float | None, *, lost: Callable[[], None] | None = None, grace: float = _GRACE
) -> Iterator[None]:
    """Raise `Expired` in the block once it has run for `seconds`; None: it may run for ever.

    Code that never returns to Python, such as a deadlock inside a library, cannot be interrupted. After another
    `grace` seconds `lost` is called from a thread of its own, to end the process; by default nothing is.

    Only the main thread can be interrupted, and not on Windows, where only `lost` is called. In another thread nothing
    happens: it is a part of something that should not end for it.
    """
    if seconds is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watchdog = threading.Timer(seconds + grace, lost or (lambda: None))
    watchdog.daemon = True
    watchdog.start()
    try:
        with _interrupted(seconds) if hasattr(signal, "setitimer") else contextlib.nullcontext():
            yield
    finally:
        watchdog.cancel()


@contextlib.contextmanager
def _interrupted(seconds: float) -> Iterator[None]:
    over = False

    def expire(*_: Any) -> None:
        if not over:
            raise Expired

    before = signal.signal(signal.SIGALRM, expire)
    # Again every second: a component may swallow it once.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        try:
            yield
        finally:
            over = True
    finally:  # also if it expires in this very moment
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
