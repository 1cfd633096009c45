"""What run.json and a line of the ledger look like: whatever else a file holds is not one that smoothseg wrote.

Everything that reads a run goes by these fields. Names and paths come from a file that a stranger may have made, so
they are checked where they enter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from smoothseg.certificates.hierarchy import from_header
from smoothseg.errors import DataError
from smoothseg.protocols import KEY

__all__ = ["is_entry", "is_identity"]

_CERTIFICATE = re.compile(rf"certificates/[a-z0-9-]{{1,64}}/sigma-[0-9.e+-]{{1,32}}/{KEY.pattern}\.npz")
"""A path that leads nowhere but into the run's own folder."""


_LONGEST = 20_000
"""Letters of the longest name of a method or a component. How a name is shown is settled where it is shown."""


def is_identity(value: Mapping[str, Any]) -> bool:
    """Return whether `value` has the fields of run.json, except for its schema."""
    plan = value.get("plan")
    return (
        isinstance(plan, Mapping)
        and _is_plan(plan)
        and isinstance(value.get("noise"), str)
        and _mapping(value.get("images"), _is_digests)
        and all(KEY.fullmatch(key) for key in value["images"])
        and _mapping(value.get("classes"), _are_words)
        and _mapping(value.get("weights"), lambda kinds: _mapping(kinds, _of_words))
        and all(method["name"] in value["classes"] for method in plan["methods"])
        and _are_levels(value.get("levels", {}), value["classes"])
        and _of_words(value.get("versions"))
        and _mapping(value.get("plugins", {}), _of_words)
        and _of_words(value.get("skipped", {}))
    )


def _is_plan(plan: Mapping[str, Any]) -> bool:
    methods, sigmas = plan.get("methods"), plan.get("sigma")
    return (
        isinstance(methods, list)
        and bool(methods)
        and all(
            isinstance(each, Mapping)
            and _is_name(each.get("name"))
            and all(_is_component(each.get(kind)) for kind in ("denoiser", "segmenter", "certifier"))
            for each in methods
        )
        and isinstance(sigmas, list)
        and bool(sigmas)
        and all(_is_number(sigma) and sigma > 0 for sigma in sigmas)
        and _is_component(plan.get("dataset"))
        and _is_number(plan.get("scale"))
        and _is_count(plan.get("seed"))
        and _is_count(plan.get("every"))
        and (plan.get("images") is None or _is_count(plan["images"]))
        and all(isinstance(plan.get(name), str) for name in ("convention", "denoise_at", "device"))
    )


def is_entry(value: Mapping[str, Any]) -> bool:
    """Return whether `value` has the fields of a line of the ledger, of a certificate that was made or that failed."""
    path = value.get("certificate")
    if not (
        isinstance(path, str)
        and _CERTIFICATE.fullmatch(path)
        and _is_name(value.get("method"))
        and _is_number(value.get("sigma"))
        and isinstance(value.get("key"), str)
    ):
        return False
    if "failed" in value:
        return isinstance(value["failed"], str)
    seconds, radii = value.get("seconds"), value.get("by_radius")
    if not (_is_stopping(value.get("stopping")) and ("samples" not in value or _is_count(value["samples"]))):
        return False
    return (
        isinstance(value.get("sha256"), str)
        and "radius" in value
        and (value["radius"] is None or _is_number(value["radius"]))
        and (
            radii is None
            or (
                isinstance(radii, list)
                and all(
                    isinstance(each, list) and len(each) == 3 and all(map(_is_number, each)) for each in radii
                )
            )
        )
        and isinstance(seconds, Mapping)
        and _is_number(seconds.get("total"))
        and all(isinstance(value.get(which), Mapping) for which in ("certified", "clean"))
    )


def _is_stopping(value: object) -> bool:
    """Return whether it is why a certificate stopped, and what was certified on the way, or nothing."""
    if value is None:
        return True
    return (
        isinstance(value, Mapping)
        and _is_name(value.get("reason"))
        and _is_component(value.get("certifier"))
        and _is_count(value.get("trials"))
        and isinstance(value.get("looks"), list)
        and all(
            isinstance(look, list)
            and len(look) == 3
            and all(_is_count(each) for each in look[:2])
            and (look[2] is None or _is_count(look[2]))
            for look in value["looks"]
        )
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST


def _is_component(value: object) -> bool:
    return isinstance(value, Mapping) and _is_name(value.get("name"))


def _is_digests(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("image"), str)
        and "labels" in value
        and (value["labels"] is None or isinstance(value["labels"], str))
    )


def _are_words(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _are_levels(value: object, classes: Mapping[str, list[str]]) -> bool:
    """Return whether every entry is a hierarchy of the classes of its method."""
    if not (isinstance(value, Mapping) and value.keys() <= classes.keys()):
        return False
    try:
        return all(from_header(classes[method], levels) is not None for method, levels in value.items())
    except DataError:
        return False


def _of_words(value: object) -> bool:
    return _mapping(value, lambda each: isinstance(each, str))


def _mapping(value: object, right: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and all(right(each) for each in value.values())
