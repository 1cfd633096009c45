"""From an address to a verified file in the cache.

A download goes on where it broke off, is compared with its size and hash, and takes its name only then: the cache
never holds a part of a file under the file's name. Where no hash is published, that of the first download is recorded
beside the file and enforced from then on.

    CACHE/weights/NAME-KEY/NAME         the file; KEY follows from the address
                           record.json  its hash, size and address
                           download.part, part.json   an unfinished download

CACHE is `SMOOTHSEG_CACHE`, else `smoothseg` in `XDG_CACHE_HOME`, else `~/.cache/smoothseg`. Proxies are those of the
environment (`HTTPS_PROXY`, ...). With `SMOOTHSEG_OFFLINE=1` nothing is ever fetched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from smoothseg import archives
from smoothseg.errors import ConfigError, WeightsError
from smoothseg.files import replacing, write_atomically

__all__ = ["Fetched", "Progress", "Source", "cache", "fetch", "offline", "sha256_of", "verify_cache"]

Progress = Callable[[str, int, int | None], None]
"""`progress(name, done, total)`: so many bytes of a download are there, of a total that may be unknown."""

_CHUNK = 1 << 20
_TRIES = 4
_TIMEOUT = 30.0
_PAUSE = 1.0
"""Seconds before the second try; doubled for each further one."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a file comes from and how it is known to be the right one.

    url: `https://...`, `hf://owner/name/file@revision`, or `http://` with a hash or from this machine.
    file: its name in the cache. member: the file wanted of an archive that `url` is, by path or name; None if `url`
        is the file itself.
    sha256: of what `url` gives, 64 hexadecimal digits or their first 8 and more; None where none is published.
    size: its bytes, or None.
    """

    url: str
    file: str
    member: str | None = None
    sha256: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{8,64}", self.sha256):
            raise ConfigError(f"{self.url}: sha256 must be 8 to 64 hexadecimal digits, got '{self.sha256}'")
        address = urllib.parse.urlsplit(self.url)
        if address.scheme not in ("https", "http", "hf"):
            raise ConfigError(f"{self.url}: weights come from https:// or hf://, not {address.scheme}://")
        if address.scheme == "http" and self.sha256 is None and not _loopback(address):
            raise ConfigError(
                f"{self.url}: http:// needs #sha256=..., for anyone on the way could change the file"
            )

    @classmethod
    def of(cls, reference: str) -> Source:
        """Return the source of `URL#sha256=...&member=...`, either or both or none of the two behind the `#`."""
        url, _, fragment = reference.partition("#")
        given = dict(urllib.parse.parse_qsl(fragment, keep_blank_values=True))
        if unknown := sorted(set(given) - {"sha256", "member"}):
            raise ConfigError(f"{reference}: unknown '{unknown[0]}' behind #; it takes sha256 and member")
        path = url.rpartition("@")[0] or url if url.startswith("hf://") else urllib.parse.urlsplit(url).path
        name = urllib.parse.unquote(path.rpartition("/")[2])
        member = given.get("member")
        return cls(url, _safe(member.rpartition("/")[2] if member else name), member, given.get("sha256"))

    @property
    def folder(self) -> Path:
        """Where in the cache the file lies; of another address it lies elsewhere."""
        key = hashlib.sha256(f"{self.url}#{self.member or ''}".encode()).hexdigest()[:12]
        return cache() / "weights" / f"{self.file}-{key}"

    @property
    def path(self) -> Path:
        """The file in the cache, there or not."""
        return self.folder / self.file

    @property
    def told(self) -> str:
        """What to fetch and from where, for messages."""
        known = [] if self.size is None else [f"{self.size / 1e6:,.0f} MB"]
        known += [] if self.sha256 is None else [f"sha256 {self.sha256[:16]}..."]
        what = f"{self.url} ({', '.join(known)})" if known else self.url
        return f"{what} and take {self.member} out of it" if self.member else what


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A file that is there, and its sha256."""

    path: Path
    sha256: str


