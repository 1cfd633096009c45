"""Which plugins are installed."""

from __future__ import annotations

import functools
import os
import re
from importlib import metadata

from smoothseg.components.discovery import DISABLE, GROUP, Plugins, load
from smoothseg.errors import PluginError

__all__ = ["plugins", "switched_off"]


def switched_off() -> tuple[str, ...]:
    """Return the plugins in `SMOOTHSEG_DISABLE`: names or `name@distribution`, separated by commas or spaces."""
    return tuple(name for name in re.split(r"[,\s]+", os.environ.get(DISABLE, "")) if name)


@functools.cache
def plugins(*, conflicting: bool = False) -> Plugins:
    """Return the installed plugins, without those in `SMOOTHSEG_DISABLE` (see `switched_off` and `load`).

    Raises `PluginError` if several plugins offer the same name, because only the user can choose one.

    conflicting: return the other plugins instead of raising, to show what is installed.
    """
    if conflicting:
        return load(metadata.entry_points(group=GROUP), disabled=switched_off())
    found = plugins(conflicting=True)
    if found.conflicts:
        raise PluginError(found.conflicts[0])
    return found
