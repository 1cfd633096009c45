"""What goes wrong in a run costs the image it happens to, is said, and never chooses which votes count."""

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from smoothseg.components.plugins import plugins
from smoothseg.errors import FailedImagesError, PluginError, RunBusyError, RunMismatchError
from smoothseg.report import checking, running
from smoothseg.report.html import page
from smoothseg.report.rows import rows as rows_of
from smoothseg.runs import auditing, manifest, preparing, results, resuming
from smoothseg.runs.interrupting import Expired, limited
from smoothseg.runs.ledger import Ledger
from smoothseg.runs.listener import Listener
from smoothseg.runs.locking import locked
from smoothseg.runs.plan import Plan
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.sampling import BatchSize, Draw
from smoothseg.testing import CountingDenoiser, ThresholdSegmenter

SECOND = (11, 21)
"""The size of the second image of `photos`, and of no other."""


def _hang(scores):
    while True:
        with contextlib.suppress(Exception):  # as careless plugins do
            time.sleep(60)


def _out_of_memory(scores):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9999 bytes")


def _raise(scores):
    raise ValueError("no luck\nwith a second line")


FAULTS = {
    "raise": (_raise, "the segmenter toy-faulty raised ValueError: no luck"),
    "exit": (lambda scores: sys.exit(3), "the segmenter toy-faulty called exit(3)"),
    "nan": (
        lambda scores: scores * float("nan"),
        "the segmenter toy-faulty returned scores that are not finite",
    ),
    "numpy": (
        lambda scores: scores.numpy(),
        "the segmenter toy-faulty returned ndarray, expected a torch tensor",
    ),
    "none": (lambda scores: None, "the segmenter toy-faulty returned NoneType, expected a torch tensor"),
    "shape": (lambda scores: scores[0], "returned scores (2, 11, 21), expected (1, 2, h, w)"),
    "classes": (lambda scores: scores[:, :1], "returned scores (1, 1, 11, 21), expected (1, 2, h, w)"),
    "rows": (lambda scores: scores[:0], "returned scores (0, 2, 11, 21), expected (1, 2, h, w)"),
    "dtype": (lambda scores: scores.int(), "returned scores of torch.int32, expected floating point"),
    "hang": (_hang, "no certificate after 0.5 s in the segmenter toy-faulty"),
    "memory": (_out_of_memory, "RuntimeError: DefaultCPUAllocator: can't allocate memory"),
}


class Faulty(ThresholdSegmenter):
    def __init__(self, fault):
        super().__init__(0.5)
        self.fault = fault

    def segment(self, images):
        scores = super().segment(images)
        return self.fault(scores) if tuple(images.shape[-2:]) == SECOND else scores


class Recipe:
    """A recipe of a segmenter that is faulty at one size; `mended` switches the fault off."""

    mended = False

    @classmethod
    def of(cls, fault):
        @dataclasses.dataclass(frozen=True)
        class FaultyRecipe:
            def load(self, device):
                return ThresholdSegmenter(0.5) if cls.mended else Faulty(FAULTS[fault][0])

        return FaultyRecipe


@pytest.fixture
def faulty(toys, monkeypatch):
    """Return a function that registers the segmenter `toy-faulty` with a fault, for one test."""
    monkeypatch.setattr(Recipe, "mended", False)
    registry = plugins()["segmenter"]

    def register(fault):
        registry.register("toy-faulty", Recipe.of(fault), "tests")

    yield register
    registry._entries.pop("toy-faulty", None)


def options(photos, **changes):
    return {
        "dataset": f"folder:root={photos},images=images,labels=labels,classes=classes.txt",
        "denoiser": ["identity", "toy-blur"],
        "segmenter": "toy-faulty",
        "certifier": "holm:n0=4,n=40,alpha=0.05",
        "sigma": [0.2],
        "scale": 1.0,
        "device": "cpu",
        **changes,
    }


def prepared(photos, **changes):
    return preparing.prepare(Plan.of(options(photos, **changes)))


