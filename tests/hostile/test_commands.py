"""Every command with hostile values: an exit code, one line of error, no traceback, and no file outside its output."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from smoothseg.cli import cli, main
from smoothseg.components.plugins import plugins

plugins()


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Return every command with its words."""
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += (
            leaves(command, (*path, name)) if isinstance(command, click.Group) else [((*path, name), command)]
        )
    return found


COMMANDS = leaves(cli)
VALUES = [
    *(
        "",
        "-",
        "--",
        "-1",
        "0",
        "nan",
        "inf",
        "1e400",
        "-0",
        "9" * 400,
        "9" * 5000,
        "a\nb",
        "\x1b[31m",
        "\udcff",
        "~nobody/x",
    ),
    *(
        "/dev/null",
        "/dev/zero",
        "/nonexistent/x",
        "..",
        "x" * 5000,
        "=1+1",
        "[red]x[/red]",
        "%s",
        "{0}",
        "$(id)",
        "holm",
    ),
    *(
        "holm:n=1e400",
        "folder:root=/dev",
        "hf://a/b",
        "https://[",
        "https://localhost:1/x",
        "adm:weights=/dev/zero",
    ),
]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, limits):
    """Return a function that runs a command line as a process would; it fails for a traceback or a file elsewhere."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("SMOOTHSEG_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(place))

    def call(*words: str, seconds: float = 30) -> int:
        capfd.readouterr()
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        with limits(seconds, 2500), pytest.raises(SystemExit) as caught:
            main(list(words))
        _, err = capfd.readouterr()
        code = caught.value.code or 0
        assert code in (0, 1, 2)
        assert "Traceback" not in err
        if code:
            lines = err.splitlines()
            assert sum(line.startswith("Error:") for line in lines) == 1, err[:2000]
            assert all(
                line.isprintable() for line in lines if line.startswith("Error: ") and "Usage:" not in err
            )
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path != place} == {
            path: time for path, time in before.items() if path != place
        }
        return int(code)

    return call


NEVER = {"--help", "--version"}


def words_of(path: tuple[str, ...], command: click.Command, values: list[str]) -> list[str]:
    """Return a command line in which every argument and some options have a value of `values`, taken in turn."""
    given = iter(values)
    words = list(path)
    arguments = []
    for parameter in command.params:
        value = next(given, None)
        if value is None:
            break
        if isinstance(parameter, click.Argument):
            arguments.append(value)
        elif not getattr(parameter, "is_flag", False):
            words.append(
                f"{parameter.opts[0]}={value}" if parameter.opts[0].startswith("--") else parameter.opts[0]
            )
    return [*words, "--", *arguments]


QUICK = [(path, command) for path, command in COMMANDS if path[0] not in ("train", "reproduce", "doctor")]


@pytest.mark.parametrize(("path", "command"), QUICK, ids=["-".join(path) for path, _ in QUICK])
def test_every_command_takes_every_hostile_value_alone(run, path, command):
    for value in VALUES:
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                run(*path, "--", value)
            elif not getattr(parameter, "is_flag", False):
                run(
                    *path,
                    f"{parameter.opts[0]}={value}",
                    *(["--dry-run"] if path == ("certify",) else []),
                    "--",
                    "x",
                )


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize(("path", "command"), QUICK, ids=["-".join(path) for path, _ in QUICK])
@given(values=st.lists(st.sampled_from(VALUES) | TEXT, min_size=1, max_size=8))
def test_any_command_line_ends_in_an_exit_code(run, path, command, values, tried):
    run(*words_of(path, command, values))
    tried()


# Configurations


OPTIONS = [
    *(
        "dataset",
        "denoiser",
        "segmenter",
        "certifier",
        "methods",
        "sigma",
        "scale",
        "convention",
        "denoise_at",
        "noise",
    ),
    *(
        "images",
        "every",
        "seed",
        "device",
        "tau",
        "output",
        "batch_size",
        "threads",
        "format",
        "fresh",
        "track",
        "quiet",
    ),
]
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.sampled_from(["holm", "adm", "identity", "streets", "cpu", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "weights", "n", "root"]) | TEXT, inner, max_size=3)
    ),
    max_leaves=5,
)


@given(content=st.dictionaries(st.sampled_from(OPTIONS) | TEXT, PLAIN, max_size=4))
def test_any_configuration_is_taken_or_refused(run, content, tried):
    Path("c.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    run("certify", "--config", "c.yaml", "--print-config")
    tried()


ODD = [
    *("a: &a [*a]", "9" * 400, "1e400", "-.inf", ".nan", "0x" + "f" * 400, '"\\0"', "[[[[]]]]", "2024-01-01"),
    *("!!binary aGk=", "{}", "-0.0"),
]


@pytest.mark.parametrize("key", OPTIONS)
def test_any_value_of_an_option_in_a_file_is_taken_or_refused(run, key):
    for value in ODD:
        Path("c.yaml").write_text(f"{key}: {value}\n", encoding="utf-8")
        run("certify", "--config", "c.yaml", "--print-config")


@pytest.mark.skipif(os.name != "posix", reason="no such files there")
def test_a_pipe_given_as_a_file_is_refused_by_every_command(run):
    os.mkfifo("pipe.yaml")
    os.mkfifo("pipe.npz")
    os.mkfifo("pipe.pth")
    assert run("certify", "--config", "pipe.yaml", seconds=5) == 2
    assert run("verify", "pipe.npz", seconds=5)
    assert run("weights", "check", "adm:weights=pipe.pth", seconds=5) == 2
    assert run("weights", "convert", "hrnet:weights=pipe.pth,width=w18", "o.safetensors", seconds=5) == 2


def test_output_goes_to_no_place_that_is_taken(run):
    Path("taken").write_text("mine", encoding="utf-8")
    assert run("certify", "--output", "taken", "--dry-run") == 2
    assert run("weights", "convert", "adm", "taken") == 2
    assert Path("taken").read_text(encoding="utf-8") == "mine"
