"""A segmentation network of transformers with its weights, and what must be known of it beside them.

A model is a folder with `config.json`, `preprocessor_config.json` and its weights: `model.safetensors`, or else
`pytorch_model.bin`, either in several parts with an index. None of its code is ever run: `smoothseg.weights` reads
the tensors, those of `.bin` files with torch's `weights_only=True`, and code that comes with a model is ignored, as
the classes are named here and not by the model. A configuration that asks for code from elsewhere (a kernel for its
attention or its experts, a quantiser) is refused. transformers builds the network and renames the keys of older files.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smoothseg import ConfigError, SmoothsegError, WeightsError
from smoothseg.weights import digest, outlined
from smoothseg.weights import load as load_weights
from smoothseg_transformers.described import (
    NETWORKS,
    class_names,
    model_type,
    multiple_of,
    normalisation,
    refuse_code,
    refuse_sizes,
)
from smoothseg_transformers.files import CONFIG, PREPROCESSOR, located, mapping_in, weight_files

__all__ = ["Checkpoint", "load"]

_PACKAGE = "smoothseg_transformers"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A network of transformers with its weights, and what its files say of it.

    network: in eval mode, float32, on the CPU. kind: a key of `NETWORKS`. classes: names in the order of the label
    indices. mean, std: one number per channel, in [0, 1] units. multiple: the sides of an image are to be multiples of
    it. digests: sha256 of every file that was read, by name.
    """

    network: nn.Module
    kind: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    multiple: int
    digests: Mapping[str, str]


def load(model: str, *, revision: str | None) -> Checkpoint:
    """Return the checkpoint of `model`, a folder or an id on the Hugging Face hub; it is loaded strictly.

    revision: of a model on the hub. What comes from there is kept in smoothseg's cache.

    Raises `ConfigError` if transformers is not installed or the model is of a kind that is not in `NETWORKS`, and
    `WeightsError` if a file is absent, damaged or does not fit the network.
    """
    try:
        import transformers
    except ImportError:
        raise ConfigError(
            "segmenter 'transformers' needs transformers: pip install 'smoothseg[transformers]'"
        ) from None
    folder = located(model, revision)
    described = mapping_in(folder / CONFIG)
    kind = model_type(described, folder)
    refuse_code(described, folder / CONFIG)
    refuse_sizes(described, folder / CONFIG)
    mean, std = normalisation(folder / PREPROCESSOR)
    parts = [load_weights(str(path), package=_PACKAGE) for path in weight_files(folder)]
    state = {key: tensor for part in parts for key, tensor in part.state.items()}
    network = _network(getattr(transformers, NETWORKS[kind]), described, folder, state)
    config: Any = network.config
    return Checkpoint(
        network,
        kind,
        class_names(config.id2label, folder),
        mean,
        std,
        multiple_of(kind, config),
        {
            **{part.path.name: part.digest for part in parts},
            **{name: digest(folder / name) for name in (CONFIG, PREPROCESSOR)},
        },
    )


def _network(kind: Any, described: Mapping[str, Any], folder: Path, state: Mapping[str, torch.Tensor]) -> Any:
    """Return the network of transformers' class `kind` with the tensors of `state`, all of them and no others.

    described: the content of `config.json`, taken as it was checked: what the library reads could be another file,
    which that one points to. Older names of keys, and buffers that the library computes instead of reading, are as in
    its own tables.
    """

    def config() -> Any:
        return kind.config_class.from_dict(copy.deepcopy(dict(described)))

    try:
        with _quiet():
            # tensors that the file lacks would be made before they are reported
            stated = config()
            outlined(lambda: kind(stated), state, origin=str(folder))
            network, report = kind.from_pretrained(
                None,
                config=config(),
                state_dict=dict(state),
                # float16 in the file must not make a float16 network
                dtype=torch.float32,
                # mismatches are refused below, by name
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except SmoothsegError:
        raise
    except Exception as error:  # of many kinds: the library's, torch's, and those of checking a configuration
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise WeightsError(f"{folder} cannot be loaded as {kind.__name__}: {reason}") from None
    named = {
        "missing": sorted(report["missing_keys"]),
        "unexpected": sorted(report["unexpected_keys"]),
        "of another shape": [
            f"{key} {tuple(got)} instead of {tuple(expected)}"
            for key, got, expected in sorted(report["mismatched_keys"])
        ],
    }
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in named.items()
        if keys
    ]
    if problems:
        raise WeightsError(f"{folder} does not fit {kind.__name__}: {'; '.join(problems)}")
    return network.eval()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and printing a report of its own; its settings are restored."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars, hub_bars = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        not are_progress_bars_disabled(),
    )
    with warnings.catch_warnings():
        # The hub's bars are switched with transformers'; it warns where the environment has set them for good.
        warnings.simplefilter("ignore")
        logging.set_verbosity(logging.ERROR)
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
            if not hub_bars:
                disable_progress_bars()
