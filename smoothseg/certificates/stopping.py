"""Why a certifier that may stop at any time stopped, and what was certified on the way there."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from smoothseg.errors import DataError

__all__ = ["ASKED", "INTERRUPTED", "OUT_OF_TIME", "Look", "Stopping", "without"]

INTERRUPTED = "interrupted"
"""The reason of a certificate that a signal stopped: the same command goes on with it."""

OUT_OF_TIME = "timeout"
"""The reason of a certificate that reached the time limit of a run."""

ASKED = "asked"
"""The reason of a certificate that a program stopped, which looked on from outside."""

_LONGEST = 64
"""Letters of the longest reason."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What the samples of one moment certify.

    trials: the samples that test, so far. certified, hopeless: how many of the image's `pixels` these certify, and of
    how many they show that they will hardly ever be certified; None if the certifier does not tell.
    """

    trials: int
    certified: int
    pixels: int
    hopeless: int | None = None

    @property
    def share(self) -> float:
        """The certified share of the pixels, 0..1."""
        return self.certified / self.pixels


@dataclasses.dataclass(frozen=True)
class Stopping:
    """Why a certificate has as many trials as it has.

    reason: one word, the option that stopped it or one of the constants of this module. looks: what was certified after
    each block of samples, in order; the certificate itself may have some trials more than the last of them.
    """

    reason: str
    looks: tuple[Look, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; the pixels are those of the certificate."""
        return {
            "reason": self.reason,
            "looks": [[look.trials, look.certified, look.hopeless] for look in self.looks],
        }

    @classmethod
    def from_json(cls, value: object, *, pixels: int) -> Stopping:
        """Return what `to_json` gave as `value`, for an image of so many `pixels`; else raise `DataError`."""
        if not (isinstance(value, Mapping) and _is_word(value.get("reason"))):
            raise DataError("not the reason for which a certificate was stopped")
        looks = []
        last = 0
        for each in value["looks"] if isinstance(value.get("looks"), list) else [None]:
            if not (isinstance(each, list) and len(each) == 3):
                raise DataError("not what a certificate had certified on its way")
            trials, certified, hopeless = each
            counts = (certified, 0 if hopeless is None else hopeless)
            if not (
                all(type(one) is int for one in (trials, *counts))
                and trials > last
                and all(0 <= one <= pixels for one in counts)
            ):
                raise DataError(f"{each} is not what a certificate of {pixels} pixels had certified")
            looks.append(Look(trials, certified, pixels, hopeless))
            last = trials
        return cls(value["reason"], tuple(looks))


def without(certifier: Mapping[str, Any], stops: Collection[str]) -> dict[str, Any]:
    """Return a described certifier without the options that only say when it stops."""
    return {name: value for name, value in certifier.items() if name not in stops}


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()
