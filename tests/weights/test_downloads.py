"""What a download survives, what it refuses, and that the cache never holds half a file; against a local server."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from smoothseg import ConfigError, WeightsError
from smoothseg.weights import downloads, transfer
from smoothseg.weights.downloads import fetch
from smoothseg.weights.sources import Source, cache

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


NOISE = np.random.Generator(np.random.Philox(5)).bytes(9000)
"""What no archive makes smaller, the same in every process."""


class Server:
    """An HTTP server of `files` on this machine, whose behaviour a test can spoil.

    requests: (path, range) of each. cut: bytes after which the next connections break off, one a connection. status:
    what the next connections answer instead. etag: None sends none. ranges: whether ranges are honoured. most: bytes
    a range has at most. shift: bytes by which a range starts elsewhere. location: leads elsewhere.
    """

    def __init__(self):
        self.files, self.requests, self.cut, self.status = {}, [], [], []
        self.etag, self.ranges, self.length, self.location = '"one"', True, True, None
        self.most, self.shift = None, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *arguments: (
            None
        )  # a client that hung up is what some tests are about
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, handler):
        wanted, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
        self.requests.append((handler.path, wanted))
        if self.status:
            handler.send_error(self.status.pop(0))
            return
        if self.location and "invalid" not in handler.path:
            handler.send_response(302)
            handler.send_header("Location", self.location)
            handler.end_headers()
            return
        content = self.files.get(handler.path.rpartition("/")[2].partition("?")[0])
        if content is None:
            handler.send_error(404)
            return
        start = 0
        if wanted and self.ranges and condition in (None, self.etag):
            start = int(wanted.removeprefix("bytes=").rstrip("-")) + self.shift
            if start >= len(content):
                handler.send_error(416)
                return
        stop = len(content) if not start or self.most is None else min(len(content), start + self.most)
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        if self.length:
            handler.send_header("Content-Length", str(stop - start))
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        end = start + self.cut.pop(0) if self.cut else stop
        handler.wfile.write(content[start:end])
        handler.close_connection = True

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    made.files["w.pth"] = CONTENT
    yield made
    made.close()


@pytest.fixture
def source(server):
    return Source.of(f"{server.url}/w.pth#sha256={SHA256}")


def held(source):
    """The names in the source's folder of the cache, without the lock."""
    return sorted(path.name for path in source.folder.iterdir() if path.name != ".lock")


# ---- references


def test_a_reference_names_address_hash_and_member():
    source = Source.of("https://host/a/models.tar.gz#sha256=0123456789abcdef&member=deep/x.pth")
    assert source == Source(
        "https://host/a/models.tar.gz", "x.pth", member="deep/x.pth", sha256="0123456789abcdef"
    )
    assert Source.of("hf://owner/name/folder/model.safetensors@v1").file == "model.safetensors"
    assert Source.of("https://host/a%20b/w%2Fe.pth?x=1").file == "w-e.pth"
    assert Source.of("https://host/m.tar#member=a+b%26c.pth").member == "a+b&c.pth"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("ftp://host/w.pth", "https:// or hf://, not ftp://"),
        ("http://host/w.pth", "http:// needs #sha256="),
        ("https://host/w.pth#sha256=xyz", "8 to 64 hexadecimal digits"),
        ("https://host/w.pth#md5=0123", "unknown 'md5' behind #"),
        ("hf://owner/w.pth", "expected hf://owner/name/file@revision"),
        ("https://[bad/w.pth", "is no address"),
        ("https:///w.pth", "is no address"),
        ("https://host/a b.pth", "is no address: it has no host, or blanks"),
        ("https://host:port/w.pth", "is no address"),
    ],
)
def test_a_reference_that_cannot_be_used_says_why(reference, message):
    with pytest.raises(ConfigError, match=message):
        fetch(Source.of(reference))


def test_a_hash_may_be_written_in_capitals_and_a_name_may_be_anything():
    assert Source.of("https://host/w.pth#sha256=0123ABCD").sha256 == "0123abcd"
    assert Source.of("https://host/record.json").file == "file-record.json"
    assert len(Source.of(f"https://host/{'x' * 400}.pth").file) == 150


def test_an_address_with_letters_of_any_language_is_fetched(server):
    server.files["gr%C3%BC%C3%9Fe.pth"] = CONTENT
    assert fetch(Source.of(f"{server.url}/grüße.pth")).sha256 == SHA256


