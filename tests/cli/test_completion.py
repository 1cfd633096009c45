"""What the shells complete, through the scripts that they load."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from click.shell_completion import get_completion_class

from smoothseg.cli import cli
from smoothseg.cli.completion import candidates
from smoothseg.components.plugins import plugins


def words(kind, unfinished):
    return [each.word for each in candidates(kind, unfinished)]


def test_names_are_those_of_the_installed_components():
    assert words("denoiser", "") == [entry.name for entry in plugins()["denoiser"]]
    assert words("denoiser", "ad") == ["adm"]
    assert words("dataset", "city") == ["cityscapes"]
    assert next(iter(candidates("denoiser", "adm"))).help == plugins()["denoiser"].entry("adm").summary
    assert words("denoiser", "x") == words("denoiser", "amd:") == []


def test_options_and_values_follow_the_name():
    assert words("denoiser", "adm:") == [
        f"adm:{field.name}=" for field in plugins()["denoiser"].entry("adm").fields
    ]
    assert words("denoiser", "adm:ste") == ["adm:steps="]
    assert words("denoiser", "adm:steps=") == ["adm:steps=single", "adm:steps=multi"]
    assert words("denoiser", "adm:steps=multi,ste") == []
    assert words("certifier", "holm:n=9,al") == ["holm:n=9,alpha="]
    assert words("denoiser", "adm:antialias=t") == ["adm:antialias=true"]
    assert words("certifier", "holm:n=") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_smoothseg(invoke, shell):
    result = invoke("completion", shell)
    assert result.exit_code == 0, result.output
    assert f"_SMOOTHSEG_COMPLETE={shell}_complete" in result.stdout
    if shutil.which(shell):
        check = subprocess.run(
            [shell, "-n"], input=result.stdout, text=True, capture_output=True, check=False
        )
        assert check.returncode == 0, check.stderr


def test_an_unknown_shell_is_refused(invoke):
    result = invoke("completion", "tcsh")
    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.output


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("smoothseg cert", {"plain,certify"}),
        ("smoothseg certify --denoiser id", {"plain,identity"}),
        ("smoothseg certify --sigma 1 --certifier holm:al", {"plain,alpha="}),
        ("smoothseg certify --denoiser adm:steps=m", {"plain,multi"}),
        ("smoothseg certify --denoiser=adm:steps=m", {"plain,multi"}),
        (
            "smoothseg certify --format ",
            {f"plain,{form}" for form in ("table", "markdown", "latex", "csv", "json")},
        ),
        ("smoothseg train denoiser --validation cam", {"plain,camvid"}),
        ("smoothseg recertify --certifier ho", {"plain,holm"}),
        ("smoothseg certify --config ex", {"file,ex"}),
        ("smoothseg check denoiser ad", {"plain,adm"}),
        ("smoothseg check certifier holm:al", {"plain,alpha="}),
        ("smoothseg components deno", {"plain,denoiser"}),
        ("smoothseg components certifier ad", {"plain,adm", "plain,ade20k"}),
        ("smoothseg schema train-", {"plain,train-segmenter", "plain,train-denoiser"}),
        ("smoothseg weights fetch adm:weights=256", {"plain,256-uncond"}),
        ("smoothseg weights list dnc", {"plain,dncnn"}),
        ("smoothseg weights list adm:", set()),
        ("smoothseg weights check vit-", {"plain,vit-adapter"}),
        ("smoothseg weights convert hrn", {"plain,hrnet"}),
        ("smoothseg datasets check city", {"plain,cityscapes"}),
    ],
)
def test_bash_is_answered_with_the_rest_of_the_word(monkeypatch, line, expected):
    monkeypatch.setenv("SMOOTHSEG_LINE", line)
    shell = get_completion_class("bash")(cli, {}, "smoothseg", "_SMOOTHSEG_COMPLETE")
    assert set(shell.complete().splitlines()) == expected


def test_zsh_and_fish_are_answered_with_the_whole_word(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "smoothseg certify --denoiser adm:steps=m")
    for shell, cword in (("zsh", "3"), ("fish", "adm:steps=m")):
        monkeypatch.setenv("COMP_CWORD", cword)
        told = get_completion_class(shell)(cli, {}, "smoothseg", "_SMOOTHSEG_COMPLETE").complete()
        assert "steps=multi" in told.replace("\\", "")


@pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="there is no bash")
def test_bash_itself_completes_an_option_of_a_component(invoke, tmp_path):
    program = tmp_path / "smoothseg"
    # Not Python in the first line: there a path may hold no space and is cut off when it is long.
    code = "from smoothseg.cli import main; main()"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{code}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = invoke("completion", "bash").stdout
    line = "smoothseg certify --denoiser adm:ste"
    test = (
        f"{script}\nCOMP_LINE='{line}'; COMP_POINT={len(line)}\n"
        'compopt() { echo "option $2"; }\n_smoothseg_completion smoothseg\necho "${COMPREPLY[@]}"\n'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", test],
        env={**os.environ, "PATH": path},
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stdout.split() == ["option", "nospace", "steps="], done.stderr
