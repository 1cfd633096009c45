"""Send the figures of a run to experiment trackers during the run; plugins provide the trackers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, UnknownNameError, first_line
from smoothseg.protocols import Tracker
from smoothseg.runs.listener import Listener
from smoothseg.runs.logs import log

if TYPE_CHECKING:
    from smoothseg.certificates.counts import Counts
    from smoothseg.runs.preparing import Job, Prepared

__all__ = ["Figures", "Tracking", "check", "check_names", "chosen", "tracking"]


def check_names(names: Iterable[str]) -> None:
    """Raise `UnknownNameError` unless every name is that of a tracker."""
    for name in names:
        _make(name)


def check(names: Iterable[str]) -> None:
    """Raise `UnknownNameError` for an unknown tracker and `ConfigError` for one that cannot work here."""
    for name in names:
        if (ready := getattr(_make(name), "check", None)) is not None:
            ready()


def _make(name: str) -> Callable[[Path, str, Mapping[str, Any]], Tracker]:
    functions = plugins().functions["tracker"]
    if name not in functions:
        raise UnknownNameError.of("tracker", name, functions.names, listed="there are")
    made: Callable[[Path, str, Mapping[str, Any]], Tracker] = functions[name]
    return made


def chosen(names: Sequence[str]) -> list[str]:
    """Return the trackers that the command line selects: `names`, or none for the single word `none`.

    Raises `ConfigError` for `none` together with a tracker.
    """
    if "none" in names and set(names) != {"none"}:
        raise ConfigError("--track none means no tracker: give it alone, or leave it out")
    return [name for name in names if name != "none"]


class Tracking:
    """All trackers of one run as a single object; `open` starts them.

    If a tracker raises after `open`, a warning says so, the tracker receives no more figures, and the run goes on.
    """

    def __init__(
        self,
        names: Sequence[str],
        directory: Path,
        name: str,
        config: Mapping[str, Any],
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._directory = directory
        self._name = name
        self._config = config
        self._tell = tell
        self._opened: dict[str, Tracker] = {}
        self._lost: dict[str, Tracker] = {}

    def open(self) -> None:
        """Start every tracker; each may write into the run's directory and contact its server.

        Raises `ConfigError` with the name of a tracker that cannot start.
        """
        for each in self._names:
            if each not in self._opened and each not in self._lost:
                try:
                    self._opened[each] = _make(each)(self._directory, self._name, self._config)
                except Exception as error:  # trackers raise anything, from their settings to their servers
                    raise ConfigError(f"--track {each} cannot begin: {_said(error)}") from error

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """Send `values` to every tracker that still works."""
        for name, tracker in list(self._opened.items()):
            try:
                tracker.figures(values, step)
            except Exception as error:
                self._lost[name] = self._opened.pop(name)
                self._warn(f"--track {name} failed and is told no more: {_said(error)}")

    def close(self, *, failed: bool = False) -> None:
        """Close all opened trackers, as failed if the tracker failed earlier or if the run `failed`."""
        for name, tracker in self._opened.items():
            try:
                tracker.close(failed=failed)
            except Exception as error:
                self._warn(f"--track {name} failed at the end: {_said(error)}")
        for tracker in self._lost.values():
            with contextlib.suppress(Exception):  # its failure was reported already
                tracker.close(failed=True)
        self._opened, self._lost = {}, {}

    def _warn(self, text: str) -> None:
        log.warning("%s", text)
        if self._tell is not None:
            self._tell(f"Warning: {text}")


def _said(error: Exception) -> str:
    """Return an error of a tracker as one line."""
    return f"{type(error).__name__}: {first_line(error)}"


@contextlib.contextmanager
def tracking(
    names: Sequence[str],
    directory: Path,
    *,
    name: str,
    config: Mapping[str, Any],
    tell: Callable[[str], None] | None = None,
) -> Iterator[Tracking | None]:
    """Yield an unopened `Tracking` of the trackers `names`, or None without names, and close it at the end.

    directory: the run's; TensorBoard writes to its folder `tensorboard`, Weights & Biases to `wandb`. name: the run's
    name. config: its configuration, as plain values. tell: receives a line when a tracker fails, as the log does. If
    the block raises or is interrupted, the trackers record a failed run.
    """
    check(names)
    if not names:
        yield None
        return
    made = Tracking(names, directory, name, config, tell)
    try:
        yield made
    except BaseException:
        made.close(failed=True)
        raise
    made.close()


class Figures(Listener):
    """Sends the current scores of a method and sigma to `tracker` after each of its certificates.

    Certificates of an earlier run count but are not reported again. Names are `SLUG/sigma-S/FIGURE`. The step is the
    number of images so far.
    """

    def __init__(self, tracker: Tracking, prepared: Prepared) -> None:
        self._tracker = tracker
        self._prepared = prepared
        self._known: dict[tuple[str, float], list[Counts]] = {}

    def certified(self, job: Job, entry: Mapping[str, Any], before: bool) -> None:
        """Count the certificate of `entry` and report the new scores."""
        from smoothseg.certificates.counts import Counts
        from smoothseg.certificates.metrics import INFORMATION, compute

        counts = self._known.setdefault((job.method.name, job.sigma), [])
        counts.append(Counts.from_json(entry["certified"]))
        if before:
            return
        hierarchy = self._prepared.hierarchy(job.method)
        scores = compute(counts, self._prepared.names(job.method), hierarchy)
        found = {
            "accuracy": scores.accuracy,
            "mean_iou": scores.mean_iou,
            "abstained": scores.abstained,
            "radius": entry["radius"],
            "seconds": entry["seconds"]["total"],
        }
        if hierarchy is not None:
            found |= {name: getattr(scores, name) for name in INFORMATION}
        where = f"{job.method.slug}/sigma-{job.sigma:g}"
        self._tracker.figures(
            {f"{where}/{name}": float(value) for name, value in found.items() if value is not None},
            len(counts),
        )
