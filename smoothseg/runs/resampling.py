"""Whether the networks still vote as a run says: some of its noise samples, drawn and labelled again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.file import load
from smoothseg.errors import ConfigError, DataError
from smoothseg.machine import devices, versions
from smoothseg.runs import preparing, results
from smoothseg.runs.plan import Plan
from smoothseg.weights.transfer import Progress

ROUNDING = 1e-4
"""Share of an image's pixels that may vote otherwise because another processor, device or version rounds otherwise.

A score of two classes that are equal but for the last bit decides for one here and for the other there.
"""

__all__ = ["ROUNDING", "Resampled", "other_versions", "resample"]


@dataclasses.dataclass(frozen=True)
class Resampled:
    """Some samples of one certificate, labelled again.

    path: the certificate's, within the run. samples: their numbers. pixels: of the image. impossible: pixels whose new
    labels the stored hits rule out. hits, expected: pixels of all samples that have the predicted class, and how many
    they are on average for samples chosen at random.
    """

    path: str
    samples: tuple[int, ...]
    pixels: int
    impossible: int
    hits: int
    expected: float

    @property
    def contradicts(self) -> bool:
        """Whether more pixels are impossible than rounding explains."""
        return self.impossible > ROUNDING * self.pixels


def resample(
    directory: Path,
    count: int,
    *,
    dataset: str | None = None,
    on_download: Progress | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Iterator[Resampled]:
    """Label `count` samples of every certificate of the run in `directory` again, chosen at random, and compare.

    The samples are those that count as trials. The choice cannot be foreseen, since it is another one each time.
    dataset: a spec of the images, if they are not where run.json says. told: receives the number of certificates done
    and their total number.

    Raises `ConfigError` if a certificate has fewer trials, `DataError` if images or weights are not those of the run,
    and the errors of `preparing.prepare`.
    """
    identity = results.read_identity(directory)
    given = {} if dataset is None else {"dataset": dataset}
    prepared = preparing.prepare(
        Plan.of({**identity["plan"], **given, "device": "auto"}), on_download=on_download
    )
    _check(identity, prepared)
    chosen = np.random.default_rng()
    made = {
        entry["certificate"]
        for each in results.entries(directory, identity).values()
        for entry in each.values()
    }
    jobs = [job for job in prepared.jobs if job.path in made]
    at = dict(zip(prepared.keys, prepared.indices, strict=True))
    for number, job in enumerate(jobs):
        if told is not None:
            told(number, len(jobs))
        certificate = load(directory / job.path)
        if count > certificate.trials:
            raise ConfigError(
                f"--resample must be at most {certificate.trials}, the trials of {job.path}, got {count}"
            )
        # Trials are drawn last: a certifier selects the class first.
        first = int(certificate.provenance["samples"]) - certificate.trials
        samples = sorted((first + chosen.choice(certificate.trials, count, replace=False)).tolist())
        pipeline = prepared.pipeline(job.method)
        labels = pipeline.labels(prepared.dataset[at[job.key]], sigma=job.sigma, samples=samples)
        yield _compared(job.path, tuple(samples), labels, certificate)
    if told is not None:
        told(len(jobs), len(jobs))


def _check(identity: dict[str, object], prepared: preparing.Prepared) -> None:
    here = prepared.identity()
    for name, what in (("images", "images"), ("weights", "weights")):
        if here[name] != identity[name]:
            raise DataError(f"the {what} are not those of the run: labels of others say nothing about it")


def other_versions(directory: Path) -> list[str]:
    """Return what computes here otherwise than in the run: packages and kind of device, as `name there, here`."""
    identity = results.read_identity(directory)
    device, stated = devices.device("auto").type, identity["versions"]
    here = versions.numerical()
    other = (
        []
        if device == identity["plan"]["device"]
        else [f"device {identity['plan']['device']} there, {device} here"]
    )
    return other + [
        f"{name} {version} there, {here.get(name, 'none')} here"
        for name, version in stated.items()
        if name != "smoothseg" and here.get(name) != version
    ]


def _compared(
    path: str, samples: tuple[int, ...], labels: npt.NDArray[np.integer], certificate: Certificate
) -> Resampled:
    same = labels == certificate.prediction
    if certificate.provenance.get("counted", "pixel") == "pattern":
        same = np.broadcast_to(same.all(axis=(1, 2), keepdims=True), same.shape)
    hits = same.sum(axis=0)
    misses = len(samples) - hits
    impossible = (hits > certificate.hits) | (misses > certificate.trials - certificate.hits)
    expected = float(certificate.hits.sum()) * len(samples) / certificate.trials
    return Resampled(path, samples, impossible.size, int(impossible.sum()), int(hits.sum()), expected)
