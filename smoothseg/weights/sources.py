"""Where a weight file comes from, how it is verified, and where it is in the cache.

    CACHE/weights/NAME-KEY/NAME         the file; KEY follows from the address
                           record.json  its hash, size and address
                           download.part, part.json   an unfinished download

CACHE is `SMOOTHSEG_CACHE`, else `smoothseg` in `XDG_CACHE_HOME`, else `~/.cache/smoothseg`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import urllib.parse
from pathlib import Path

from smoothseg.errors import ConfigError, WeightsError
from smoothseg.files import path_of

__all__ = ["PART", "RECORD", "RESERVED", "STATE", "Source", "cache", "hub_parts", "loopback", "split"]

RECORD, PART, STATE = "record.json", "download.part", "part.json"
RESERVED = (RECORD, PART, STATE)
"""Reserved names of files beside a download."""

_LONGEST = 150


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a file comes from and how it is verified.

    url: `https://...`, `hf://owner/name/file@revision`, or `http://` with a hash or from this machine.
    file: its name in the cache. member: if `url` is an archive, the path or name of the file in it; None if `url`
        is the file itself.
    sha256: of the content of `url`, 64 hexadecimal digits or at least the first 8; None if none is published.
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
        if self.url.startswith("hf://"):
            hub_parts(self.url)
        address = split(self.url)
        if address.scheme not in ("https", "http", "hf"):
            raise ConfigError(f"{self.url}: weights come from https:// or hf://, not {address.scheme}://")
        if address.scheme == "http" and self.sha256 is None and not loopback(address):
            raise ConfigError(
                f"{self.url}: http:// needs #sha256=..., for anyone on the way could change the file"
            )

    @classmethod
    def of(cls, reference: str) -> Source:
        """Return the source of `URL#sha256=...&member=...`, either or both or none of the two behind the `#`."""
        url, _, fragment = reference.partition("#")
        pairs = (piece.partition("=") for piece in fragment.split("&") if piece)
        given = {key: urllib.parse.unquote(value) for key, _, value in pairs}
        if unknown := sorted(set(given) - {"sha256", "member"}):
            raise ConfigError(f"{reference}: unknown '{unknown[0]}' behind #; it takes sha256 and member")
        sha256 = given.get("sha256")
        return cls.at(url, member=given.get("member"), sha256=None if sha256 is None else sha256.lower())

    @classmethod
    def at(
        cls, url: str, *, member: str | None = None, sha256: str | None = None, size: int | None = None
    ) -> Source:
        """Return the source at an address without `#`; its file is called as there, or as in the archive."""
        if "#" in url:
            raise ConfigError(
                f"{url}: an address without # is expected here; hash and member stand beside it"
            )
        path = (url.rpartition("@")[0] or url) if url.startswith("hf://") else split(url).path
        name = urllib.parse.unquote((member or path).rpartition("/")[2])
        return cls(url, _safe(name), member, sha256, size)

    @property
    def folder(self) -> Path:
        """The file's folder in the cache, a different one for each address."""
        key = hashlib.sha256(f"{self.url}#{self.member or ''}".encode()).hexdigest()[:12]
        return cache() / "weights" / f"{self.file}-{key}"

    @property
    def path(self) -> Path:
        """The path of the file in the cache, whether it exists or not."""
        return self.folder / self.file

    @property
    def told(self) -> str:
        """What to fetch and from where, for messages; a file on the hub by its address in a browser."""
        url = self.url
        if url.startswith("hf://"):
            repository, file, revision = hub_parts(url)
            url = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{file}"
        known = [] if self.size is None else [f"{self.size / 1e6:,.0f} MB"]
        known += [] if self.sha256 is None else [f"sha256 {self.sha256[:16]}..."]
        what = f"{url} ({', '.join(known)})" if known else url
        return f"{what} and take {self.member} out of it" if self.member else what

    def absent(self, reason: str) -> WeightsError:
        """Return the error for a missing file: why, what to fetch from where, and where to put it."""
        # A file alone does not show that it comes from an archive with the right hash.
        then = (
            f"put it at {self.path}" if None in (self.member, self.sha256) else "give its path with weights="
        )
        return WeightsError(
            f"{self.file} is not here and cannot be fetched ({reason}): get {self.told} and {then}"
        )


def cache() -> Path:
    """Return the folder for downloads: `SMOOTHSEG_CACHE`, else the user's own cache folder."""
    if chosen := os.environ.get("SMOOTHSEG_CACHE"):
        return path_of(chosen)
    return path_of(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "smoothseg"


def hub_parts(url: str) -> tuple[str, str, str | None]:
    """Return repository, file and revision of `hf://owner/name/file@revision`."""
    address, _, revision = url.removeprefix("hf://").partition("@")
    pieces = address.split("/", 2)
    if len(pieces) < 3 or not all(pieces):
        raise ConfigError(f"{url}: expected hf://owner/name/file@revision")
    return f"{pieces[0]}/{pieces[1]}", pieces[2], revision or None


def split(url: str) -> urllib.parse.SplitResult:
    """Return the parts of an address; raise `ConfigError` if it is none."""
    try:
        address = urllib.parse.urlsplit(url)
        if address.port == 0 or not address.netloc or any(ord(letter) <= 32 for letter in url):
            raise ValueError("it has no host, or blanks")
    except ValueError as error:
        raise ConfigError(f"{url} is no address: {error}") from None
    return address


def loopback(address: urllib.parse.SplitResult) -> bool:
    """Tell whether an address is on this machine."""
    return address.hostname in ("localhost", "127.0.0.1", "::1")


def _safe(name: str) -> str:
    """Return a file name without characters that are special to a file system or a shell."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[-_LONGEST:] or "weights"
    return f"file-{cleaned}" if cleaned in RESERVED else cleaned
