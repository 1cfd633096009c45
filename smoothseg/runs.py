"""A run over a dataset: check everything first, certify image by image, take up again where it stopped.

RUN/
  config.yaml                                       the resolved configuration; `--config` runs it again
  run.json                                          what the results depend on, to compare before resuming
  ledger.jsonl                                      one line a finished certificate, with times
  log.txt                                           what was done when, see `logs.py`; no part of the result
  certificates/METHOD/sigma-S/KEY.npz               see `certificate.py`
  pictures/METHOD/KEY.png                           noisy, denoised, ground truth, certified
  previews/KEY/, legend.json                        see `report/previews.py`
  metrics.json, metrics.csv, per_class.csv, table.md, report.html
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smoothseg import certificate as certificates
from smoothseg import devices, loading, logs, metrics, noise, results, versions
from smoothseg.base_model import BaseModel
from smoothseg.certificate import Certificate
from smoothseg.checks import check_classes, check_dataset, check_sample
from smoothseg.digests import sample_digests
from smoothseg.errors import ConfigError, DataError, RunMismatchError
from smoothseg.files import write_atomically, yaml_of
from smoothseg.geometry import Geometry
from smoothseg.ledger import Ledger
from smoothseg.logs import log
from smoothseg.palettes import palette
from smoothseg.pipeline import Description, Pipeline
from smoothseg.plan import Method, Plan
from smoothseg.plugins import plugins
from smoothseg.protocols import Certifier, Dataset, Sample
from smoothseg.report import html, pictures, previews
from smoothseg.report.rows import Row
from smoothseg.sampling import Draw
from smoothseg.transfer import Progress

__all__ = ["Job", "Prepared", "check_directory", "execute", "pace", "prepare", "remaining"]


@dataclasses.dataclass(frozen=True)
class Job:
    """One certificate to make."""

    method: Method
    sigma: float
    key: str

    @property
    def path(self) -> str:
        """The certificate's path within the run directory."""
        return f"certificates/{self.method.slug}/sigma-{self.sigma}/{self.key}.npz"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A plan whose every component is loaded and every image checked.

    indices, keys: the samples to certify. images: the digests of their pixels and labels, by key.
    skipped: what was wrong with each sample left out, by key. models, certifiers: by method slug. sizes: (H, W) by key.
    """

    plan: Plan
    device: torch.device
    dataset: Dataset
    indices: tuple[int, ...]
    keys: tuple[str, ...]
    images: Mapping[str, Mapping[str, str | None]]
    skipped: Mapping[str, str]
    models: Mapping[str, BaseModel]
    certifiers: Mapping[str, Certifier]
    sizes: Mapping[str, tuple[int, int]]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every certificate of the plan, image by image."""
        return tuple(job for key in self.keys for job in self.jobs_of(key))

    def jobs_of(self, key: str) -> list[Job]:
        """Return the certificates of one image, method by method."""
        return [Job(method, sigma, key) for method in self.plan.methods for sigma in self.plan.sigma]

    def pipeline(self, method: Method) -> Pipeline:
        """Return what makes the certificates of `method`."""
        recipes = {kind: getattr(method, kind) for kind in ("denoiser", "segmenter", "certifier")}
        return Pipeline(
            self.models[method.slug],
            self.certifiers[method.slug],
            Description.of(recipes, method=method.name, dataset=self.plan.dataset),
            self.plan.seed,
            self.device,
        )

    def identity(self) -> dict[str, Any]:
        """Return everything the results depend on, as JSON values, but the number of threads."""
        return {
            "schema": results.SCHEMA,
            "plan": {**self.plan.describe(), "device": self.device.type},
            "weights": {slug: _digests(model) for slug, model in self.models.items()},
            "classes": {
                method.name: list(self.models[method.slug].segmenter.classes) for method in self.plan.methods
            },
            "noise": noise.KIND,
            "versions": versions.numerical(),
            "plugins": {
                method.slug: dict(self.pipeline(method).description.plugins) for method in self.plan.methods
            },
            "images": {key: dict(digests) for key, digests in self.images.items()},
            "skipped": dict(self.skipped),
        }


