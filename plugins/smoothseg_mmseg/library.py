"""How mmsegmentation is imported, and what its failures become."""

from __future__ import annotations

import contextlib
import importlib
import traceback
import warnings
from collections.abc import Iterator

from smoothseg import ConfigError, SmoothsegError
from smoothseg_mmseg import placeholder

__all__ = ["blaming", "first_line", "quiet", "ready"]

_PARTS = frozenset({"mmengine", "mmcv", "mmseg", "ftfy", "regex"})
"""What the extra brings, as imported."""


def ready() -> None:
    """Import mmsegmentation, so that its networks and datasets are registered.

    Raises `ConfigError` if it is not installed or not a version that can be imported.
    """
    try:
        with quiet():
            importlib.import_module("mmcv")
            placeholder.install()
            for name in ("mmseg.models", "mmseg.datasets"):
                importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in _PARTS:
            raise ConfigError(
                "segmenter 'mmseg' needs mmsegmentation: pip install 'smoothseg[mmseg]'"
            ) from None
        raise ConfigError(f"mmsegmentation cannot be imported: {first_line(error)}") from None
    except (ImportError, AssertionError) as error:  # it asserts the versions of mmcv and mmengine
        raise ConfigError(f"mmsegmentation cannot be imported: {first_line(error)}") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of one call into mmsegmentation: of its own deprecations and of losses, unused here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turn whatever is raised inside into a `ConfigError` that begins with `what`; silence warnings.

    A config is code and names code: it may raise anything. smoothseg's own errors pass as they are.
    """
    with quiet():
        try:
            yield
        except SmoothsegError:
            raise
        except Exception as error:
            reason = _innermost(error)
            # mmengine leaves a file open where a config fails: close it here, where that is no warning
            traceback.clear_frames(error.__traceback__)
            raise ConfigError(f"{what}: {type(reason).__name__}: {first_line(reason)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return next(iter(str(error).strip().splitlines()), "no message")


def _innermost(error: BaseException) -> BaseException:
    """Return the failed import behind an import that failed because of it, else `error`."""
    while isinstance(error, ImportError) and isinstance(error.__cause__ or error.__context__, ImportError):
        error = error.__cause__ or error.__context__ or error
    return error
