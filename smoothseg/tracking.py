"""What a run finds out, told to experiment trackers as it comes: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.logs import log

if TYPE_CHECKING:
    from smoothseg.metrics import Counts
    from smoothseg.training.loop import Event

__all__ = ["TRACKERS", "Tracker", "Tracking", "certificates", "check", "chosen", "steps", "tracking"]

_PROJECT = "smoothseg"


class Tracker(Protocol):
    """Takes the figures of one run."""

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """Take finite numbers by name, parts of which are separated by `/`, as they are after `step` steps."""

    def close(self, *, failed: bool) -> None:
        """Write what is not written yet; `failed` says that the run did not come to its end."""


class _TensorBoard:
    def __init__(self, directory: Path, name: str, config: Mapping[str, Any]) -> None:
        writers: Any = importlib.import_module("torch.utils.tensorboard")
        self._writer = writers.SummaryWriter(str(directory / "tensorboard"))
        text = json.dumps(config, indent=1, default=str)
        self._writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))

    def figures(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self, *, failed: bool) -> None:
        self._writer.close()  # it has no word for how a run ended


class _WeightsAndBiases:
    def __init__(self, directory: Path, name: str, config: Mapping[str, Any]) -> None:
        wandb: Any = importlib.import_module("wandb")
        directory.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=_PROJECT,
            name=name,
            dir=str(directory),
            config=json.loads(json.dumps(config, default=str)),
        )

    def figures(self, values: Mapping[str, float], step: int) -> None:
        # Its own steps must grow, and those of several methods do not: the step is a figure like the others.
        self._run.log({**values, "step": step})

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class _MLflow:
    def __init__(self, directory: Path, name: str, config: Mapping[str, Any]) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        self._mlflow.set_experiment(_PROJECT)
        self._mlflow.start_run(run_name=name)
        try:
            self._mlflow.log_dict(json.loads(json.dumps(config, default=str)), "config.json")
        except BaseException:
            self.close(failed=True)
            raise

    def figures(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")


TRACKERS: Mapping[str, Callable[[Path, str, Mapping[str, Any]], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
    "mlflow": _MLflow,
}
"""What makes a tracker, by its name, which is that of its package and of the extra that installs it."""


def check(names: Iterable[str]) -> None:
    """Raise `UnknownNameError` for a name that is no tracker's, `ConfigError` if its package is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise UnknownNameError.of("tracker", name, TRACKERS, listed="there are")
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"--track {name}: {name} is not installed; pip install 'smoothseg[{name}]'")


def chosen(names: Sequence[str]) -> list[str]:
    """Return the trackers that the command line asks for: `names`, or none for the one word `none`.

    Raises `ConfigError` for `none` beside a tracker.
    """
    if "none" in names and set(names) != {"none"}:
        raise ConfigError("--track none means no tracker: give it alone, or leave it out")
    return [name for name in names if name != "none"]


class Tracking:
    """Several trackers of one run as one, none of which is there before `open`.

    What one of them raises once it is open is told as a warning, and it hears no more: the run goes on.
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
        """Begin with every tracker, which may write into the run's directory and ask its server.

        Raises `ConfigError` with the name of one that cannot begin.
        """
        for each in self._names:
            if each not in self._opened and each not in self._lost:
                try:
                    self._opened[each] = TRACKERS[each](self._directory, self._name, self._config)
                except Exception as error:  # trackers raise anything, from their settings to their servers
                    raise ConfigError(f"--track {each} cannot begin: {_said(error)}") from error

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """Pass `values` on."""
        for name, tracker in list(self._opened.items()):
            try:
                tracker.figures(values, step)
            except Exception as error:
                self._lost[name] = self._opened.pop(name)
                self._warn(f"--track {name} failed and is told no more: {_said(error)}")

    def close(self, *, failed: bool = False) -> None:
        """Close those that were opened; one that failed before, and all if the run `failed`, as failed."""
        for name, tracker in self._opened.items():
            try:
                tracker.close(failed=failed)
            except Exception as error:
                self._warn(f"--track {name} failed at the end: {_said(error)}")
        for tracker in self._lost.values():
            with contextlib.suppress(Exception):  # that it fails was told
                tracker.close(failed=True)
        self._opened, self._lost = {}, {}

    def _warn(self, text: str) -> None:
        log.warning("%s", text)
        if self._tell is not None:
            self._tell(f"Warning: {text}")


def _said(error: Exception) -> str:
    """Return an error of a tracker in one line."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


@contextlib.contextmanager
def tracking(
    names: Sequence[str],
    directory: Path,
    *,
    name: str,
    config: Mapping[str, Any],
    tell: Callable[[str], None] | None = None,
) -> Iterator[Tracking | None]:
    """Give what passes figures on to the trackers `names` once it is opened, None without any; close it at the end.

    directory: the run's; TensorBoard writes to its folder `tensorboard`, Weights & Biases to `wandb`. name: the run's
    name. config: what it is run with, as plain values. tell: is told a line when a tracker fails, beside the log. A
    block that raises, or is interrupted, is a failed run to the trackers.
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


def certificates(
    tracker: Tracker, slugs: Mapping[str, str], classes: Mapping[str, Sequence[str]]
) -> Callable[[Mapping[str, Any], bool], None]:
    """Return a listener for the certificates of a run that tells `tracker` the scores so far of method and sigma.

    slugs, classes: folder name and class names by the method's name. The listener takes a ledger line, and whether
    the certificate was there before, which counts and is not told again. Names are `SLUG/sigma-S/FIGURE`, the step is
    the number of images so far.
    """
    from smoothseg import metrics

    known: dict[tuple[str, float], list[Counts]] = {}

    def listen(entry: Mapping[str, Any], before: bool) -> None:
        method, sigma = entry["method"], entry["sigma"]
        counts = known.setdefault((method, sigma), [])
        counts.append(metrics.Counts.from_json(entry["certified"]))
        if before:
            return
        scores = metrics.compute(counts, classes[method])
        found = {
            "accuracy": scores.accuracy,
            "mean_iou": scores.mean_iou,
            "abstained": scores.abstained,
            "radius": entry["radius"],
            "seconds": entry["seconds"]["total"],
        }
        where = f"{slugs[method]}/sigma-{sigma:g}"
        tracker.figures(
            {f"{where}/{name}": float(value) for name, value in found.items() if value is not None},
            len(counts),
        )

    return listen


def steps(tracker: Tracker, *, seconds: float = 1.0) -> Callable[[Event], None]:
    """Return a listener for a training that tells `tracker` loss, learning rate and what is measured.

    Steps are told once in `seconds` of training, and the last one.
    """
    from smoothseg.training.loop import Measured, Stepped

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
