"""How the checkpoint of a training run is read without running what its pickle asks for.

Besides the state dict it holds a log: `HistoryBuffer` objects of mmengine, which name their methods by `getattr` and
hold numpy arrays. torch refuses such a file when it reads tensors alone. None of the log is needed here, so its names
stand for something that keeps nothing and does nothing. Whatever else a file asks for is refused as usual.
"""

from __future__ import annotations

from typing import Any

import torch

from smoothseg import WeightsError
from smoothseg.weights import Weights
from smoothseg.weights import load as load_weights

__all__ = ["read"]

_PACKAGE = "smoothseg_mmseg"
_LOG = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "numpy.ndarray",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
)
"""What the log of a training run is made of, as pickle names it; numpy's under the names of versions 1 and 2."""


class _Nothing:
    """What a part of the log becomes."""

    def __init__(self, *_args: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


def read(reference: str) -> Weights:
    """Return the weights of `reference`, which mmsegmentation published or trained; see `smoothseg.weights.load`.

    Raises `WeightsError` for a file that smoothseg wrote of another network, and for what `smoothseg.weights.load`
    refuses.
    """
    with torch.serialization.safe_globals([_stand_in(name) for name in _LOG]):
        weights = load_weights(reference, package=_PACKAGE)
    if weights.network is not None:
        raise WeightsError(
            f"{weights.path} holds the network '{weights.network}', expected a checkpoint of mmsegmentation"
        )
    return weights


def _stand_in(name: str) -> type[_Nothing]:
    """Return a class that torch's reader takes for the one called `name`."""
    module, _, own = name.rpartition(".")
    return type(own, (_Nothing,), {"__module__": module})
