"""What the documentation says about the code: snippets run, commands parse, names exist, links lead somewhere."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
import unicodedata
import warnings
from importlib import metadata
from pathlib import Path

import click
import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from smoothseg import configuration as run_configuration
from smoothseg import errors, experiments, hookspecs
from smoothseg.cli import cli
from smoothseg.errors import SmoothsegError
from smoothseg.files import read_yaml
from smoothseg.metrics import DEFINITIONS
from smoothseg.plugins import KINDS, load, plugins
from smoothseg.registry import parse
from smoothseg.training.configuration import DenoiserTraining, Running, SegmenterTraining, configure

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
GENERATED = ("cli.md", "components.md")
EVERYWHERE = {"-h", "--help", "--version"}
TRAININGS = {"segmenter": SegmenterTraining, "denoiser": DenoiserTraining}

_FENCE = re.compile(r"^```(\w+)?(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    language: str
    title: str
    code: str
    line: int


def named(page):
    return str(page.relative_to(ROOT))


def text(page):
    return page.read_text(encoding="utf-8")


def blocks(page, *languages):
    content = text(page)
    found = [
        Block(m[1] or "", m[2] or "", m[3], content[: m.start()].count("\n") + 2)
        for m in _FENCE.finditer(content)
    ]
    return [block for block in found if block.language in languages]


def prose(page):
    return _FENCE.sub("", text(page))


def pages_with(*languages):
    return [page for page in PAGES if blocks(page, *languages)]


def by_page(pages):
    return pytest.mark.parametrize("page", pages, ids=named)


# Snippets


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Run in a folder of its own, whose modules can be imported and are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before, threads = set(sys.modules), torch.get_num_threads()
    torch.set_num_threads(1)  # images are tiny: threads would mostly wait for each other
    yield tmp_path
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin and Path(origin).is_relative_to(tmp_path):
            del sys.modules[name]


def write_titled(page, folder):
    """Write the blocks of a page that have a title as the files they are."""
    for block in blocks(page, "python", "toml", "yaml", "text"):
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
    importlib.invalidate_caches()


@by_page(pages_with("python"))
def test_the_python_of_a_page_runs_from_top_to_bottom(page, workplace):
    write_titled(page, workplace)
    names = {"__name__": "snippet"}
    for block in blocks(page, "python"):
        if not block.title:
            exec(compile("\n" * (block.line - 1) + block.code, named(page), "exec"), names)


def test_the_plugin_of_the_guide_can_be_installed(workplace):
    write_titled(DOCS / "guides" / "plugin.md", workplace)
    project = tomllib.loads((workplace / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = [
        metadata.EntryPoint(name, value, "smoothseg")
        for name, value in project["entry-points"]["smoothseg"].items()
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load(points)
    assert loaded.plugins[0].error is None
    assert loaded["denoiser"].recipe("median:size=5").size == 5
    with pytest.raises(errors.ConfigError, match="size must be odd"):
        loaded["denoiser"].recipe("median:size=4")


# Commands


def commands(page):
    """Give every command line shown on a page as (line number, words), lines joined, without redirections and pipes."""
    for block in blocks(page, "console", "bash", "sh"):
        line, whole = block.line, ""
        for offset, part in enumerate(block.code.splitlines()):
            line = line if whole else block.line + offset
            whole += part.removesuffix("\\").removeprefix("$ ")
            if not part.endswith("\\"):
                if whole.strip():
                    yield line, shlex.split(re.split(r" [>|] ", whole)[0])
                whole = ""


def program(words):
    return words[0].replace("\\", "/").rpartition("/")[2]


def parsed(words):
    """Return the click context of `smoothseg` followed by `words`, without running anything."""
    command, context, path = cli, click.Context(cli, info_name="smoothseg"), []
    while isinstance(command, click.Group):
        assert words, f"smoothseg {' '.join(path)} needs a command"
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command smoothseg {' '.join([*path, words[0]])}"
        command, path, words = found, [*path, words[0]], words[1:]
    return path, command.make_context(path[-1], list(words))


def configuration(name, page):
    """Return the options in the file `name`: one of the repository, or a block of the page with that title."""
    for block in blocks(page, "yaml"):
        if block.title == name:
            return yaml.safe_load(block.code)
    return read_yaml(ROOT / name)


def check(path, options, page):
    """Validate the options of a command as running it would, as far as no file is opened."""
    offered = set(re.findall(r'register\("([a-z0-9-]+)"', text(page)))  # by the plugin that the page writes
    given = {key: list(v) if isinstance(v, tuple) else v for key, v in options.items() if v not in (None, ())}
    values = configuration(given.pop("config"), page) if "config" in given else {}
    if path == ["certify"]:
        for kind in ("denoiser", "segmenter", "certifier"):
            specs = [spec for spec in given.pop(kind, []) if parse(spec, kind)[0] not in offered]
            if specs:
                given[kind] = specs
                values.pop("methods", None)
        run_configuration.configure(
            values, {key: v for key, v in given.items() if key in run_configuration.KEYS}
        )
    elif path == ["reproduce"]:
        if given["table"].endswith(".yaml"):
            experiments.of(configuration(given["table"], page), given["table"])
        else:
            experiments.read(experiments.find(given["table"], given.get("dataset", "streets")))
    elif path[0] == "train":
        values = {key.replace("-", "_"): value for key, value in values.items()} | given
        names = {field.name for field in dataclasses.fields(Running)}
        configure(Running, {key: value for key, value in values.items() if key in names})
        training = configure(
            TRAININGS[path[1]], {key: value for key, value in values.items() if key not in names}
        )
        for kind, spec in (
            ("dataset", training.dataset),
            ("dataset", training.validation),
            (path[1], getattr(training, path[1])),
        ):
            if spec is not None:
                plugins()[kind].recipe(spec)
    elif "certifier" in given:
        plugins()["certifier"].recipe(given["certifier"])


@by_page(pages_with("console", "bash", "sh"))
def test_the_smoothseg_commands_of_a_page_parse(page, monkeypatch):
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    for line, words in commands(page):
        if program(words) != "smoothseg":
            continue
        try:
            path, context = parsed(words[1:])
            check(path, context.params, page)
        except (AssertionError, click.ClickException, SmoothsegError) as error:
            pytest.fail(f"{named(page)}:{line}: {shlex.join(words)}: {error}")


@by_page(pages_with("console", "bash", "sh"))
def test_the_other_commands_of_a_page_name_what_there_is(page):
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    for line, words in commands(page):
        where = f"{named(page)}:{line}: {shlex.join(words)}"
        if program(words) == "make":
            assert set(words[1:]) <= targets, where
        for extras in re.findall(r"\.\[([a-z,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), where
        for word in words:
            if word.startswith("examples/"):
                assert (ROOT / word).exists(), where


@by_page(pages_with("yaml"))
def test_the_configurations_of_a_page_are_valid(page):
    for block in blocks(page, "yaml"):
        options = yaml.safe_load(block.code)
        if "runs" in options:
            experiments.of(options, block.title)
        elif "crop" in options:
            kind = "segmenter" if "segmenter" in options else "denoiser"
            check(["train", kind], {"config": block.title, "output": "models/any"}, page)
        else:
            run_configuration.configure(options)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=named)
def test_the_commands_in_the_head_of_an_example_parse(path, monkeypatch):
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    head = "\n".join(line.lstrip("# ") for line in text(path).splitlines() if line.startswith("#"))
    for command in re.findall(r"^smoothseg (?:.*\\\n)*.*", head, re.MULTILINE):
        words, context = parsed(shlex.split(command.replace("\\\n", " "))[1:])
        if words == ["reproduce"]:
            assert experiments.find(context.params["table"], context.params["dataset"] or "streets") == path
            continue
        assert context.params["config"] == str(path.relative_to(ROOT))
        options = {**context.params, "config": str(path.relative_to(ROOT))}
        check(words, options, path)


def test_the_demo_is_the_same_with_make_and_without():
    demo = "smoothseg certify --config examples/demo.yaml --output runs/demo"
    assert demo in text(ROOT / "Makefile")
    for page in (ROOT / "README.md", DOCS / "install.md"):
        assert f".venv/bin/{demo}" in text(page)


# Names


def every_command(command=cli, path="smoothseg"):
    context = click.Context(command, info_name=path)
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from every_command(command.get_command(context, name), f"{path} {name}")


def option_names(command):
    return [
        name
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    ]


@pytest.mark.parametrize(
    ("path", "command"), list(every_command()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_command_and_option_is_documented(path, command):
    section = re.search(rf"^## {path}\n(.*?)(?=^## |\Z)", text(DOCS / "reference/cli.md"), re.M | re.S)
    assert section, f"{path} has no section"
    for name in set(option_names(command)) - EVERYWHERE:
        assert f"`{name}`" in section[1], name


def test_every_component_and_its_options_are_documented():
    page = text(DOCS / "reference/components.md")
    ours = {plugin.owner for plugin in plugins().plugins if plugin.distribution == "smoothseg"}
    for kind in KINDS:
        for entry in plugins()[kind]:
            if entry.owner in ours:
                section = re.search(rf"^### {entry.name}\n(.*?)(?=^##|\Z)", page, re.M | re.S)
                assert section, f"{kind} {entry.name}"
                for field in entry.fields:
                    assert f"`{field.name}`" in section[1], f"{kind} {entry.name}: {field.name}"


def test_every_hook_is_in_the_plugin_guide():
    hooks = [name for name in vars(hookspecs) if name.startswith("register_")]
    assert len(hooks) == len(KINDS) + 1
    for hook in hooks:
        assert f"`{hook}(" in text(DOCS / "guides/plugin.md"), hook


def test_every_error_is_documented_with_its_exit_code():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d) \|", text(DOCS / "reference/errors.md"), re.MULTILINE))
    assert rows == {name: str(getattr(errors, name).exit_code) for name in errors.__all__}


def test_every_metric_is_documented():
    for metric in DEFINITIONS:
        assert f"| `{metric}` |" in text(DOCS / "metrics.md"), metric


@by_page(PAGES)
def test_inline_code_names_what_there_is(page):
    known = {path for path, _ in every_command()}
    options = {name for _, command in every_command() for name in option_names(command)}
    options |= EVERYWHERE
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if match := re.match(r"smoothseg( [a-z]+)?( [a-z]+)?", code):
            words = [word for word in code.split() if re.fullmatch(r"[a-z]+", word)][:3]
            if match[1]:
                longest = max((" ".join(words[:n]) in known) * n for n in range(1, len(words) + 1))
                assert longest > 1, f"{named(page)}: `{code}` is no command"
        if match := re.match(r"(--[a-z-]+)", code):
            assert match[1] in options, f"{named(page)}: there is no option {match[1]}"
        if match := re.match(r"(smoothseg(?:\.[A-Za-z_]\w*)+)", code):
            assert pkgutil.resolve_name(match[1]) is not None
        if re.fullmatch(r"(smoothseg|plugins|examples|docs|tests|benchmarks)/[\w./-]+", code):
            assert (ROOT / code).exists(), f"{named(page)}: there is no {code}"


# Numbers


def tables(page):
    """Give the tables of a page as lists of rows of cells."""
    for table in re.findall(r"(?:^\|.*\|\n)+", text(page), re.MULTILINE):
        yield [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_smallest_n_of_the_guarantee_page_are_right():
    (table,) = (rows for rows in tables(DOCS / "guarantee.md") if rows[0][0].startswith("image"))
    taus = [float(re.findall(r"[\d.]+", cell)[0]) for cell in table[0][1:]]
    assert len(table) > 4
    for size, *cells in table[2:]:
        height, width = map(int, size.split("×"))
        for tau, n in zip(taus, map(int, cells), strict=True):
            level = 0.001 / (height * width)
            assert stats.binom.sf(n - 1, n, tau) <= level < stats.binom.sf(n - 2, n - 1, tau)


def test_the_radii_of_the_guarantee_page_are_right():
    (table,) = (rows for rows in tables(DOCS / "guarantee.md") if rows[0][0] == "σ")
    for sigma, *cells in table[2:]:
        radii = [float(sigma) * stats.norm.ppf(tau) for tau in (0.75, 0.95)]
        expected = [value for radius in radii for value in (f"{radius:.3f}", f"{255 * radius:.1f}")]
        assert cells == expected


def test_the_hits_of_the_first_step_on_the_guarantee_page_are_right():
    p = stats.binom.sf(np.arange(-1, 100), 100, 0.75)
    needed = int(np.argmax(p <= 0.001 / (1024 * 2048)))
    assert f"a pixel passes Holm's first step with {needed} hits" in " ".join(
        text(DOCS / "guarantee.md").split()
    )


# Pages


def slugs(page):
    """Return the anchors of a page's headings, as python-markdown makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode().replace("`", "")
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return found


@by_page(PAGES)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{named(page)}: {target}"
        if page != ROOT / "README.md":
            assert file.is_relative_to(DOCS), f"{named(page)}: {target} is no page of the site"
        if anchor:
            assert anchor in slugs(file), f"{named(page)}: {target}"


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    def entries(node):
        if isinstance(node, str):
            yield node
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from entries(child)

    listed = list(entries(yaml.safe_load(text(ROOT / "mkdocs.yml"))["nav"]))
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_the_generated_pages_are_those_of_the_code():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    pages = generate.pages()
    assert set(pages) == set(GENERATED)
    for name, content in pages.items():
        assert text(DOCS / "reference" / name) == content, f"{name} is old: run python docs/generate.py"


def test_what_the_reference_names_can_be_imported():
    names = re.findall(r"^::: (\S+)$", text(DOCS / "reference/python.md"), re.MULTILINE)
    assert len(names) > 15
    for name in names:
        pkgutil.resolve_name(name)


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")),
    reason="the documentation's tools are not installed (extra docs)",
)
def test_the_site_builds_strictly(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
