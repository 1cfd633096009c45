"""What the documentation says about the code: snippets run, commands parse, names exist, links lead somewhere."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import math
import pkgutil
import re
import shlex
import shutil
import sys
import tomllib
import unicodedata
import urllib.parse
import warnings
from importlib import metadata
from pathlib import Path

import click
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy import stats

import smoothseg
from smoothseg import errors, hookspecs
from smoothseg.certificates.metrics import DEFINITIONS
from smoothseg.cli import cli, main
from smoothseg.components.discovery import FUNCTIONS, KINDS
from smoothseg.components.plugin import PROTOCOL
from smoothseg.components.plugins import load, plugins
from smoothseg.components.registry import parse
from smoothseg.errors import SmoothsegError
from smoothseg.files import read_yaml
from smoothseg.networks import sigma_left
from smoothseg.runs import configuration as run_configuration
from smoothseg_folder import legend
from smoothseg_paper import experiments
from smoothseg_segcertify.hierarchies import hierarchy
from smoothseg_training.configuration import DenoiserTraining, Running, SegmenterTraining, configure

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ABOVE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES = [*ABOVE, *sorted(DOCS.rglob("*.md"))]
GENERATED = ("cli.md", "components.md", "terminal.md")
EVERYWHERE = {"-h", "--help", "--version"}
TRAININGS = {"segmenter": SegmenterTraining, "denoiser": DenoiserTraining}

PLAIN_HTTP = {"host.robots.ox.ac.uk", "sceneparsing.csail.mit.edu"}
"""Hosts of datasets that have no https."""

INTERNAL = {
    f"smoothseg.{name}"
    for name in (
        *("api", "certificates", "cli", "machine", "report", "terminal", "files"),
        *("components.discovery", "components.functions", "components.loading", "components.plugin"),
        *(
            "components.blaming",
            "runs.interrupting",
            "runs.locking",
            "runs.logs",
            "runs.options",
            "runs.schema",
            "smoothing.stop",
        ),
        *("runs.seals", "runs.shapes"),
    )
}
"""Rooms and modules of the core that are no interface, but for what the page names of them."""

RENDERED = re.compile(r"<!-- Rendered by (.+)\. -->")
"""The versions that rendered the terminal page."""

OF_NO_USER = {PROTOCOL, "SMOOTHSEG_LINE"}
"""Names like those of variables: what a plugin states, and what a shell's completion hands over."""

