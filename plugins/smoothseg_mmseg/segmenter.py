"""How a config and a checkpoint become a segmenter, and how images go through it."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any, final

import torch

from smoothseg import ConfigError, networks
from smoothseg.data import Colour
from smoothseg.weights import load_state
from smoothseg_mmseg import checkpoint
from smoothseg_mmseg import config as configs
from smoothseg_mmseg.fit import Fit, found
from smoothseg_mmseg.library import blaming, quiet, ready

__all__ = ["MMSegSegmenter", "load"]

_SEED = 0


@final
class MMSegSegmenter:
    """A network of mmsegmentation with its weights; see `smoothseg.Segmenter`.

    network: an mmsegmentation segmentor, taken over: put into eval mode and moved to `device`. Its own preprocessor
    normalises and pads, its own `test_cfg` says whether it sees the image whole or in sliding windows. Images of a size
    it does not take are reflected at the border; `load` finds out which by running it on blank images.

    A network that draws random numbers as it runs (SegNeXt's head does) draws the same for every image.
    """

    def __init__(
        self,
        network: Any,
        *,
        classes: tuple[str, ...],
        palette: tuple[Colour, ...],
        digests: Mapping[str, str],
        device: torch.device | str,
    ) -> None:
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = torch.device(device)
        self._classes = classes
        self._palette = palette
        self._digests = dict(digests)
        test = network.test_cfg or {}
        window = tuple(test["crop_size"]) if test.get("mode") == "slide" else None
        self._fit = found(self._try, window=window)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the label indices."""
        return self._classes

    @property
    def palette(self) -> tuple[Colour, ...]:
        """An RGB colour (0..255) for each class."""
        return self._palette

    @property
    def fit(self) -> Fit:
        """The sizes to which images are reflected."""
        return self._fit

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the weight file, and of the config's network with its classes, by file name."""
        return self._digests

    @torch.inference_mode()
    def segment(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 scores (B, C, H, W) at the images' resolution; see `smoothseg.Segmenter.segment`."""
        return networks.in_rows(lambda rows: self._scores(images[rows], self._fit), len(images))

    @torch.inference_mode()
    def _try(self, fit: Fit, height: int, width: int) -> None:
        scores = self._scores(torch.zeros(1, 3, height, width, device=self._device), fit)
        expected = (1, len(self._classes), height, width)
        if scores.shape != expected:
            raise ConfigError(
                f"expected scores {expected} of the network, one a class and pixel, got {tuple(scores.shape)}"
            )

    def _scores(self, images: torch.Tensor, fit: Fit) -> torch.Tensor:
        from mmseg.structures import SegDataSample

        # mmsegmentation reads images as BGR from 0 to 255; its preprocessor may reverse the channels.
        image = 255 * fit.pad(images)[0].flip(0)
        with quiet(), _fixed_draws(self._device):
            given = {"inputs": [image], "data_samples": [SegDataSample()]}
            inputs = self._network.data_preprocessor(given, False)["inputs"]
            size = inputs.shape[-2:]
            facts = {"ori_shape": size, "img_shape": size, "pad_shape": size, "padding_size": [0, 0, 0, 0]}
            scores: torch.Tensor = self._network.inference(inputs, [facts])
        # Padding, added here or by the preprocessor, lies at the bottom and on the right.
        scores = scores[..., : images.shape[-2], : images.shape[-1]].float()
        if scores.shape[1] == 1:
            # One score for two classes: the second is chosen where its probability exceeds a threshold.
            bar = _threshold(self._network)
            scores = torch.cat([torch.full_like(scores, math.log(bar / (1 - bar))), scores], dim=1)
        return scores


def load(config: str | None, reference: str | None, *, device: torch.device | str) -> MMSegSegmenter:
    """Return the segmenter of a config and of the checkpoint `reference`, on `device`; loaded strictly.

    config: path of a config file, whose code runs, or the name of one that mmsegmentation ships.

    Raises `ConfigError` if mmsegmentation is not installed, an option is missing, the config cannot be read, or its
    network cannot be built or run; `WeightsError` if the file is not that network's.
    """
    if config is None:
        raise ConfigError(
            "segmenter 'mmseg' needs config=..., the path of an mmsegmentation config or its name"
        )
    ready()
    path = configs.find(config)
    if reference is None:
        known = configs.published(path)
        hint = f"; mmsegmentation published {known}" if known else ""
        raise ConfigError(f"segmenter 'mmseg' needs weights=..., a checkpoint of config {path.stem}{hint}")
    read = configs.read(path)
    weights = checkpoint.read(reference)
    network = _built(read)
    count = int(network.out_channels)
    names, palette = configs.classes(read, 2 if count == 1 else count)
    resolved = read.digest(names)
    load_state(network, weights)
    return MMSegSegmenter(
        network,
        classes=names,
        palette=palette,
        digests={weights.path.name: weights.digest, f"{path.name} (resolved)": resolved},
        device=device,
    )


def _built(config: configs.NetworkConfig) -> Any:
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    with (
        blaming(f"the network of mmsegmentation config {config.path} cannot be built"),
        DefaultScope.overwrite_default_scope("mmseg"),
    ):
        network = MODELS.build(copy.deepcopy(config.model))
        int(network.out_channels)
    return network


def _threshold(network: Any) -> float:
    head: Any = network.decode_head
    if isinstance(head, torch.nn.ModuleList):  # of a cascade, the last decides
        head = head[-1]
    return float(head.threshold)


@contextlib.contextmanager
def _fixed_draws(device: torch.device) -> Iterator[None]:
    """Start the random numbers of `device` from the same seed, and put them back afterwards."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        with torch.random.fork_rng([index]):
            torch.default_generator.manual_seed(_SEED)
            torch.cuda.default_generators[index].manual_seed(_SEED)
            yield
    else:
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(_SEED)
            yield
