"""What a run says: its log file, more with --verbose, nothing but the result with --quiet."""

from __future__ import annotations

import logging
import re
import warnings

import pytest

from smoothseg.certificates import file
from smoothseg.errors import ConfigError, DataError, RunMismatchError
from smoothseg.report import running
from smoothseg.runs import logs, preparing, resuming
from smoothseg.runs.listener import Listener
from smoothseg.runs.plan import Plan

pytestmark = pytest.mark.usefixtures("toys")

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d  (INFO   |WARNING|ERROR  )  \S.*")


def prepared(photos, **changes):
    options = {
        "dataset": f"folder:root={photos},images=images",
        "denoiser": "identity",
        "segmenter": "toy-threshold",
        "certifier": "holm:n0=4,n=40,alpha=0.05",
        "scale": 1.0,
        "device": "cpu",
    }
    return preparing.prepare(Plan.of({**options, **changes}), skip_bad=True)


def test_a_run_keeps_a_log_of_what_it_did(photos, tmp_path):
    (photos / "images" / "bad.png").write_bytes(b"no image")
    running.run(prepared(photos), tmp_path / "run", batch_size=3)
    lines = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8").splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    text = "\n".join(lines)
    for part in ("command: ", "smoothseg 0", "torch ", "device cpu, threads ", "batch_size 3", "finished"):
        assert part in text
    assert (
        len(re.findall(r"certified [abc], identity, sigma 0\.25: radius 0\.1686, .* 44 samples in", text))
        == 3
    )
    assert re.search(r"WARNING  skipped: .*bad", text)


def test_a_log_is_continued_and_is_no_part_of_what_is_compared(photos, tmp_path):
    class Stop(Listener):
        def certified(self, job, entry, before):
            if not before:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.run(prepared(photos), tmp_path / "run", listener=Stop())
    first = (tmp_path / "run" / "log.txt").read_text()
    assert first.splitlines()[-1].endswith("WARNING  interrupted")
    running.run(prepared(photos), tmp_path / "run")
    whole = (tmp_path / "run" / "log.txt").read_text()
    assert whole.startswith(first)
    assert "1 of 3 certificates are there already" in whole
    (tmp_path / "run" / "log.txt").unlink()
    assert resuming.remaining(prepared(photos), tmp_path / "run") == []
    assert "--fresh" not in whole


def test_what_ends_a_run_is_in_its_log(photos, tmp_path):
    class Bad(Listener):
        def opened(self):
            raise DataError("the disk is gone")

    with pytest.raises(DataError):
        running.run(prepared(photos), tmp_path / "run", listener=Bad())
    last = (tmp_path / "run" / "log.txt").read_text().splitlines()[-1]
    assert "ERROR    DataError: " in last


