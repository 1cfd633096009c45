"""Runs of a certifier that may stop at any time: stopped by a signal or by time, taken up again, and extended."""

import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import smoothseg
from smoothseg.certificates.file import load
from smoothseg.cli import cli
from smoothseg.cli.certify import check_failed
from smoothseg.errors import FailedImagesError
from smoothseg.machine import versions
from smoothseg.report import checking, running
from smoothseg.runs import auditing, manifest, preparing, results, resuming
from smoothseg.runs.interrupting import Expired, Terminated, limited, terminable
from smoothseg.runs.ledger import Ledger
from smoothseg.runs.listener import Listener
from smoothseg.runs.plan import Plan
from smoothseg.smoothing.stop import Stop

OPTIONS: dict[str, Any] = {
    "dataset": "streets:count=2,height=24,width=32",
    "denoiser": "identity",
    "segmenter": "hrnet",
    "sigma": [0.1],
    "device": "cpu",
}
CERTIFIER = "anytime:n0=4,max_n=60,block=8,alpha=0.5,tau=0.6"


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """A process that was started in the background ignores SIGINT; here it is Python's own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def prepared(certifier: str = CERTIFIER) -> preparing.Prepared:
    return preparing.prepare(Plan.of({**OPTIONS, "certifier": certifier}))


class Interrupting(Listener):
    """Sends a signal to this process, from within the run, once so many noise samples are labelled."""

    def __init__(self, after: int, number: int = signal.SIGINT) -> None:
        self._left = after
        self._number = number

    def sampled(self, count: int) -> None:
        self._left -= count
        if -count < self._left <= 0:
            os.kill(os.getpid(), self._number)


def interrupted(directory: Path, after: int, **options: Any) -> Stop:
    """Run until so many samples are labelled and a signal comes; return what was asked to stop."""
    number = options.pop("number", signal.SIGINT)
    stop = Stop()
    with terminable(stop):
        running.run(
            options.pop("plan", None) or prepared(),
            directory,
            listener=Interrupting(after, number),
            stop=stop,
            **options,
        )
    return stop


def content(directory: Path) -> dict[str, bytes]:
    """Return every file of a run that must be the same however often it was interrupted."""
    left_out = ("log.txt", "ledger.jsonl", "manifest.json", ".lock", ".owner.json", "config.yaml", "run.json")
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in left_out
    }


def lines(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the last ledger line of each certificate without its times."""
    last = {str(entry["certificate"]): dict(entry) for entry in Ledger(directory / "ledger.jsonl")}
    return {
        path: {k: v for k, v in entry.items() if k not in ("seconds", "check")}
        for path, entry in last.items()
    }