def test_no_two_addresses_share_a_place_in_the_cache():
    urls = ("https://a/w.pth", "https://b/w.pth", "https://a/w.pth#member=w.pth")
    assert len({Source.of(url).path for url in urls}) == 3


# ---- fetching


def test_a_file_is_fetched_once_and_verified(server, source):
    told = []
    found = fetch(source, progress=lambda *step: told.append(step))
    assert found.path.read_bytes() == CONTENT
    assert found.sha256 == SHA256
    assert told[0] == ("w.pth", 0, len(CONTENT))
    assert told[-1] == ("w.pth", len(CONTENT), len(CONTENT))
    assert fetch(source) == found
    assert len(server.requests) == 1
    assert held(source) == ["record.json", "w.pth"]


def test_a_broken_connection_goes_on_where_it_broke_off(server, source):
    server.cut = [300_000, 400_000]
    assert fetch(source).path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-", "bytes=700000-"]


def test_a_download_that_keeps_breaking_off_is_kept_and_gone_on_with_by_the_next_try(server, source):
    server.cut = [100_000] * 4
    with pytest.raises(WeightsError, match=r"broke off; 0\.4 MB are kept, and the next try goes on"):
        fetch(source)
    assert held(source) == ["download.part", "part.json"]
    assert fetch(source).path.read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=400000-"


def test_a_file_that_changed_on_the_server_is_fetched_from_its_beginning(server, source):
    server.cut = [100_000] * 4
    with pytest.raises(WeightsError):
        fetch(source)
    server.etag = '"two"'
    assert fetch(source).path.read_bytes() == CONTENT


def test_a_server_without_ranges_is_asked_for_all_of_it_again(server, source):
    server.cut, server.ranges = [300_000], False
    assert fetch(source).path.read_bytes() == CONTENT


def test_a_range_that_is_answered_in_part_is_asked_for_further(server):
    server.cut, server.most = [300_000], 400_000
    assert fetch(Source.of(f"{server.url}/w.pth")).path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-", "bytes=700000-"]


def test_a_range_that_starts_elsewhere_is_not_put_behind_what_is_there(server, source):
    server.cut, server.shift = [300_000], -1000
    assert fetch(source).path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-", None]


@pytest.mark.parametrize("change", ["etag", "length"])
def test_the_rest_of_another_file_is_not_put_behind_what_is_there(server, change):
    """A server that takes no notice of If-Range."""
    source = Source.of(f"{server.url}/w.pth")
    server.cut = [300_000]
    other = bytes(reversed(CONTENT)) + (b"" if change == "etag" else b"more")
    answer = server.answer

    def careless(handler):
        if len(server.requests) == 1:
            server.files["w.pth"] = other
            server.etag = '"two"' if change == "etag" else server.etag
            del handler.headers["If-Range"]
        answer(handler)

    server.answer = careless
    assert fetch(source).path.read_bytes() == other
    assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-", None]


def test_an_interrupt_before_the_first_byte_leaves_no_old_part_under_a_new_mark(server, source, monkeypatch):
    server.cut = [100_000] * 4
    with pytest.raises(WeightsError):
        fetch(source)
    server.etag = '"two"'

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(source)
    assert (source.folder / "download.part").stat().st_size == 0
    assert fetch(source).path.read_bytes() == CONTENT


def test_an_address_that_leads_to_none_is_an_error_of_one_line(server):
    server.location = "https://[bad/x"
    with pytest.raises(WeightsError, match="cannot be fetched"):
        fetch(Source.of(f"{server.url}/w.pth"))


def test_without_hash_and_without_etag_two_pieces_are_never_put_together(server):
    server.cut, server.etag = [300_000], None
    assert fetch(Source.of(f"{server.url}/w.pth")).path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, None]


def test_a_part_longer_than_the_file_is_thrown_away(server, source):
    source.folder.mkdir(parents=True)
    (source.folder / "download.part").write_bytes(CONTENT + b"more")
    assert fetch(source).path.read_bytes() == CONTENT


def test_a_server_that_is_busy_for_a_while_is_asked_again(server, source):
    server.status = [503, 429, 500]
    assert fetch(source).path.read_bytes() == CONTENT