def test_no_path_of_the_machine_gets_from_the_log_into_a_certificate(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/a/secret place/smoothseg", "certify"])
    running.run(prepared(photos), tmp_path / "run")
    assert "command: '/a/secret place/smoothseg' certify" in (tmp_path / "run" / "log.txt").read_text()
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file() and path.name != "log.txt":
            assert b"secret place" not in path.read_bytes()
    loaded = file.load(next((tmp_path / "run").rglob("*.npz")))
    assert "secret" not in str(loaded.provenance)


def test_warnings_are_logged_and_still_shown(tmp_path):
    with warnings.catch_warnings(record=True) as shown, logs.writing(tmp_path / "folder" / "log.txt"):
        warnings.simplefilter("always")
        warnings.warn("something\nodd", UserWarning, stacklevel=1)
    assert [str(each.message) for each in shown] == ["something\nodd"]
    assert "WARNING  UserWarning: something odd" in (tmp_path / "folder" / "log.txt").read_text()


def test_the_logger_is_left_as_it_was(tmp_path):
    logger = logging.getLogger("smoothseg")
    before = (logger.level, list(logger.handlers), warnings.showwarning)
    with pytest.raises(ConfigError), logs.writing(tmp_path / "log.txt"):
        raise ConfigError("wrong")
    assert (logger.level, list(logger.handlers), warnings.showwarning) == before
    logs.log.info("nobody hears this")
    assert "nobody" not in (tmp_path / "log.txt").read_text()


def test_a_log_that_cannot_be_written_does_not_end_the_run(tmp_path, capsys):
    (tmp_path / "log.txt").mkdir()
    with logs.writing(tmp_path / "log.txt"):
        logs.log.info("lost")
    assert capsys.readouterr() == ("", "")


def log_of(directory):
    return (directory / "log.txt").read_text(encoding="utf-8")


def test_the_log_of_a_command_begins_with_it_and_has_what_was_loaded_and_checked(certify, tmp_path):
    assert certify("--output", tmp_path / "run").exit_code == 0
    lines = log_of(tmp_path / "run").splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert "  command: " in lines[0]
    order = [
        "loading the dataset folder",
        "checking 3 images",
        "loading the denoiser",
        "loading the segmenter",
        "device cpu, threads ",
        "certified a, identity",
        "finished",
    ]
    found = [next(i for i, line in enumerate(lines) if part in line) for part in order]
    assert found == sorted(found)
    assert sum("  command: " in line for line in lines) == sum("finished" in line for line in lines) == 1


def test_a_run_that_is_refused_while_it_is_loaded_leaves_nothing_behind(certify, photos, tmp_path):
    (photos / "images" / "bad.png").write_bytes(b"no image")
    result = certify("--output", tmp_path / "new" / "run")
    assert isinstance(result.exception, DataError)
    assert not (tmp_path / "new").exists()
    assert not isinstance(logs.log.handlers[-1], logging.FileHandler)


def test_what_ends_a_run_while_it_is_loaded_again_is_in_its_log(certify, photos, tmp_path):
    certify("--output", tmp_path / "run")
    before = log_of(tmp_path / "run")
    (photos / "images" / "bad.png").write_bytes(b"no image")
    certify("--output", tmp_path / "run")
    added = log_of(tmp_path / "run").removeprefix(before).splitlines()
    assert "  command: " in added[0]
    assert any("checking 4 images" in line for line in added)
    assert "ERROR    DataError: 1 of 4 samples" in added[-1]


def test_a_run_of_another_configuration_and_a_dry_run_do_not_touch_the_log(certify, tmp_path):
    certify("--output", tmp_path / "run")
    before = log_of(tmp_path / "run")
    other = certify("--seed", 5, "--output", tmp_path / "run")
    assert isinstance(other.exception, RunMismatchError)
    assert certify("--dry-run", "--output", tmp_path / "run").exit_code == 0
    assert log_of(tmp_path / "run") == before


def test_fresh_begins_a_new_log(certify, tmp_path):
    certify("--output", tmp_path / "run")
    assert certify("--fresh", "--output", tmp_path / "run").exit_code == 0
    assert log_of(tmp_path / "run").count("  command: ") == 1


def test_quiet_prints_the_result_and_nothing_else(certify, tmp_path):
    result = certify("--quiet", "--format", "csv", "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.startswith("method,")
    wrong = certify("-q", "--denoiser", "amd", "--output", tmp_path / "run")
    assert "unknown denoiser 'amd'" in str(wrong.exception)


def test_verbose_says_what_is_being_done(certify, tmp_path):
    result = certify("--verbose", "--output", tmp_path / "run")
    told = " ".join(result.stderr.split())
    for part in (
        "loading the dataset folder",
        "checking 3 images",
        "loading the segmenter",
        "certified b, identity",
    ):
        assert part in told
    plain = certify("--output", tmp_path / "other")
    assert "loading the dataset" not in plain.stderr
    assert "certified b, identity" not in plain.stderr


def test_verbose_and_quiet_exclude_each_other(invoke, certify, tmp_path):
    result = certify("-v", "-q", "--output", tmp_path / "run")
    assert str(result.exception) == "give verbose or quiet, not both"
    assert not (tmp_path / "run").exists()
    both = invoke("reproduce", "table1", "-v", "-q")
    assert str(both.exception) == "give --verbose or --quiet, not both"
