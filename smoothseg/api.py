"""The short way from Python: `smoothseg.certify` an image with components by name, or with a network of one's own.

Nothing here imports torch before it is called.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import html
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from smoothseg.errors import ConfigError, DataError, PluginError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL import Image

    from smoothseg.adapters import ModuleSegmenter
    from smoothseg.certificate import Certificate
    from smoothseg.pipeline import Pipeline
    from smoothseg.plan import Plan
    from smoothseg.protocols import Dataset, Denoiser, Sample, Segmenter

    OneImage = npt.NDArray[Any] | Image.Image | torch.Tensor | str | Path | Sample

__all__ = ["Result", "certify", "dataset", "segmenter"]

Progress = Callable[[int, int], None]
"""Told how many noise samples are done, and of how many."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """The certified segmentation of one image, with what it takes to show it.

    certificate: all counts and the provenance; what `save` writes. image: uint8 (H, W, 3). palette: an RGB colour
    (0..255) a class. labels: the ground truth (H, W), if the image came with one; `ignore` is the label that is no
    class. noisy, denoised: (h, w, 3) floats about [0, 1], the first noise sample and the denoiser's estimate of it.

    In a notebook a result shows itself.
    """

    certificate: Certificate
    image: npt.NDArray[np.uint8]
    palette: tuple[tuple[int, int, int], ...]
    labels: npt.NDArray[np.uint8] | None
    ignore: int
    noisy: npt.NDArray[np.float32]
    denoised: npt.NDArray[np.float32]

    @property
    def prediction(self) -> npt.NDArray[np.uint8 | np.uint16]:
        """(H, W), the class index voted for at every pixel, guaranteed only where `certified`."""
        return self.certificate.prediction

    @property
    def certified(self) -> npt.NDArray[np.bool_]:
        """(H, W), True where the pixel's class is guaranteed within `radius`; elsewhere the model abstains."""
        return self.certificate.certified

    @property
    def radius(self) -> float:
        """The l2 radius of the guarantee, for pixels in [0, 1]; NaN if there is none."""
        return self.certificate.radius

    @property
    def abstained(self) -> float:
        """The share of pixels without a guarantee, 0..1."""
        return self.certificate.abstained

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise, for pixels in [0, 1]."""
        return float(self.certificate.provenance["sigma"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the indices."""
        return tuple(self.certificate.provenance["classes"])

    @property
    def key(self) -> str:
        """The image's name, which its noise is made from."""
        return str(self.certificate.provenance["image"]["key"])

    def save(self, path: str | Path) -> Path:
        """Write the certificate to `path`, a `.npz` file that `smoothseg verify` rechecks, and return the path."""
        from smoothseg import certificate

        path = Path(path)
        if path.suffix != ".npz":
            raise ConfigError(f"a certificate is a .npz file, got {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        certificate.save(self.certificate, path)
        return path

    def picture(self) -> Image.Image:
        """Return the image, its noise, what the denoiser made of it, and the certified segmentation side by side."""
        from smoothseg.report import pictures

        view = pictures.View(
            prediction=self.prediction,
            certified=self.certified,
            sigma=self.sigma,
            radius=self.radius,
            noisy=self.noisy,
            denoised=self.denoised,
        )
        return pictures.panel(
            [view],
            key=self.key,
            method=str(self.certificate.provenance["method"]),
            classes=self.classes,
            palette=self.palette,
            ignore=self.ignore,
            image=self.image,
            labels=self.labels,
        )

    def __str__(self) -> str:
        height, width = self.prediction.shape
        if math.isnan(self.radius):
            return f"{self.key}, {width}x{height}: nothing certified at sigma {self.sigma:g}"
        radius = math.floor(self.radius * 1000) / 1000  # a rounded radius must not promise more
        return (
            f"{self.key}, {width}x{height}: {100 * (1 - self.abstained):.1f} % of the pixels certified within "
            f"l2 radius {radius:.3f} (sigma {self.sigma:g}), {100 * self.abstained:.1f} % abstain"
        )

    def __repr__(self) -> str:
        return f"<Result {self}>"

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        self.picture().save(buffer, "PNG", optimize=True)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        text = html.escape(str(self))
        return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


class Options(TypedDict, total=False):
    """The options of `certify`."""

    denoiser: str | Mapping[str, Any] | Denoiser | None
    segmenter: str | Mapping[str, Any] | Segmenter | torch.nn.Module
    certifier: str | Mapping[str, Any]
    sigma: float
    scale: float
    convention: str
    denoise_at: str
    seed: int
    device: str
    batch_size: int
    ignore: int
    progress: bool | Progress


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
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 1,
    ignore: int = 255,
    progress: bool | Progress = False,
) -> Result | list[Result]:
    """Return the certified segmentation of an image, or a list of one a member of a list or dataset of images.

    images: uint8 (H, W, 3); a PIL image (RGB); a torch tensor (3, H, W), uint8, or floats that are 8-bit values over
        255; the path of an image file; a `smoothseg.Sample`; a list of these; or a dataset (`smoothseg.dataset`).
    denoiser: as on the command line, `"adm"` or `"adm:steps=multi"`, or a mapping with `name` and options; an object
        that is a `smoothseg.Denoiser`; or None for no denoiser.
    segmenter: likewise by name; an object that is a `smoothseg.Segmenter`, such as `smoothseg.segmenter` makes of a
        torch module; or a module itself, which then sees images in [0, 1], and whose classes are numbered.
    certifier: by name only, for whoever rechecks a certificate needs it: `"holm:n=100,tau=0.75,alpha=0.001"`.
    sigma: standard deviation of the noise, for pixels in [0, 1].
    scale, convention, denoise_at, seed, device: as of `smoothseg certify`, with the same defaults.
    batch_size: noise samples labelled at once; it changes the speed, never a count.
    ignore: the label of pixels without a class, in samples that are not handed over as a dataset.
    progress: True for a bar, or a function that is told the number of noise samples done and the number of all.

    The noise of an image is a function of the seed and its key: of a sample its key, of a file what dataset `folder`
    makes of its name, of an array a digest of its pixels. Two images of one key are refused. The same call gives the
    same counts, and those of the command line for the same dataset.

    Raises `ConfigError`, `DataError`, `WeightsError` or `NothingCertifiableError` for what cannot work, before a
    network runs on noise.
    """
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ConfigError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    dataset, single = _dataset(images, ignore)
    options = {
        "sigma": sigma, "scale": scale, "convention": convention, "denoise_at": denoise_at, "seed": seed,
        "device": device,
    }  # fmt: skip
    components = {"denoiser": "identity" if denoiser is None else denoiser, "segmenter": segmenter}
    plan = _plan(dataset, {**components, "certifier": certifier}, options)
    sizes = _check(dataset)
    pipeline = _pipeline(plan, dataset, components, sizes)
    digests = {kind: _digests(pipeline, kind) for kind in components}
    samples, total = pipeline.certifier.samples, pipeline.certifier.samples * len(dataset)
    results: list[Result] = []
    with _listener(progress) as told:
        for index in range(len(dataset)):
            told(samples * index, total)
            results.append(_certified(pipeline, dataset, index, plan.sigma[0], batch_size, told, total))
        told(total, total)
    for kind, before in digests.items():
        if _digests(pipeline, kind) != before:
            raise PluginError(
                f"the weights of the {kind} changed while it was certified: nothing is guaranteed"
            )
    return results[0] if single else results