@pytest.mark.parametrize("fault", FAULTS)
def test_an_image_that_fails_costs_itself_alone(faulty, photos, tmp_path, fault):
    faulty(fault)
    told = []

    class Failures(Listener):
        def failed(self, job, reason, before):
            told.append((job.key, job.method.name, before))

    # In batches, the images that are well are certified in a small part of the time.
    how = {"timeout": 0.5, "batch_size": 16} if fault == "hang" else {}
    rows = running.run(prepared(photos), tmp_path / "run", listener=Failures(), **how)
    assert told == [("b", "identity", False), ("b", "toy-blur", False)]
    assert [(row.images, row.failed) for row in rows] == [(2, ("b",)), (2, ("b",))]
    failed = [entry for entry in Ledger(tmp_path / "run" / "ledger.jsonl") if "failed" in entry]
    assert all(FAULTS[fault][1] in entry["failed"] and "\n" not in entry["failed"] for entry in failed)
    assert not list((tmp_path / "run").rglob("b.npz"))
    assert not list((tmp_path / "run").rglob("pictures/*/b.png"))
    table = (tmp_path / "run" / "table.md").read_text()
    assert "1 of 3 images failed and is left out: identity at σ 0.2, toy-blur at σ 0.2." in table
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["rows"][0]["failed"] == ["b"]
    assert "2 certificates failed" in page(tmp_path / "run")
    assert "unfinished" not in page(tmp_path / "run")
    assert [*auditing.audit(tmp_path / "run", images=True), *checking.differences(tmp_path / "run")] == []


def test_the_others_are_what_they_are_without_the_fault(faulty, photos, tmp_path):
    faulty("raise")
    running.run(prepared(photos), tmp_path / "faulty")
    Recipe.mended = True
    running.run(prepared(photos), tmp_path / "right")
    for path in (tmp_path / "faulty" / "certificates").rglob("*.npz"):
        name = path.relative_to(tmp_path / "faulty")
        assert path.read_bytes() == (tmp_path / "right" / name).read_bytes()


def test_failures_stay_until_they_are_to_be_tried_again(faulty, photos, invoke, tmp_path):
    faulty("raise")
    running.run(prepared(photos), tmp_path / "run")
    Recipe.mended = True
    ready = prepared(photos)
    assert resuming.remaining(ready, tmp_path / "run") == []
    assert [job.key for job in resuming.remaining(ready, tmp_path / "run", retry_failed=True)] == ["b", "b"]
    again = running.run(ready, tmp_path / "run")
    assert [row.failed for row in again] == [("b",), ("b",)]
    whole = running.run(ready, tmp_path / "run", retry_failed=True)
    assert [(row.images, row.failed) for row in whole] == [(3, ()), (3, ())]
    assert "failed" not in (tmp_path / "run" / "table.md").read_text()
    assert "certificates that failed once and were made later: 2" in invoke("verify", tmp_path / "run").stderr
    assert list(auditing.audit(tmp_path / "run")) == []


def test_a_damaged_certificate_that_cannot_be_made_again_is_removed(faulty, photos, tmp_path):
    Recipe.mended = True
    faulty("raise")
    running.run(prepared(photos), tmp_path / "run")
    path = tmp_path / "run" / "certificates" / "identity" / "sigma-0.2" / "b.npz"
    path.write_bytes(b"damaged")
    Recipe.mended = False
    rows = running.run(prepared(photos), tmp_path / "run")
    assert [row.failed for row in rows] == [("b",), ()]
    assert not path.exists()


def test_a_run_killed_between_a_retried_certificate_and_its_line_makes_it_again(faulty, photos, tmp_path):
    faulty("raise")
    running.run(prepared(photos), tmp_path / "run")
    Recipe.mended = True
    running.run(prepared(photos), tmp_path / "other")
    path = "certificates/identity/sigma-0.2/b.npz"
    (tmp_path / "run" / path).write_bytes((tmp_path / "other" / path).read_bytes())
    assert f"{path}: the ledger says that it failed" in list(auditing.audit(tmp_path / "run"))
    rows = running.run(prepared(photos), tmp_path / "run")
    assert [row.failed for row in rows] == [(), ("b",)]
    assert list(auditing.audit(tmp_path / "run")) == []