def prepare(plan: Plan, *, skip_bad: bool = False, on_download: Progress | None = None) -> Prepared:
    """Load every component of `plan` and check every image, before any network runs.

    skip_bad: leave out samples that cannot be used as they are, instead of raising. on_download: progress of weights
    that have to be fetched first.

    Raises `DataError` for samples that cannot be used, `ConfigError` if a segmenter's classes are not the
    dataset's, `NothingCertifiableError` if n is too small, and what the recipes raise.
    """
    device = devices.device(plan.device)
    log.info("loading the dataset %s", plugins()["dataset"].name_of(plan.dataset))
    dataset: Dataset = loading.load("dataset", plan.dataset)
    check_dataset(dataset)
    log.info("checking %d images", len(plan.indices(len(dataset))))
    certifiers = {method.slug: loading.load("certifier", method.certifier) for method in plan.methods}
    chosen: list[int] = []
    images: dict[str, Mapping[str, str | None]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    bad: dict[str, str] = {}
    for index in plan.indices(len(dataset)):
        key = dataset.keys[index]
        try:
            sample = dataset[index]
            check_sample(sample, key, dataset)
        except DataError as error:
            bad[key] = str(error)
            continue
        chosen.append(index)
        sizes[key] = (sample.image.shape[0], sample.image.shape[1])
        images[key] = sample_digests(sample)
    if bad and not skip_bad:
        listed = "; ".join(list(bad.values())[:20]) + ("; ..." if len(bad) > 20 else "")
        raise DataError(
            f"{len(bad)} of {len(bad) + len(chosen)} samples cannot be used ({listed}); --skip-bad leaves them out"
        )
    if not chosen:
        raise DataError(f"none of the {len(bad)} samples can be used ({next(iter(bad.values()))})")
    for certifier in certifiers.values():
        for height, width in sorted(set(sizes.values())):
            certifier.check(height * width)
    loaded: dict[str, Any] = {}
    models = {}
    for method in plan.methods:
        parts = []
        for kind in ("denoiser", "segmenter"):
            recipe = getattr(method, kind)
            described = json.dumps([kind, plugins()[kind].describe(recipe)], sort_keys=True)
            if described not in loaded:
                log.info("loading the %s %s", kind, plugins()[kind].name_of(recipe))
                loaded[described] = loading.load(kind, recipe, device=device, progress=on_download)
            parts.append(loaded[described])
        denoiser, segmenter = parts
        check_classes(segmenter.classes, dataset, f"the segmenter of '{method.name}'")
        geometry = Geometry(plan.scale, plan.convention, plan.denoise_at)  # type: ignore[arg-type]
        models[method.slug] = BaseModel(denoiser, segmenter, geometry)
    keys = tuple(dataset.keys[index] for index in chosen)
    return Prepared(plan, device, dataset, tuple(chosen), keys, images, bad, models, certifiers, sizes)


def pace(prepared: Prepared, *, batch_size: int = 1) -> dict[str, float]:
    """Return the seconds that one noise sample takes on this machine, by method slug.

    Measured on the second of two batches of `batch_size` samples of the largest image, at the largest sigma; no sample
    is kept.
    """
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
            batch_size=batch_size,
            device=prepared.device,
        )
        draw(batch_size)
        begun = time.perf_counter()
        draw(batch_size).mode()
        found[slug] = (time.perf_counter() - begun) / batch_size
    return found


def remaining(prepared: Prepared, directory: Path) -> list[Job]:
    """Return the certificates of `prepared` that are not in `directory` yet, or not as the ledger has them.

    Raises `RunMismatchError` if the directory holds a run of another configuration.
    """
    _stored_threads(prepared, directory)
    done = _done(directory)
    return [job for job in prepared.jobs if job.path not in done]


def _done(directory: Path) -> set[str]:
    """Return the paths of the certificates that are there, byte for byte as the ledger has them."""
    entries = Ledger(directory / "ledger.jsonl")
    return {entry["certificate"] for entry in entries if results.intact(directory, entry)}