def cache() -> Path:
    """Return the folder for what is downloaded: `SMOOTHSEG_CACHE`, else the user's own cache folder."""
    if chosen := os.environ.get("SMOOTHSEG_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "smoothseg"


def offline() -> bool:
    """Tell whether `SMOOTHSEG_OFFLINE` or Hugging Face's `HF_HUB_OFFLINE` forbids to fetch anything."""
    return any(
        os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
        for name in ("SMOOTHSEG_OFFLINE", "HF_HUB_OFFLINE")
    )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(source: Source, *, progress: Progress | None = None) -> Fetched:
    """Return the file of `source`, from the cache or, if it is not there yet, from its address.

    progress: is told how far a download has come. A file that was put into the cache by hand is taken like a
    downloaded one. Two processes that want the same file wait for each other.

    Raises `WeightsError` in one line if it cannot be fetched (with what to put where), if size or hash are not what
    they should be, or if the disk is full; the cache is then as it was, but for the part that can be gone on with.
    """
    from filelock import FileLock

    path = source.path
    with _full_disk(source), _writable(source):
        source.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(source.folder / ".lock"):
            if not path.is_file():
                if offline():
                    raise _absent(source, "fetching is switched off")
                if source.url.startswith("hf://"):
                    _from_hub(source)
                else:
                    _download(source, progress)
            return _recorded(source)


def verify_cache() -> Iterator[tuple[Path, str | None]]:
    """Give every file in the cache with what is wrong with it, None if it has the hash that was recorded for it."""
    for record in sorted(cache().glob("weights/*/record.json")):
        stored = json.loads(record.read_text(encoding="utf-8"))
        for path in sorted(record.parent.iterdir()):
            if path.name.startswith(".") or path.name in ("record.json", "download.part", "part.json"):
                continue
            digest = sha256_of(path)
            same = digest == stored["sha256"]
            yield (
                path,
                None if same else f"{path}: sha256 {digest[:16]}..., recorded {stored['sha256'][:16]}...",
            )


def _recorded(source: Source) -> Fetched:
    """Return the file in the cache, compared with its record; a file without a record gets one."""
    path, record = source.path, source.folder / "record.json"
    digest = sha256_of(path)
    if record.exists():
        wanted = str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
        if digest != wanted:
            raise WeightsError(
                f"{path} has sha256 {digest[:16]}..., but {wanted[:16]}... was recorded when it was first there; "
                "remove the file to fetch it again"
            )
    if source.member is None:
        _compare(source, digest, f"{path}; remove it to fetch it again")
    if not record.exists():
        _record(source, digest)
    return Fetched(path, digest)


def _record(source: Source, digest: str) -> None:
    content = {
        "sha256": digest,
        "size": source.path.stat().st_size,
        "url": source.url,
        "member": source.member,
    }
    write_atomically(source.folder / "record.json", (json.dumps(content, indent=1) + "\n").encode())


def _compare(source: Source, digest: str, what: str) -> None:
    if source.sha256 is not None and not digest.startswith(source.sha256):
        raise WeightsError(
            f"{source.url} should have sha256 {source.sha256[:16]}..., got {digest[:16]}... in {what}"
        )


def _download(source: Source, progress: Progress | None) -> None:
    """Fetch, verify and unpack `source`; its file takes its name last."""
    part = source.folder / "download.part"
    reason = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE * 2 ** (attempt - 1))
        try:
            if _receive(source, part, progress):
                break
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code not in (408, 429):
                raise _absent(source, reason) from None
        except urllib.error.URLError as error:
            # there is no connection now, and so there will be none in a second
            raise _absent(source, str(getattr(error.reason, "strerror", None) or error.reason)) from None
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = str(error) or type(error).__name__
    else:
        kept = part.stat().st_size / 1e6 if part.exists() else 0.0
        raise _absent(source, f"{reason}; {kept:,.1f} MB are kept, and the next try goes on from there")
    digest = sha256_of(part)
    size = part.stat().st_size
    try:
        if source.size is not None and size != source.size:
            raise WeightsError(
                f"{source.url} should have {source.size} bytes, got {size}; the download was removed"
            )
        _compare(source, digest, "the download, which was removed")
        if source.member is None:
            _check_record(source, digest)
            with part.open("r+b") as file:
                os.fsync(file.fileno())
            part.replace(source.path)
        else:
            with replacing(source.path) as temporary:
                archives.extract(part, source.member, temporary, origin=source.url)
                _check_record(source, sha256_of(temporary))
    except WeightsError:
        _forget(part)
        raise
    _forget(part)


def _check_record(source: Source, digest: str) -> None:
    """Refuse a file that is another than the one first fetched from the same address."""
    record = source.folder / "record.json"
    if record.exists():
        wanted = str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
        if digest != wanted:
            raise WeightsError(
                f"{source.url} gave sha256 {digest[:16]}..., but {wanted[:16]}... when it was first fetched; the "
                f"download was removed (remove {record} to accept the new file)"
            )


