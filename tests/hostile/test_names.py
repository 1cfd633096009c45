"""Names that strangers chose are text wherever they are shown: page, tables, figures, terminal, log and messages."""

from __future__ import annotations

import csv as csv_module
import io
import json
import logging
import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from smoothseg.cli import main
from smoothseg.data.checks import check_classes
from smoothseg.errors import ConfigError, DataError, PluginError, SmoothsegError, one_line, visible
from smoothseg.report import formats, sheet, typesetting
from smoothseg.report.html import page
from smoothseg.runs import results
from smoothseg.runs.ledger import Ledger
from smoothseg.terminal.console import Plain

NAMES = {
    "html": "<script>alert(1)</script>",
    "attribute": '" onload="alert(1)',
    "end": "</script><img src=x onerror=alert(1)>",
    "entity": "a&lt;b&#x3c;",
    "latex": r"a\input{/etc/passwd}%$x_1^2${",
    "latex-line": "a\n\\input{/etc/passwd}",
    "markdown": "[a](javascript:alert(1)) ![x](http://x/y.png) **b** `c`",
    "markdown-cell": "a | b | c",
    "formula": "=cmd|'/c calc'!A1",
    "plus": "+1+1a",
    "at": "@SUM(1)",
    "minus": "-2+3a",
    "tab": "\t=1+a",
    "escape": "a\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "control": "a\x00\x07\x08\x7f\x9b31mb",
    "lines": "a\r\nb\u2028c\x85d",
    "direction": "a\u202egnp.exe\u2066",
    "rich": "[bold red]a[/bold red] [/] [link=http://x]y[/link] :warning:",
    "half": "a\ud800b",
    "long": "a" * 10_000,
    "mathtext": "a$\\frac{$",
    "jinja": "{{ 7*7 }} {% for a in b %}",
    "percent": "a%s %(x)s {0} {x}",
}


NAMES["all"] = " ".join(text for case, text in NAMES.items() if case != "long")


@pytest.fixture(params=NAMES)
def name(request):
    """Each name in turn."""
    return NAMES[request.param]


# Tables


@pytest.fixture
def rows(name):
    """Two rows of one table, one of a method of that name, with a class of that name."""
    import dataclasses

    from smoothseg.certificates.metrics import Scores
    from smoothseg.report import Row

    fields = {field.name: 0.5 for field in dataclasses.fields(Scores)}
    per_class = tuple(
        type_of_class(
            **{field.name: 0.5 for field in dataclasses.fields(type_of_class)} | {"name": each, "pixels": 5}
        )
        for each in (name, "b")
    )
    fields |= {"per_class": per_class, "labelled_pixels": 10}
    made = Scores(**fields)
    return [
        Row(
            method=each, denoiser=name, segmenter=name, certifier=name, tolerates=3, sigma=0.25, noise="lattice",
            radius=0.1, scale=1.0, images=2, certified=made, clean=made,
        )
        for each in (name, "b")
    ]  # fmt: skip


def _class():
    import typing

    from smoothseg.certificates.metrics import Scores

    return typing.get_args(typing.get_type_hints(Scores)["per_class"])[0]


type_of_class = _class()


