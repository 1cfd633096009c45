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
import logging
import os
import re
import shutil
import socket
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
_LONGEST = 150
_RECORD, _PART, _STATE = "record.json", "download.part", "part.json"
_OWN = (_RECORD, _PART, _STATE)
"""Names of files beside a downloaded one, which is never called so."""

_TRIES = 4
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_QUOTED = "/:?=&%+,;@!$'()*[]~"
"""What stays as it is in an address; anything else that is not plain is written as %XX."""

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
        address = _split(self.url)
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
        path = (url.rpartition("@")[0] or url) if url.startswith("hf://") else _split(url).path
        name = urllib.parse.unquote((given.get("member") or path).rpartition("/")[2])
        sha256 = given.get("sha256")
        return cls(url, _safe(name), given.get("member"), None if sha256 is None else sha256.lower())

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
        """What to fetch and from where, for messages; a file on the hub by the address a browser takes."""
        url = self.url
        if url.startswith("hf://"):
            repository, file, revision = _hub_parts(url)
            url = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{file}"
        known = [] if self.size is None else [f"{self.size / 1e6:,.0f} MB"]
        known += [] if self.sha256 is None else [f"sha256 {self.sha256[:16]}..."]
        what = f"{url} ({', '.join(known)})" if known else url
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

    progress: is told how far a download has come. A file that was put into the cache by hand is verified like a
    downloaded one, where that is possible: the hash of an archive says nothing about a file that was in it. Two
    processes that want the same file wait for each other.

    Raises `WeightsError` in one line if it cannot be fetched (with what to put where), if size or hash are not what
    they should be, or if the disk is full; the cache is then as it was, but for the part that can be gone on with.
    """
    from filelock import FileLock

    if source.path.is_file() and (source.folder / _RECORD).is_file():
        return _verified(source)  # also in a cache that only others may write
    with _explained(source):
        source.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(source.folder / ".lock"):
            if source.path.is_file():
                return _verified(source)
            if offline():
                raise _absent(source, "fetching is switched off")
            (_from_hub if source.url.startswith("hf://") else _download)(source, progress)
            return _verified(source)


def verify_cache() -> Iterator[tuple[Path, str | None]]:
    """Give every file in the cache with what is wrong with it, None if it has the hash that is known of it.

    Known are the hashes that were recorded, and those by which the Hugging Face hub names its large files.
    """
    for folder in sorted(path for path in cache().glob("weights/*") if path.is_dir()):
        stored = _read_record(folder)
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name in _OWN or not path.is_file():
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
    """Return the file in the cache, compared with what is known of it; a file without a record gets one."""
    path = source.path
    digest = sha256_of(path)
    record = _read_record(source.folder)
    if record is not None and digest != record["sha256"]:
        raise WeightsError(
            f"{path} has sha256 {digest[:16]}..., but {record['sha256'][:16]}... was recorded when it was first there; "
            "remove the file to fetch it again"
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
    """Keep the hash of the file, and that of the archive it came from (of itself if it came from none)."""
    content = {
        "sha256": digest,
        "origin": origin,
        "size": source.path.stat().st_size,
        "url": source.url,
        "member": source.member,
    }
    write_atomically(source.folder / _RECORD, (json.dumps(content, indent=1) + "\n").encode())


def _read_record(folder: Path) -> dict[str, Any] | None:
    """Return what is recorded of the file in `folder`, None if nothing is; `WeightsError` if it cannot be read."""
    path = folder / _RECORD
    if not path.exists():
        return None
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
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
    """Fetch what is at the address, going on where an earlier try broke off, and put the file in its place."""
    part = source.folder / _PART
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
        except http.client.InvalidURL as error:
            raise ConfigError(f"{source.url} is no address: {error}") from None
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = str(error) or type(error).__name__
    else:
        if part.exists() and part.stat().st_size:
            reason += f"; {part.stat().st_size / 1e6:,.1f} MB are kept, and the next try goes on from there"
        raise _absent(source, reason)
    try:
        if source.size is not None and part.stat().st_size != source.size:
            raise WeightsError(
                f"{source.url} should have {source.size} bytes, got {part.stat().st_size}; the download was removed"
            )
        _place(source, part)
    except WeightsError:
        _forget(part)
        raise
    _forget(part)


def _place(source: Source, got: Path) -> None:
    """Verify what was fetched, `got`, and give it, or the file wanted out of it, its name in the cache."""
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
                f"the download was removed (remove {source.folder / _RECORD} to accept the new file)"
            )
    _record(source, digest, origin)


def _receive(source: Source, part: Path, progress: Progress | None) -> bool:
    """Go on with the download in `part` (or start it) until the connection ends; tell whether it is complete."""
    state = _state(part)
    validator = state.get("validator")
    have = part.stat().st_size if part.exists() else 0
    if have and validator is None and source.sha256 is None:
        have = 0  # nothing would tell whether the two pieces are of one file
    if have and have == (source.size or state.get("total")):
        return True
    request = urllib.request.Request(
        urllib.parse.quote(source.url, safe=_QUOTED),
        headers={"User-Agent": "smoothseg", "Accept-Encoding": "identity"},
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
        if validator is not None:
            request.add_header("If-Range", validator)
    try:
        response = urllib.request.build_opener(_Redirects(source)).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        _forget(part)  # what is there is no beginning of what the server has
        return False
    with response:
        if response.status == 206:
            start, total = _range(response.headers.get("Content-Range"))
            if start != have:
                _forget(part)
                return False
        else:
            have = 0
            length = response.headers.get("Content-Length")
            total = int(length) if length is not None and length.isdecimal() else None
        if source.size is not None and total is not None and total != source.size:
            _forget(part)
            raise WeightsError(f"{source.url} should have {source.size} bytes, the server offers {total}")
        _check_space(source, (total or 0) - have)
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if validator is not None and validator.startswith("W/"):
            validator = None
        state = {"validator": validator, "total": total}
        write_atomically(part.with_name(_STATE), json.dumps(state).encode())
        with part.open("ab" if have else "wb") as file:
            _copy(response, file, source.file, have, total, progress)
            done = file.tell()
    return total is None or done == total


def _range(header: str | None) -> tuple[int | None, int | None]:
    """Return where the answer to a request for a range starts, and the size of the whole, as its header says."""
    found = re.fullmatch(r"\s*bytes\s+(\d+)-\d+/(\d+|\*)\s*", header or "")
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server from one safe address to another; only with a hash to an unsafe one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def redirect_request(self, *given: Any) -> urllib.request.Request | None:
        """Return the request of the next hop, or raise `WeightsError` if it is not safe."""
        target = str(given[-1])
        address = urllib.parse.urlsplit(target)
        if address.scheme != "https" and self._source.sha256 is None and not _loopback(address):
            raise WeightsError(
                f"{self._source.url} leads to {target}, which is not https and has no hash to check it by"
            )
        return super().redirect_request(*given)


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


def _state(part: Path) -> dict[str, Any]:
    """Return what is known of the file that `part` is the beginning of: the server's mark of it and its size."""
    try:
        stored = json.loads(part.with_name(_STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(_STATE).unlink(missing_ok=True)


def _check_space(source: Source, needed: int) -> None:
    free = shutil.disk_usage(source.folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free")


def _from_hub(source: Source, progress: Progress | None) -> None:
    """Let huggingface-hub fetch the file into a folder of its own, and put it in its place.

    The hub's library shows its own progress, and goes on with a download that broke off.
    """
    import huggingface_hub

    repository, file, revision = _hub_parts(source.url)
    folder = source.folder / ".hub"
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of every try; what is told here is how it ended
    try:
        if not urllib.request.getproxies():  # the library would try for half a minute
            socket.getaddrinfo(_split(huggingface_hub.constants.ENDPOINT).hostname, 443)
        found = huggingface_hub.hf_hub_download(repository, file, revision=revision, local_dir=folder)
    except Exception as error:
        # the hub's own, and those of an HTTP library that differs between its versions
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        told = getattr(error, "strerror", None) or str(error).strip()
        reason = next(iter(told.splitlines()), type(error).__name__)
        raise _absent(source, reason) from None
    finally:
        logger.setLevel(level)
    try:
        _place(source, Path(found))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hub_parts(url: str) -> tuple[str, str, str | None]:
    """Return repository, file and revision of `hf://owner/name/file@revision`."""
    address, _, revision = url.removeprefix("hf://").partition("@")
    pieces = address.split("/", 2)
    if len(pieces) < 3 or not all(pieces):
        raise ConfigError(f"{url}: expected hf://owner/name/file@revision")
    return f"{pieces[0]}/{pieces[1]}", pieces[2], revision or None


def _absent(source: Source, reason: str) -> WeightsError:
    return WeightsError(
        f"{source.file} is not here and cannot be fetched ({reason}): get {source.told} and put it at "
        f"{source.path}"
    )


@contextlib.contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Turn the errors of a disk that is full or cannot be written into ours, of one line."""
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


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        address = urllib.parse.urlsplit(url)
        if address.port == 0 or not address.netloc or any(ord(letter) <= 32 for letter in url):
            raise ValueError("it has no host, or blanks")
    except ValueError as error:
        raise ConfigError(f"{url} is no address: {error}") from None
    return address


def _loopback(address: urllib.parse.SplitResult) -> bool:
    return address.hostname in ("localhost", "127.0.0.1", "::1")


def _safe(name: str) -> str:
    """Return a file name without what a file system or a shell might take for more than a letter."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[-_LONGEST:] or "weights"
    return f"file-{cleaned}" if cleaned in _OWN else cleaned