OF_THE_MACHINE = re.compile(r"^## smoothseg doctor\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
"""What the terminal page shows of the machine that wrote it."""

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


def test_the_ten_minutes_of_the_tutorial_can_be_followed(workplace, capsys):
    """Every file is written and every command run as the page has them, on tiny photographs."""
    page = DOCS / "tutorial.md"
    start, end = (
        text(page)[: text(page).index(f"\n## {title}")].count("\n")
        for title in ("Ten minutes", "With labels")
    )
    write_titled(page, workplace)
    shutil.rmtree(workplace / "photos")  # of the sections behind these ten minutes
    generator = np.random.Generator(np.random.Philox(2))
    (workplace / "photos").mkdir()
    for name, size in (("a.png", (24, 32, 3)), ("b.jpg", (30, 22, 3))):
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(workplace / "photos" / name)
    (making,) = (block for block in blocks(page, "python") if start < block.line < end)
    exec(compile(making.code, named(page), "exec"), {"__name__": "snippet"})
    followed = [words for line, words in commands(page) if start < line < end]
    assert len(followed) > 5
    for words in followed:
        assert program(words) == "smoothseg"
        with pytest.raises(SystemExit) as ended:
            main(words[1:])
        assert not ended.value.code, f"{shlex.join(words)}: {capsys.readouterr().err}"
    assert (workplace / "runs/first/report.html").is_file()
    assert len(list((workplace / "runs/photos/certificates").rglob("*.npz"))) == 2


@by_page([page for page in PAGES if any(b.title.endswith("classes.txt") for b in blocks(page, "text"))])
def test_the_class_lists_of_a_page_can_be_read(page, workplace):
    write_titled(page, workplace)
    for block in blocks(page, "text"):
        if block.title.endswith("classes.txt"):
            assert len(legend.read(workplace / block.title).names) == len(block.code.splitlines())


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
    offered = set(
        re.findall(r'(?:register\("|smoothseg new plugin )([a-z0-9-]+)', text(page))
    )  # by plugins it writes
    given = {key: list(v) if isinstance(v, tuple) else v for key, v in options.items() if v not in (None, ())}
    values = configuration(given.pop("config"), page) if "config" in given else {}
    if path == ["certify"]:
        for kind in ("denoiser", "segmenter", "certifier"):
            specs = [spec for spec in given.pop(kind, []) if parse(spec, kind)[0] not in offered]
            if specs:
                given[kind] = specs
                values.pop("methods", None)
        if "extend" in given:  # its configuration is that of the run
            values["certifier"] = "anytime"
        run_configuration.configure(
            values, {key: v for key, v in given.items() if key in run_configuration.KEYS}
        )
    elif path == ["reproduce"]:
        if given["table"].endswith(".yaml"):
            experiments.of(configuration(given["table"], page), given["table"])
        else:
            experiments.read(experiments.find(given["table"], given.get("dataset", "streets")))
    elif path[0] == "train":
        given.pop("print_config", None)
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
    extras_known = set(project["optional-dependencies"])
    if "smoothseg new plugin" in text(page):
        extras_known.add("test")  # of what that writes
    for line, words in commands(page):
        where = f"{named(page)}:{line}: {shlex.join(words)}"
        if program(words) == "make":
            assert set(words[1:]) <= targets, where
        for extras in re.findall(r"\.\[([a-z,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= extras_known, where
        for word in words:
            if word.startswith("examples/"):
                assert (ROOT / word).exists(), where


@by_page(pages_with("yaml"))
def test_the_configurations_of_a_page_are_valid(page, tmp_path):
    for block in blocks(page, "yaml"):
        options = yaml.safe_load(block.code)
        if "runs" in options:
            experiments.of(options, block.title)
        elif "crop" in options:
            kind = "segmenter" if "segmenter" in options else "denoiser"
            check(["train", kind], {"config": block.title, "output": "models/any"}, page)
        elif "levels" in options:
            (tmp_path / "own.yaml").write_text(block.code, encoding="utf-8")
            assert hierarchy(str(tmp_path / "own.yaml")).classes == tuple(options["classes"])
        else:
            run_configuration.configure(options)


@pytest.mark.parametrize(
    "path",
    sorted([*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "plugins/smoothseg_paper/tables").glob("*.yaml")]),
    ids=named,
)
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
    assert len(hooks) == len(KINDS) + len(FUNCTIONS) + 1
    for hook in hooks:
        assert f"`{hook}(" in text(DOCS / "guides/plugin.md"), hook


def test_every_error_is_documented_with_its_exit_code():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d) \|", text(DOCS / "reference/errors.md"), re.MULTILINE))
    assert rows == {name: str(getattr(errors, name).exit_code) for name in errors.__all__}


def test_every_extra_is_on_the_page_about_installing():
    (table,) = (rows for rows in tables(DOCS / "install.md") if rows[0][0] == "extra")
    extras = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]
    assert {name for row in table[2:] for name in re.findall(r"`(\w+)`", row[0])} == set(extras)