def check_directory(directory: Path) -> None:
    """Raise `ConfigError` unless a run directory can be made or continued at `directory`."""
    parent = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not parent.is_dir():
        raise ConfigError(f"output {directory}: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"output {directory}: no permission to write in {parent}")


def execute(
    prepared: Prepared,
    directory: Path,
    *,
    batch_size: int = 1,
    fresh: bool = False,
    on_start: Callable[[Job], None] | None = None,
    on_samples: Callable[[int], None] | None = None,
    on_done: Callable[[Job, bool], None] | None = None,
    on_entry: Callable[[Mapping[str, Any], bool], None] | None = None,
    on_open: Callable[[], None] | None = None,
) -> list[Row]:
    """Make every certificate of `prepared` in `directory` and return the rows of the result.

    What the ledger says is done is not done again; the result is the same as that of a run that was never
    interrupted. batch_size: noise samples labelled at once; it changes the speed and the memory, not a count.
    fresh: remove an earlier run of the directory first. on_start, on_samples, on_done: progress; `on_done` is
    told whether the certificate was there already. on_entry: is told the ledger line of each, and the same.
    on_open: is called when the directory is ready, before any network runs.

    Raises `RunMismatchError` if the directory holds a run of another configuration.
    """
    threads = _open(prepared, directory, fresh=fresh)
    with logs.writing(directory / "log.txt"), _threads(threads):
        logs.settings(device=devices.describe(prepared.device), threads=threads, batch_size=batch_size)
        for problem in prepared.skipped.values():
            log.warning("skipped: %s", problem)
        if on_open is not None:
            on_open()
        _work(prepared, directory, batch_size, on_start, on_samples, on_done, on_entry)
        log.info("writing tables and report")
        rows = results.rows(directory)
        results.write_tables(directory, rows)
        html.write(directory)
        log.info("finished")
    return rows


def _work(
    prepared: Prepared,
    directory: Path,
    batch_size: int,
    on_start: Callable[[Job], None] | None,
    on_samples: Callable[[int], None] | None,
    on_done: Callable[[Job, bool], None] | None,
    on_entry: Callable[[Mapping[str, Any], bool], None] | None,
) -> None:
    """Make every certificate and picture that is not there yet, image by image."""
    ledger = Ledger(directory / "ledger.jsonl")
    done = _done(directory)
    log.info(
        "%d of %d certificates are there already",
        sum(job.path in done for job in prepared.jobs),
        len(prepared.jobs),
    )
    if on_entry is not None:
        there = {entry["certificate"]: entry for entry in ledger if entry["certificate"] in done}
        for job in prepared.jobs:
            if job.path in there:
                on_entry(there[job.path], True)
    for index, key in zip(prepared.indices, prepared.keys, strict=True):
        jobs = prepared.jobs_of(key)
        missing = [job for job in jobs if job.path not in done]
        for job in jobs:
            if job not in missing and on_done is not None:
                on_done(job, True)
        undrawn = [
            (method, path)
            for method in prepared.plan.methods
            if not (path := directory / "pictures" / method.slug / f"{key}.png").exists()
            or not previews.complete(
                directory,
                key,
                method.slug,
                prepared.plan.sigma,
                labelled=prepared.images[key]["labels"] is not None,
            )
        ]
        if not missing and not undrawn:
            continue
        sample = prepared.dataset[index]
        if sample_digests(sample) != prepared.images[key]:
            raise DataError(f"image {key} changed while the run was going on")
        for job in missing:
            if on_start is not None:
                on_start(job)
            entry = _certify(prepared, job, sample, directory, batch_size, on_samples)
            ledger.append(entry)
            if on_entry is not None:
                on_entry(entry, False)
            if on_done is not None:
                on_done(job, False)
        if undrawn:
            log.info("drawing %s", key)
        for method, path in undrawn:
            _draw_picture(
                prepared, sample, method, [job for job in jobs if job.method is method], directory, path
            )


def _certify(
    prepared: Prepared,
    job: Job,
    sample: Sample,
    directory: Path,
    batch_size: int,
    on_samples: Callable[[int], None] | None,
) -> dict[str, Any]:
    """Make one certificate, save it, and return its ledger line."""
    model = prepared.models[job.method.slug]
    sampling = 0.0

    def timed(count: int) -> None:
        nonlocal sampling
        sampling = time.perf_counter() - started
        if on_samples is not None:
            on_samples(count)

    started = time.perf_counter()
    result = prepared.pipeline(job.method).certify(
        sample, sigma=job.sigma, batch_size=batch_size, progress=timed
    )
    seconds = time.perf_counter() - started
    path = directory / job.path
    certificates.save(result, path)
    log.info(
        "certified %s, %s, sigma %g: radius %.4f, %.1f%% abstain, %d samples in %.1f s",
        job.key, job.method.name, job.sigma, result.radius, 100 * result.abstained,
        result.provenance["samples"], seconds,
    )  # fmt: skip
    return {
        "method": job.method.name,
        "sigma": job.sigma,
        "key": job.key,
        "certificate": job.path,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "radius": result.radius if np.isfinite(result.radius) else None,
        "by_radius": _by_radius(result, sample),
        "seconds": {"sampling": round(sampling, 4), "total": round(seconds, 4)},
        **_counted(
            result, sample, classes=len(model.segmenter.classes), ignore=_ignore(prepared.dataset, model)
        ),
    }


def _counted(result: Certificate, sample: Sample, *, classes: int, ignore: int) -> dict[str, Any]:
    """Return the pixel counts of the certified and of the clean prediction for the ledger."""
    assert result.clean is not None
    certified = metrics.update(
        result.prediction, result.certified, sample.labels, classes=classes, ignore=ignore
    )
    clean = metrics.update(result.clean, None, sample.labels, classes=classes, ignore=ignore)
    return {"certified": certified.to_json(), "clean": clean.to_json()}


def _by_radius(result: Certificate, sample: Sample) -> list[list[float]] | None:
    """Return the pixels at each radius for the ledger; None where all certified pixels have the same one."""
    radii = result.verdict.radii
    if radii is None:
        return None
    return [
        list(each) for each in metrics.by_radius(result.prediction, result.certified, radii, sample.labels)
    ]


def _digests(model: BaseModel) -> dict[str, dict[str, str]]:
    """Return the sha256 of every weight file, by component and file name."""
    return {"denoiser": dict(model.denoiser.digests), "segmenter": dict(model.segmenter.digests)}


def _ignore(dataset: Dataset, model: BaseModel) -> int:
    """Return the label that is no class; without labels and classes, any above the segmenter's will do."""
    return dataset.ignore if dataset.classes else len(model.segmenter.classes)


def _draw_picture(
    prepared: Prepared, sample: Sample, method: Method, jobs: Sequence[Job], directory: Path, path: Path
) -> None:
    """Draw the certificates of one image and method, a row a sigma, with the first noise sample of each.

    The report's previews of the same are kept first: where the picture is, they are.
    """
    model, dataset, pipeline = prepared.models[method.slug], prepared.dataset, prepared.pipeline(method)
    classes = model.segmenter.classes
    colours = dataset.palette if dataset.classes else palette(len(classes))
    previews.save_image(directory, sample.key, sample.image, sample.labels, colours, _ignore(dataset, model))
    views = []
    for job in jobs:
        made = certificates.load(directory / job.path)
        seen, estimate = pipeline.first(sample, sigma=job.sigma)
        view = pictures.View(
            prediction=made.prediction,
            certified=made.certified,
            sigma=job.sigma,
            radius=made.radius,
            noisy=seen,
            denoised=estimate,
        )
        previews.save_view(directory, sample.key, method.slug, job.sigma, seen, estimate)
        views.append(view)
    drawn = pictures.panel(
        views,
        key=sample.key,
        method=method.name,
        classes=classes,
        palette=colours,
        ignore=_ignore(dataset, model),
        image=sample.image,
        labels=sample.labels,
        clean=made.clean,
    )
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def _open(prepared: Prepared, directory: Path, *, fresh: bool) -> int:
    """Make `directory` ready for `prepared`, new, emptied, or found to be the same run; return its thread count.

    The number of threads can change the last bits of a network's output: a resumed run goes on with the number
    it was started with.
    """
    if fresh and (directory / "run.json").exists():
        # Out of the way first: a crash in the middle of removing must not leave half a run under this name.
        doomed = directory.with_name(f".{directory.name}.{os.getpid()}.old")
        directory.rename(doomed)
        shutil.rmtree(doomed)
    threads = _stored_threads(prepared, directory)
    if threads is None:
        threads = torch.get_num_threads()
        directory.mkdir(parents=True, exist_ok=True)
        content = json.dumps({**prepared.identity(), "threads": threads}, indent=1) + "\n"
        write_atomically(directory / "run.json", content.encode())
    config = {**prepared.plan.describe(), "threads": threads, "skip_bad": bool(prepared.skipped)}
    write_atomically(directory / "config.yaml", yaml_of(config).encode())
    dataset = prepared.dataset
    named = bool(dataset.classes)
    previews.write_legend(directory, dataset.palette if named else None, dataset.ignore if named else None)
    return threads


def _stored_threads(prepared: Prepared, directory: Path) -> int | None:
    """Return the number of threads of the run that is in `directory`, None if none is.

    Raises `RunMismatchError` if it is not the run of `prepared`, or the directory holds something else.
    """
    if not (directory / "run.json").exists():
        if directory.exists() and any(not _leftover(path) for path in directory.iterdir()):
            raise RunMismatchError(f"{directory} is not empty and holds no run; choose another --output")
        return None
    identity, stored = prepared.identity(), results.read_identity(directory)
    threads = int(stored.pop("threads", torch.get_num_threads()))
    # A package that was not installed then had no part in what was made.
    known = stored.get("versions", {})
    identity["versions"] = {name: found for name, found in identity["versions"].items() if name in known}
    if "plugins" not in stored:  # a run of a smoothseg that did not record who brought its components
        del identity["plugins"]
    different = next(_differences(stored, json.loads(json.dumps(identity))), None)
    if different:
        raise RunMismatchError(
            f"{directory} holds a run of another configuration: {different}; "
            f"choose another --output, or --fresh to start anew"
        )
    return threads


def _leftover(path: Path) -> bool:
    """Tell whether `path` is what a crash in the middle of `write_atomically` leaves behind."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _differences(there: Any, here: Any, where: str = "") -> Iterator[str]:
    """Name each place where two JSON values differ, the first ones first."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*there, *(key for key in here if key not in there)]:
            yield from _differences(there.get(key), here.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (a, b) in enumerate(zip(there, here, strict=True)):
            yield from _differences(a, b, f"{where}[{i}]")
    elif there != here:
        yield f"{where} is {json.dumps(there)} there and {json.dumps(here)} here"