def faults(directory: Path) -> list[str]:
    return [
        *manifest.differences(directory), *auditing.audit(directory), *checking.differences(directory)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody interrupts."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    running.run(prepared(), directory)
    return directory


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with fewer samples; a test takes a copy of it."""
    directory = tmp_path_factory.mktemp("short") / "run"
    running.run(prepared(f"{CERTIFIER.replace('max_n=60', 'max_n=21')}"), directory)
    return directory


def assert_same(directory: Path, whole: Path) -> None:
    assert content(directory) == content(whole)
    assert lines(directory) == lines(whole)
    identities = [results.read_identity(each) for each in (directory, whole)]
    assert identities[0] == identities[1]
    assert faults(directory) == []


def test_a_run_says_why_and_where_its_certificates_stopped(whole: Path) -> None:
    for entry in Ledger(whole / "ledger.jsonl"):
        made = load(whole / entry["certificate"])
        assert made.stopping is not None
        assert entry["stopping"]["reason"] == made.stopping.reason == "max_n"
        assert [look[0] for look in entry["stopping"]["looks"]] == [8, 16, 24, 32, 40, 48, 56]
        assert entry["samples"] == 64
    assert faults(whole) == []


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_gives_a_certificate_of_what_was_drawn_and_the_same_command_goes_on(
    whole: Path, tmp_path: Path, number: int, error: type[BaseException]
) -> None:
    run = tmp_path / "run"
    with pytest.raises(error):
        interrupted(run, 25, number=number, batch_size=3)
    (line,) = lines(run).values()
    assert line["stopping"]["reason"] == "interrupted"
    assert line["samples"] == 26  # the batch that reaches 25
    assert (run / "report.html").exists()
    assert len(resuming.remaining(prepared(), run)) == 2
    for at in ("table.md", "metrics.csv"):
        assert (run / at).exists()
    assert not [fault for fault in faults(run) if "certificates are missing" not in fault]

    running.run(prepared(), run)
    assert_same(run, whole)


def test_a_signal_during_the_selection_loses_nothing_but_the_selection(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        interrupted(run, 2)
    assert lines(run) == {}
    running.run(prepared(), run)
    assert_same(run, whole)


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    run = tmp_path / "run"

    class Twice(Interrupting):
        def sampled(self, count: int) -> None:
            super().sampled(count)
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGINT)

    stop = Stop()
    with pytest.raises(KeyboardInterrupt), terminable(stop):
        # The second comes after one more batch, which is drawn only if the first request went unheard.
        running.run(prepared(), run, listener=Both(Interrupting(20), Interrupting(20)), stop=stop)
    assert lines(run) == {}


class Both(Listener):
    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def sampled(self, count: int) -> None:
        for each in self._listeners:
            each.sampled(count)


@pytest.mark.parametrize("seed", [0, 1])
def test_interrupted_at_random_moments_it_ends_with_the_same_bytes(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    interrupt_at_random(whole, tmp_path / "run", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_interrupted_at_20_random_moments_it_ends_with_the_same_bytes(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    interrupt_at_random(whole, tmp_path / "run", 100 + seed)


def interrupt_at_random(whole: Path, run: Path, seed: int) -> None:
    """Interrupt a run up to four times, each time with other batches, until it is done."""
    random_ = random.Random(seed)
    for _ in range(4):
        with contextlib.suppress(KeyboardInterrupt):
            interrupted(run, random_.randint(1, 90), batch_size=random_.choice([1, 2, 3, 5, 8, 13]))
    running.run(prepared(), run)
    assert_same(run, whole)


def test_an_extension_in_place_is_the_run_that_never_stopped(
    short: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(short, run)
    more = prepared()
    extension = resuming.extension_of(more, run)
    assert len(resuming.remaining(more, run, extension=extension)) == 2
    before = {path: load(run / path).trials for path in lines(run)}
    assert set(before.values()) == {21}
    running.run(more, run, extension=extension)
    assert_same(run, whole)


def test_an_extension_elsewhere_keeps_the_run_and_draws_no_sample_twice(
    short: Path, whole: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in short.rglob("*") if path.is_file()}
    drawn: list[int] = []

    class Counting(Listener):
        def sampled(self, count: int) -> None:
            drawn.append(count)

    more = prepared()
    running.run(more, tmp_path / "run", extension=resuming.extension_of(more, short), listener=Counting())
    assert_same(tmp_path / "run", whole)
    assert {path.name: path.read_bytes() for path in short.rglob("*") if path.is_file()} == before
    assert sum(drawn) == 2 * (60 - 21)


def test_an_extension_that_is_interrupted_goes_on_too(short: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(short, run)
    more = prepared()
    with pytest.raises(KeyboardInterrupt):
        interrupted(run, 10, plan=more, extension=resuming.extension_of(more, run))
    assert {load(run / path).trials for path in lines(run)} == {21, 31}
    running.run(prepared(), run)  # the plain command of the new rules does the rest
    assert_same(run, whole)


def test_the_time_limit_gives_a_certificate_and_an_extension_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    class Slow(Listener):
        """Uses up the time of the first image."""

        def sampled(self, count: int) -> None:
            time.sleep(0.05)

    running.run(prepared(), run, timeout=1.2, listener=Slow())
    reasons = {line["stopping"]["reason"] for line in lines(run).values()}
    assert reasons == {"timeout"}
    assert all(4 < line["samples"] < 64 for line in lines(run).values())
    assert not resuming.remaining(prepared(), run)  # its time was over
    more = prepared()
    running.run(more, run, extension=resuming.extension_of(more, run))
    assert_same(run, whole)


def test_a_certificate_that_cannot_go_on_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        interrupted(run, 25)
    before = content(run)
    broken = prepared()

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(next(iter(broken.models.values())).segmenter, "segment", fails, raising=False)
    running.run(broken, run)
    (kept,) = [path for path in before if path.endswith(".npz")]
    assert (run / kept).read_bytes() == before[kept]
    assert lines(run)[kept]["stopping"]["reason"] == "interrupted"


def test_a_fixed_number_of_samples_cannot_go_on(tmp_path: Path) -> None:
    fixed = prepared("holm:n0=4,n=20,alpha=0.5,tau=0.6")
    running.run(fixed, tmp_path / "run")
    with pytest.raises(
        smoothseg.ConfigError, match="holm decides once, after the samples that were chosen beforehand"
    ):
        resuming.extension_of(fixed, tmp_path / "run")


def test_only_the_rules_for_stopping_may_differ(short: Path) -> None:
    other = prepared(CERTIFIER.replace("tau=0.6", "tau=0.55").replace("max_n=60", "max_n=21"))
    with pytest.raises(smoothseg.RunMismatchError, match=r"certifier.tau is 0.6 there and 0.55 here"):
        resuming.extension_of(other, short)
    with pytest.raises(
        smoothseg.RunMismatchError, match=r"max_n is 21 there and 60 here; --extend .* goes on"
    ):
        resuming.remaining(prepared(), short)


def command(*words: str) -> Any:
    return CliRunner().invoke(cli, ["certify", *words])


def test_the_command_extends_in_place_and_elsewhere(short: Path, whole: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(short, here)
    made = command("--extend", str(here), "--output", str(there), "--stop", "max_n=60", "--quiet")
    assert made.exit_code == 0, made.output
    assert content(here) == content(short)
    made = command("--extend", str(here), "--stop", "max_n=60", "--quiet")
    assert made.exit_code == 0, made.output
    for run in (here, there):
        assert content(run) == content(whole)
        assert CliRunner().invoke(cli, ["verify", str(run)]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--stop", "max_n=16"],
            "has 25 samples already, with the selection, more than the 20 of these rules",
        ),
        (["--stop", "n0=8"], "rule of anytime"),
        (["--stop", "max_n=40", "--stop", "max_n=16"], "is given twice"),
        (["--stop", ""], "stop names no rule"),
        (["--fresh"], "leave out --fresh"),
        (["--threads", "2"], "leave out --threads"),
        (["--stop", "max_n=60", "--seed", "5"], "plan.seed is 0 there and 5 here"),
        (["--certifier", "holm"], "holm decides once"),
        (["--sigma", "0.2"], "plan.sigma[0] is 0.1 there and 0.2 here; only rules for stopping may differ"),
    ],
)
def test_the_command_refuses_what_cannot_be_extended(
    short: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(short, run)
    made = command("--extend", str(run), *words)
    assert isinstance(made.exception, smoothseg.SmoothsegError | click.UsageError)
    assert message in str(made.exception)
    assert content(run) == content(short)


def test_a_folder_without_a_run_cannot_be_extended(tmp_path: Path) -> None:
    made = command("--extend", str(tmp_path))
    assert isinstance(made.exception, smoothseg.DataError)
    assert "holds no run" in str(made.exception)


def test_rules_apply_to_certifiers_that_have_them() -> None:
    made = command("--certifier", "anytime", "--stop", "gain=0.01,max_n=200", "--print-config")
    assert made.exit_code == 0
    assert "gain: 0.01" in made.output
    assert "max_n: 200" in made.output
    made = command("--stop", "gain=0.01")
    assert isinstance(made.exception, smoothseg.ConfigError)
    assert "holm has no rules for stopping; anytime has" in str(made.exception)


def test_a_ledger_line_that_contradicts_its_certificate_is_named(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    ledger = Ledger(run / "ledger.jsonl")
    entry = json.loads(json.dumps(next(iter(ledger))))
    entry.pop("check", None)
    entry["stopping"]["reason"] = "gain"
    ledger.append(entry)
    assert any("stopping" in fault for fault in auditing.audit(run))


def test_counts_beyond_one_byte_go_on_too(tmp_path: Path) -> None:
    """Label maps are bytes; counts are not."""
    many = CERTIFIER.replace("max_n=60,block=8", "max_n={},block=40")
    one = {**OPTIONS, "dataset": "streets:count=1,height=24,width=32"}
    long, short = (preparing.prepare(Plan.of({**one, "certifier": many.format(n)})) for n in (320, 290))
    running.run(long, tmp_path / "whole", batch_size=16)
    running.run(short, tmp_path / "run", batch_size=16)
    running.run(long, tmp_path / "run", extension=resuming.extension_of(long, tmp_path / "run"))
    assert_same(tmp_path / "run", tmp_path / "whole")
    (made,) = [load(path) for path in (tmp_path / "run").rglob("*.npz")]
    assert made.hits.max() > 290


def test_a_signal_is_not_lost_when_the_image_then_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = prepared()
    (model,) = broken.models.values()
    segment, calls = model.segmenter.segment, iter(range(1000))

    def fails(images: Any) -> Any:
        if next(calls) > 25:
            raise RuntimeError("broken")
        return segment(images)

    monkeypatch.setattr(model.segmenter, "segment", fails, raising=False)
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "run", 24, plan=broken)
    (line,) = lines(tmp_path / "run").values()
    assert "broken" in line["failed"]


def test_a_signal_after_the_last_image_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()

    def show(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(running.html, "write", show)
    with pytest.raises(KeyboardInterrupt), terminable(stop):
        running.run(prepared(), tmp_path / "run", stop=stop)


def test_a_signal_before_the_time_limit_has_as_long_as_the_limit_gives() -> None:
    stop, lost = Stop(), []
    stop.heeded = True
    with limited(0.3, stop=stop, lost=lambda: lost.append(1), grace=0.05):
        stop.ask("interrupted", ending=KeyboardInterrupt())
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
    assert not lost
    with pytest.raises(Expired):
        wait_under_limit(stop)


def wait_under_limit(stop: Stop) -> None:
    with limited(0.1, stop=stop, grace=5):
        time.sleep(60)


def test_a_certificate_without_its_line_goes_on_from_what_it_has(
    short: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process had been killed between the two."""
    run = tmp_path / "run"
    shutil.copytree(short, run)
    more = prepared()
    extension = resuming.extension_of(more, run)
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "append", unwritten)
        with pytest.raises(OSError, match="no line"):
            running.run(more, run, extension=extension)
    drawn: list[int] = []

    class Counting(Listener):
        def sampled(self, count: int) -> None:
            drawn.append(count)

    running.run(prepared(), run, listener=Counting())
    assert sum(drawn) == 60 - 21  # the other image's
    assert_same(run, whole)