def test_every_variable_that_is_read_is_on_the_page_about_installing():
    (table,) = (rows for rows in tables(DOCS / "install.md") if rows[0][0] == "variable")
    listed = {name for row in table[2:] for name in re.findall(r"`([A-Z_]+)`", " ".join(row))}
    for source in [*(ROOT / "smoothseg").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for name in set(re.findall(r"\b(SMOOTHSEG_[A-Z]+)\b", text(source))) - OF_NO_USER:
            assert name in listed, f"{named(source)}: {name}"


def test_every_module_is_on_the_page_of_the_python_interface_or_named_as_internal():
    listed = set(re.findall(r"^::: (\S+)$", text(DOCS / "reference/python.md"), re.MULTILINE))
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "smoothseg").rglob("*.py")
        if path.name != "__init__.py"
    }
    shown = {
        module
        for module in modules
        for name in listed
        if f"{name}.".startswith(f"{module}.") or module.startswith(f"{name}.")
    }
    internal = {room: {m for m in modules if f"{m}.".startswith(f"{room}.")} - shown for room in INTERNAL}
    assert modules - shown == set().union(*internal.values())
    assert all(internal.values()), "a room or module is named that does not exist"


def test_every_name_of_the_package_itself_is_documented():
    listed = set(re.findall(r"^::: (\S+)$", text(DOCS / "reference/python.md"), re.MULTILINE))
    words = text(DOCS / "reference/python.md") + text(DOCS / "guides/plugin.md")
    for name in smoothseg.__all__:
        home = getattr(getattr(smoothseg, name), "__module__", None)
        assert home in listed or f"smoothseg.{name}" in words, name


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


@pytest.mark.parametrize("page", [DOCS / "guarantee.md", DOCS / "faq.md"], ids=named)
def test_the_smallest_n_of_a_page_are_right(page):
    (table,) = (rows for rows in tables(page) if rows[0][0].startswith("image"))
    taus = [float(re.findall(r"[\d.]+", cell)[0]) for cell in table[0][1:]]
    assert len(table) > 4
    assert len(taus) > 3
    for size, *cells in table[2:]:
        height, width = map(int, size.split("×"))
        for tau, n in zip(taus, map(int, cells), strict=True):
            level = 0.001 / (height * width)
            assert stats.binom.sf(n - 1, n, tau) <= level < stats.binom.sf(n - 2, n - 1, tau)


def test_the_radii_of_the_guarantee_page_are_right():
    (table,) = (rows for rows in tables(DOCS / "guarantee.md") if rows[0][0] == "σ")
    for sigma, *cells in table[2:]:
        radii = [float(sigma) * stats.norm.ppf(tau) for tau in (0.75, 0.95)]
        expected = [f"{math.floor(x * at) / at}" for r in radii for x, at in ((r, 1000), (255 * r, 10))]
        assert cells == expected


def test_the_hits_of_the_first_step_on_the_guarantee_page_are_right():
    p = stats.binom.sf(np.arange(-1, 100), 100, 0.75)
    needed = int(np.argmax(p <= 0.001 / (1024 * 2048)))
    assert f"a pixel passes Holm's first step with {needed} hits" in " ".join(
        text(DOCS / "guarantee.md").split()
    )


def test_the_hits_that_the_guarantee_page_asks_for_are_right():
    (table,) = (rows for rows in tables(DOCS / "guarantee.md") if rows[0][0] == "n")
    assert len(table) > 4
    for n, first, last in (map(int, row) for row in table[2:]):
        p = stats.binom.sf(np.arange(-1, n), n, 0.75)
        assert first == np.argmax(p <= 0.001 / (1024 * 2048))
        assert last == np.argmax(p <= 0.001)


