"""One plugin as found: its name, its distribution and, if it cannot be used, the reason."""

from __future__ import annotations

import dataclasses
import re
import warnings
from typing import Any

from smoothseg.errors import SmoothsegError, first_line

__all__ = ["PROTOCOL", "Plugin", "PluginWarning", "blame"]

PROTOCOL = "SMOOTHSEG_PROTOCOL"
"""The name of the module variable in which a plugin states the protocol version it was written for."""


class PluginWarning(UserWarning):
    """A plugin is broken and was skipped."""


@dataclasses.dataclass(frozen=True)
class Plugin:
    """One entry point: its name, its distribution, and `error` if it cannot be used."""

    name: str
    distribution: str
    version: str
    module: Any = None
    error: str | None = None
    disabled: bool = False

    @property
    def owner(self) -> str:
        """The plugin's name with its distribution and version, for messages."""
        return f"{self.name} ({self.distribution} {self.version})"

    def is_called(self, name: str) -> bool:
        """Return whether `name`, which may be `name@distribution`, refers to this plugin."""
        return _canonical(name) in (
            _canonical(self.name),
            _canonical(f"{self.name}@{self.distribution}"),
        )

    @property
    def protocol(self) -> int | None:
        """The protocol version that the plugin states; None if it states none or could not be used."""
        return getattr(self.module, PROTOCOL, None)


def blame(plugin: Plugin, error: Exception) -> str:
    """Warn that `plugin` is broken and return the reason."""
    reason = (
        first_line(error)
        if isinstance(error, SmoothsegError)
        else f"{type(error).__name__}: {first_line(error)}"
    )
    warnings.warn(f"plugin {plugin.owner} is broken and was skipped: {reason}", PluginWarning, stacklevel=3)
    return reason


def _canonical(name: str) -> str:
    """Return a plugin's name, or `name@distribution` with the distribution normalised as package indexes do."""
    plugin, at, distribution = name.partition("@")
    return plugin + at + re.sub(r"[-_.]+", "-", distribution).lower()