def unwritten(*_: Any) -> None:
    raise OSError("no line")


def test_a_package_that_was_not_there_does_not_hinder(whole: Path, tmp_path: Path, monkeypatch: Any) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        interrupted(run, 25)
    known = versions.numerical()
    monkeypatch.setattr(versions, "numerical", lambda: {**known, "later": "1.0"})
    running.run(prepared(), run)
    assert {entry["stopping"]["reason"] for entry in lines(run).values()} == {"max_n"}


def test_an_extension_that_fails_is_said_and_named_by_verify(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(short, run)
    more = prepared()

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(next(iter(more.models.values())).segmenter, "segment", fails, raising=False)
    running.run(more, run, extension=resuming.extension_of(more, run))
    with pytest.raises(FailedImagesError, match="2 certificates could not go on and stay as they were"):
        check_failed(run)
    assert any("the run is being extended, and the same command goes on" in fault for fault in faults(run))


def test_the_command_says_how_to_go_on_where_time_was_over(tmp_path: Path) -> None:
    words = [
        *("--dataset", "streets:count=1,height=24,width=32"),
        *("--denoiser", "identity", "--sigma", "0.1"),
    ]
    certifier = "anytime:n0=4,max_n=60,block=8,alpha=0.5,tau=0.6,minutes=1e-9"
    made = command(*words, "--certifier", certifier, "--output", str(tmp_path / "run"))
    assert made.exit_code == 0, made.output
    assert "1 certificate was stopped for want of time" in made.stderr
    assert f"--extend {tmp_path / 'run'} goes on" in made.stderr