def test_the_figures_of_the_questions_are_right():
    page = " ".join(text(DOCS / "faq.md").split())

    def radius(sigma, tau=0.75):
        return f"{math.floor(1000 * sigma * stats.norm.ppf(tau)) / 1000:.3f}"

    assert (
        f"{radius(0.1)} for σ = 0.1, {radius(0.25)} for 0.25, {radius(0.5)} for 0.5, {radius(1)} for 1.0"
        in page
    )
    assert f"0.9 has R = {radius(0.25, 0.9)} and 0.95 has {radius(0.25, 0.95)}" in page
    levels = {
        size: 255 * 0.25 * stats.norm.ppf(0.75) / np.sqrt(3 * size[0] * size[1])
        for size in ((192, 256), (480, 640), (1024, 2048))
    }
    below = {size: math.floor(1000 * value) / 1000 for size, value in levels.items()}
    assert f"{below[192, 256]:.2f} of an 8-bit level at 192 × 256" in page
    assert f"{below[480, 640]:.3f} at 480 × 640 and {below[1024, 2048]:.3f} at 1024 × 2048" in page
    largest = math.floor(10 * 255 * 0.25 * stats.norm.ppf(0.75)) / 10
    assert f"R is {largest} levels in one channel of one pixel" in page
    assert f"That is {largest} of 255 levels in one channel of one pixel" in " ".join(
        text(DOCS / "index.md").split()
    )
    half, quarter = (sigma_left(1.0, (480, 640), (int(480 * s), int(640 * s))) for s in (0.5, 0.25))
    assert f"Half the size leaves {half:.2f} of the noise, a quarter {quarter:.2f}" in page
    tenth = [np.ceil(np.log(alpha / (1024 * 2048)) / np.log(0.75)) for alpha in (1e-3, 1e-4)]
    assert f"a tenth of it costs {tenth[1] - tenth[0]:.0f} samples at τ = 0.75" in page


# Pages


def slugs(page):
    """Return the anchors of a page's headings, as python-markdown makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode().replace("`", "")
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return found


@by_page(PAGES)
def test_links_to_other_sites_are_whole_addresses(page):
    for target in re.findall(r"\]\(([a-z]+:[^)\s]*)\)", prose(page)):
        parts = urllib.parse.urlsplit(target)
        assert parts.scheme in ("https", "http"), f"{named(page)}: {target}"
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), f"{named(page)}: {target}"
        assert parts.scheme == "https" or parts.netloc in PLAIN_HTTP, f"{named(page)}: {target}"


@by_page(PAGES)
def test_pictures_have_words_for_those_who_cannot_see_them(page):
    for words, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", prose(page)):
        assert len(words) > 20, f"{named(page)}: {target}"
        assert (page.parent / target).stat().st_size < 300_000, f"{named(page)}: {target}"


@by_page(PAGES)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{named(page)}: {target}"
        if page not in ABOVE:
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
        stored = text(DOCS / "reference" / name)
        if name == "terminal.md":
            stored, content = (OF_THE_MACHINE.sub("", page) for page in (stored, content))
        if name == "terminal.md" and RENDERED.findall(stored) != RENDERED.findall(content):
            stored, content = (page[page.index("## Errors") :] for page in (stored, content))
        assert stored == content, f"{name} is old: run python docs/generate.py"


def test_the_terminal_page_shows_every_error_that_is_raised_and_fits_into_80_columns():
    page = text(DOCS / "reference/terminal.md")
    shown = dict(re.findall(r"^### (\w+)\n.*?^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert set(shown) == set(errors.__all__) - {
        "SmoothsegError",
        "UserError",
    }  # bases, never raised themselves
    for name, block in shown.items():
        assert re.fullmatch(r"\$ smoothseg .*?^Error: .*", block, re.MULTILINE | re.DOTALL), name
    assert (
        max(
            len(line)
            for block in blocks(DOCS / "reference/terminal.md", "text")
            for line in block.code.splitlines()
        )
        <= 80
    )


@pytest.mark.parametrize(
    ("path", "command"), list(every_command()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_help_fits_into_80_columns(path, command):
    context = click.Context(command, info_name=path, terminal_width=78)
    assert max(map(len, command.get_help(context).splitlines())) <= 80


def test_what_the_reference_names_can_be_imported():
    names = re.findall(r"^::: (\S+)$", text(DOCS / "reference/python.md"), re.MULTILINE)
    assert len(names) > 15
    for name in names:
        pkgutil.resolve_name(name)


def test_every_test_that_the_page_about_reliability_names_is_there_and_as_slow_as_it_says():
    page = text(DOCS / "reliability.md")
    named = re.findall(r"`(tests/[\w/]+\.py)`( \(slow\))?", page)
    assert len(named) > 20
    for path, slow in named:
        assert (ROOT / path).is_file(), path
        assert not slow or "mark.slow" in text(ROOT / path), path
