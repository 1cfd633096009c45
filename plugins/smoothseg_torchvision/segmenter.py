"""How a checkpoint of torchvision's segmentation networks becomes a segmenter, and how images go through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final, get_args

import torch
from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.segmentation import LRASPP

from smoothseg import ConfigError, WeightsError, networks
from smoothseg.data import class_names
from smoothseg.weights import Weights, digests, filled, fits, scored_classes
from smoothseg.weights import load as load_weights
from smoothseg_torchvision import Model

__all__ = ["TorchvisionSegmenter", "load", "network", "voc_classes"]

_PACKAGE = "smoothseg_torchvision"
_LRASPP = "lraspp_"
_AUXILIARY = "aux_classifier."


@final
class TorchvisionSegmenter(networks.ImageSegmenter):
    """A segmentation network of torchvision with its weights; see `networks.ImageSegmenter`.

    network: as `network` builds it. It is taken over: put into eval mode, without its auxiliary classifier (which
    serves training alone), moved to `device` in `precision`.
    """

    def __init__(
        self,
        network: Any,
        *,
        classes: tuple[str, ...],
        digests: Mapping[str, str],
        precision: networks.Precision,
        device: torch.device | str,
    ) -> None:
        super().__init__(classes=classes, digests=digests)
        if not isinstance(network, LRASPP):
            network.aux_classifier = None
        self._network = networks.frozen(network, precision=precision, device=device, channels_last=False)
        self._dtype = networks.DTYPES[precision]

    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """Return float32 scores at an eighth of the resolution, DeepLabV3 on MobileNet at a sixteenth.

        See `networks.ImageSegmenter.scores`.
        """
        # torchvision's own forward upsamples to the size of the input, bilinearly and with align_corners=False. The
        # core upsamples in the same way, and in bands, so the scores are handed on at the classifier's resolution.
        # ImageNet's mean and deviation are those of every published checkpoint (`Weights.transforms` of torchvision).
        normalised = networks.normalised(image, mean=networks.IMAGENET_MEAN, std=networks.IMAGENET_STD)
        features = self._network.backbone(normalised.to(dtype=self._dtype))
        taken = features if isinstance(self._network, LRASPP) else features["out"]
        scores: torch.Tensor = self._network.classifier(taken).float()
        return scores


def load(
    reference: str,
    *,
    model: Model,
    classes: str | None,
    precision: networks.Precision,
    device: torch.device | str,
) -> TorchvisionSegmenter:
    """Return the segmenter of the weight file `reference`, on `device`; the file is loaded strictly.

    How many classes there are, and whether there is an auxiliary classifier, is read off the file. classes: a file
    with the names of the classes; not needed for 21, which are taken to be Pascal VOC's, as in the published files.

    Raises `WeightsError` if the file is not one of `model`, and `ConfigError` if it is published for another model
    or its classes have no names.
    """
    weights = load_weights(reference, package=_PACKAGE)
    if weights.network is not None:
        raise WeightsError(
            f"{weights.path} holds the network '{weights.network}', expected a checkpoint of torchvision"
        )
    published = weights.options.get("model", model)
    if published != model:
        raise ConfigError(
            f"weights '{reference}' are those of model {published}, not {model}: give model={published}, or "
            f"weights={model} for the published ones of {model}"
        )
    module, count = _filled(weights, model)
    return TorchvisionSegmenter(
        module,
        classes=_names(weights, model, count, classes),
        digests=digests(weights, classes),
        precision=precision,
        device=device,
    )


def network(model: Model, count: int, *, auxiliary: bool) -> nn.Module:
    """Return torchvision's untrained network for `count` classes.

    auxiliary: whether it has the classifier on an intermediate layer that can help to train DeepLabV3 and FCN.
    """
    options: dict[str, Any] = {} if model.startswith(_LRASPP) else {"aux_loss": auxiliary}
    built: nn.Module = get_model(model, weights=None, weights_backbone=None, num_classes=count, **options)
    return built


def voc_classes(model: Model) -> tuple[str, ...]:
    """Return the class names of the published weights of `model`, the background first."""
    return tuple(get_model_weights(model).DEFAULT.meta["categories"])


def _filled(weights: Weights, model: Model) -> tuple[nn.Module, int]:
    """Return `model` with the file's tensors, and how many classes it scores."""
    key = _classifier(model)
    try:
        count = scored_classes(weights, key, what=model)
    except WeightsError as error:
        raise WeightsError(f"{error}{_hint(weights)}") from None
    try:
        module = filled(lambda: network(model, count, auxiliary=_auxiliary(weights)), weights)
    except WeightsError as error:
        raise WeightsError(f"{error}, as model={model}{_hint(weights)}") from None
    return module, count


def _names(weights: Weights, model: Model, count: int, classes: str | None) -> tuple[str, ...]:
    if classes is not None:
        return class_names.from_file(classes, count)
    names = voc_classes(model)
    if count != len(names):
        raise ConfigError(
            f"{weights.path} scores {count} classes and does not name them (names are known for the {len(names)} "
            "of Pascal VOC); give them with classes=FILE, one name a line"
        )
    return names


def _classifier(model: Model) -> str:
    """Return the key of the weight that has one row per class."""
    return "classifier.low_classifier.weight" if model.startswith(_LRASPP) else "classifier.4.weight"


def _auxiliary(weights: Weights) -> bool:
    """Return whether the file has an auxiliary classifier; any key of one means that it must have all of them."""
    return any(key.startswith(_AUXILIARY) for key in weights.state)


def _hint(weights: Weights) -> str:
    """Return a hint of what to give for a file of another model, or an empty string."""
    for model in get_args(Model):
        key = _classifier(model)
        if key not in weights.state:
            continue
        with torch.device("meta"):
            module = network(model, weights.state[key].shape[:1].numel(), auxiliary=_auxiliary(weights))
        if fits(module, weights):
            return f"; the file is a {model}: give model={model}"
    return ""