def test_a_picture_that_fails_ends_no_run(toys, photos, tmp_path, monkeypatch):
    ready = prepared(photos, segmenter="toy-threshold")

    def fail(self, sample, *, sigma):
        raise RuntimeError("no pictures today")

    monkeypatch.setattr("smoothseg.smoothing.pipeline.Pipeline.first", fail)
    rows = running.run(ready, tmp_path / "run")
    assert [row.images for row in rows] == [3, 3]
    assert "no picture of a, identity: no pictures today" in (tmp_path / "run" / "log.txt").read_text()
    assert list(auditing.audit(tmp_path / "run")) == []


def test_a_run_of_which_everything_failed_still_has_its_tables(faulty, photos, tmp_path, monkeypatch):
    faulty("raise")
    monkeypatch.setattr(Faulty, "segment", lambda self, images: _raise(images))
    rows = running.run(prepared(photos), tmp_path / "run")
    assert [(row.images, row.failed, row.certified) for row in rows] == [(0, ("a", "b", "c"), None)] * 2
    assert "3 of 3 images failed and are left out" in (tmp_path / "run" / "table.md").read_text()
    assert "6 certificates failed" in page(tmp_path / "run")


def test_the_command_says_what_failed_and_its_exit_code_is_1(faulty, photos, invoke, tmp_path):
    faulty("exit")
    words = (
        *("certify", "--dataset", f"folder:root={photos},images=images", "--denoiser", "identity"),
        *("--segmenter", "toy-faulty", "--certifier", "holm:n0=4,n=40,alpha=0.05", "--scale", 1),
        *("--device", "cpu", "--output", tmp_path / "run"),
    )
    for _ in range(2):  # the second finds the failure of the first
        result = invoke(*words)
        assert isinstance(result.exception, FailedImagesError)
        assert result.exception.exit_code == 1
        assert str(result.exception).startswith(
            "1 of 3 images failed; b, identity, sigma 0.25: the segmenter toy-faulty called exit(3)"
        )
        assert "failed" in result.stderr
        assert "2 images failed" not in result.stdout
        assert "1 of 3 images failed and is left out" in result.stdout
    Recipe.mended = True
    assert invoke(*words, "--retry-failed").exit_code == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "SystemExit: 3" in log  # with its traceback


def test_what_a_plugin_prints_does_not_stand_between_the_results(toys, photos, invoke, tmp_path):
    class Chatty(ThresholdSegmenter):
        def segment(self, images):
            print("hello from the plugin")
            return super().segment(images)

    @dataclasses.dataclass(frozen=True)
    class ChattyRecipe:
        def load(self, device):
            return Chatty(0.5)

    plugins()["segmenter"].register("toy-chatty", ChattyRecipe, "tests")
    try:
        result = invoke(
            *("certify", "--dataset", f"folder:root={photos},images=images", "--denoiser", "identity"),
            *("--segmenter", "toy-chatty", "--certifier", "holm:n0=4,n=40,alpha=0.05", "--scale", 1),
            *("--device", "cpu", "--output", tmp_path / "run", "--format", "json"),
        )
    finally:
        del plugins()["segmenter"]._entries["toy-chatty"]
    assert json.loads(result.stdout)["rows"]
    assert "hello from the plugin" in result.stderr


def test_a_dataset_that_fails_later_costs_the_image(toys, photos, tmp_path):
    ready = prepared(photos, segmenter="toy-threshold")
    (photos / "images" / "b.png").write_bytes((photos / "images" / "a.png").read_bytes())
    (photos / "images" / "c.png").write_bytes(b"nothing")
    rows = running.run(ready, tmp_path / "run")
    assert [row.failed for row in rows] == [("b", "c"), ("b", "c")]
    reasons = {
        entry["key"]: entry["failed"]
        for entry in Ledger(tmp_path / "run" / "ledger.jsonl")
        if "failed" in entry
    }
    assert "c.png" in reasons["c"]


# ---- memory


class Hungry(CountingDenoiser):
    """Has memory for so many rows at once."""

    def __init__(self, room):
        super().__init__()
        self.room = room
        self.asked = []

    def denoise(self, noisy, sigma, *, seeds):
        self.asked.append(len(noisy))
        if len(noisy) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return super().denoise(noisy, sigma, seeds=seeds)


