"""Whether the networks still vote as a run says: some of its noise samples, drawn and labelled again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.file import load
from smoothseg.certificates.hierarchy import contains, from_header
from smoothseg.errors import ConfigError, DataError
from smoothseg.machine import devices, versions
from smoothseg.runs import preparing, results
from smoothseg.runs.plan import Plan
from smoothseg.smoothing.kinds import name_of
from smoothseg.weights.transfer import Progress

__all__ = ["CHANCE", "ROUNDING", "Resampled", "chance", "other_versions", "resample"]

ROUNDING = 1e-4
"""Share of an image's pixels that may vote otherwise because another processor, device or version rounds otherwise.

A score of two classes that are equal but for the last bit decides for one here and for the other there.
"""

CHANCE = 1e-6
"""The probability with which the certificates of an honest run are accused because of the samples that were chosen."""


@dataclasses.dataclass(frozen=True)
class Resampled:
    """Some samples of one certificate, labelled again.

    path: the certificate's, within the run. samples: their numbers. pixels: of the image. impossible: pixels whose new
    labels the stored hits rule out. hits, expected: pixels of all samples that have the predicted class, and how many
    they are on average for samples chosen at random. certificates: how many are compared.
    """

    path: str
    samples: tuple[int, ...]
    pixels: int
    impossible: int
    hits: int
    expected: float
    certificates: int = 1

    @property
    def contradicts(self) -> bool:
        """Whether more pixels are impossible than rounding explains, or the samples are too unlikely to be chance."""
        return self.impossible > ROUNDING * self.pixels or chance([self]) < CHANCE / (2 * self.certificates)


def chance(found: Iterable[Resampled]) -> float:
    """Return a bound on the probability that samples chosen at random agree so much less, or more, than stated.

    The share of a sample's pixels with the predicted class is a number in [0, 1], whatever the pixels have to do with
    each other, and its mean over all trials is known from the hits. The bound is that of Hoeffding (1963), theorem 1,
    which also holds for samples chosen without repetition (section 6).
    """
    each = list(found)
    draws = sum(len(one.samples) for one in each)
    seen = sum(one.hits / one.pixels for one in each) / draws
    stated = sum(one.expected / one.pixels for one in each) / draws
    return math.exp(-draws * _divergence(min(max(seen, 0.0), 1.0), min(max(stated, 0.0), 1.0)))


def _divergence(seen: float, stated: float) -> float:
    """Return the relative entropy of two means; where they differ by rounding alone it is 0."""
    if math.isclose(seen, stated, rel_tol=0, abs_tol=ROUNDING):
        return 0.0
    total = 0.0
    for here, there in ((seen, stated), (1 - seen, 1 - stated)):
        if here > 0:
            total += math.inf if there <= 0 else here * math.log(here / there)
    return max(total, 0.0)


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
    given: dict[str, Any] = {} if dataset is None else {"dataset": dataset}
    # A run from before there was a choice of noise does not say it in its plan.
    plan = {"noise": name_of(identity["noise"]), **identity["plan"], **given, "device": "auto"}
    prepared = preparing.prepare(
        Plan.of(plan), skip_bad=bool(identity.get("skipped")), on_download=on_download
    )
    _check(identity, prepared)
    chosen, before = np.random.default_rng(), torch.get_num_threads()
    made = {
        entry["certificate"]
        for each in results.entries(directory, identity).values()
        for entry in each.values()
    }
    jobs = [job for job in prepared.jobs if job.path in made]
    at = dict(zip(prepared.keys, prepared.indices, strict=True))
    try:
        torch.set_num_threads(identity.get("threads", before))
        for number, job in enumerate(jobs):
            if told is not None:
                told(number, len(jobs))
            certificate = load(directory / job.path)
            if count > certificate.trials:
                raise ConfigError(
                    f"--resample must be at most {certificate.trials}, the trials of {job.path}, got {count}"
                )
            # Trials are drawn last: a certifier selects the class first, unless from the trials themselves.
            first = int(certificate.provenance["samples"]) - certificate.trials
            samples = sorted((first + chosen.choice(certificate.trials, count, replace=False)).tolist())
            pipeline = prepared.pipeline(job.method)
            labels = pipeline.labels(prepared.dataset[at[job.key]], sigma=job.sigma, samples=samples)
            yield _compared(job.path, tuple(samples), labels, certificate, len(jobs))
    finally:
        torch.set_num_threads(before)
    if told is not None:
        told(len(jobs), len(jobs))


def _check(identity: Mapping[str, Any], prepared: preparing.Prepared) -> None:
    here = prepared.identity()
    for name in ("images", "weights"):
        if here[name] != identity[name]:
            raise DataError(f"the {name} are not those of the run: labels of others say nothing about it")


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
        if here.get(name) != version
    ]


def _compared(
    path: str,
    samples: tuple[int, ...],
    labels: npt.NDArray[np.integer],
    certificate: Certificate,
    certificates: int,
) -> Resampled:
    hierarchy = from_header(certificate.provenance["classes"], certificate.provenance.get("levels"))
    same = contains(np.broadcast_to(certificate.prediction, labels.shape), labels, hierarchy)
    if certificate.provenance.get("counted", "pixel") == "pattern":
        same = np.broadcast_to(same.all(axis=(1, 2), keepdims=True), same.shape)
    hits = same.sum(axis=0)
    misses = len(samples) - hits
    impossible = (hits > certificate.hits) | (misses > certificate.trials - certificate.hits)
    expected = float(certificate.hits.sum(dtype=np.int64)) * len(samples) / certificate.trials
    return Resampled(
        path, samples, impossible.size, int(impossible.sum()), int(hits.sum()), expected, certificates
    )
