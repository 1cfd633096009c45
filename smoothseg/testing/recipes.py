"""Which recipe does a component's text name?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smoothseg.components.plugins import plugins

__all__ = ["recipe"]


def recipe(kind: str, spec: str | Mapping[str, Any]) -> Any:
    """Return the recipe that `--KIND SPEC` names on the command line, with its options validated.

    The plugin that offers the component must be installed.

    kind: 'denoiser', 'segmenter', 'certifier' or 'dataset'.
    spec: `"name"`, `"name:key=value,..."`, or a mapping with `name` and the options.

    Raises `UnknownNameError` for a name or an option that does not exist, `ConfigError` for a value that does not fit
    its option, `PluginError` if installed plugins conflict.
    """
    return plugins()[kind].recipe(spec)
