"""The unit of every report: the scores of one method at one sigma, from the ledger of a run alone."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smoothseg.certificates.bounds import tolerated
from smoothseg.certificates.counts import Counts
from smoothseg.certificates.metrics import Scores, compute
from smoothseg.components.plugins import plugins
from smoothseg.components.registry import settings
from smoothseg.errors import SmoothsegError
from smoothseg.runs import results
from smoothseg.smoothing.kinds import name_of

__all__ = ["Row", "rows", "tolerated_of"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One method at one sigma over one dataset."""

    method: str
    """The name that tables show."""

    denoiser: str
    segmenter: str
    certifier: str

    tolerates: int | None
    """How many certified pixels of an image may be wrong; None if that is not known here, see `tolerated_of`."""

    sigma: float
    """Standard deviation of the noise, in [0, 1] pixel units."""

    noise: str
    """The kind of noise, `lattice` or `gaussian`."""

    radius: float | None
    """The l2 radius of the guarantee in [0, 1] pixel units; None or NaN if there is none."""

    scale: float
    """Size of what the base model sees / size of the image."""

    images: int
    """Images the scores are made of; fewer than the dataset has while a run is unfinished."""

    failed: tuple[str, ...] = ()
    """Keys of the images that could not be certified; the scores are of the others."""

    planned: int | None = None
    """Images that the run is to have; None if that is not known."""

    samples: float | None = None
    """Noise samples an image, on average; None if the ledger does not say."""

    stopped: tuple[tuple[str, int], ...] = ()
    """How many images were stopped for which reason, by certifiers that may stop at any time."""

    certified: Scores | None
    """Scores of the certified segmentations; None if there are none yet."""

    clean: Scores | None = None
    """Scores of the base model's plain prediction on clean images, without noise and denoiser."""

    seconds: float | None = None
    """Measured seconds per image. They differ from run to run, so files leave them out unless asked for."""

    grouped: bool = False
    """Whether pixels may be certified as groups of classes: then the information gain says how much that tells."""


def rows(directory: Path) -> list[Row]:
    """Return the rows of the run in `directory`, one for each (method, sigma), also while it is unfinished.

    Raises `DataError` if `directory` holds no run.
    """
    identity = results.read_identity(directory)
    methods = {method["name"]: method for method in identity["plan"]["methods"]}
    made, failed = results.entries(directory, identity), results.failures(directory, identity)
    order = [(name, sigma) for name in methods for sigma in identity["plan"]["sigma"]]
    return [
        _row(identity, methods[at[0]], at[1], list(made.get(at, {}).values()), tuple(failed.get(at, {})))
        for at in order
        if at in made or at in failed
    ]


def _row(
    identity: Mapping[str, Any],
    method: Mapping[str, Any],
    sigma: float,
    entries: Sequence[Mapping[str, Any]],
    failed: tuple[str, ...],
) -> Row:
    radii = [entry["radius"] for entry in entries if entry["radius"] is not None]
    seconds = [entry["seconds"]["total"] for entry in entries]
    drawn = [entry["samples"] for entry in entries if "samples" in entry]
    reasons = collections.Counter(entry["stopping"]["reason"] for entry in entries if entry.get("stopping"))
    classes, hierarchy = identity["classes"][method["name"]], results.hierarchy(identity, method["name"])
    certified, clean = (
        compute([Counts.from_json(entry[which]) for entry in entries], classes, hierarchy)
        if entries
        else None
        for which in ("certified", "clean")
    )
    return Row(
        method=method["name"],
        denoiser=_spec("denoiser", method),
        segmenter=_spec("segmenter", method),
        certifier=_spec("certifier", method),
        tolerates=tolerated_of(method["certifier"]),
        sigma=sigma,
        noise=name_of(identity["noise"]),
        radius=min(radii, default=None),
        scale=identity["plan"]["scale"],
        images=len(entries),
        failed=failed,
        planned=len(identity["images"]),
        samples=sum(drawn) / len(drawn) if drawn and len(drawn) == len(entries) else None,
        stopped=tuple(sorted(reasons.items())),
        certified=certified,
        clean=clean,
        seconds=sum(seconds) / len(seconds) if seconds else None,
        grouped=hierarchy is not None,
    )


def tolerated_of(certifier: Mapping[str, Any]) -> int | None:
    """Return how many certified pixels a certifier, described as in run.json, lets be wrong; None if it is not known.

    It is not known where the certifier is not installed, or not in a version that takes its options.
    """
    try:
        return tolerated(plugins()["certifier"].recipe(certifier))
    except SmoothsegError:
        return None


def _spec(kind: str, method: Mapping[str, Any]) -> str:
    """Return a component of a stored method in the words that name it on the command line."""
    plain = method[kind]
    registry = plugins()[kind]
    fields = registry.entry(plain["name"]).fields if plain["name"] in registry else ()
    return settings(plain["name"], plain, {field.name: field.default for field in fields})
