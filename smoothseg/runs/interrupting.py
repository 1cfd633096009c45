"""How a run is stopped from outside: by a signal, or because a certificate takes too long."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from smoothseg.certificates.stopping import INTERRUPTED, OUT_OF_TIME
from smoothseg.smoothing.stop import Stop

__all__ = ["Expired", "Terminated", "limited", "terminable"]

_GRACE = 10.0
"""Seconds that code which does not return to Python has, after the limit, before it is given up."""


class Expired(BaseException):
    """The time is over. It is no `Exception`, so that a component that catches everything lets it pass."""


class Terminated(BaseException):
    """The process is asked to end, by SIGTERM: what `KeyboardInterrupt` is for SIGINT."""


@contextlib.contextmanager
def terminable(stop: Stop | None = None, *, asked: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise `Terminated` in the block on SIGTERM, and `KeyboardInterrupt` on SIGINT.

    stop: where a certifier is at work that may stop at any time, it is asked to, and only a second signal raises. Who
    saves its certificate raises `stop.ending` then. asked: called if the certifier is asked.

    Only the main thread may receive signals; in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: Any) -> None:
        error = KeyboardInterrupt() if number == signal.SIGINT else Terminated()
        if stop is not None and stop.ask(INTERRUPTED, ending=error):
            asked()
            return
        raise error

    numbers = [signal.SIGTERM]
    if stop is not None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def limited(
    seconds: float | None,
    *,
    stop: Stop | None = None,
    lost: Callable[[], None] | None = None,
    grace: float = _GRACE,
) -> Iterator[None]:
    """Raise `Expired` in the block once it has run for `seconds`; None: it may run for ever.

    stop: where a certifier is at work that may stop at any time, it is asked to, and has as long again to do so.

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
    watchdog = _Watchdog(seconds + grace, seconds, stop, lost or (lambda: None))
    try:
        with _interrupted(seconds, stop) if hasattr(signal, "setitimer") else contextlib.nullcontext():
            yield
    finally:
        watchdog.cancel()


class _Watchdog:
    """Calls `lost` after `seconds`, or `longer` after that where a certifier was asked to stop."""

    def __init__(self, seconds: float, longer: float, stop: Stop | None, lost: Callable[[], None]) -> None:
        self._longer, self._stop, self._lost = longer, stop, lost
        self._start(seconds, self._look)

    def _start(self, seconds: float, what: Callable[[], None]) -> None:
        self._timer = threading.Timer(seconds, what)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        if self._stop is not None and self._stop.asked is not None:
            self._start(self._longer, self._lost)
        else:
            self._lost()

    def cancel(self) -> None:
        """Call nothing any more."""
        self._timer.cancel()


@contextlib.contextmanager
def _interrupted(seconds: float, stop: Stop | None) -> Iterator[None]:
    over, end = False, time.monotonic() + 2 * seconds

    def expire(*_: Any) -> None:
        if over or (stop is not None and stop.ask(OUT_OF_TIME)):
            return
        if stop is not None and stop.asked is not None and time.monotonic() < end:
            return  # the batch in flight ends
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