def segmenter(
    module: torch.nn.Module,
    *,
    classes: Sequence[str] | int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    multiple: int = 1,
) -> ModuleSegmenter:
    """Return a torch module as a segmenter.

    module: maps images (B, 3, H, W) to scores (B, C, h, w) at any stride, as a tensor, or as `out` of a mapping
        (torchvision) or `logits` (transformers). It is taken over: put into eval mode and moved to the device.
    classes: the names of the C classes, or their number.
    mean, std: subtracted from images in [0, 1], and what they are divided by: a number, or one a channel (ImageNet's
        are `smoothseg.fitting.IMAGENET_MEAN` and `smoothseg.fitting.IMAGENET_STD`).
    multiple: what the sides of images must be a multiple of; others are padded by reflection and the scores cropped.

    Raises `ConfigError`.
    """
    from smoothseg import adapters

    return adapters.ModuleSegmenter.of(module, classes=classes, mean=mean, std=std, multiple=multiple)


def dataset(spec: str | Mapping[str, Any]) -> Dataset:
    """Return the dataset that `--dataset` names, such as `"folder:root=photos"` or `"streets:count=4"`."""
    from smoothseg.plugins import plugins

    recipe = plugins()["dataset"].recipe(spec)
    return _Named(recipe, recipe.load())


