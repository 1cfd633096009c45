"""What stands in for mmcv's compiled operations where they are not installed.

`mmcv-lite` is mmcv without them. Yet `mmcv.ops`, which mmsegmentation imports, looks up every operation in `mmcv._ext`
when it is imported. With a module of that name whose operations can be looked up but not called, all networks that call
none can be built and run.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import NoReturn

from smoothseg import ConfigError

__all__ = ["CompiledOperations", "install"]

_NAME = "mmcv._ext"


class CompiledOperations(types.ModuleType):
    """A module with a function of every name; a call raises `ConfigError` that names the operation."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        # names with underscores belong to the import system, which asks for what a module may lack
        if name.startswith("__"):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")

        def refuse(*_args: object, **_options: object) -> NoReturn:
            raise ConfigError(
                f"the network needs mmcv's compiled operation '{name}', which mmcv-lite lacks; "
                "build mmcv 2.1.0 with its operations in place of mmcv-lite, or take a network without it"
            )

        return refuse


def install() -> None:
    """Put `CompiledOperations` in the place of mmcv's compiled operations, unless those can be imported."""
    try:
        importlib.import_module(_NAME)
    except ImportError:
        sys.modules[_NAME] = CompiledOperations(_NAME)
