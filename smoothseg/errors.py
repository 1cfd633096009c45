"""What can go wrong, as one tree.

    SmoothsegError                something smoothseg can explain in one line (exit code 1)
    ├── PluginError               a plugin, or what it returned, breaks the contract
    ├── VerificationError         a stored verdict does not follow from its stored counts
    ├── FailedImagesError         some images of a run could not be certified; the others were
    └── UserError                 the caller can correct it (exit code 2)
        ├── ConfigError           an option, a value or a combination of them is not possible
        │   └── UnknownNameError  no component, class or key has that name
        ├── DataError             an image, label map, class list or folder cannot be used as it is
        │   └── IncompleteError   files of a dataset are missing, or cannot be told apart
        ├── WeightsError          a weight file is missing, damaged or not the network's
        ├── NothingCertifiableError  n is too small: no pixel could ever be certified
        ├── RunMismatchError      the run directory belongs to another configuration
        └── RunBusyError          another process is at work in the run directory

Programming errors remain `TypeError` and `ValueError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smoothseg.protocols import Dataset

__all__ = [
    "ConfigError",
    "DataError",
    "FailedImagesError",
    "IncompleteError",
    "NothingCertifiableError",
    "PluginError",
    "RunBusyError",
    "RunMismatchError",
    "SmoothsegError",
    "UnknownNameError",
    "UserError",
    "VerificationError",
    "WeightsError",
]


_LONGEST = 2000
"""Characters of the longest message; of a longer one the beginning and the end are shown."""


def first_line(error: BaseException | str) -> str:
    """Return the first line of the message of `error`, or `no message`."""
    return (str(error).strip() or "no message").splitlines()[0]


def out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that memory was short, of the computer or of a device. Torch is not imported."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _SHORT_OF_MEMORY)


_SHORT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""What torch says in a plain `RuntimeError` when its CPU allocator or a library on the device finds no memory."""


def visible(text: str) -> str:
    """Return `text` with escapes such as `\\x1b` for every character that shows nothing, so that a terminal obeys none.

    These are line breaks and control characters, marks that turn the direction of writing, spaces other than the plain
    one, and the halves of characters by which Python writes bytes of a file name that are no UTF-8.
    """
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def one_line(message: str) -> str:
    """Return `message` as a line that is `visible` and of limited length."""
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST * 3 // 4]} [...] {message[-_LONGEST // 4 :]}"
    return visible(message)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


class SmoothsegError(Exception):
    """Base of every error smoothseg raises on purpose; its message is one line, whatever it quotes."""

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class PluginError(SmoothsegError):
    """A plugin, or a value it returned, breaks the contract; the message names the plugin."""


class VerificationError(SmoothsegError):
    """A stored verdict does not follow from its stored counts."""


class FailedImagesError(SmoothsegError):
    """Some images of a run could not be certified; the message says how many, and the reason of the first."""


class UserError(SmoothsegError):
    """The caller can correct it: a wrong name, value, file or combination."""

    exit_code = 2


class ConfigError(UserError):
    """An option, a value or a combination of them is not possible."""


class UnknownNameError(ConfigError):
    """No component, class or key has that name."""

    @classmethod
    def of(cls, what: str, name: str, known: Iterable[str], *, listed: str = "known") -> UnknownNameError:
        """Return the error for `name`, with every known name and the nearest one as a guess."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f". Did you mean '{near[0]}'?" if near else ""
        return cls(f"unknown {what} '{name}'; {listed}: {', '.join(names) or 'none'}{guess}")


class DataError(UserError):
    """An image, label map, class list or folder cannot be used as it is; the message names the file."""


class IncompleteError(DataError):
    """Files of a dataset are missing, or cannot be told apart; the message names the first one.

    problems: one line for each such file, at least one. rest: the dataset of the other files.
    """

    def __init__(self, problems: Sequence[str], rest: Dataset) -> None:
        self.problems = tuple(problems)
        self.rest = rest
        more = len(self.problems) - 1
        super().__init__(
            self.problems[0] + (f"; and {more} more, which `smoothseg datasets check` names" if more else "")
        )


class WeightsError(UserError):
    """A weight file is missing, damaged or not the network's; the message names the file or the first keys."""


class NothingCertifiableError(UserError):
    """With this n, tau, alpha and image size no pixel could ever be certified."""


class RunMismatchError(UserError):
    """The run directory belongs to another configuration; the message shows the first difference."""


class RunBusyError(UserError):
    """Another process is at work in the run directory; the message names process and host."""
