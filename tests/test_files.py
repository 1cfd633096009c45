"""What is left of a file that was being written, whatever happens."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

from smoothseg import weights
from smoothseg.certificates import file
from smoothseg.files import replacing, write_atomically
from smoothseg_training.checkpoint import Checkpoint


def _weights(path):
    weights.save(path, {"w": torch.ones(2, 3)}, network="toy", config={})


def _checkpoint(path):
    Checkpoint({"lr": 1}, 1, 0.5, 0.1, [], {"w": torch.ones(2, 3)}, {}, {}).save(path)


WRITERS = {
    "bytes": lambda path: write_atomically(path, b"new"),
    "weights": _weights,
    "checkpoint": _checkpoint,
}


@pytest.fixture
def watched(monkeypatch):
    """A list of what happens to files, in order: `sync file`, `sync folder`, `replace NAME`."""
    events = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        events.append(f"sync {kind}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    def renamed(self, target):
        events.append(f"replace {self.name}")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", renamed)
    return events


@pytest.mark.skipif(os.name != "posix", reason="folders are synchronised on POSIX")
@pytest.mark.parametrize("writer", WRITERS)
def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_return(writer, tmp_path, watched):
    WRITERS[writer](tmp_path / "new" / "file.bin")
    assert watched == ["sync file", f"replace .file.bin.{os.getpid()}.tmp", "sync folder"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.bin"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(writer, tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        WRITERS[writer](path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_before_it_writes_raises_its_own_error(tmp_path):
    with pytest.raises(KeyError, match="mine"), replacing(tmp_path / "file.bin"):
        raise KeyError("mine")
    assert not any(tmp_path.iterdir())


def test_there_is_one_way_to_write():
    assert file.write_atomically is write_atomically


@pytest.mark.skipif(os.name != "posix", reason="no such modes there")
def test_a_file_can_be_read_by_whom_the_user_lets_read_files(tmp_path):
    (tmp_path / "plain").touch()

    def private(path):
        path.unlink(missing_ok=True)
        path.write_bytes(b"content")
        path.chmod(0o600)

    with replacing(tmp_path / "new") as temporary:
        private(temporary)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )
