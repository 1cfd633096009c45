"""`smoothseg.certify`: images in, certified segmentations out."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from smoothseg.api.components import Named, described, own
from smoothseg.api.images import Images, check, collected
from smoothseg.api.result import Result
from smoothseg.errors import ConfigError, PluginError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from PIL import Image

    from smoothseg.certificates.certificate import Certificate
    from smoothseg.certificates.stopping import Look
    from smoothseg.protocols import Dataset, Denoiser, Sample, Segmenter
    from smoothseg.runs.plan import Plan
    from smoothseg.smoothing.pipeline import Pipeline

    OneImage = npt.NDArray[Any] | Image.Image | torch.Tensor | str | Path | Sample

__all__ = ["certify"]

Progress = Callable[[int, int], None]
"""Receives the number of noise samples done and the total number."""


class Options(TypedDict, total=False):
    """The options of `certify`."""

    denoiser: str | Mapping[str, Any] | Denoiser | None
    segmenter: str | Mapping[str, Any] | Segmenter | torch.nn.Module
    certifier: str | Mapping[str, Any]
    sigma: float
    scale: float
    convention: str
    denoise_at: str
    noise: str
    seed: int
    device: str
    batch_size: int
    ignore: int
    progress: bool | Progress
    looked: Callable[[Look], object] | None
    extend: Result | Sequence[Result] | None


@overload
def certify(images: OneImage, **options: Unpack[Options]) -> Result: ...


@overload
def certify(images: list[Any] | tuple[Any, ...] | Dataset, **options: Unpack[Options]) -> list[Result]: ...


def certify(
    images: Any,
    *,
    denoiser: Any = "adm",
    segmenter: Any = "hrnet",
    certifier: str | Mapping[str, Any] = "holm",
    sigma: float = 0.25,
    scale: float = 0.5,
    convention: str = "noise-aware",
    denoise_at: str = "scale",
    noise: str = "lattice",
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 1,
    ignore: int = 255,
    progress: bool | Progress = False,
    looked: Callable[[Look], object] | None = None,
    extend: Result | Sequence[Result] | None = None,
) -> Result | list[Result]:
    """Return the certified segmentation of an image, or a list of them for a list or a dataset.

    images: an array (H, W, 3) or a torch tensor (3, H, W), uint8 or floats that are 8-bit levels divided by 255 (to
        1/10000 of a level); a PIL image (RGB); the path of an image file; a `smoothseg.Sample`; a list of these; or a
        dataset (`smoothseg.dataset`).
    denoiser: a name as on the command line, `"adm"` or `"adm:steps=multi"`; a mapping with `name` and options; a
        `smoothseg.Denoiser` object; or None for no denoiser.
    segmenter: a name or a mapping likewise; a `smoothseg.Segmenter` object, such as the result of
        `smoothseg.segmenter`; or a torch module, which then receives images in [0, 1] and has numbered classes.
    certifier: a name or a mapping, because rechecking needs its name: `"holm:n=100,tau=0.75,alpha=0.001"`.
    sigma: standard deviation of the noise, for pixels in [0, 1].
    scale, convention, denoise_at, noise, seed, device: as for `smoothseg certify`, with the same defaults.
    batch_size: noise samples labelled at once; it changes the speed, never a count.
    ignore: the label of pixels without a class, in samples that are not part of a dataset.
    progress: True for a bar, or a function of the number of noise samples done and the total number.
    looked: receives a `smoothseg.Look` after each block of samples of a certifier that may stop at any time, such as
        `"anytime"`, and stops the image by returning True.
    extend: results of such a certifier, one for each image, which go on where they stopped: with the same call but for
        the options that say when to stop. The result is that of a call that never stopped.

    The noise of an image is a function of the seed and the image's key. A sample has its own key, a file the key that
    dataset `folder` makes of its name, and an array a digest of its pixels. Different images with the same key raise an
    error. The same call gives the same counts, and the command line gives the same counts for the same dataset.

    Warns of a sigma that is probably not intended, and of `noise="gaussian"`, whose certificates can be false.

    Raises `ConfigError`, `DataError`, `WeightsError` or `NothingCertifiableError` for invalid input, before a network
    runs on noise.
    """
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ConfigError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    dataset, single = collected(images, ignore)
    options = {
        "sigma": sigma, "scale": scale, "convention": convention, "denoise_at": denoise_at, "noise": noise,
        "seed": seed, "device": device,
    }  # fmt: skip
    components = {"denoiser": "identity" if denoiser is None else denoiser, "segmenter": segmenter}
    plan = _plan(dataset, {**components, "certifier": certifier}, options)
    for remark in plan.remarks():
        warnings.warn(remark, stacklevel=2)
    earlier = _earlier(extend, len(dataset), single=single)
    sizes = check(dataset)
    pipeline = _pipeline(plan, dataset, components, sizes)
    digests = {kind: _digests(pipeline, kind) for kind in components}
    samples, total = pipeline.certifier.samples, pipeline.certifier.samples * len(dataset)
    results: list[Result] = []
    with _listener(progress) as told:
        for index in range(len(dataset)):
            told(samples * index, total)
            results.append(
                _certified(
                    pipeline, dataset, index, plan.sigma[0], batch_size, told, total, looked, earlier[index]
                )
            )
        told(total, total)
    for kind, before in digests.items():
        if _digests(pipeline, kind) != before:
            raise PluginError(
                f"the weights of the {kind} changed while it was certified: nothing is guaranteed"
            )
    return results[0] if single else results


def _earlier(
    extend: Result | Sequence[Result] | None, images: int, *, single: bool
) -> list[Certificate | None]:
    """Return the certificate that goes on for each image, None for one that begins."""
    if extend is None:
        return [None] * images
    given = [extend] if isinstance(extend, Result) else list(extend)
    if len(given) != images or isinstance(extend, Result) != single:
        raise ConfigError(
            f"extend must be {'the result of the image' if single else f'a list of {images} results, one an image'}"
        )
    return [each.certificate for each in given]


def _is_named(component: Any) -> bool:
    return isinstance(component, str | Mapping)


def _plan(dataset: Dataset, components: Mapping[str, Any], options: Mapping[str, Any]) -> Plan:
    """Return the validated plan of the components given by name, with stand-ins for the others."""
    from smoothseg.components.plugins import plugins
    from smoothseg.runs.plan import Plan

    if not _is_named(components["certifier"]):
        raise ConfigError(
            f"certifier must be given by name, as certificates say it, got {type(components['certifier']).__name__}"
        )
    named = {kind: [given] for kind, given in components.items() if _is_named(given)}
    stand_ins = {"denoiser": ["identity"], "segmenter": ["hrnet:weights=streets"]}
    of = {"dataset": plugins()["dataset"].describe(dataset.recipe)} if isinstance(dataset, Named) else {}
    plan = Plan.of({**stand_ins, **options, **named, **of})
    if len(plan.sigma) != 1:
        raise ConfigError(f"sigma must be one number, got {options['sigma']!r}")
    return plan


def _pipeline(
    plan: Plan, dataset: Dataset, components: Mapping[str, Any], sizes: Sequence[tuple[int, int]]
) -> Pipeline:
    """Return the pipeline, with components loaded and checked against each other."""
    from smoothseg.certificates.hierarchy import fitted, names_of
    from smoothseg.components import loading
    from smoothseg.components.blaming import blamed
    from smoothseg.data.checks import check_classes, check_names
    from smoothseg.machine import devices, versions
    from smoothseg.smoothing.base_model import BaseModel
    from smoothseg.smoothing.geometry import Geometry
    from smoothseg.smoothing.pipeline import Description, Pipeline

    device, method = devices.device(plan.device), plan.methods[0]
    geometry = Geometry(plan.scale, plan.convention, plan.denoise_at)  # type: ignore[arg-type]
    certifier = loading.load("certifier", method.certifier)
    for height, width in sizes:
        certifier.check(height * width)
    recipes = {kind: getattr(method, kind) for kind in ("denoiser", "segmenter", "certifier")}
    description = Description.of(
        recipes,
        method="",
        dataset=getattr(dataset, "recipe", None),
        device=devices.describe(device),
        versions=versions.numerical(),
    )
    loaded: dict[str, Any] = {}
    for kind, given in components.items():
        if _is_named(given):
            loaded[kind] = loading.load(kind, recipes[kind], device=device)
        else:
            loaded[kind] = own(kind, given, dataset, geometry.size(*sizes[0]), device)
            told: dict[str, Any] = {kind: described(loaded[kind])}
            owners = {**description.plugins, kind: "given in Python"}
            description = dataclasses.replace(description, **told, plugins=owners)
    if isinstance(dataset, Images):
        dataset.check_labels(tuple(loaded["segmenter"].classes))
    check_classes(loaded["segmenter"].classes, dataset, "the segmenter")
    with blamed("certifier", str(description.certifier["name"])):
        certifier = fitted(certifier, tuple(loaded["segmenter"].classes))
    check_names(names_of(certifier, loaded["segmenter"].classes), "the certifier")
    method_name = description.denoiser["name"]  # the name that a run of this one method has
    return Pipeline(
        BaseModel(
            loaded["denoiser"],
            loaded["segmenter"],
            geometry,
            names={
                "denoiser": str(description.denoiser["name"]),
                "segmenter": str(description.segmenter["name"]),
            },
        ),
        certifier,
        dataclasses.replace(description, method=method_name),
        plan.noise,
        plan.seed,
        device,
    )


def _digests(pipeline: Pipeline, kind: str) -> Mapping[str, str]:
    return dict(getattr(pipeline.model, kind).digests)


def _certified(
    pipeline: Pipeline,
    dataset: Dataset,
    index: int,
    sigma: float,
    batch_size: int,
    told: Progress,
    total: int,
    looked: Callable[[Look], object] | None,
    before: Certificate | None,
) -> Result:
    from smoothseg.certificates.hierarchy import hierarchy_of
    from smoothseg.report.colours import colours_of

    sample = dataset[index]
    drawn = pipeline.certifier.samples * index

    def count(samples: int) -> None:
        nonlocal drawn
        drawn += samples
        told(drawn, total)

    certificate = pipeline.certify(
        sample, sigma=sigma, batch_size=batch_size, progress=count, looked=looked, before=before
    )
    noisy, denoised = pipeline.first(sample, sigma=sigma)
    hierarchy = hierarchy_of(pipeline.certifier)
    return Result(
        certificate,
        image=sample.image,
        palette=tuple(colours_of(pipeline.names, hierarchy, tuple(dataset.palette) or None)),
        labels=sample.labels,
        ignore=dataset.ignore,
        noisy=noisy,
        denoised=denoised,
    )


@contextlib.contextmanager
def _listener(progress: bool | Progress) -> Iterator[Progress]:
    """Yield the receiver of the progress: the caller's function, the command line's bar, or one that does nothing."""
    if callable(progress):
        yield progress
    elif progress:
        from smoothseg.terminal.progress import counting

        with counting("certifying", unit="samples") as told:
            yield told
    else:
        yield lambda done, total: None
