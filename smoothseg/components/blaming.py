"""Which component went wrong: whatever one raises becomes a `PluginError` that names it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from smoothseg.errors import PluginError, SmoothsegError, first_line, out_of_memory

__all__ = ["blamed"]


@contextlib.contextmanager
def blamed(kind: str, name: str) -> Iterator[None]:
    """Turn what the component raises in the block into a `PluginError` of one line, with the original as its cause.

    Errors that smoothseg raised on purpose and a shortage of memory pass as they are, the latter because fewer samples
    at once may need less. An interruption passes with a note that says where it came.
    """
    who = f"the {kind} {name}"
    try:
        yield
    except SystemExit as error:
        code = "" if error.code is None else repr(error.code)
        raise PluginError(f"{who} called exit({code})") from error
    except SmoothsegError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise PluginError(f"{who} raised {type(error).__name__}: {first_line(error)}") from error
    except BaseException as error:
        error.add_note(f"in {who}")
        raise
