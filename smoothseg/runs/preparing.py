"""From a plan to loaded components and checked images, before any network runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import torch

from smoothseg.certificates.certifier import Certifier
from smoothseg.certificates.digests import sample_digests
from smoothseg.certificates.hierarchy import Hierarchy, fitted, hierarchy_of, names_of
from smoothseg.components import loading
from smoothseg.components.blaming import blamed
from smoothseg.components.plugins import plugins
from smoothseg.data.checks import check_classes, check_dataset, check_names, check_sample
from smoothseg.errors import DataError
from smoothseg.machine import devices, versions
from smoothseg.protocols import Dataset
from smoothseg.runs import results
from smoothseg.runs.logs import log
from smoothseg.runs.plan import Method, Plan
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.kinds import ALGORITHMS
from smoothseg.smoothing.pipeline import Description, Pipeline
from smoothseg.weights.transfer import Progress

__all__ = ["Job", "Prepared", "prepare"]


@dataclasses.dataclass(frozen=True)
class Job:
    """One certificate to make."""

    method: Method
    sigma: float
    key: str

    @property
    def path(self) -> str:
        """The certificate's path within the run directory."""
        return results.certificate_path(self.method.slug, self.sigma, self.key)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A plan with every component loaded and every image checked.

    indices, keys: the samples to certify. images: the digests of their pixels and labels, by key.
    skipped: the problem of each skipped sample, by key. models, certifiers: by method slug. sizes: (H, W) by key.
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
        """Return the pipeline that makes the certificates of `method`."""
        recipes = {kind: getattr(method, kind) for kind in ("denoiser", "segmenter", "certifier")}
        return Pipeline(
            self.models[method.slug],
            self.certifiers[method.slug],
            Description.of(
                recipes,
                method=method.name,
                dataset=self.plan.dataset,
                device=devices.describe(self.device),
                versions=versions.numerical(),
            ),
            self.plan.noise,
            self.plan.seed,
            self.device,
        )

    def ignore(self, method: Method) -> int:
        """Return the label that is no class; if the dataset has no classes, the first index after the segmenter's."""
        classes = self.models[method.slug].segmenter.classes
        return self.dataset.ignore if self.dataset.classes else len(classes)

    def names(self, method: Method) -> tuple[str, ...]:
        """Return what the indices of a prediction mean: the segmenter's classes, and behind them groups of them."""
        classes = self.models[method.slug].segmenter.classes
        return names_of(self.certifiers[method.slug], classes)

    def hierarchy(self, method: Method) -> Hierarchy | None:
        """Return the hierarchy of what is certified; None if pixels are certified as classes alone."""
        return hierarchy_of(self.certifiers[method.slug])

    def identity(self) -> dict[str, Any]:
        """Return everything that determines the results, except the number of threads, as JSON values."""
        grouped = {method.name: self.hierarchy(method) for method in self.plan.methods}
        levels = {name: [list(level) for level in each.levels] for name, each in grouped.items() if each}
        return {
            "schema": results.SCHEMA,
            "plan": {**self.plan.describe(), "device": self.device.type},
            "weights": {slug: _digests(model) for slug, model in self.models.items()},
            "classes": {method.name: list(self.names(method)) for method in self.plan.methods},
            **({"levels": levels} if levels else {}),
            "noise": ALGORITHMS[self.plan.noise],
            "versions": versions.numerical(),
            "plugins": {
                method.slug: dict(self.pipeline(method).description.plugins) for method in self.plan.methods
            },
            "images": {key: dict(digests) for key, digests in self.images.items()},
            "skipped": dict(self.skipped),
        }


def prepare(plan: Plan, *, skip_bad: bool = False, on_download: Progress | None = None) -> Prepared:
    """Load every component of `plan` and check every image, before any network runs.

    skip_bad: skip unusable samples instead of raising. on_download: receives the progress of weights that must be
    fetched first.

    Raises `DataError` for unusable samples, `ConfigError` if a segmenter's classes are not the dataset's or not those
    of a certifier's hierarchy, `NothingCertifiableError` if n is too small, and the errors of the
    recipes.
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
            with blamed("dataset", plugins()["dataset"].name_of(plan.dataset)):
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
        with blamed("certifier", plugins()["certifier"].name_of(method.certifier)):
            certifiers[method.slug] = fitted(certifiers[method.slug], tuple(segmenter.classes))
        check_names(names_of(certifiers[method.slug], segmenter.classes), f"the certifier of '{method.name}'")
        geometry = Geometry(plan.scale, plan.convention, plan.denoise_at)  # type: ignore[arg-type]
        names = {kind: plugins()[kind].name_of(getattr(method, kind)) for kind in ("denoiser", "segmenter")}
        models[method.slug] = BaseModel(denoiser, segmenter, geometry, names=names)
    keys = tuple(dataset.keys[index] for index in chosen)
    return Prepared(plan, device, dataset, tuple(chosen), keys, images, bad, models, certifiers, sizes)


def _digests(model: BaseModel) -> dict[str, dict[str, str]]:
    """Return the sha256 of every weight file, by component and file name."""
    return {"denoiser": dict(model.denoiser.digests), "segmenter": dict(model.segmenter.digests)}
