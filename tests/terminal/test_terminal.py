"""What the output looks like where it goes: a terminal, a dumb one, a log, a notebook, and without colours."""

from __future__ import annotations

import sys
import types

import pytest

from smoothseg import cli as command_line
from smoothseg.terminal import progress as progresses
from smoothseg.terminal.console import Plain

pytestmark = pytest.mark.usefixtures("toys")

ESCAPE = "\x1b"


def coloured(text):
    """Tell whether a text sets a colour; bold and dim are none."""
    codes = [part.partition("m")[0].split(";") for part in text.split(f"{ESCAPE}[")[1:]]
    return any(
        30 <= int(code) <= 49 or 90 <= int(code) <= 107 for each in codes for code in each if code.isdigit()
    )


@pytest.mark.parametrize("command", [["components", "certifier"], ["doctor"], ["weights", "list"]])
def test_tables_have_colours_on_a_terminal_and_none_with_no_color(invoke, monkeypatch, command):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured(invoke(*command, color=True).stdout)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(invoke(*command, color=True).stdout)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert ESCAPE not in invoke(*command, color=True).stdout


def test_progress_is_a_bar_on_a_terminal_and_without_colours_with_no_color(certify, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    result = certify("--output", tmp_path / "run", "--fresh", color=True)
    assert result.exit_code == 0, result.output
    assert "ETA" in result.stderr
    assert coloured(result.stderr)
    monkeypatch.setenv("NO_COLOR", "1")
    result = certify("--output", tmp_path / "run", "--fresh", color=True)
    assert "ETA" in result.stderr
    assert not coloured(result.stderr)


def test_a_dumb_terminal_gets_plain_lines(certify, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(progresses, "_LINE_EVERY", 0.0)
    result = certify("--output", tmp_path / "run", color=True)
    assert result.exit_code == 0, result.output
    assert ESCAPE not in result.stderr
    assert "checking components and images" in result.stderr
    assert "certificates  " in result.stderr
    assert "samples/s  ETA" in result.stderr


def test_a_log_gets_lines_and_no_escapes(certify, tmp_path, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr(progresses, "_LINE_EVERY", 0.0)
    result = certify("--output", tmp_path / "run", color=True)
    assert ESCAPE not in result.stderr
    assert "\r" not in result.stderr
    assert "samples/s  ETA" in result.stderr


def test_a_notebook_gets_the_same_lines(monkeypatch, photos, tmp_path):
    shown = []
    display = types.ModuleType("IPython.display")
    display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(progresses, "_LINE_EVERY", 0.0)

    def notebook(**options):
        return Plain(force_jupyter=True, **options)

    monkeypatch.setattr("smoothseg.terminal.console.Plain", notebook)
    with progresses.progress() as track:
        track.stage("checking")
        track.note("a note")
        track.count("images", 1, 2)
    told = [each._repr_mimebundle_(include=(), exclude=())["text/plain"].strip() for each in shown]
    assert told[:2] == ["checking", "a note"]
    assert told[2].startswith("images  1/2")


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}])
def test_errors_are_plain_everywhere(monkeypatch, capsys, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        command_line.main(["certify", "--denoiser", "amd"])
    told = capsys.readouterr().err
    assert ESCAPE not in told
    assert told.splitlines()[-1].startswith("Error: unknown denoiser 'amd'")


def test_progress_says_how_much_of_the_image_is_certified(certify, tmp_path, monkeypatch):
    monkeypatch.setattr(progresses, "_LINE_EVERY", 0.0)
    certifier = "anytime:n0=4,max_n=60,block=10,alpha=0.5"
    result = certify("--output", tmp_path / "run", "--certifier", certifier)
    assert result.exit_code == 0, result.output
    assert "% certified of this image)" in result.stderr
    assert "% certified" not in certify("--output", tmp_path / "other").stderr
