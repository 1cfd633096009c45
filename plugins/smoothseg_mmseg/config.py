"""What an mmsegmentation config says: the network, the classes it scores, and where its checkpoint is published."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from smoothseg import ConfigError, UnknownNameError
from smoothseg.data import class_names, palettes, path_of
from smoothseg_mmseg.library import blaming

__all__ = ["NetworkConfig", "classes", "find", "published", "read", "shipped"]

_PRETRAINED = ("init_cfg", "pretrained")
"""Keys that name the weights from which training starts."""

_LOADERS = ("test_dataloader", "val_dataloader", "train_dataloader")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The part of a config that a segmenter is made of.

    path: the file. model: the config of the network, without the weights it would start training from. dataset: that
    of the dataset it is tested on, {} if there is none.
    """

    path: Path
    model: Any
    dataset: Mapping[str, Any]

    def digest(self, classes: tuple[str, ...]) -> str:
        """Return the sha256 of the resolved network config and the classes: base files count, comments do not."""
        content = {"model": _plain(self.model), "classes": list(classes)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def shipped() -> dict[str, Path]:
    """Return the configs that come with the installed mmsegmentation, by name without suffix."""
    folder = Path(str(importlib.import_module("mmseg").__file__)).parent / ".mim" / "configs"
    return {path.stem: path for path in sorted(folder.glob("[!_]*/*.py"))}


def find(reference: str) -> Path:
    """Return the file of `reference`: the name of a config that mmsegmentation ships, or a path.

    Raises `ConfigError` if a path does not exist and `UnknownNameError`, with the nearest name, if a name does not.
    """
    known = shipped()
    if reference in known:
        return known[reference]
    path = path_of(reference)
    if os.path.isfile(path):  # also of names that no file can have
        return path
    if path.suffix == ".py" or len(path.parts) > 1:
        raise ConfigError(f"mmsegmentation config {reference} does not exist")
    near = difflib.get_close_matches(reference, known, n=3, cutoff=0.5)
    guess = f". Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownNameError(
        f"unknown mmsegmentation config '{reference}': none of the {len(known)} that it ships, and no path{guess}"
    )


def published(path: Path) -> str | None:
    """Return the weight reference of the checkpoint published for a shipped config, or None if there is none.

    Its name ends in the first digits of its sha256.
    """
    try:
        content = yaml.safe_load((path.parent / "metafile.yaml").read_text(encoding="utf-8"))
    except OSError:
        return None
    models = content.get("Models", []) if isinstance(content, dict) else content
    for model in models:
        if model.get("Name") == path.stem and "Weights" in model:
            address = str(model["Weights"])
            return f"{address}#sha256={Path(address).stem.rpartition('-')[2]}"
    return None


def read(path: Path) -> NetworkConfig:
    """Return what the config file `path` says; its code runs.

    Raises `ConfigError` if it cannot be read or has no network.
    """
    from mmengine.config import Config

    with blaming(f"mmsegmentation config {path} cannot be read"):
        config = Config.fromfile(path)
        model = copy.deepcopy(config.get("model"))
        dataset = next(filter(None, (_dataset(config, loader) for loader in _LOADERS)), {})
    if not isinstance(model, Mapping):
        raise ConfigError(f"mmsegmentation config {path} has no 'model'")
    _leave_out_pretrained(model)
    for kind in _types(model):
        package = kind.partition(".")[0]
        if package != kind and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"mmsegmentation config {path}: '{kind}' needs {package}, which is not installed"
            )
    return NetworkConfig(path, model, dataset)


def classes(config: NetworkConfig, count: int) -> tuple[tuple[str, ...], tuple[palettes.Colour, ...]]:
    """Return the names of the `count` classes that the config's dataset has, and a colour for each.

    They come from its `metainfo`, or else from its type. If neither has colours, smoothseg makes them.

    Raises `ConfigError` if there are no names, or not that many.
    """
    from mmseg.registry import DATASETS

    what = f"mmsegmentation config {config.path}"
    kind = config.dataset.get("type")
    if kind is None:
        raise ConfigError(f"{what} has no dataset in {', '.join(_LOADERS)} to name its classes")
    found = DATASETS.get(kind) if isinstance(kind, str) else kind
    if found is None:
        raise ConfigError(f"{what}: its dataset type '{kind}' is not known to mmsegmentation")
    own = getattr(found, "METAINFO", {})
    given = config.dataset.get("metainfo") or {}
    names = given.get("classes", own.get("classes"))
    if isinstance(names, str):
        names = class_names.from_file(names, count)
    if not names:
        raise ConfigError(f"{what}: dataset {found.__name__} does not name its classes; give it metainfo")
    if len(names) != count:
        raise ConfigError(
            f"{what}: its network scores {count} classes, but dataset {found.__name__} names {len(names)}"
        )
    colours = dict(zip(own.get("classes", ()), own.get("palette", ()), strict=False))
    chosen = given.get("palette") or [colours.get(name) for name in names]
    if len(chosen) != count or None in chosen:
        chosen = palettes.palette(count)
    # mmsegmentation has `bed ` among the classes of ADE20K.
    return tuple(str(name).strip() for name in names), tuple((int(r), int(g), int(b)) for r, g, b in chosen)


def _dataset(config: Any, loader: str) -> Mapping[str, Any] | None:
    """Return the innermost dataset of a data loader's config: the first where several are put together."""
    dataset: Any = (config.get(loader) or {}).get("dataset")
    while isinstance(dataset, Mapping) and ("dataset" in dataset or "datasets" in dataset):
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    return dataset if isinstance(dataset, Mapping) else None


def _leave_out_pretrained(config: Any) -> None:
    if isinstance(config, dict):
        for key in _PRETRAINED:
            config.pop(key, None)
        for value in config.values():
            _leave_out_pretrained(value)
    elif isinstance(config, list | tuple):
        for value in config:
            _leave_out_pretrained(value)


def _types(config: Any) -> Iterator[str]:
    """Yield every type that a config names, `package.Class` where it is another package's."""
    if isinstance(config, Mapping):
        if isinstance(config.get("type"), str):
            yield config["type"]
        config = config.values()
    elif not isinstance(config, list | tuple):
        return
    for value in config:
        yield from _types(value)


def _plain(value: Any) -> Any:
    """Return a config value as JSON has it; classes and functions by their names."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return str(value)