def test_a_file_that_is_not_there_says_what_to_fetch_from_where_and_where_to_put_it(server):
    source = Source.of(f"{server.url}/absent.pth#sha256={SHA256}")
    with pytest.raises(WeightsError) as error:
        fetch(source)
    assert "\n" not in str(error.value)
    for part in ("answers 404", source.url, SHA256[:16], str(source.path)):
        assert part in str(error.value)
    assert len(server.requests) == 1


def test_a_file_put_into_the_cache_by_hand_is_taken(server, source):
    source.folder.mkdir(parents=True)
    source.path.write_bytes(CONTENT)
    assert fetch(source).sha256 == SHA256
    assert server.requests == []


@pytest.mark.parametrize("switch", ["SMOOTHSEG_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_fetched_and_what_is_here_is_used(server, source, switch, monkeypatch):
    monkeypatch.setenv(switch, "1")
    with pytest.raises(WeightsError, match=r"w\.pth is not here.*switched off.*put it at"):
        fetch(source)
    with pytest.raises(WeightsError, match="switched off"):
        fetch(Source.of("hf://owner/name/w.pth"))
    assert server.requests == []
    monkeypatch.delenv(switch)
    fetch(source)
    monkeypatch.setenv(switch, "1")
    assert fetch(source).sha256 == SHA256


def test_without_a_network_the_error_comes_at_once(monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSE", 1e6)
    server = Server()
    server.close()
    with pytest.raises(WeightsError, match=r"cannot be fetched \(Connection refused\): get http"):
        fetch(Source.of(f"{server.url}/w.pth"))


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    source = Source.of(f"http://weights.invalid/w.pth#sha256={SHA256}")
    assert fetch(source).sha256 == SHA256
    assert server.requests == [("http://weights.invalid/w.pth", None)]


def test_an_unsafe_redirect_is_refused_without_a_hash_to_check_by(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)  # answers for any host
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    other = Server()
    try:
        other.location = "http://elsewhere.invalid/w.pth"
        with pytest.raises(
            WeightsError, match=r"leads to http://elsewhere\.invalid/w\.pth, which is not https"
        ):
            fetch(Source.of(f"{other.url}/w.pth"))
        assert fetch(Source.of(f"{other.url}/w.pth#sha256={SHA256}")).sha256 == SHA256
        assert len(server.requests) == 1  # the first was refused before it was made
    finally:
        other.close()


# ---- hashes


def test_a_wrong_hash_is_refused_and_leaves_nothing(server):
    source = Source.of(f"{server.url}/w.pth#sha256={'0' * 64}")
    with pytest.raises(WeightsError, match=rf"should have sha256 0000.*got {SHA256[:16]}"):
        fetch(source)
    assert held(source) == []


def test_the_first_digits_of_a_hash_are_enough(server):
    assert fetch(Source.of(f"{server.url}/w.pth#sha256={SHA256[:8]}")).sha256 == SHA256
    with pytest.raises(WeightsError, match="should have sha256 ffffffff"):
        fetch(Source.of(f"{server.url}/w.pth?other#sha256=ffffffff"))


def test_a_wrong_size_is_refused(server):
    plain = Source.of(f"{server.url}/w.pth")
    with pytest.raises(WeightsError, match=f"should have 5 bytes, the server offers {len(CONTENT)}"):
        fetch(Source(plain.url, plain.file, size=5))
    server.length = False  # the server does not say, so the whole is fetched first
    with pytest.raises(WeightsError, match=rf"should have {len(CONTENT) + 1} bytes"):
        fetch(Source(plain.url, plain.file, size=len(CONTENT) + 1))
    assert held(plain) == []


def test_the_hash_of_a_first_download_is_enforced_from_then_on(server):
    source = Source.of(f"{server.url}/w.pth")
    fetch(source)
    server.files["w.pth"] = b"another file"
    source.path.unlink()
    with pytest.raises(WeightsError, match=rf"{SHA256[:16]}... when it was first fetched.*record\.json"):
        fetch(source)
    assert held(source) == ["record.json"]
    server.files["w.pth"] = CONTENT
    assert fetch(source).sha256 == SHA256


@pytest.mark.parametrize("damage", [CONTENT[:-1] + b"?", CONTENT[: len(CONTENT) // 2], b""])
def test_a_file_that_is_damaged_in_the_cache_is_fetched_again(server, source, damage, caplog):
    fetch(source)
    source.path.write_bytes(damage)
    assert fetch(source).sha256 == SHA256
    assert source.path.read_bytes() == CONTENT
    assert (source.folder / f".{source.path.name}.damaged").read_bytes() == damage
    assert "recorded when it was first there: fetched again" in caplog.text


def test_a_file_that_is_damaged_and_cannot_be_fetched_is_refused(server, source, monkeypatch):
    fetch(source)
    source.path.write_bytes(CONTENT[:-1] + b"?")
    server.files.clear()
    with pytest.raises(
        WeightsError, match="recorded when it was first there, and it cannot be fetched again: "
    ):
        fetch(source)
    assert source.path.read_bytes() == CONTENT[:-1] + b"?"
    monkeypatch.setenv("SMOOTHSEG_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"recorded when it was first there$"):
        fetch(source)


def test_every_file_in_the_cache_is_compared_with_its_record(server, source):
    fetch(source)
    assert list(downloads.verify_cache()) == [(source.path, None)]
    source.path.write_bytes(b"changed")
    ((path, problem),) = downloads.verify_cache()
    assert path == source.path
    assert f"recorded {SHA256[:16]}" in problem


def test_a_broken_download_leaves_what_was_in_the_cache(server, source):
    fetch(source)
    other = Source.of(f"{server.url}/w.pth?v2#sha256={'1' * 64}")
    with pytest.raises(WeightsError):
        fetch(other)
    assert source.path.read_bytes() == CONTENT


# ---- archives


def packed(kind, files):
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode=kind) as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:xz", "zip"])
@pytest.mark.parametrize("member", ["models/w.pth", "w.pth"])
def test_the_one_file_wanted_is_taken_out_of_an_archive(server, kind, member):
    server.files["models"] = packed(kind, {"models/other.pth": b"no", "models/w.pth": CONTENT})
    source = Source.of(f"{server.url}/models#member={member}")
    assert fetch(source).path.read_bytes() == CONTENT
    assert held(source) == ["record.json", "w.pth"]
    fetch(source)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["w:gz", "zip"])
@pytest.mark.parametrize(
    "name", ["../evil.pth", "/etc/evil.pth", "a/../../evil.pth", "..\\evil.pth", "C:\\evil.pth"]
)
def test_an_archive_with_a_path_that_leads_outside_is_refused_whole(server, kind, name, tmp_path):
    server.files["models"] = packed(kind, {"w.pth": CONTENT, name: b"evil"})
    source = Source.of(f"{server.url}/models#member=w.pth")
    with pytest.raises(WeightsError, match="a path that leads outside, and was refused"):
        fetch(source)
    assert held(source) == []
    assert not list(cache().rglob("evil*"))


def test_a_link_in_a_zip_is_refused(server):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("w.pth")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    server.files["models"] = buffer.getvalue()
    with pytest.raises(WeightsError, match="no regular file"):
        fetch(Source.of(f"{server.url}/models#member=w.pth"))


def test_a_link_in_an_archive_is_refused(server):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("w.pth")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    server.files["models"] = buffer.getvalue()
    with pytest.raises(WeightsError, match="no regular file"):
        fetch(Source.of(f"{server.url}/models#member=w.pth"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.pth": b"1", "b.pth": b"2"}, r"no file 'w\.pth'; it holds a\.pth, b\.pth"),
        ({"x/w.pth": b"1", "y/w.pth": b"2"}, r"2 files called 'w\.pth'; it holds x/w\.pth, y/w\.pth"),
    ],
)
def test_an_archive_without_the_file_or_with_several_says_what_it_holds(server, files, message):
    server.files["models"] = packed("w:gz", files)
    with pytest.raises(WeightsError, match=message):
        fetch(Source.of(f"{server.url}/models#member=w.pth"))


def damaged(kind, at):
    """An archive of incompressible content with one byte changed."""
    content = bytearray(packed(kind, {"w.pth": NOISE}))
    content[at] ^= 0xFF
    return bytes(content)


def encrypted():
    content = bytearray(packed("zip", {"w.pth": b"secret" * 100}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"no archive at all",
        *(packed(kind, {"w.pth": NOISE})[:-4000] for kind in ("w:gz", "w:bz2", "w:xz", "zip")),
        *(damaged(kind, at) for kind in ("w:gz", "w:bz2", "w:xz", "zip") for at in (60, 4000, 5000)),
        damaged("w:gz", -6),
        encrypted(),
    ],
    ids=lambda content: f"{content[:2].hex()}-{len(content)}",
)
def test_a_damaged_or_encrypted_archive_is_named_and_not_kept(server, content):
    server.files["models"] = content
    source = Source.of(f"{server.url}/models#member=w.pth")
    with pytest.raises(WeightsError, match="models") as error:
        fetch(source)
    assert "\n" not in str(error.value)
    assert held(source) == []


def test_a_torch_file_in_a_tar_does_not_make_it_a_zip(server):
    import torch

    buffer = io.BytesIO()
    torch.save({"w": torch.ones(3)}, buffer)
    server.files["models"] = packed("w", {"w.pth": buffer.getvalue()})
    assert fetch(Source.of(f"{server.url}/models#member=w.pth")).path.read_bytes() == buffer.getvalue()


def test_the_hash_of_an_archive_is_enforced_also_when_its_file_is_here(server):
    archive = packed("w:gz", {"w.pth": CONTENT})
    server.files["models"] = archive
    url, right = f"{server.url}/models#member=w.pth", hashlib.sha256(archive).hexdigest()
    fetch(Source.of(url))
    assert fetch(Source.of(f"{url}&sha256={right}")).sha256 == SHA256
    with pytest.raises(WeightsError, match="should have sha256 0000"):
        fetch(Source.of(f"{url}&sha256={'0' * 64}"))
    assert len(server.requests) == 1


def test_a_file_laid_by_hand_is_not_believed_to_be_of_an_archive_with_a_hash():
    source = Source.of(f"https://host/models.tar#member=w.pth&sha256={'0' * 64}")
    assert "give its path with weights=" in str(source.absent("why"))
    source.folder.mkdir(parents=True)
    source.path.write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=r"put there by hand.*cannot be told"):
        fetch(source)
    assert fetch(Source.of("https://host/models.tar#member=w.pth")).sha256 == SHA256


def test_a_disk_that_fills_up_while_unpacking_does_not_cost_the_download(server, monkeypatch):
    server.files["models"] = packed("w:gz", {"w.pth": CONTENT})
    source = Source.of(f"{server.url}/models#member=w.pth")

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    extract = downloads.archives.extract
    monkeypatch.setattr(downloads.archives, "extract", full)
    with pytest.raises(WeightsError, match="does not fit on the disk"):
        fetch(source)
    monkeypatch.setattr(downloads.archives, "extract", extract)
    assert fetch(source).path.read_bytes() == CONTENT
    assert len(server.requests) == 1


# ---- disks


def test_a_disk_without_room_is_named_before_anything_is_written(server, source, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match=r"does not fit on the disk.*1 MB are needed.*SMOOTHSEG_CACHE"):
        fetch(source)
    assert held(source) == []


def test_a_disk_that_fills_up_keeps_what_is_there_and_the_next_try_goes_on(server, source, monkeypatch):
    copy = transfer._copy

    def full(response, file, *rest):
        file.write(response.read(250_000))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(transfer, "_copy", full)
    with pytest.raises(WeightsError, match=r"does not fit.*No space left on device"):
        fetch(source)
    assert held(source) == ["download.part", "part.json"]
    monkeypatch.setattr(transfer, "_copy", copy)
    assert fetch(source).path.read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=250000-"


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on file sizes there")
def test_a_real_limit_of_the_system_is_told_in_one_line(server, source):
    code = (
        "import resource, signal, sys; from smoothseg.weights import downloads, sources\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (500000, 500000))\n"
        "try: downloads.fetch(sources.Source.of(sys.argv[1]))\n"
        "except downloads.WeightsError as error: print(error)"
    )
    reference = f"{source.url}#sha256={SHA256}"
    done = subprocess.run([sys.executable, "-c", code, reference], capture_output=True, text=True, check=True)
    assert "does not fit on the disk" in done.stdout
    assert fetch(source).path.read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_named(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SMOOTHSEG_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot be written.*point SMOOTHSEG_CACHE elsewhere"):
        fetch(source)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SMOOTHSEG_CACHE", str(tmp_path / "own"))
    assert cache() == tmp_path / "own"
    monkeypatch.delenv("SMOOTHSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache() == tmp_path / "smoothseg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache() == tmp_path / ".cache" / "smoothseg"


def test_a_cache_that_only_others_may_write_is_read(server, source, monkeypatch):
    import filelock

    fetch(source)

    def refuse(*arguments):
        raise PermissionError("read-only")

    monkeypatch.setattr(filelock, "FileLock", refuse)
    assert fetch(source).sha256 == SHA256


@pytest.mark.parametrize("content", ["{", "[]", '{"sha256": 3}', '{"size": 3}'])
def test_a_damaged_record_is_named(server, source, content):
    fetch(source)
    (source.folder / "record.json").write_text(content)
    with pytest.raises(WeightsError, match=r"record\.json is damaged"):
        fetch(source)
    ((_, problem),) = downloads.verify_cache()
    assert "record.json is damaged" in problem


def test_what_was_laid_by_hand_and_what_the_hub_keeps_is_looked_at_too(source):
    source.folder.mkdir(parents=True)
    source.path.write_bytes(CONTENT)
    blobs = cache() / "huggingface/models--owner--name/blobs"
    blobs.mkdir(parents=True)
    (blobs / SHA256).write_bytes(CONTENT)
    (blobs / ("0" * 64)).write_bytes(CONTENT)
    found = {path.name: problem for path, problem in downloads.verify_cache()}
    assert found[SHA256] is None
    assert "put there by hand and not used yet" in found["w.pth"]
    assert "not its name" in found["0" * 64]


def test_two_processes_that_want_a_file_fetch_it_once(server, source):
    code = (
        "import sys; from smoothseg.weights.downloads import fetch; from smoothseg.weights.sources import Source\n"
        "print(fetch(Source.of(sys.argv[1])).sha256)"
    )
    reference = f"{source.url}#sha256={SHA256}"
    both = [
        subprocess.Popen([sys.executable, "-c", code, reference], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in both] == [SHA256, SHA256]
    assert len(server.requests) == 1


# ---- Hugging Face


@pytest.fixture
def hub(monkeypatch):
    """A hub whose every file has the content `hub.content`; what was asked of it is in `hub.asked`."""
    import huggingface_hub

    class Hub:
        content, asked = CONTENT, []

    def download(repo, filename, *, revision, local_dir):
        Hub.asked.append((repo, filename, revision))
        path = local_dir / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Hub.content)
        return str(path)

    Hub.asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(downloads.socket, "getaddrinfo", lambda *arguments: [])
    return Hub


def test_a_file_of_the_hub_is_fetched_by_its_library_and_recorded(hub):
    source = Source.of(f"hf://owner/name/deep/w.pth@v1#sha256={SHA256}")
    assert fetch(source).path.read_bytes() == CONTENT
    assert fetch(source).sha256 == SHA256
    assert hub.asked == [("owner/name", "deep/w.pth", "v1")]
    assert json.loads((source.folder / "record.json").read_text())["url"] == "hf://owner/name/deep/w.pth@v1"
    assert held(source) == ["record.json", "w.pth"]


def test_a_file_of_the_hub_with_another_hash_is_refused_and_fetched_anew_the_next_time(hub):
    source = Source.of(f"hf://owner/name/w.pth#sha256={SHA256}")
    hub.content = b"broken"
    with pytest.raises(WeightsError, match=rf"should have sha256 {SHA256[:16]}"):
        fetch(source)
    assert held(source) == []
    hub.content = CONTENT
    assert fetch(source).sha256 == SHA256


def test_a_file_of_an_archive_on_the_hub_is_taken_out_of_it(hub):
    hub.content = packed("zip", {"models/w.pth": CONTENT})
    assert fetch(Source.of("hf://owner/name/models.zip@v1#member=w.pth")).path.read_bytes() == CONTENT


def test_a_hub_without_a_network_is_told_at_once(monkeypatch):
    import socket

    def fail(*arguments):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(downloads.socket, "getaddrinfo", fail)
    monkeypatch.setattr(downloads.urllib.request, "getproxies", dict)
    with pytest.raises(WeightsError) as error:
        fetch(Source.of("hf://owner/name/deep/w.pth@v1"))
    address = "https://huggingface.co/owner/name/resolve/v1/deep/w.pth"
    assert f"cannot be fetched (Name or service not known): get {address} and put it at" in str(error.value)


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(monkeypatch):
    import huggingface_hub

    def fail(*arguments, **options):
        raise RuntimeError("LocalEntryNotFoundError: cannot find it\nand a page of advice")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    monkeypatch.setattr(downloads.socket, "getaddrinfo", lambda *arguments: [])
    with pytest.raises(WeightsError) as error:
        fetch(Source.of("hf://owner/name/w.pth"))
    assert "cannot find it" in str(error.value)
    assert "\n" not in str(error.value)
