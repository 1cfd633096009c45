"""What does a training need? Its components, loaded and checked before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from smoothseg import weights
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, DataError, PluginError
from smoothseg.protocols import Dataset, Denoiser, Sample
from smoothseg.weights.stored import Convertible
from smoothseg_training.card import data_card
from smoothseg_training.configuration import describe
from smoothseg_training.identity import identity_of
from smoothseg_training.options import SegmenterTraining, Training
from smoothseg_training.seeds import Seeded, seed_of

__all__ = ["Prepared", "network", "prepare"]


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """What a training needs, loaded and checked.

    name, recipe: the component whose network is trained. validation: None where nothing is measured. denoiser: removes
    the noise before a segmenter sees the images, or None. initial: the weights to start from, in the keys of the
    network that is trained, or None. described: the configuration as plain values. data, validation_data: what the card
    says about the datasets. used: digests of the weights that go into the training.
    """

    training: Training
    device: torch.device
    name: str
    recipe: Any
    dataset: Dataset
    validation: Dataset | None
    denoiser: Denoiser | None
    initial: weights.Weights | None
    described: Mapping[str, Any]
    data: Mapping[str, Any]
    validation_data: Mapping[str, Any] | None
    used: Mapping[str, Any]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes that a segmenter learns; None for a denoiser."""
        return tuple(self.dataset.classes) if self.training.kind == "segmenter" else None

    @property
    def identity(self) -> dict[str, Any]:
        """What a run must have in common with what the output holds: the files may have moved, but not changed."""
        return identity_of(self.described, self.data, self.validation_data, self.used)


def prepare(training: Training, device: torch.device) -> Prepared:
    """Return what `training` needs on `device`.

    Raises `ConfigError` or `DataError` for what cannot be trained, and whatever loading the components raises.
    """
    registry = plugins()[training.kind]
    recipe = registry.recipe(getattr(training, training.kind))
    name = registry.name_of(recipe)
    if not callable(getattr(recipe, "network", None)):
        raise ConfigError(f"{training.kind} '{name}' has nothing to train: its recipe offers no network")
    dataset: Dataset = plugins()["dataset"].recipe(training.dataset).load()
    validation: Dataset | None = None
    if training.validation is not None:
        validation = plugins()["dataset"].recipe(training.validation).load()
    _check_data(training, dataset, validation)
    denoiser = _load_denoiser(training, device)
    initial = _load_initial(training, recipe, name, tuple(dataset.classes))
    return Prepared(
        training=training,
        device=device,
        name=name,
        recipe=recipe,
        dataset=dataset,
        validation=validation,
        denoiser=denoiser,
        initial=initial,
        described=describe(training),
        data=data_card(dataset),
        validation_data=None if validation is None else data_card(validation),
        used={
            **({} if initial is None else {"initial": initial.digest}),
            **({} if denoiser is None else {"denoiser": dict(denoiser.digests)}),
        },
    )


def network(prepared: Prepared) -> torch.nn.Module:
    """Return the network before its first step, on the device: random by the seed, or with the initial weights.

    Raises `PluginError` if the recipe gives no torch module with a `config`, and `WeightsError` if the weights do not
    fit.
    """
    training = prepared.training
    with Seeded(prepared.device, seed_of(training.seed, "weights", 0)):
        made = prepared.recipe.network(prepared.classes)
    if not isinstance(made, torch.nn.Module) or not hasattr(made, "config"):
        raise PluginError(
            f"the network of {training.kind} '{prepared.name}' must be a torch module with a config"
        )
    if prepared.initial is not None:
        weights.load_state(made, prepared.initial)
    return made.to(prepared.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _load_denoiser(training: Training, device: torch.device) -> Denoiser | None:
    """Return the denoiser that a segmenter is trained with, if there is one."""
    if not isinstance(training, SegmenterTraining) or training.denoiser is None:
        return None
    recipe = _pinned(training, "denoiser", plugins()["denoiser"].recipe(training.denoiser))
    loaded: Denoiser = recipe.load(device)
    return loaded


def _load_initial(
    training: Training, recipe: Any, name: str, classes: tuple[str, ...]
) -> weights.Weights | None:
    """Return the weights to start from, if there are any, in the keys of the network that is trained."""
    if training.initial is None:
        return None
    if not isinstance(recipe, Convertible) or not hasattr(recipe, "weights"):
        raise ConfigError(f"{training.kind} '{name}' cannot start from weights")
    recipe = dataclasses.replace(recipe, weights=training.initial)  # type: ignore[type-var]
    found = _pinned(training, training.kind, recipe).converted()
    if found.classes is not None:
        _check_classes(classes, found.classes, "--initial")
    return found  # type: ignore[no-any-return]


def _pinned(training: Training, kind: str, recipe: Any) -> Any:
    datasets = plugins()["dataset"]
    name = datasets.name_of(datasets.recipe(training.dataset))
    component = plugins()[kind].name_of(recipe)
    recipe = weights.pinned(recipe, component=component, dataset=name)
    weights.ensure(recipe, component=component)
    return recipe


def _check_data(training: Training, dataset: Dataset, validation: Dataset | None) -> None:
    for used, what in ((dataset, "dataset"), (validation, "validation")):
        if used is None:
            continue
        if len(used) == 0:
            raise DataError(f"--{what} holds no images")
        if training.kind == "segmenter" and used[0].labels is None:
            raise DataError(f"--{what} has no labels (sample '{used[0].key}'), which a segmenter needs")
    _check_crop(dataset[0], training)
    if training.kind == "segmenter" and validation is not None:
        _check_classes(tuple(dataset.classes), tuple(validation.classes))


def _check_crop(sample: Sample, training: Training) -> None:
    """Raise `ConfigError` if the crop is larger than `sample` at the largest scale of the range."""
    height, width = sample.image.shape[:2]
    scale = min(training.scales)
    largest = scale * training.scale_range[1]
    if training.crop[0] > height * largest + 0.5 or training.crop[1] > width * largest + 0.5:
        raise ConfigError(
            f"crop {training.crop[0]}x{training.crop[1]} is larger than image '{sample.key}' at its largest: {height}x"
            f"{width} times image_scale {scale:g} times {training.scale_range[1]:g} of scale_range"
        )


def _check_classes(train: tuple[str, ...], others: tuple[str, ...], what: str = "--validation") -> None:
    """Raise `ConfigError` with the first difference if the dataset's classes are not those of `what`."""
    if train == others:
        return
    if len(train) != len(others):
        raise ConfigError(f"--dataset has {len(train)} classes, {what} has {len(others)}")
    index = next(i for i, (one, other) in enumerate(zip(train, others, strict=True)) if one != other)
    raise ConfigError(f"class {index} is '{train[index]}' in --dataset and '{others[index]}' in {what}")
