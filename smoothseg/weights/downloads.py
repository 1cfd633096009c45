"""From an address to a verified file in the cache.

A download is compared with its size and hash before it gets its name, so the cache never holds a partial file under
the file's name. If no hash is published, that of the first download is recorded beside the file and enforced from
then on. With `SMOOTHSEG_OFFLINE=1` nothing is ever fetched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import re
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smoothseg.errors import WeightsError
from smoothseg.files import read_json, replacing, sha256_of, write_atomically
from smoothseg.weights import archives
from smoothseg.weights.sources import PART, RECORD, RESERVED, Source, cache, hub_parts, split
from smoothseg.weights.transfer import Progress, forget, transfer

__all__ = ["Fetched", "fetch", "offline", "verify_cache"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's error numbers for a full disk, or for a file that must not grow further."""


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A local file and its sha256."""

    path: Path
    sha256: str


class _DamagedError(WeightsError):
    """A file in the cache is not the one that was recorded."""


def offline() -> bool:
    """Tell whether `SMOOTHSEG_OFFLINE` or Hugging Face's `HF_HUB_OFFLINE` forbids any download."""
    return any(
        os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
        for name in ("SMOOTHSEG_OFFLINE", "HF_HUB_OFFLINE")
    )


def fetch(source: Source, *, progress: Progress | None = None) -> Fetched:
    """Return the file of `source`, from the cache if it is there, otherwise from its address.

    progress: receives the progress of a download. A file that was put into the cache by hand is verified like a
    download if possible; the hash of an archive does not verify a file from it. Two processes that need the same file
    wait for each other. A file that is no longer what was recorded is put aside and fetched again.

    Raises `WeightsError` in one line if it cannot be fetched (with what to put where), if size or hash are not what
    they should be, or if the disk is full. The cache is then unchanged, except for a resumable partial download.
    """
    from filelock import FileLock

    if source.path.is_file() and (source.folder / RECORD).is_file():
        try:
            return _verified(source)  # also in a cache that only others may write
        except _DamagedError:
            if offline():
                raise
    with _explained(source):
        source.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(source.folder / ".lock"):
            if source.path.is_file():
                try:
                    return _verified(source)
                except _DamagedError as error:
                    if offline():
                        raise
                    _again(source, progress, error)
                    return _verified(source)
            if offline():
                raise source.absent("fetching is switched off")
            _get(source, progress)
            return _verified(source)


def _get(source: Source, progress: Progress | None) -> None:
    (_from_hub if source.url.startswith("hf://") else _download)(source, progress)


def _again(source: Source, progress: Progress | None, damaged: _DamagedError) -> None:
    """Fetch a file again in place of the damaged one, which stays under another name: someone may have changed it."""
    aside = source.path.with_name(f".{source.path.name}.damaged")
    aside.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not every file system has links
        os.link(source.path, aside)
    try:
        _get(source, progress)
    except WeightsError as error:
        raise WeightsError(f"{damaged}, and it cannot be fetched again: {error}") from None
    logging.getLogger("smoothseg").warning("%s: fetched again", damaged)


def verify_cache() -> Iterator[tuple[Path, str | None]]:
    """Yield every file in the cache with its fault, None if it has its known hash.

    Known are the hashes that were recorded, and those by which the Hugging Face hub names its large files.
    """
    for folder in sorted(path for path in cache().glob("weights/*") if path.is_dir()):
        try:
            stored = _read_record(folder)
        except WeightsError as error:
            yield folder, str(error)
            continue
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name in RESERVED or not path.is_file():
                continue
            digest = sha256_of(path)
            if stored is None:
                yield path, f"{path}: put there by hand and not used yet; sha256 {digest[:16]}..."
            else:
                same = digest == stored["sha256"]
                yield (
                    path,
                    None if same else f"{path}: sha256 {digest[:16]}..., recorded {stored['sha256'][:16]}...",
                )
    for path in sorted(cache().glob("huggingface/models--*/blobs/*")):
        if re.fullmatch(r"[0-9a-f]{64}", path.name):
            digest = sha256_of(path)
            yield path, None if digest == path.name else f"{path}: has sha256 {digest[:16]}..., not its name"


