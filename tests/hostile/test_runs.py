"""A run directory of a stranger: read, or one line of error; and nothing is read or written outside of it."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothseg.cli import main
from smoothseg.report import running
from smoothseg.runs import preparing, results
from smoothseg.runs.ledger import Ledger
from smoothseg.runs.plan import Plan

OPTIONS = {
    "denoiser": "identity",
    "segmenter": "toy-threshold",
    "certifier": "holm:n0=4,n=40,alpha=0.05,taus=0.6,0.75",
    "sigma": [0.2],
    "scale": 1.0,
    "device": "cpu",
}


@pytest.fixture
def made(toys, album, once, tmp_path, monkeypatch):
    """Return the folder of a small run, made once and copied; the folder that it stands in is the present one."""
    options = {**OPTIONS, "dataset": f"folder:root={album},images=images,labels=labels,classes=classes.txt"}
    once("hostile", lambda folder: running.run(preparing.prepare(Plan.of(options)), folder), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


COMMANDS = (
    ("report", "run"),
    ("report", "run", "--html"),
    ("verify", "run"),
    ("bounds", "run"),
    ("figure", "run", "--image", "a", "--output", "a.svg"),
    ("recertify", "run", "--certifier", "holm:tau=0.7", "--output", "again"),
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(
        ["", "a", "../../x", "/etc/passwd", "a\nb", "<b>", "\x1b[31m", "identity", "certificates/a/b.npz"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "a", "image"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(value, path=()):
    """Return the path of every value inside a JSON value."""
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def changed(value, path, new):
    """Return a copy of a JSON value with another one at `path`."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def check(capfd, words):
    """Run a command as a process would; fail for a traceback or an exit code of its own."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    out, err = capfd.readouterr()
    assert caught.value.code in (0, None, 1, 2), words
    assert "Traceback" not in out + err
    if caught.value.code:
        assert sum(line.startswith("Error: ") for line in err.splitlines()) == 1, err


def test_run_json_and_ledger_with_any_value_in_any_place(made, capfd, tried, limits):
    identity, lines = results.read_identity(made), [dict(line) for line in Ledger(made / "ledger.jsonl")]
    of_identity, of_line = places(identity)[1:], places(lines[0])[1:]

    @given(st.data())
    def test(data):
        tried()
        with limits(60, 2500):
            where, new = data.draw(st.sampled_from([*of_identity, *of_line])), data.draw(JSON)
            shutil.rmtree(made.parent / "again", ignore_errors=True)
            if where in of_identity:
                results.write_identity(made, changed(identity, where, new))
            else:
                (made / "ledger.jsonl").unlink()
                ledger = Ledger(made / "ledger.jsonl")
                for line in (changed(lines[0], where, new), *lines[1:]):
                    ledger.append(line)
            check(capfd, data.draw(st.sampled_from(COMMANDS)))
            results.write_identity(made, identity)

    before = {path.name for path in made.parent.iterdir()}
    test()
    assert {path.name for path in made.parent.iterdir()} <= before | {"again", "a.svg"}


def test_bytes_instead_of_the_files_of_a_run(made, capfd, tried, limits):
    @given(
        st.binary(max_size=200),
        st.sampled_from(
            [
                "run.json",
                "ledger.jsonl",
                "manifest.json",
                "manifest.sig",
                "metrics.json",
                "metrics.csv",
                "per_class.csv",
            ]
        ),
    )
    def test(content, name):
        tried()
        right = (made / name).read_bytes() if (made / name).exists() else None
        (made / name).write_bytes(content)
        with limits(60, 2500):
            for words in COMMANDS[:4]:
                check(capfd, words)
        if right is None:
            (made / name).unlink()
        else:
            (made / name).write_bytes(right)

    test()


@pytest.mark.parametrize("name", ["run.json", "ledger.jsonl", "manifest.json", "legend.json", "metrics.json"])
def test_a_pipe_a_device_and_a_deep_text_end_in_one_line(made, capfd, limits, name):
    for put in (
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_text("[" * 200_000),
        lambda path: path.write_text('{"check": ' + "9" * 100_000 + "}"),
    ):
        right = (made / name).read_bytes()
        (made / name).unlink()
        put(made / name)
        with limits(60, 2500):
            check(capfd, ("report", "run", "--html"))
            check(capfd, ("verify", "run"))
        (made / name).unlink()
        (made / name).write_bytes(right)


@pytest.mark.parametrize(
    "name",
    ["certificates", "certificates/identity", "pictures", "previews", "log.txt", "ledger.jsonl", ".lock"],
)
def test_a_run_does_not_write_through_a_link(made, album, capfd, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    (made / name).rename(elsewhere)
    (made / name).symlink_to(elsewhere)
    before = json.dumps(sorted(str(path) for path in tmp_path.rglob("*")))
    content = elsewhere.read_bytes() if elsewhere.is_file() else None
    check(
        capfd,
        (
            *(
                "certify",
                "--dataset",
                f"folder:root={album},images=images,labels=labels,classes=classes.txt",
            ),
            *("--denoiser", "identity", "--segmenter", "toy-threshold", "--certifier", OPTIONS["certifier"]),
            *("--sigma", "0.2", "--scale", "1", "--device", "cpu", "--output", "run"),
        ),
    )
    assert json.dumps(sorted(str(path) for path in tmp_path.rglob("*"))) == before
    assert content is None or elsewhere.read_bytes() == content


def test_a_line_that_names_a_file_elsewhere_is_no_line(made, tmp_path):
    """Neither verify nor report read what a ledger's path leads to outside of the run."""
    for path in (
        "/etc/passwd",
        "certificates/../../photos/a.npz",
        "certificates/x/sigma-1/../../y.npz",
        "a.npz",
    ):
        ledger = Ledger(made / "ledger.jsonl")
        ledger.append({**next(iter(ledger)), "certificate": path})
        assert len(Ledger(made / "ledger.jsonl").damaged) == 1
        Ledger(made / "ledger.jsonl").mend()