def votes(room, batch_size):
    denoiser = Hungry(room)
    model = BaseModel(denoiser, ThresholdSegmenter(), Geometry(1.0))
    image = np.random.Generator(np.random.Philox(3)).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    draw = Draw(model, image, "a", sigma=0.5, seed=0, batch_size=batch_size)
    return draw(9).counts, draw(20).counts, denoiser.asked


def test_a_shortage_of_memory_halves_the_batch_and_changes_no_count():
    told = []
    first, second, _ = votes(99, 1)
    short, shorter, asked = votes(3, BatchSize(16, halved=told.append))
    assert torch.equal(first, short)
    assert torch.equal(second, shorter)
    assert told == [4, 2]
    assert asked[:3] == [9, 4, 2]
    assert set(asked[2:]) <= {1, 2}  # it does not forget


def test_no_memory_for_one_sample_is_said():
    with pytest.raises(PluginError, match="out of memory with one noise sample: CUDA out of memory"):
        votes(0, 4)


def test_a_run_goes_on_with_less_memory_and_gives_the_same_bytes(toys, photos, tmp_path, monkeypatch):
    running.run(prepared(photos, segmenter="toy-threshold", denoiser="identity"), tmp_path / "much")
    ready = prepared(photos, segmenter="toy-threshold", denoiser="identity")
    model = ready.models["identity"]
    monkeypatch.setattr(model, "denoiser", Hungry(2))
    running.run(ready, tmp_path / "little", batch_size=8)
    for path in (tmp_path / "much" / "certificates").rglob("*.npz"):
        assert path.read_bytes() == (tmp_path / "little" / path.relative_to(tmp_path / "much")).read_bytes()
    assert (
        "out of memory: going on with 2 noise samples at once"
        in (tmp_path / "little" / "log.txt").read_text()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the memory of a process")
def test_memory_that_is_really_short_halves_the_batch():
    """The allocator of torch itself says so, under a limit of the operating system."""
    code = """
import resource, sys
import numpy as np
import torch
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.sampling import BatchSize, Draw
from smoothseg.testing import CountingDenoiser, ThresholdSegmenter

class Large(CountingDenoiser):
    def denoise(self, noisy, sigma, *, seeds):
        torch.empty(len(noisy), 400, 2**20, dtype=torch.uint8)
        return super().denoise(noisy, sigma, seeds=seeds)

def votes(denoiser, batch):
    model = BaseModel(denoiser, ThresholdSegmenter(), Geometry(1.0))
    image = np.full((6, 7, 3), 120, np.uint8)
    return Draw(model, image, "a", sigma=0.5, seed=0, batch_size=batch)(20).counts

right = votes(CountingDenoiser(), 1)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 1300 * 2**20,) * 2)
told = []
assert torch.equal(votes(Large(), BatchSize(16, halved=told.append)), right)
print(told)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("[8, 4, 2]", "[8, 4, 2, 1]")


# ---- limits


def test_what_returns_in_time_is_not_disturbed():
    with limited(60, lost=pytest.fail), limited(None, lost=pytest.fail):
        time.sleep(0.01)


def test_a_hang_that_catches_every_exception_is_ended():
    started = time.monotonic()
    with pytest.raises(Expired), limited(0.1, lost=pytest.fail):
        _hang(None)
    assert time.monotonic() - started < 30


@pytest.mark.skipif(sys.platform != "linux", reason="needs a lock of the C library")
def test_a_hang_inside_a_library_is_given_up(tmp_path):
    code = (
        "import ctypes, os, sys\n"
        "from smoothseg.runs.interrupting import limited\n"
        "library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)\n"
        "library.pthread_mutex_lock(mutex)\n"
        "with limited(0.2, lost=lambda: os._exit(9), grace=0.2):\n"
        "    library.pthread_mutex_lock(mutex)\n"
    )
    assert ctypes.CDLL(None).pthread_mutex_lock
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 9


# ---- two processes


def hold(directory):
    """Start a process that holds the run directory until its stdin is closed."""
    code = (
        "import sys; from pathlib import Path; from smoothseg.runs.locking import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_second_process_is_refused_and_hurts_nothing(small, tmp_path, fresh, request):
    _, ready = small
    other = hold(tmp_path / "run")
    request.addfinalizer(lambda: other.__exit__(None, None, None))  # closes its pipes
    before = files(tmp_path / "run")
    with pytest.raises(
        RunBusyError, match=rf"is in use by process {other.pid} on \S+ since 2\d{{3}}-"
    ) as refused:
        running.run(ready, tmp_path / "run", fresh=fresh)
    assert refused.value.exit_code == 2
    assert files(tmp_path / "run") == before
    other.kill()  # what it leaves is stale
    other.wait()
    assert (tmp_path / "run" / ".owner.json").exists()
    running.run(ready, tmp_path / "run", fresh=fresh)
    assert not (tmp_path / "run" / ".owner.json").exists()


def test_an_owner_that_has_not_said_its_name_is_another_process(tmp_path):
    with locked(tmp_path / "run"):
        (tmp_path / "run" / ".owner.json").write_bytes(b"{")
        code = (
            "import sys; from pathlib import Path; from smoothseg.runs.locking import locked\n"
            "with locked(Path(sys.argv[1])): pass\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True
        )
    assert "is in use by another process: wait for it" in done.stderr


@pytest.mark.parametrize("killed_after", range(1, 6))
def test_fresh_that_was_killed_half_way_is_finished(small, album, tmp_path, monkeypatch, killed_after):
    """Every removal of a file or a folder is a moment at which it may be killed."""
    ready = prepared(album, segmenter="toy-threshold", denoiser="identity", seed=1)
    removed = 0
    rmtree, unlink = resuming.shutil.rmtree, resuming.Path.unlink

    def count():
        nonlocal removed
        removed += 1
        if removed == killed_after:
            raise KeyboardInterrupt

    def counted_rmtree(path, *args, **options):
        count()
        rmtree(path, *args, **options)

    def counted_unlink(path, *args, **options):
        if path.parent == tmp_path / "run" and not path.name.startswith((".owner", "..owner")):
            count()
        unlink(path, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(resuming.shutil, "rmtree", counted_rmtree)
        patched.setattr(resuming.Path, "unlink", counted_unlink)
        with pytest.raises(KeyboardInterrupt):
            running.run(ready, tmp_path / "run", fresh=True)
    assert len(resuming.remaining(ready, tmp_path / "run")) == 3
    running.run(ready, tmp_path / "run")
    assert not (tmp_path / "run" / ".fresh").exists()
    assert results.read_identity(tmp_path / "run")["plan"]["seed"] == 1
    assert list(auditing.audit(tmp_path / "run")) == []


# ---- damage


@pytest.fixture
def small(toys, album, once, tmp_path):
    """Return a small finished run of `album`, made once and copied, and what it was prepared from."""
    ready = prepared(album, segmenter="toy-threshold", denoiser="identity", images=2)
    once("small", lambda folder: running.run(ready, folder, batch_size=16), tmp_path / "run")
    return tmp_path / "run", ready


def certificates(run):
    return {path.name: path.read_bytes() for path in run.rglob("*.npz")}


DAMAGES = {
    "cut": lambda content, at: content[:at],
    "flipped": lambda content, at: content[:at] + bytes([content[at] ^ 0x21]) + content[at + 1 :],
    "zeroed": lambda content, at: content[:at] + bytes(min(16, len(content) - at)) + content[at + 16 :],
}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["run.json", "ledger.jsonl", "certificates/identity/sigma-0.2/a.npz"])
def test_damage_is_found_named_and_made_good(small, name, how):
    run, ready = small
    whole, content = certificates(run), (run / name).read_bytes()
    generator = np.random.Generator(np.random.Philox(len(name)))
    for at in sorted(generator.choice(len(content) - 1, size=2, replace=False).tolist()):
        (run / name).write_bytes(DAMAGES[how](content, at))
        if (run / name).read_bytes() == content:
            continue
        try:
            named = list(auditing.audit(run))
        except results.DamagedError as error:
            named = [str(error)]
        assert any(name.rsplit("/", 1)[-1] in line for line in named), (at, named)
        running.run(ready, run)
        assert certificates(run) == whole
        assert [*auditing.audit(run), *checking.differences(run)] == []
        assert rows_of(run)[0].images == 2


def test_no_damage_at_any_place_is_taken_for_the_whole(small):
    """Cut at every length, and every byte changed: it is noticed, or means the same, or lacks a whole line."""
    run, _ = small
    identity, lines = results.read_identity(run), list(Ledger(run / "ledger.jsonl"))
    tried = noticed = 0
    for name in ("run.json", "ledger.jsonl"):
        content = (run / name).read_bytes()
        for at in range(len(content)):
            for how in ("cut", "flipped"):
                (run / name).write_bytes(DAMAGES[how](content, at))
                tried += 1
                if name == "ledger.jsonl":
                    ledger = Ledger(run / name)
                    assert all(line in lines for line in ledger)
                    noticed += bool(ledger.damaged) or len(list(ledger)) < len(lines)
                    continue
                try:
                    assert results.read_identity(run) == identity
                except results.DamagedError:
                    noticed += 1
        (run / name).write_bytes(content)
    entry = lines[0]
    content = (run / entry["certificate"]).read_bytes()
    for at in range(len(content)):
        for how in ("cut", "flipped"):
            (run / entry["certificate"]).write_bytes(DAMAGES[how](content, at))
            assert not results.intact(run, entry)
    assert tried > 5000
    assert noticed > 0.9 * tried  # the rest is white space


def test_a_damaged_run_json_beside_certificates_of_another_run_is_not_guessed(small, album):
    run, _ = small
    (run / "run.json").write_bytes(b"{")
    before = files(run)
    with pytest.raises(
        RunMismatchError, match=r"run\.json is damaged, and \S+a\.npz is of another configuration: seed"
    ):
        running.run(prepared(album, segmenter="toy-threshold", denoiser="identity", images=2, seed=1), run)
    before.pop(run / "log.txt", None)
    assert {path: content for path, content in files(run).items() if path in before} == before


def test_a_damaged_line_is_logged_with_its_number(small):
    run, ready = small
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(lines[0].replace(b"identity", b"idantity") + lines[1])
    assert Ledger(run / "ledger.jsonl").damaged == [1]
    running.run(ready, run)
    assert "ledger.jsonl: line 1 is damaged: made again" in (run / "log.txt").read_text()
    assert Ledger(run / "ledger.jsonl").damaged == []


def test_lines_from_before_they_were_sealed_are_read(small):
    run, ready = small
    lines = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    for line in lines:
        del line["check"], line["samples"]
    (run / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    identity = json.loads((run / "run.json").read_text())
    del identity["check"]
    (run / "run.json").write_text(json.dumps(identity))
    assert resuming.remaining(ready, run) == []


# ---- signals and disks


COMMAND = (
    *(
        sys.executable,
        "-c",
        "from smoothseg.cli import main; main()",
        "certify",
        "--dataset",
        "streets:count=40,height=48,width=64",
    ),
    *(
        "--denoiser",
        "identity",
        "--segmenter",
        "hrnet",
        "--certifier",
        "holm:n0=4,n=60,alpha=0.05",
        "--device",
        "cpu",
    ),
)


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [pytest.param("SIGINT", 130, "interrupted", marks=pytest.mark.slow), ("SIGTERM", 143, "terminated")],
)
def test_a_signal_ends_a_run_with_one_line_and_a_report(tmp_path, name, code, word):
    process = subprocess.Popen(
        [*COMMAND, "--output", str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    ledger = tmp_path / "run" / "ledger.jsonl"
    while not (ledger.exists() and ledger.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    with process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.splitlines()[-1] == f"{word}; the same command goes on from here"
    assert "Traceback" not in err
    assert out == ""
    assert "unfinished" in (tmp_path / "run" / "report.html").read_text()
    assert 0 < rows_of(tmp_path / "run")[0].images < 40


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
@pytest.mark.slow
@pytest.mark.parametrize("most", [200, 1500, 3000, 9000, 40000])
def test_a_disk_that_is_full_ends_a_run_with_one_line_and_loses_nothing(tmp_path, most):
    """A limit on the size of files fails the same writes as a full disk, at every kind of file in turn."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\n"
        "from smoothseg.cli import main; main(sys.argv[2:])\n"
    )
    words = [
        *("certify", "--dataset", "streets:count=1,height=48,width=64", "--denoiser", "identity"),
        *("--segmenter", "hrnet", "--certifier", "holm:n0=4,n=60,alpha=0.05", "--device", "cpu"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, str(most), *words, "--output", str(tmp_path / "full")],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "full").rglob("*.tmp"))
    again = subprocess.run(
        [
            sys.executable,
            "-c",
            "from smoothseg.cli import main; main()",
            *words,
            "--output",
            str(tmp_path / "full"),
        ],
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    assert list(auditing.audit(tmp_path / "full")) == []


# ---- found in review


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda made: None, "returned NoneType, expected a Certificate"),
        (
            lambda made: dataclasses.replace(made, prediction=made.prediction.astype(float)),
            "returned prediction of float64, expected integer",
        ),
        (lambda made: dataclasses.replace(made, hits=made.hits.astype(float)), "returned hits of float64"),
        (
            lambda made: dataclasses.replace(made, prediction=made.prediction + 7),
            "predicted classes 7 to 8 of 2",
        ),
        (lambda made: dataclasses.replace(made, trials=9999), "states 9999 trials, it drew 44 samples"),
        (lambda made: 1 / 0, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_certifier_that_returns_something_else_is_named(toys, photos, tmp_path, monkeypatch, wrong, said):
    ready = prepared(photos, segmenter="toy-threshold", denoiser="identity")
    certify = type(ready.certifiers["identity"]).certify
    monkeypatch.setattr(
        type(ready.certifiers["identity"]), "certify", lambda self, draw: wrong(certify(self, draw))
    )
    (row,) = running.run(ready, tmp_path / "run")
    assert row.failed == ("a", "b", "c")
    reasons = {entry["failed"] for entry in Ledger(tmp_path / "run" / "ledger.jsonl")}
    assert len(reasons) == 1
    assert f"the certifier holm {said}" in reasons.pop()


def test_what_a_listener_raises_is_no_fault_of_a_component(toys, photos, tmp_path):
    class Closed(Listener):
        def sampled(self, count):
            raise BrokenPipeError("nobody reads any more")

    with pytest.raises(BrokenPipeError):
        running.run(prepared(photos, segmenter="toy-threshold"), tmp_path / "run", listener=Closed())
    assert list(Ledger(tmp_path / "run" / "ledger.jsonl")) == []


def test_a_timeout_holds_in_a_thread_and_ends_nothing_else(faulty, photos, tmp_path):
    faulty("nan")
    ready = prepared(photos, denoiser="identity")
    slow = ready.models["identity"].segmenter

    def segment(images):
        time.sleep(0.3)
        return ThresholdSegmenter.segment(slow, images)

    object.__setattr__(slow, "segment", segment)
    found = []
    thread = threading.Thread(target=lambda: found.extend(running.run(ready, tmp_path / "run", timeout=0.5)))
    thread.start()
    thread.join(60)
    assert [row.failed for row in found] == [("a", "b", "c")]


def test_a_damaged_run_json_with_certificates_of_other_settings_is_not_taken_over(small, album):
    run, _ = small
    (run / "run.json").write_bytes(b"{")
    with pytest.raises(
        RunMismatchError, match=r"damaged, and certificates/identity/sigma-0\.2/a\.npz is of another"
    ):
        running.run(
            prepared(album, segmenter="toy-threshold", denoiser="identity", images=2, sigma=[0.3], seed=5),
            run,
        )


def test_pictures_that_are_damaged_are_drawn_again(small):
    run, ready = small
    names = ("pictures/identity/a.png", "previews/a/labels.png", "previews/a/noisy/sigma-0.2.jpg")
    before = {name: (run / name).read_bytes() for name in names}
    for name in names:
        (run / name).write_bytes(before[name][:-9])
    assert len(list(manifest.differences(run))) == 3
    running.run(ready, run)
    assert {name: (run / name).read_bytes() for name in names} == before
    assert list(manifest.differences(run)) == []


def test_what_a_killed_process_left_half_written_is_removed(small):
    run, ready = small
    left = run / "certificates" / "identity" / "sigma-0.2" / ".a.npz.123.tmp"
    left.write_bytes(b"half")
    running.run(ready, run)
    assert not left.exists()


def test_a_file_called_fresh_removes_no_run(small):
    run, ready = small
    (run / ".fresh").write_bytes(b"")
    before = certificates(run)
    running.run(ready, run)
    assert certificates(run) == before
