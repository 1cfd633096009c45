"""Which figures of a training do experiment trackers get?"""

from __future__ import annotations

from collections.abc import Callable

from smoothseg.protocols import Tracker
from smoothseg_training.events import Event, Measured, Stepped

__all__ = ["steps"]


def steps(tracker: Tracker, *, seconds: float = 1.0) -> Callable[[Event], None]:
    """Return a listener that reports loss, learning rate and validation results of a training to `tracker`.

    It reports at most one step in `seconds` of training time, and always the last one.
    """
    told = -seconds

    def listen(event: Event) -> None:
        nonlocal told
        if isinstance(event, Measured):
            tracker.figures(
                {f"validation/{name}": value for name, value in event.figures.items()}, event.step
            )
        elif isinstance(event, Stepped) and (event.progress >= 1 or event.seconds - told >= seconds):
            told = event.seconds
            tracker.figures({"loss": event.loss, "lr": event.lr}, event.step)

    return listen
