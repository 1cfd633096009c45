"""How the one file wanted is taken out of a tar or zip archive, and nothing else.

No name in the archive is ever used as a path. An archive with a name that leads outside of it was not made in good
faith, and is refused whole.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from smoothseg.errors import WeightsError

__all__ = ["extract"]


def extract(archive: Path, member: str, target: Path, *, origin: str) -> None:
    """Write the file `member` of a tar (also compressed) or zip archive to `target`.

    member: its path in the archive, or its name if only one file has it. origin: the archive's name in messages.

    Raises `WeightsError` if the archive is damaged or neither of the two, if it has no such file or several, if that
    is no regular file, or if any name in it is absolute or leads outside with `..`.
    """
    try:
        with _opened(archive, member, origin) as content, target.open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise WeightsError(f"the archive {origin} is damaged: {str(error) or 'it ends too early'}") from None


@contextlib.contextmanager
def _opened(archive: Path, member: str, origin: str) -> Iterator[IO[bytes]]:
    """Give the content of the one file wanted."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            files = {entry.filename: entry for entry in packed.infolist() if not entry.is_dir()}
            with packed.open(files[_chosen(list(files), member, origin)]) as content:
                yield content
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            entries = {entry.name: entry for entry in tar if not entry.isdir()}
            entry = entries[_chosen(list(entries), member, origin)]
            found = tar.extractfile(entry) if entry.isfile() else None
            if found is None:
                raise WeightsError(f"{member} in the archive {origin} is no regular file and was refused")
            with found as content:
                yield content
    else:
        raise WeightsError(f"{origin} is neither a tar nor a zip archive, or is damaged")


def _chosen(names: list[str], member: str, origin: str) -> str:
    """Return which of the `names` in an archive is meant by `member`."""
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
