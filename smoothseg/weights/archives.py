"""How the requested file, and nothing else, is extracted from a tar or zip archive.

No name in the archive is used as a path. An archive with a name that leads outside is hostile and is refused whole, and
so is one that unpacks to more than `LARGEST` bytes.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from smoothseg.errors import WeightsError

__all__ = ["LARGEST", "extract"]

LARGEST = 2**36
"""The most bytes that a file from an archive, or what stands before it in a tar, may unpack to."""

_AT_ONCE = 2**21
"""The most bytes that are unpacked at once: more than the headers of an honest archive need."""

_MOST = 100_000
"""The most files of a tar."""

_PACKERS: tuple[tuple[bytes, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
    (b"]\0\0", lzma.open),
)
"""How a compressed tar begins, and what unpacks it."""

_DAMAGE = (
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    gzip.BadGzipFile,
    UnicodeError,
    ValueError,
    struct.error,
)
"""What reading a damaged archive may raise besides the errors of `tarfile` and `zipfile`."""


def extract(archive: Path, member: str, target: Path, *, origin: str) -> None:
    """Write the file `member` of a tar (also compressed) or zip archive to `target`.

    member: its path in the archive, or its name if only one file has it. origin: the archive's name in messages.

    Raises `WeightsError` if the archive is damaged (a compressed one is read to its end, where its checksum is),
    encrypted or neither of the two, if it has no such file or several, if that is no regular file, or if any name in it
    is absolute or leads outside with `..`. Errors of the disk that it writes to are passed on.
    """
    try:
        with archive.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        with (_zip if zipped else _tar)(archive, member, origin) as content, target.open("wb") as file:
            while chunk := _read(content, origin):
                file.write(chunk)
    except (tarfile.TarError, zipfile.BadZipFile, *_DAMAGE) as error:
        raise _damaged(origin, error) from None


class _Bounded:
    """The part of a stream that a tar is read from: `LARGEST` bytes in all, `_AT_ONCE` at a time."""

    def __init__(self, stream: IO[bytes], origin: str) -> None:
        self._stream = stream
        self._origin = origin
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes; raise `WeightsError` where these are too many."""
        if not 0 <= size <= _AT_ONCE:
            raise WeightsError(f"the archive {self._origin} holds a header of more than {_AT_ONCE} bytes")
        _check_size(self._stream.tell() + size - _AT_ONCE, self._origin)
        return self._stream.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to `place`; raise `WeightsError` where that is too far."""
        _check_size(place, self._origin)
        return self._stream.seek(place, whence)


def _plain(archive: Path) -> Any:
    return archive.open("rb")


def _check_size(size: int, origin: str) -> None:
    if size > LARGEST:
        raise WeightsError(f"the archive {origin} unpacks to {size} bytes, expected at most {LARGEST} bytes")


def _read(content: IO[bytes], origin: str) -> bytes:
    try:
        return content.read(1 << 20)
    except (OSError, RuntimeError) as error:  # of the compressed stream: a wrong checksum, a password
        raise _damaged(origin, error) from None


def _damaged(origin: str, error: Exception) -> WeightsError:
    reason = next(iter(str(error).splitlines()), "it ends too early")
    return WeightsError(f"the archive {origin} is damaged or encrypted: {reason}")


@contextlib.contextmanager
def _zip(archive: Path, member: str, origin: str) -> Iterator[IO[bytes]]:
    try:
        packed = zipfile.ZipFile(archive)
    except OSError as error:  # of a directory before the beginning of the file
        raise _damaged(origin, error) from None
    with packed:
        files = {entry.filename: entry for entry in packed.infolist() if not entry.filename.endswith("/")}
        chosen = files[_chosen(list(files), member, origin)]
        _check_size(chosen.file_size, origin)
        if stat.S_ISLNK(chosen.external_attr >> 16):
            raise WeightsError(f"{member} in the archive {origin} is no regular file and was refused")
        try:
            content = packed.open(chosen)
        except (
            RuntimeError,
            NotImplementedError,
            OSError,
        ) as error:  # of a place before the beginning of the file
            raise _damaged(origin, error) from None
        with content:
            yield content


@contextlib.contextmanager
def _tar(archive: Path, member: str, origin: str) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as opened:
        with archive.open("rb") as file:
            start = file.read(6)
        unpack = next((unpack for sign, unpack in _PACKERS if start.startswith(sign)), _plain)
        stream: Any = _Bounded(opened.enter_context(unpack(archive)), origin)
        try:
            tar = opened.enter_context(tarfile.open(fileobj=stream, mode="r:"))
        except (tarfile.TarError, OSError, *_DAMAGE):
            raise WeightsError(f"{origin} is neither a tar nor a zip archive, or it is damaged") from None
        entries = {}
        try:
            for number, entry in enumerate(tar):
                if number == _MOST:
                    raise WeightsError(f"the archive {origin} holds more than {_MOST} files")
                _check_size(entry.offset_data + entry.size, origin)
                if not entry.isdir():
                    entries[entry.name] = entry
        except OSError as error:  # of the compressed stream
            raise _damaged(origin, error) from None
        entry = entries[_chosen(list(entries), member, origin)]
        found = tar.extractfile(entry) if entry.isfile() else None
        if found is None:
            raise WeightsError(f"{member} in the archive {origin} is no regular file and was refused")
        with found as content:
            yield content
        # tarfile stops at the mark of the archive's end; the checksum of a compressed one comes behind it
        while _read(stream, origin):
            pass


def _chosen(names: list[str], member: str, origin: str) -> str:
    """Return the one of the `names` in an archive that `member` means."""
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
            raise WeightsError(
                f"the archive {origin} holds '{name}', a path that leads outside, and was refused"
            )
    fitting = [name for name in names if name == member] or [
        name for name in names if PurePosixPath(name).name == member
    ]
    if len(fitting) != 1:
        shown = ", ".join((fitting or names)[:5]) + (", ..." if len(fitting or names) > 5 else "")
        what = f"{len(fitting)} files called" if fitting else "no file"
        raise WeightsError(f"the archive {origin} has {what} '{member}'; it holds {shown or 'nothing'}")
    return fitting[0]