class _Images:
    """Images that belong to no dataset: without class names, which the segmenter has."""

    palette: tuple[tuple[int, int, int], ...] = ()

    def __init__(self, samples: Sequence[Sample], ignore: int, classes: tuple[str, ...] = ()) -> None:
        self._samples = samples
        self.ignore = ignore
        self.classes = classes
        self.keys = tuple(sample.key for sample in samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def check_labels(self, classes: tuple[str, ...]) -> None:
        """Raise `DataError` for a label that is none of `classes`."""
        from smoothseg.checks import check_sample

        known = _Images(self._samples, self.ignore, classes)
        for sample in self._samples:
            check_sample(sample, sample.key, known)


class _Named:
    """A dataset that knows its recipe."""

    def __init__(self, recipe: Any, loaded: Dataset) -> None:
        self.recipe = recipe
        self._loaded = loaded
        self.classes, self.palette, self.ignore = loaded.classes, loaded.palette, loaded.ignore
        self.keys = loaded.keys

    def __len__(self) -> int:
        return len(self._loaded)

    def __getitem__(self, index: int) -> Sample:
        return self._loaded[index]


def _dataset(images: Any, ignore: int) -> tuple[Dataset, bool]:
    """Return what `certify` was given as a dataset, and whether it was one image."""
    from smoothseg.protocols import Dataset

    if isinstance(images, list | tuple):
        samples = [_sample(image, f"image {index}") for index, image in enumerate(images)]
        return _Images(samples, ignore), False
    if isinstance(images, Dataset):
        return images, False
    return _Images([_sample(images, "the image")], ignore), True


def _check(dataset: Dataset) -> list[tuple[int, int]]:
    """Return the sizes (H, W) of the images, in order and once each; raise `DataError` for what cannot be used."""
    from smoothseg.checks import check_dataset, check_sample
    from smoothseg.digests import sample_digests
    from smoothseg.pairs import KEY

    if len(dataset) == 0:
        raise DataError("there are no images to certify")
    if not isinstance(dataset, _Images):
        check_dataset(dataset)
    sizes: dict[tuple[int, int], None] = {}
    seen: dict[str, str | None] = {}
    for index, key in enumerate(dataset.keys):
        sample = dataset[index]
        if isinstance(dataset, _Images):
            if not KEY.fullmatch(key):
                raise DataError(f"key {key!r} is not fit for a file name (letters, digits, '-_.')")
            digest = sample_digests(sample)["image"]
            if seen.setdefault(key, digest) != digest:
                raise DataError(f"two images have the key '{key}', and would see the same noise: rename one")
            sample = dataclasses.replace(sample, labels=None)  # checked when the classes are known
        check_sample(sample, key, dataset)
        sizes[sample.image.shape[0], sample.image.shape[1]] = None
    return list(sizes)


def _sample(image: Any, what: str) -> Sample:
    """Return an image in any of the forms of `certify` as a sample; raise `DataError` if it is none of them."""
    import numpy as np
    import torch
    from PIL import Image

    from smoothseg.digests import sample_digests
    from smoothseg.images import read_image
    from smoothseg.pairs import key_of
    from smoothseg.plugins import plugins
    from smoothseg.protocols import Sample

    if isinstance(image, Sample):
        return image
    if isinstance(image, str | Path):
        name = str(image).partition(":")[0]
        if not Path(image).exists() and name in plugins()["dataset"]:
            raise DataError(f"{image}: no such file; a dataset is smoothseg.dataset({str(image)!r})")
        return Sample(key_of(Path(Path(image).name)), read_image(image))
    if isinstance(image, Image.Image):
        if image.mode != "RGB":
            raise DataError(
                f"{what}: expected an RGB image, got mode {image.mode}; convert it as you see fit"
            )
        pixels = np.array(image)
    elif isinstance(image, torch.Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            raise DataError(f"{what}: expected a tensor (3, H, W), got {tuple(image.shape)}")
        pixels = image.detach().cpu().permute(1, 2, 0).numpy()
    elif isinstance(image, np.ndarray):
        pixels = image
    else:
        raise DataError(
            f"{what}: expected an array (H, W, 3), a PIL image, a tensor (3, H, W), a path or a list of them, "
            f"got {type(image).__name__}"
        )
    unnamed = Sample("image", np.ascontiguousarray(_eight_bits(pixels, what)))
    return dataclasses.replace(unnamed, key=f"image-{str(sample_digests(unnamed)['image'])[:16]}")


def _eight_bits(values: npt.NDArray[Any], what: str) -> npt.NDArray[np.uint8]:
    """Return `values` as uint8; floats must be 8-bit values over 255: anything else would have to be repaired."""
    import numpy as np

    if values.ndim != 3 or values.shape[2] != 3 or not values.size:
        raise DataError(f"{what}: expected shape (H, W, 3), got {values.shape}")
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(f"{what}: expected uint8 in 0..255 or floats in 0..1, got {values.dtype}")
    scaled = values.astype(np.float64) * 255
    low, high = float(scaled.min()), float(scaled.max())
    if not (low >= 0 and high <= 255.02):  # NaN is neither
        raise DataError(f"{what}: expected floats in 0..1, got {low / 255:g}..{high / 255:g}")
    rounded = np.rint(scaled)
    if np.abs(scaled - rounded).max() > 0.02:
        raise DataError(
            f"{what}: expected 8-bit values over 255, got floats in between; round them as you see fit"
        )
    return rounded.astype(np.uint8)


def _is_named(component: Any) -> bool:
    return isinstance(component, str | Mapping)


def _plan(dataset: Dataset, components: Mapping[str, Any], options: Mapping[str, Any]) -> Plan:
    """Return the validated plan of what was given by name; for what was not, a stand-in is there."""
    from smoothseg.plan import Plan
    from smoothseg.plugins import plugins

    if not _is_named(components["certifier"]):
        raise ConfigError(
            f"certifier must be given by name, as certificates say it, got {type(components['certifier']).__name__}"
        )
    named = {kind: [given] for kind, given in components.items() if _is_named(given)}
    stand_ins = {"denoiser": ["identity"], "segmenter": ["hrnet:weights=streets"]}
    of = {"dataset": plugins()["dataset"].describe(dataset.recipe)} if isinstance(dataset, _Named) else {}
    plan = Plan.of({**stand_ins, **options, **named, **of})
    if len(plan.sigma) != 1:
        raise ConfigError(f"sigma must be one number, got {options['sigma']!r}")
    return plan


def _pipeline(
    plan: Plan, dataset: Dataset, components: Mapping[str, Any], sizes: Sequence[tuple[int, int]]
) -> Pipeline:
    """Return everything loaded and checked against each other."""
    from smoothseg import devices, loading
    from smoothseg.base_model import BaseModel
    from smoothseg.checks import check_classes
    from smoothseg.geometry import Geometry
    from smoothseg.pipeline import Description, Pipeline

    device, method = devices.device(plan.device), plan.methods[0]
    geometry = Geometry(plan.scale, plan.convention, plan.denoise_at)  # type: ignore[arg-type]
    certifier = loading.load("certifier", method.certifier)
    for height, width in sizes:
        certifier.check(height * width)
    recipes = {kind: getattr(method, kind) for kind in ("denoiser", "segmenter", "certifier")}
    description = Description.of(recipes, method="", dataset=getattr(dataset, "recipe", None))
    loaded: dict[str, Any] = {}
    for kind, given in components.items():
        if _is_named(given):
            loaded[kind] = loading.load(kind, recipes[kind], device=device)
        else:
            loaded[kind] = _own(kind, given, dataset, geometry.size(*sizes[0]), device)
            told: dict[str, Any] = {kind: _described(loaded[kind])}
            owners = {**description.plugins, kind: "given in Python"}
            description = dataclasses.replace(description, **told, plugins=owners)
    if isinstance(dataset, _Images):
        dataset.check_labels(tuple(loaded["segmenter"].classes))
    check_classes(loaded["segmenter"].classes, dataset, "the segmenter")
    method_name = description.denoiser["name"]  # as a run of this one method is called
    return Pipeline(
        BaseModel(loaded["denoiser"], loaded["segmenter"], geometry),
        certifier,
        dataclasses.replace(description, method=method_name),
        plan.seed,
        device,
    )


def _own(kind: str, given: Any, dataset: Dataset, size: tuple[int, int], device: torch.device) -> Any:
    """Return a component that was handed over as an object, on `device` and in eval mode if it is a module."""
    from torch import nn

    from smoothseg import adapters, loading

    if kind == "segmenter" and isinstance(given, nn.Module) and loading.lacking(given, kind):
        count = adapters.class_count(given, size, device)
        names = tuple(dataset.classes) if len(dataset.classes) == count else count
        given = segmenter(given, classes=names)
    if isinstance(given, adapters.ModuleSegmenter):
        return given.to(device)
    if missing := loading.lacking(given, kind):
        raise ConfigError(
            f"{kind} must be a name, a mapping with a name, or a smoothseg.{loading.PROTOCOLS[kind].__name__}; "
            f"{type(given).__name__} has no {' and no '.join(missing)}"
        )
    return given.eval().to(device) if isinstance(given, nn.Module) else given


def _described(component: Any) -> Mapping[str, Any]:
    """Return what a certificate says of a component that was handed over as an object."""
    from smoothseg.adapters import ModuleSegmenter

    if isinstance(component, ModuleSegmenter):
        return component.describe()
    kind = type(component)
    return {"name": f"{kind.__module__}.{kind.__qualname__}"}


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
) -> Result:
    from smoothseg.palettes import palette

    sample = dataset[index]
    drawn = pipeline.certifier.samples * index

    def count(samples: int) -> None:
        nonlocal drawn
        drawn += samples
        told(drawn, total)

    certificate = pipeline.certify(sample, sigma=sigma, batch_size=batch_size, progress=count)
    noisy, denoised = pipeline.first(sample, sigma=sigma)
    known = bool(dataset.palette)
    return Result(
        certificate,
        image=sample.image,
        palette=tuple(dataset.palette) if known else palette(len(pipeline.model.segmenter.classes)),
        labels=sample.labels,
        ignore=dataset.ignore,
        noisy=noisy,
        denoised=denoised,
    )


@contextlib.contextmanager
def _listener(progress: bool | Progress) -> Iterator[Progress]:
    """Give who is told of the progress: a function of the caller's, the command line's bar, or nobody."""
    if callable(progress):
        yield progress
    elif progress:
        from smoothseg.cli.progress import counting

        with counting("certifying", unit="samples") as told:
            yield told
    else:
        yield lambda done, total: None
