"""Whether a weight file is the one that a network expects: by its name, its tensors and its classes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from smoothseg.errors import ConfigError, SmoothsegError, WeightsError, first_line
from smoothseg.files import path_of, sha256_of
from smoothseg.weights.stored import Weights

if TYPE_CHECKING:
    import torch

_Network = TypeVar("_Network", bound="torch.nn.Module")

_LAYERS = 50
"""The most layers of a network, and tensors of them, for each tensor in its file, and besides them."""

_NUMBERS = 2**24
"""How many numbers a network may have besides twice those in its file: none is yet known not to be left out of it."""

__all__ = [
    "check_class_count",
    "check_network",
    "digests",
    "filled",
    "fits",
    "load_state",
    "outlined",
    "own_classes",
    "scored_classes",
]


def digests(weights: Weights, *sides: str | None) -> dict[str, str]:
    """Return the sha256 of a weight file, and of the files that were read beside it, by file name.

    sides: paths of those files, such as one with class names; None is passed over.
    """
    files = [path_of(side) for side in sides if side is not None]
    return {weights.path.name: weights.digest, **{file.name: sha256_of(file) for file in files}}


def check_network(weights: Weights, network: str) -> None:
    """Raise `WeightsError` if `weights` were written by `save` for another network than `network`."""
    if weights.network != network:
        raise WeightsError(f"{weights.path} holds the network '{weights.network}', expected '{network}'")


def own_classes(weights: Weights, network: str, *, given: str | None) -> tuple[str, ...]:
    """Return the class names in a segmenter's file written by `save`.

    given: what the user named instead, which is refused. Raises `WeightsError` if the file is of another network or
    names no classes.
    """
    check_network(weights, network)
    if weights.classes is None:
        raise WeightsError(f"{weights.path} does not name its classes")
    if given is not None:
        raise ConfigError(f"{weights.path} names its classes itself; classes={given} cannot replace them")
    return weights.classes


def load_state(module: torch.nn.Module, weights: Weights) -> None:
    """Load `weights.state` into `module`, strictly; raise `WeightsError` with the first keys or shapes that differ."""
    _check(module, weights)
    module.load_state_dict(dict(weights.state), strict=True)


def _check(module: torch.nn.Module, weights: Weights) -> None:
    """Raise `WeightsError` unless `weights` have the keys and shapes of `module`."""
    own = module.state_dict()
    missing = [key for key in own if key not in weights.state]
    unexpected = [key for key in weights.state if key not in own]
    shapes = [
        f"{key} {tuple(weights.state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in weights.state and weights.state[key].shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise WeightsError(f"{weights.path} does not fit {type(module).__name__}: {'; '.join(problems)}")


def filled(make: Callable[[], _Network], weights: Weights, *, computed: bool = True) -> _Network:
    """Return the network that `make` builds, with the tensors of `weights`, strictly; see `load_state`.

    For networks whose sizes a file states. They are first built without memory, so that a file that states other sizes
    than its tensors have, however large, raises `WeightsError` before any is taken.

    computed: whether it has tensors that it computes itself; without any, none is initialised before it is filled.
    """
    outline = outlined(make, weights.state, origin=str(weights.path))
    _check(outline, weights)
    network = make() if computed else outline.to_empty(device="cpu")
    load_state(network, weights)
    return network


def outlined(make: Callable[[], _Network], state: Mapping[str, torch.Tensor], *, origin: str) -> _Network:
    """Return the network that `make` builds, without memory for its tensors, on the meta device.

    Raises `WeightsError`, which names `origin`, if it has many more layers or numbers than the tensors of `state`.
    """
    import torch

    try:
        with torch.device("meta"), _at_most(_LAYERS * (1 + len(state))):
            outline = make()
    except SmoothsegError:
        raise
    except Exception as error:  # torch and its libraries raise errors of many types for sizes that cannot be
        raise WeightsError(f"{origin} does not fit the sizes that it states: {first_line(error)}") from None
    stated = sum(tensor.numel() for tensor in outline.state_dict().values())
    held = sum(tensor.numel() for tensor in state.values())
    if stated > _NUMBERS + 2 * held:
        raise WeightsError(f"{origin} states a network of {stated} numbers, and holds {held}")
    return outline


@contextlib.contextmanager
def _at_most(layers: int) -> Iterator[None]:
    """Raise `RuntimeError` in the block once it has made more than so many layers, or tensors for them."""
    from torch.nn.modules import module

    made = 0

    def count(*_: Any) -> None:
        nonlocal made
        made += 1
        if made > layers:
            raise RuntimeError(f"it has more than {layers} layers")

    hooks = (
        module.register_module_module_registration_hook(count),
        module.register_module_parameter_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def check_class_count(weights: Weights, scored: int) -> None:
    """Raise `WeightsError` if `weights` name another number of classes than the `scored` ones of their network."""
    named = len(weights.classes or ())
    if scored != named:
        raise WeightsError(f"{weights.path} scores {scored} classes but names {named}")


def scored_classes(weights: Weights, key: str, *, what: str) -> int:
    """Return how many classes a checkpoint scores: how many rows its tensor `key` has.

    what: the network whose last layer has that key, for the message. Raises `WeightsError` if there is no such tensor.
    """
    if key not in weights.state:
        raise WeightsError(
            f"{weights.path} holds no {what}: there is no {key} among {len(weights.state)} keys "
            f"({', '.join(list(weights.state)[:3])}, ...)"
        )
    return weights.state[key].shape[:1].numel()


def fits(module: torch.nn.Module, weights: Weights) -> bool:
    """Return whether `weights` have the keys and shapes of `module`, so that `load_state` would take them.

    The module's tensors are not read: it may lie on the meta device.
    """
    own = {key: tensor.shape for key, tensor in module.state_dict().items()}
    return own == {key: tensor.shape for key, tensor in weights.state.items()}
