"""Which DnCNN or FFDNet: how deep, how wide, and in which of the published forms; imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from smoothseg import ConfigError, WeightsError

__all__ = ["DnCNNSizes", "FFDNetSizes", "Form", "read"]

Form = Literal["kair", "salman"]
"""`kair`: convolutions with biases. `salman`: batch normalisation, and biases in the first convolution only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DnCNNSizes:
    """A DnCNN. depth: its convolutions. width: channels between them. The defaults are KAIR's blind colour network."""

    depth: int = 20
    width: int = 64
    form: Form = "kair"

    def __post_init__(self) -> None:
        _check(self.depth, self.width)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FFDNetSizes:
    """An FFDNet. depth: its convolutions. width: channels between them. The defaults are KAIR's colour network."""

    depth: int = 12
    width: int = 96

    def __post_init__(self) -> None:
        _check(self.depth, self.width)


Sizes = TypeVar("Sizes", DnCNNSizes, FFDNetSizes)


def read(kind: type[Sizes], config: Mapping[str, Any], *, origin: str) -> Sizes:
    """Return the sizes that `config`, JSON values, describes; `WeightsError` names `origin` and what does not fit."""
    known = {field.name for field in dataclasses.fields(kind)}
    if wrong := sorted(known ^ set(config)):
        raise WeightsError(f"the config of {origin} has unknown or missing keys: {', '.join(wrong)}")
    import pydantic  # here, because it is slow to import and `--help` needs none

    try:
        return pydantic.TypeAdapter(kind).validate_python(dict(config))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(piece) for piece in first["loc"])
        raise WeightsError(f"the config of {origin} has {where}={first['input']}: {first['msg']}") from None
    except ConfigError as error:
        raise WeightsError(f"the config of {origin} has {error}") from None


def _check(depth: int, width: int) -> None:
    for name, value, least in (("depth", depth, 2), ("width", width, 1)):
        if value < least:
            raise ConfigError(f"{name}={value}; expected at least {least}")
