"""How the bytes of an address are downloaded, and an interrupted download resumed.

Proxies are those of the environment (`HTTPS_PROXY`, ...). Two pieces are joined only if the server's mark of the file
shows that they belong together, or if the hash of the whole will show it.
"""

from __future__ import annotations

import errno
import http.client
import json
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from smoothseg.errors import ConfigError, WeightsError
from smoothseg.files import read_json, write_atomically
from smoothseg.weights.sources import STATE, Source, loopback

__all__ = ["Progress", "forget", "transfer"]

Progress = Callable[[str, int, int | None], None]
"""`progress(name, done, total)`: the bytes downloaded so far, and the total, which may be unknown."""

_CHUNK = 1 << 20
_TRIES = 4
_TIMEOUT = 30.0
_PAUSE = 1.0
"""Seconds before the second try; doubled for each further one."""

_QUOTED = "/:?=&%+,;@!$'()*[]~"
"""Characters that stay unchanged in an address; other special ones are written as %XX."""


def transfer(source: Source, part: Path, progress: Progress | None) -> None:
    """Download the address of `source` to the file `part`, resuming an earlier download.

    Raises `WeightsError` if the download fails or has the wrong size. What arrived is kept if the next try can resume
    it.
    """
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
                raise source.absent(reason) from None
        except urllib.error.URLError as error:
            # without a connection now there will be none in a second
            raise source.absent(str(getattr(error.reason, "strerror", None) or error.reason)) from None
        except http.client.InvalidURL as error:
            raise ConfigError(f"{source.url} is no address: {error}") from None
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = str(error) or type(error).__name__
    else:
        if part.exists() and part.stat().st_size:
            reason += f"; {part.stat().st_size / 1e6:,.1f} MB are kept, and the next try goes on from there"
        raise source.absent(reason)
    got = part.stat().st_size
    if source.size is not None and got != source.size:
        forget(part)
        raise WeightsError(
            f"{source.url} should have {source.size} bytes, got {got}; the download was removed"
        )


def forget(part: Path) -> None:
    """Remove an unfinished or refused download."""
    part.unlink(missing_ok=True)
    part.with_name(STATE).unlink(missing_ok=True)


def _receive(source: Source, part: Path, progress: Progress | None) -> bool:
    """Resume (or start) the download in `part` until the connection ends; tell whether it is complete."""
    state = _state(part)
    validator = state.get("validator")
    have = part.stat().st_size if part.exists() else 0
    if have and validator is None and source.sha256 is None:
        have = 0  # nothing would show whether the two pieces belong to one file
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
        forget(part)  # what is there is no beginning of what the server has
        return False
    except ValueError as error:  # where a server leads to what is no address
        raise source.absent(str(error)) from None
    with response:
        mark = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if response.status == 206:
            start, total, end = _range(response.headers.get("Content-Range"))
            moved = None not in (mark, validator) and mark != validator
            grown = None not in (total, state.get("total")) and total != state["total"]
            if start != have or moved or grown:
                forget(part)  # the rest of another file than the one that was begun
                return False
        else:
            forget(part)
            have, end = 0, None
            length = response.headers.get("Content-Length")
            total = int(length) if length is not None and length.isdecimal() else None
        if source.size is not None and total is not None and total != source.size:
            forget(part)
            raise WeightsError(f"{source.url} should have {source.size} bytes, the server offers {total}")
        _check_space(source, (total or 0) - have)
        state = {"validator": None if mark is None or mark.startswith("W/") else mark, "total": total}
        write_atomically(part.with_name(STATE), json.dumps(state).encode())
        with part.open("ab" if have else "wb") as file:
            _copy(response, file, source.file, have, total, progress)
            done = file.tell()
    expected = total if total is not None else end
    return expected is None or done == expected


def _range(header: str | None) -> tuple[int | None, int | None, int | None]:
    """Return where the answer to a request for a range starts, the size of the whole, and where the answer ends."""
    found = re.fullmatch(r"\s*bytes\s+(\d+)-(\d+)/(\d+|\*)\s*", header or "")
    if found is None:
        return None, None, None
    return int(found[1]), None if found[3] == "*" else int(found[3]), int(found[2]) + 1


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to safe addresses, and to an unsafe one only with a hash."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def redirect_request(self, *given: Any) -> urllib.request.Request | None:
        """Return the request of the next hop, or raise `WeightsError` if it is not safe."""
        target = str(given[-1])
        address = urllib.parse.urlsplit(target)
        if address.scheme != "https" and self._source.sha256 is None and not loopback(address):
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
        stored = read_json(part.with_name(STATE))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _check_space(source: Source, needed: int) -> None:
    free = shutil.disk_usage(source.folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free")
