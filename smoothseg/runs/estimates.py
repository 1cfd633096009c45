"""The cost of a run: noise samples and denoiser passes and, after a measurement, time, memory and disk."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from smoothseg.certificates.certifier import Certifier, Sequential
from smoothseg.runs.plan import Method, Plan

if TYPE_CHECKING:
    from smoothseg.runs.preparing import Job, Prepared

__all__ = ["Cost", "Estimate", "batch_to_measure", "cost", "measure", "pace"]

_SHARE = 1 / 50
"""The largest share of a run's time that an unrequested measurement may take."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a method: certificates, noise samples (segmenter passes), and denoiser passes.

    fewest: the noise samples at least, where the certifier may stop before; samples: at most.
    """

    certificates: int
    samples: int
    denoiser_passes: int
    fewest: int


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The cost of the rest of a run, measured on this machine.

    costs, seconds: by method name. memory: peak bytes during the measurement, on the device or, on the CPU, of the
    whole process; None if unknown. disk: an upper bound on the bytes of the results.
    """

    costs: Mapping[str, Cost]
    seconds: Mapping[str, float]
    memory: int | None
    disk: int

    @property
    def total(self) -> float:
        """Seconds of all methods together, at most."""
        return sum(self.seconds.values())

    @property
    def least(self) -> float:
        """Seconds of all methods together, if every image stops as early as it may."""
        return sum(
            self.seconds[name] * (one.fewest / one.samples if one.samples else 1.0)
            for name, one in self.costs.items()
        )


def cost(plan: Plan, method: Method, images: int) -> Cost:
    """Return the cost of one method of `plan` on `images` images.

    A denoiser's recipe may state how many `calls` of its network a sample takes; the default is one.
    """
    return _cost(method, method.certifier.load(), [0] * (len(plan.sigma) * images))


def _cost(method: Method, certifier: Certifier, drawn: Sequence[int]) -> Cost:
    """Return the cost of one certificate for each of `drawn`, the samples that it has already."""
    most, least = (
        sum(max(0, each - done) for done in drawn) for each in (certifier.samples, _fewest(certifier))
    )
    return Cost(len(drawn), most, int(getattr(method.denoiser, "calls", 1)) * most, least)


def _fewest(certifier: Certifier) -> int:
    return certifier.fewest if isinstance(certifier, Sequential) else certifier.samples


def batch_to_measure(prepared: Prepared, jobs: Sequence[Job], batch_size: int) -> int:
    """Return the batch size of an unrequested measurement: `batch_size`, or less if that takes too long.

    The measurement may take a fiftieth of the time of `jobs`. The result is 0 if that is less than one sample.
    """
    samples = min(
        (
            sum(certifier.samples for job in jobs if job.method.slug == slug)
            for slug, certifier in prepared.certifiers.items()
        ),
        default=0,
    )
    return min(batch_size, int(samples * _SHARE / 2))


def measure(
    prepared: Prepared,
    jobs: Sequence[Job],
    *,
    batch_size: int = 1,
    pictures: Callable[[tuple[int, int]], int] = lambda size: 0,
    drawn: Mapping[str, int] = MappingProxyType({}),
) -> Estimate:
    """Return the cost of `jobs` of `prepared`, measured on two batches of noise samples of every method.

    pictures: an upper bound on the bytes of the pictures of one certificate, given the image's (H, W). drawn: the
    samples that certificates have which go on, by path.

    The samples are of the largest image. The time for a smaller image is assumed to be proportional to its pixels.
    """
    import torch

    from smoothseg.machine import resources as machine

    on_gpu = prepared.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(prepared.device)
    found = pace(prepared, batch_size=batch_size)
    memory = torch.cuda.max_memory_reserved(prepared.device) if on_gpu else machine.peak_memory()
    pixels = {key: height * width for key, (height, width) in prepared.sizes.items()}
    largest = max(pixels.values())
    costs, seconds = {}, {}
    for method in prepared.plan.methods:
        left = [job for job in jobs if job.method.slug == method.slug]
        certifier = prepared.certifiers[method.slug]
        costs[method.name] = _cost(method, certifier, [drawn.get(job.path, 0) for job in left])
        seconds[method.name] = found[method.slug] * sum(
            max(0, certifier.samples - drawn.get(job.path, 0)) * pixels[job.key] / largest for job in left
        )
    return Estimate(costs, seconds, memory, _disk(prepared, jobs, pictures))


def pace(prepared: Prepared, *, batch_size: int = 1) -> dict[str, float]:
    """Return the seconds per noise sample on this machine, by method slug.

    Times the second of two batches of `batch_size` samples of the largest image, at the largest sigma. No sample is
    kept.
    """
    from smoothseg.smoothing.sampling import Draw

    largest = max(
        range(len(prepared.keys)),
        key=lambda i: prepared.sizes[prepared.keys[i]][0] * prepared.sizes[prepared.keys[i]][1],
    )
    sample, sigma = prepared.dataset[prepared.indices[largest]], max(prepared.plan.sigma)
    found = {}
    for slug, model in prepared.models.items():
        draw = Draw(
            model,
            sample.image,
            sample.key,
            sigma=sigma,
            seed=prepared.plan.seed,
            noise=prepared.plan.noise,
            batch_size=batch_size,
            device=prepared.device,
        )
        draw(batch_size)
        begun = time.perf_counter()
        draw(batch_size).mode()
        found[slug] = (time.perf_counter() - begun) / batch_size
    return found


def _disk(prepared: Prepared, jobs: Sequence[Job], pictures: Callable[[tuple[int, int]], int]) -> int:
    """Return the bytes of certificates and pictures before compression."""
    total = 0
    for job in jobs:
        height, width = prepared.sizes[job.key]
        hits = 1 if prepared.certifiers[job.method.slug].samples < 2**8 else 2
        total += 8192 + (2 + hits + 1 + 4 * hasattr(job.method.certifier, "taus")) * height * width
        total += pictures((height, width))
    return total