def plain(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("form", formats.FORMATS)
def test_no_table_holds_a_control_character(rows, form):
    assert plain(formats.FORMATS[form](rows))


def test_a_name_does_not_add_a_line_to_a_table(rows):
    ordinary = [type(row)(**{**vars(row), "method": f"m{i}"}) for i, row in enumerate(rows)]
    for form in ("markdown", "latex"):
        assert len(formats.FORMATS[form](rows).splitlines()) == len(
            formats.FORMATS[form](ordinary).splitlines()
        )


def test_a_name_is_no_markup_of_markdown(rows):
    lines = formats.FORMATS["markdown"](rows).splitlines()
    cells = re.split(r"(?<!\\)\|", lines[2])
    assert len(cells) == len(re.split(r"(?<!\\)\|", lines[0]))
    for line in (cells[1], *(line for line in lines if line.startswith("- "))):
        assert not re.search(r"(?<!\\)[<\[`|&$]", line.replace("&nbsp;", "")), line


def test_a_name_is_no_command_of_latex(rows):
    for line in formats.FORMATS["latex"](rows).splitlines():
        assert not re.search(
            r"\\(input|frac|write|def)\b", line.partition("%")[0] if line.startswith("%") else line
        )
        if not line.startswith("%"):
            assert not re.search(r"(?<!\\)[#~]", line)
            assert line.count("{") - line.count(r"\{") == line.count("}") - line.count(r"\}")


@pytest.mark.parametrize("make", [formats.FORMATS["csv"], formats.per_class], ids=["rows", "classes"])
def test_no_field_of_csv_is_a_formula(rows, make):
    for record in csv_module.reader(io.StringIO(make(rows))):
        for field in record:
            if not re.fullmatch(r"-?[0-9.e+-]+", field):
                assert not field.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")), field


def test_json_holds_names_as_they_are(rows, name):
    assert json.loads(formats.FORMATS["json"](rows))["rows"][0]["method"] == name


def test_tables_of_any_name_are_written(rows, tmp_path):
    formats.write_tables(tmp_path, rows)
    assert len(list(tmp_path.iterdir())) == 5


# Page and figures


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one method, as its directory."""
    from click.testing import CliRunner

    from smoothseg.cli import cli

    root = tmp_path_factory.mktemp("names")
    (root / "images").mkdir()
    (root / "labels").mkdir()
    pixels = np.random.Generator(np.random.Philox(8)).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "images" / "a.png")
    Image.fromarray(pixels[..., 0] // 128).save(root / "labels" / "a.png")
    (root / "classes.txt").write_text("dark\nbright\n", encoding="utf-8")
    config = {
        "dataset": {"name": "streets", "count": 1, "height": 48, "width": 64},
        "denoiser": "identity",
        "segmenter": "hrnet",
        "certifier": "holm:n0=2,n=60",
        "scale": 0.25,
        "device": "cpu",
        "output": str(root / "run"),
    }
    (root / "c.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    result = CliRunner().invoke(cli, ["certify", "--config", str(root / "c.yaml"), "--quiet"])
    assert result.exit_code == 0, result.output
    return root / "run"


@pytest.fixture
def renamed(run, tmp_path, name):
    """The run, as a stranger may have written it: method, classes and dataset are called otherwise."""
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    identity = results.read_identity(copy)
    (method,) = identity["plan"]["methods"]
    before, method["name"] = method["name"], name
    identity["plan"]["dataset"]["name"] = name
    identity["classes"] = {name: [f"{name} {i}" for i, _ in enumerate(identity["classes"][before])]}
    for part in ("weights", "digests"):
        if before in identity.get(part, {}):
            identity[part][name] = identity[part].pop(before)
    results.write_identity(copy, identity)
    lines = [{**line, "method": name} for line in Ledger(copy / "ledger.jsonl")]
    (copy / "ledger.jsonl").unlink()
    for line in lines:
        Ledger(copy / "ledger.jsonl").append(line)
    return copy


@pytest.mark.parametrize("name", ["all", "end"], indirect=True)
def test_a_name_is_text_in_the_page(renamed, name):
    text = page(renamed)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert ' onload="' not in text
    assert "49 " not in text[text.index("<h1>") : text.index("</h1>")]
    assert len(re.findall(r"</script>", text)) == 2
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data)["methods"][0]["name"] == name


@pytest.mark.parametrize("name", ["all"], indirect=True)
def test_every_command_that_shows_a_run_shows_its_names_as_text(renamed, name, tmp_path, capfd):
    commands = [
        ["report", str(renamed), "--format", form] for form in ("table", "markdown", "latex", "csv", "json")
    ]
    commands += [
        ["report", str(renamed), "--html"],
        ["bounds", str(renamed)],
        ["bounds", str(renamed), "--format", "json"],
    ]
    key = next(iter(json.loads((renamed / "run.json").read_text(encoding="utf-8"))["images"]))
    commands += [
        ["figure", str(renamed), "--image", key, "--output", str(tmp_path / f"f.{kind}")]
        for kind in ("pdf", "png", "svg")
    ]
    commands += [["figure", str(renamed), "--image", name, "--output", str(tmp_path / "f.png")]]
    for command in commands:
        with pytest.raises(SystemExit) as caught:
            main(command)
        out, err = capfd.readouterr()
        assert caught.value.code in (0, 1, 2)
        assert "Traceback" not in err
        assert plain(out), command
        assert plain(err), command


@pytest.mark.parametrize("name", ["all", "mathtext", "long"], indirect=True)
def test_a_figure_takes_any_name(name):
    tile = np.zeros((4, 5, 3), dtype=np.uint8)
    strip = typesetting.Strip(name, [("certified", tile)])
    for kind in typesetting.FORMATS:
        assert typesetting.typeset([strip], {name: (1, 2, 3)}, kind=kind, dpi=50)


@pytest.mark.parametrize("name", ["all", "lines", "half", "long"], indirect=True)
def test_a_sheet_takes_any_name(name):
    tile = sheet.Tile(name, Image.new("RGB", (8, 8)))
    legend = [(name, (1, 2, 3))]
    sheet.sheet([[tile]], [name], title=name, subtitle=name, legend=legend, extent=(8, 8))


# Terminal, log and messages


def test_a_console_shows_text_as_it_is(name, capfd):
    from rich.table import Table

    console = Plain()
    console.print(name)
    table = Table(box=None)
    table.add_column(name)
    table.add_row(name)
    console.print(table)
    out, _ = capfd.readouterr()
    assert plain(out)
    if name.startswith("[bold"):
        assert "[bold red]a[/bold red]" in out


@pytest.mark.parametrize("name", ["all", "rich", "escape", "half"], indirect=True)
def test_progress_shows_text_as_it_is(name, capfd):
    from smoothseg.terminal.progress import progress

    with progress() as track:
        track.stage(name)
        track.note(name)
        track.count(name, 1, 1)
        track.download(name, 0, 5)
    _, err = capfd.readouterr()
    assert plain(err)


def test_a_message_is_a_line_whatever_it_quotes(name):
    for kind in (SmoothsegError, ConfigError, DataError):
        message = str(kind(f"{name}: expected text, got {name!r}"))
        assert message.isprintable()
        assert len(message) < 3000


@given(text=st.text(max_size=50))
def test_any_text_is_made_visible_and_plain_text_stays(text, tried):
    assert visible(text).isprintable()
    assert one_line(text) == visible(text)
    if text.isprintable():
        assert visible(text) == text
    tried()


def test_class_names_are_lines_of_text(name):
    class Dataset:
        classes: tuple[str, ...] = ()

    if not name.isprintable() or len(name) > 1000:
        with pytest.raises((ConfigError, PluginError)):
            check_classes((name, "b"), Dataset(), "the segmenter")
    else:
        check_classes((name, "b"), Dataset(), "the segmenter")


@pytest.mark.parametrize("name", ["all", "lines", "escape"], indirect=True)
def test_the_log_of_a_run_is_a_line_for_each_message(name, tmp_path):
    from smoothseg.runs import logs

    with logs.writing(tmp_path / "log.txt"):
        logging.getLogger("smoothseg").info("%s", DataError(name))
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert all(line.isprintable() for line in lines if "command:" not in line)