def _verified(source: Source) -> Fetched:
    """Return the file in the cache after verification; a file without a record gets one."""
    path = source.path
    digest = sha256_of(path)
    record = _read_record(source.folder)
    if record is not None and digest != record["sha256"]:
        raise _DamagedError(
            f"{path} has sha256 {digest[:16]}..., but {record['sha256'][:16]}... was recorded when it was first there"
        )
    given = digest if source.member is None else None if record is None else record["origin"]
    if source.sha256 is not None:
        if given is None:
            raise WeightsError(
                f"{path} was put there by hand: whether it is of {source.url} with sha256 {source.sha256[:16]}... "
                "cannot be told; give its path instead, or remove it to have it fetched"
            )
        _compare(source, given, f"{path}; remove it to fetch it again")
    if record is None:
        _record(source, digest, given)
    return Fetched(path, digest)


def _record(source: Source, digest: str, origin: str | None) -> None:
    """Record the hash of the file and that of its archive (its own hash if it has no archive)."""
    content = {
        "sha256": digest,
        "origin": origin,
        "size": source.path.stat().st_size,
        "url": source.url,
        "member": source.member,
    }
    write_atomically(source.folder / RECORD, (json.dumps(content, indent=1) + "\n").encode())


def _read_record(folder: Path) -> dict[str, Any] | None:
    """Return what is recorded of the file in `folder`, None if nothing is; `WeightsError` if it cannot be read."""
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        stored: dict[str, Any] = read_json(path)
        if not isinstance(stored["sha256"], str) or not isinstance(stored["origin"], str | None):
            raise ValueError("no hash in it")
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is damaged ({error}); remove it to have the file recorded anew") from None
    return stored


def _compare(source: Source, digest: str, what: str) -> None:
    if source.sha256 is not None and not digest.startswith(source.sha256):
        raise WeightsError(
            f"{source.url} should have sha256 {source.sha256[:16]}..., got {digest[:16]}... in {what}"
        )


def _download(source: Source, progress: Progress | None) -> None:
    """Fetch the address and put the file in its place."""
    part = source.folder / PART
    transfer(source, part, progress)
    try:
        _place(source, part)
    except WeightsError:
        forget(part)
        raise
    forget(part)


def _place(source: Source, got: Path) -> None:
    """Verify the download `got`, and give it, or the file requested from it, its name in the cache."""
    origin = sha256_of(got)
    _compare(source, origin, "the download, which was removed")
    with replacing(source.path) as temporary:
        if source.member is None:
            got.replace(temporary)
        else:
            archives.extract(got, source.member, temporary, origin=source.url)
        digest = origin if source.member is None else sha256_of(temporary)
        record = _read_record(source.folder)
        if record is not None and digest != record["sha256"]:
            raise WeightsError(
                f"{source.url} gave sha256 {digest[:16]}..., but {record['sha256'][:16]}... when it was first fetched; "
                f"the download was removed (remove {source.folder / RECORD} to accept the new file)"
            )
    _record(source, digest, origin)


def _from_hub(source: Source, progress: Progress | None) -> None:
    """Let huggingface-hub fetch the file into a folder of its own, and put it in its place.

    The hub's library shows its own progress and resumes an interrupted download.
    """
    import huggingface_hub.constants

    repository, file, revision = hub_parts(source.url)
    folder = source.folder / ".hub"
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of every try; what is told here is how it ended
    try:
        if not urllib.request.getproxies():  # the library would try for half a minute
            socket.getaddrinfo(split(huggingface_hub.constants.ENDPOINT).hostname, 443)
        found = huggingface_hub.hf_hub_download(repository, file, revision=revision, local_dir=folder)
    except Exception as error:
        # the hub's own, and those of an HTTP library that differs between its versions
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        told = getattr(error, "strerror", None) or str(error).strip()
        reason = next(iter(told.splitlines()), type(error).__name__)
        raise source.absent(reason) from None
    finally:
        logger.setLevel(level)
    try:
        _place(source, Path(found))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Turn the errors of a full or read-only disk into our one-line errors."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise WeightsError(
                f"{source.file} does not fit on the disk of {cache()}: {error.strerror or error}; make room or point "
                "SMOOTHSEG_CACHE elsewhere; what is there of a download is kept"
            ) from None
        if (
            isinstance(error, PermissionError | NotADirectoryError | FileExistsError)
            or error.errno == errno.EROFS
        ):
            raise WeightsError(
                f"the cache {cache()} cannot be written ({error.strerror or error}): point SMOOTHSEG_CACHE elsewhere"
            ) from None
        raise