def _receive(source: Source, part: Path, progress: Progress | None) -> bool:
    """Go on with the download in `part` (or start it) until the connection ends; tell whether it is complete."""
    validator = _validator(part)
    have = part.stat().st_size if part.exists() else 0
    if have and validator is None and source.sha256 is None:
        have = 0  # nothing would tell whether the two pieces are of one file
    if have and have == source.size:
        return True
    request = urllib.request.Request(
        source.url, headers={"User-Agent": "smoothseg", "Accept-Encoding": "identity"}
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
        if validator is not None:
            request.add_header("If-Range", validator)
    try:
        response = urllib.request.build_opener().open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        _forget(part)  # what is there is no beginning of what the server has
        return False
    with response:
        _check_address(source, response.geturl())
        if response.status != 206:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        if None not in (source.size, total) and total != source.size:
            _forget(part)
            raise WeightsError(f"{source.url} should have {source.size} bytes, the server offers {total}")
        _check_space(source, (total or 0) - have)
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if validator is not None and validator.startswith("W/"):
            validator = None
        write_atomically(part.with_name("part.json"), json.dumps({"validator": validator}).encode())
        with part.open("ab" if have else "wb") as file:
            _copy(response, file, source.file, have, total, progress)
            done = file.tell()
    return total is None or done == total


def _copy(
    response: IO[bytes], file: IO[bytes], name: str, done: int, total: int | None, progress: Progress | None
) -> None:
    if progress is not None:
        progress(name, done, total)
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(name, done, total)
    file.flush()


def _validator(part: Path) -> str | None:
    """Return what tells whether the server still has the file that `part` is the beginning of."""
    try:
        stored: dict[str, Any] = json.loads(part.with_name("part.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored.get("validator")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name("part.json").unlink(missing_ok=True)


def _check_address(source: Source, final: str) -> None:
    """Refuse to be led from a safe address to an unsafe one."""
    address = urllib.parse.urlsplit(final)
    if address.scheme != "https" and source.sha256 is None and not _loopback(address):
        raise WeightsError(
            f"{source.url} leads to {final}, which is not https and has no hash to check it by"
        )


def _check_space(source: Source, needed: int) -> None:
    free = shutil.disk_usage(source.folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free")


def _from_hub(source: Source) -> None:
    """Let huggingface-hub fetch the file into its own cache, and link or copy it to its place."""
    import huggingface_hub

    address = source.url.removeprefix("hf://")
    address, _, revision = address.partition("@")
    pieces = address.split("/", 2)
    if len(pieces) < 3 or not all(pieces):
        raise ConfigError(f"{source.url}: expected hf://owner/name/file@revision")
    try:
        found = Path(
            huggingface_hub.hf_hub_download(
                f"{pieces[0]}/{pieces[1]}",
                pieces[2],
                revision=revision or None,
                cache_dir=cache() / "huggingface",
            )
        )
    except (
        Exception
    ) as error:  # the hub's own, and those of an HTTP library that differs between its versions
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise _absent(source, reason) from None
    digest = sha256_of(found)
    _compare(source, digest, str(found))
    _check_record(source, digest)
    with replacing(source.path) as temporary:
        try:
            os.link(found.resolve(), temporary)
        except OSError:
            shutil.copyfile(found, temporary)


def _absent(source: Source, reason: str) -> WeightsError:
    return WeightsError(
        f"{source.file} is not here and cannot be fetched ({reason}): get {source.told} and put it at "
        f"{source.path}"
    )


@contextlib.contextmanager
def _full_disk(source: Source) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise WeightsError(
            f"{source.file} does not fit on the disk of {cache()}: {error.strerror or error}; make room or point "
            "SMOOTHSEG_CACHE elsewhere, and the download goes on"
        ) from None


@contextlib.contextmanager
def _writable(source: Source) -> Iterator[None]:
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise WeightsError(
            f"the cache {cache()} cannot be written ({error.strerror or error}): point SMOOTHSEG_CACHE elsewhere"
        ) from None


def _loopback(address: urllib.parse.SplitResult) -> bool:
    return address.hostname in ("localhost", "127.0.0.1", "::1")


def _safe(name: str) -> str:
    """Return a file name without what a file system or a shell might take for more than a letter."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")
    return cleaned or "weights"
