"""Which options does a training have? Two frozen values hold them; this module imports no torch.

`Training` and its two kinds hold everything that decides what a training computes. `Running` holds what does not change
the result, such as the device, the number of threads or where the output goes. A field is an option on the command line
(`batch_size` is `--batch-size`) and a key in a YAML recipe.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from smoothseg.protocols import option

__all__ = ["COMPONENTS", "DenoiserTraining", "Running", "SegmenterTraining", "Training", "parse_size"]

COMPONENTS = ("dataset", "validation", "segmenter", "denoiser")
"""The fields that name a component; `validation` is a dataset."""

Spec = str | dict[str, Any]
"""A component: `"name:key=value,..."` or a mapping with `name` and the options."""


def parse_size(value: Any) -> Any:
    """Return `(height, width)` of the text `"HxW"`; anything else is returned as it is, for the type to judge."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", value)
        if match is None:
            raise ValueError(f"a size is HEIGHTxWIDTH such as 192x256, got '{value}'")
        return int(match[1]), int(match[2])
    return value


Size = Annotated[tuple[pydantic.PositiveInt, pydantic.PositiveInt], pydantic.BeforeValidator(parse_size)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """The options that segmenter and denoiser training have in common.

    The run ends, and its learning rate reaches zero, when progress = max(step / steps, elapsed / minutes) is 1; at
    least one of the two limits must be given. Time before an interruption counts.

    Geometry: an image is resized by `image_scale` times a random factor from `scale_range` (antialiased, labels by
    nearest neighbour) and cropped to `crop`. Where the image would not cover the crop, the factor is raised to the
    smallest that does. A crop that even the largest factor cannot cover is refused before training.
    """

    kind: ClassVar[Literal["segmenter", "denoiser"]]

    dataset: Spec = option(dataclasses.MISSING, "images to train on, a dataset NAME:key=value,...")
    validation: Spec | None = option(None, "images to measure progress on, a dataset")
    validation_images: pydantic.PositiveInt = option(50, "how many of them, evenly spaced")
    validation_every: pydantic.PositiveFloat = option(0.1, "share of the run between two validations")
    steps: pydantic.PositiveInt | None = option(None, "number of optimizer steps")
    minutes: pydantic.PositiveFloat | None = option(None, "wall-clock budget; the schedule is fitted to it")
    batch_size: pydantic.PositiveInt = option(8, "crops a step")
    lr: pydantic.PositiveFloat = option(1e-3, "peak learning rate of AdamW")
    weight_decay: pydantic.NonNegativeFloat = option(0.01, "AdamW's, on weights of two or more dimensions")
    warmup: pydantic.NonNegativeInt = option(100, "steps in which the learning rate rises to its peak")
    clip: pydantic.PositiveFloat = option(1.0, "largest norm of a gradient")
    ema: Share = option(0.998, "decay of the average of the weights that is kept as the result")
    image_scale: pydantic.PositiveFloat = option(
        1.0, "factor from the dataset's images to what the network sees"
    )
    crop: Size = option((192, 256), "HEIGHTxWIDTH of what the network sees")
    scale_range: tuple[pydantic.PositiveFloat, pydantic.PositiveFloat] = option(
        (0.75, 1.5), "random scaling, log-uniform between LO and HI"
    )
    flip: bool = option(True, "mirror half of the crops left to right")
    jitter: Share = option(0.1, "strength of random gain, contrast and gamma; 0 is none")
    soften: Annotated[float, pydantic.Field(ge=1)] = option(
        1.0, "largest factor by which crops are shrunk and enlarged again, which blurs them; 1 is none"
    )
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "arithmetic; bfloat16 is autocast, weights stay float32"
    )
    seed: pydantic.NonNegativeInt = option(
        0, "seed of the initial weights, the order of the data and all noise"
    )
    initial: str | None = option(
        None, "weights to start from instead of random ones: name, path or address, as for weights="
    )

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("a training run needs an end: give steps, minutes or both")
        _check_range("scale_range", self.scale_range)

    @property
    def scales(self) -> tuple[float, ...]:
        """The image scales of the run; each step uses one of them."""
        return (self.image_scale,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmenterTraining(Training):
    """Cross-entropy training of a segmenter, optionally with Gaussian noise.

    Noise augmentation follows SegCertify (Fischer et al., ICML 2021), which trains its base model with every image of
    every batch under N(0, 0.25^2) noise, in [0, 1] units and unclipped: `noise_sigma: 0.25`. The noise is drawn at the
    resolution of the dataset's images and goes through `image_scale` with them, as it does in certification.
    `noise_range` draws sigma per image instead, and `noise_fraction` leaves the rest of the images clean.

    With `consistency`, the network sees every image under `copies` draws of its noise. Besides the cross-entropy, the
    loss then has `consistency` times the mean Kullback-Leibler divergence of their mean prediction from each of them,
    and `entropy` times the entropy of that mean (Jeong and Shin, NeurIPS 2020; SegCertify's appendix B.3, with 2 copies
    and weights 5 and 0.5).

    `denoiser` puts a denoiser between the noisy images and the network, which then learns from denoised images.
    Training can start from a network trained on clean images (`initial`). The denoiser gets the noise level that
    resizing leaves, as in certification; clean images (`noise_fraction`) do not go through it.
    """

    kind = "segmenter"

    segmenter: Spec = option(dataclasses.MISSING, "network to train, a segmenter NAME:key=value,...")
    noise_sigma: pydantic.NonNegativeFloat = option(0.0, "standard deviation of the noise on training images")
    noise_range: tuple[pydantic.NonNegativeFloat, pydantic.NonNegativeFloat] | None = option(
        None, "noise uniform between LO and HI per image instead"
    )
    noise_fraction: Share = option(1.0, "share of the images that get noise")
    class_weights: Literal["none", "fourth-root-inverse", "sqrt-inverse", "inverse"] = option(
        "none", "weight of a class in the loss, from its share of the training pixels"
    )
    consistency: pydantic.NonNegativeFloat = option(
        0.0, "weight of the agreement between noisy copies of an image; 0 is none"
    )
    copies: pydantic.PositiveInt = option(2, "noisy copies of an image that are to agree, with consistency")
    entropy: pydantic.NonNegativeFloat = option(
        0.5, "weight of the entropy of their mean prediction, with consistency"
    )
    denoiser: Spec | None = option(None, "remove the noise first, a denoiser NAME:key=value,...")

    def __post_init__(self) -> None:
        super().__post_init__()
        noisy = max(self.noise_range or (self.noise_sigma,)) > 0 and self.noise_fraction > 0
        if self.consistency and not noisy:
            raise ValueError("consistency is between noisy copies: give noise_sigma or noise_range")
        if self.denoiser is not None and not noisy:
            raise ValueError("a denoiser needs noise to remove: give noise_sigma or noise_range")
        if self.consistency and self.copies < 2:
            raise ValueError(f"consistency needs at least 2 copies of an image, got {self.copies}")
        if self.noise_range is not None:
            if self.noise_sigma:
                raise ValueError("give noise_sigma or noise_range, not both")
            if self.noise_range[0] > self.noise_range[1]:
                raise ValueError(f"noise_range must be LO <= HI, got {self.noise_range}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoiserTraining(Training):
    """Training of a denoiser on crops under Gaussian noise of log-uniform sigma.

    sigma, in [0, 1] units, is the noise level at the network, or with `sigma_at: image` the noise level on the
    dataset's images, which resizing by `image_scale` lowers. `loss` weights the squared error of the clean estimate:
    `epsilon` by 1 / sigma^2, which is the plain error of the predicted noise (estimate - clean) / sigma of diffusion
    training; `x0` by 1 / sigma. A good denoiser's squared error grows about in proportion to sigma on photographs. With
    `x0`, every octave of sigma therefore has a similar share in the loss; `epsilon` puts most of the weight on faint
    noise, which hardly affects a segmenter.

    `noise` is `white`, or `resized`: white at the dataset's resolution, then resized by `image_scale`, which correlates
    neighbouring pixels, and scaled to the stated sigma. A denoiser meets such noise in resized noisy images.

    `image_scales` trains one denoiser for several scales of certification: each step draws one of them, and validation
    measures all of them.
    """

    kind = "denoiser"

    denoiser: Spec = option(dataclasses.MISSING, "network to train, a denoiser NAME:key=value,...")
    sigma_range: tuple[pydantic.PositiveFloat, pydantic.PositiveFloat] = option(
        (0.03, 1.2), "noise, log-uniform between LO and HI"
    )
    loss: Literal["x0", "epsilon"] = option(
        "x0", "error of the clean image over sqrt(sigma), or of the noise"
    )
    sigma_at: Literal["network", "image"] = option(
        "network", "where sigma_range is stated: after resizing by image_scale, or before"
    )
    noise: Literal["white", "resized"] = option("white", "white, or correlated by resizing with image_scale")
    image_scales: tuple[pydantic.PositiveFloat, ...] | None = option(
        None, "several image scales instead of image_scale, a random one a step; repeat it"
    )
    batch_size: pydantic.PositiveInt = option(16, "crops a step")
    lr: pydantic.PositiveFloat = option(5e-4, "peak learning rate of AdamW")
    crop: Size = option((64, 64), "HEIGHTxWIDTH of what the network sees")
    jitter: Share = option(0.0, "strength of random gain, contrast and gamma; 0 is none")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range("sigma_range", self.sigma_range)
        if self.image_scales is not None:
            if not self.image_scales:
                raise ValueError("image_scales needs at least one scale")
            if self.image_scale != 1.0:
                raise ValueError("give image_scale or image_scales, not both")

    @property
    def scales(self) -> tuple[float, ...]:
        """The image scales of the run; each step uses one of them."""
        return self.image_scales or (self.image_scale,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """How and where to run a training; none of it changes the result beyond rounding."""

    output: Path = option(
        dataclasses.MISSING, "folder for model.safetensors and MODEL.md, or a .safetensors file"
    )
    device: str = option("auto", "where to train: auto (CUDA where there is one), cpu, cuda or cuda:N")
    threads: pydantic.PositiveInt | None = option(
        None,
        "CPU threads of the network; 1 where others compute too, for threads that wait for each other spin",
    )
    workers: pydantic.PositiveInt = option(2, "threads that read images ahead")
    cache_gb: pydantic.NonNegativeFloat = option(2.0, "decoded images kept in memory, in GB")
    checkpoint_seconds: pydantic.NonNegativeFloat = option(60.0, "seconds between two checkpoints")
    fresh: bool = option(False, "start over instead of resuming")
    track: tuple[str, ...] = option((), "tell the figures to experiment trackers as they come; repeatable")
    verbose: bool = option(False, "say what is being done")
    quiet: bool = option(False, "print the result and errors alone")

    def __post_init__(self) -> None:
        if self.verbose and self.quiet:
            raise ValueError("give verbose or quiet, not both")


def _check_range(name: str, bounds: tuple[float, float]) -> None:
    if not (0 < bounds[0] <= bounds[1] and math.isfinite(bounds[1])):
        raise ValueError(f"{name} must be 0 < LO <= HI, got {bounds[0]} {bounds[1]}")
