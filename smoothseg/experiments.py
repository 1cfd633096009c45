"""An experiment: several runs that make one table, beside the numbers that were published for it.

An experiment is a YAML file. `common` holds options of `smoothseg certify` that all its runs share, `runs` a list of
further options, each with a `name` (its folder) and a `geometry`: `ours`, which tells the denoiser the noise that
resizing leaves, or `paper`, the conventions of the published code. `published` names rows of `published.yaml`.

OUTPUT/
  RUN-NAME/                                         an ordinary run directory each, see `runs.py`
  table.md, metrics.csv, metrics.json, table.tex    all rows together, with the published ones
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smoothseg import results
from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.files import read_yaml, write_atomically
from smoothseg.metrics import Scores
from smoothseg.plan import Method, Plan
from smoothseg.plugins import plugins
from smoothseg.report.formats import FORMATS, per_class
from smoothseg.report.rows import Row

__all__ = [
    "GEOMETRIES",
    "TABLES",
    "Cost",
    "Experiment",
    "Part",
    "cost",
    "execute",
    "find",
    "of",
    "published",
    "read",
    "rows",
    "select",
    "write",
]

TABLES = ("table1", "table2", "table3")
"""The tables of Laousy et al. (UAI 2023)."""

GEOMETRIES = ("ours", "paper")

_HERE = Path(__file__).resolve().parent
_FOLDERS = (_HERE / "paper", _HERE.parent / "examples" / "paper")
"""Where the experiments that come along are: in an installed package, and in a clone."""

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclasses.dataclass(frozen=True)
class Part:
    """One run of an experiment."""

    name: str
    geometry: str
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a YAML file asks for: a title, runs, and which published rows stand beside them."""

    title: str
    parts: tuple[Part, ...]
    published: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a method takes: certificates, noise samples (segmenter passes), and passes of the denoiser."""

    certificates: int
    samples: int
    denoiser_passes: int


def find(table: str, dataset: str) -> Path:
    """Return the file of a table of the paper for a dataset; `UnknownNameError` names those there are."""
    known: dict[str, set[str]] = {}
    for folder in _FOLDERS:
        for path in sorted(folder.glob("*.yaml")):
            name, _, on = path.stem.partition("-")
            known.setdefault(name, set()).add(on)
            if (name, on) == (table, dataset):
                return path
    if table not in known:
        raise UnknownNameError.of("table", table, known, listed="there are")
    raise UnknownNameError.of(f"dataset of {table}", dataset, known[table], listed="there are")


def read(path: Path, *, overrides: Mapping[str, Any] | None = None, root: str | None = None) -> Experiment:
    """Return the experiment in the file `path`; see `of`."""
    return of(read_yaml(path), str(path), overrides=overrides, root=root)


def of(
    content: Mapping[str, Any],
    source: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    root: str | None = None,
) -> Experiment:
    """Return the experiment that `content` describes, read from `source`, which messages name.

    overrides: options that win over the file's in every run (`images`, `every`, `seed`, `device`, ...). root: the
    dataset's folder.

    Raises `ConfigError` for what is no experiment, and what `Plan.of` raises.
    """
    for key in content:
        if key not in ("title", "common", "runs", "published"):
            raise UnknownNameError.of(f"key of {source}", key, ("title", "common", "runs", "published"))
    listed = content.get("runs")
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{source}: runs must be a list of runs")
    common = dict(content.get("common") or {})
    parts: list[Part] = []
    for entry in listed:
        options = {**common, **(entry if isinstance(entry, dict) else {})}
        name, geometry = options.pop("name", None), options.pop("geometry", "ours")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in {part.name for part in parts}:
            raise ConfigError(
                f"{source}: each run needs a name of its own of a-z, 0-9, '.' and '-', got {name!r}"
            )
        if geometry not in GEOMETRIES:
            raise UnknownNameError.of(f"geometry of run '{name}'", str(geometry), GEOMETRIES)
        options |= {key: value for key, value in (overrides or {}).items() if value is not None}
        if root is not None:
            options["dataset"] = _rooted(options.get("dataset"), root)
        parts.append(Part(name, geometry, Plan.of(options)))
    title = str(content.get("title", Path(source).stem))
    return Experiment(title, tuple(parts), published(content.get("published")))


def _rooted(spec: Any, root: str) -> dict[str, Any]:
    from smoothseg.registry import parse

    name, options = parse(spec, "dataset")
    return {"name": name, **options, "root": root}


def published(key: str | None) -> tuple[Row, ...]:
    """Return the published rows under `key` of `published.yaml`, none for None."""
    if key is None:
        return ()
    data = read_yaml(_HERE / "published.yaml")
    if key not in data:
        raise UnknownNameError.of("published table", key, data)
    table = data[key]
    found, images = [], int(table["images"])
    for method in table["rows"]:
        clean = method.get("clean")
        for sigma, (accuracy, mean_iou, abstained) in method["certified"].items():
            found.append(
                Row(
                    method=f"{method['method']}, published",
                    denoiser=method["denoiser"],
                    segmenter=method["segmenter"],
                    certifier="holm",
                    sigma=float(sigma),
                    radius=float(table["radius"][sigma]),
                    scale=float(method["scale"]),
                    images=images,
                    certified=_scores(images, accuracy, mean_iou, abstained),
                    clean=None if clean is None else _scores(images, clean[0], clean[1], None),
                    seconds=method.get("seconds"),
                )
            )
    return tuple(found)


def _scores(images: int, accuracy: float, mean_iou: float, abstained: float | None) -> Scores:
    return Scores(images, 0, accuracy, mean_iou, abstained, None, None, None, ())


def cost(part: Part, method: Method, images: int) -> Cost:
    """Return what one method of `part` takes on `images` images.

    A chain that is not thinned is counted with every timestep, the most that a sigma can ask for.
    """
    certificates = len(part.plan.sigma) * images
    samples = int(method.certifier.load().samples) * certificates
    described = plugins()["denoiser"].describe(method.denoiser)
    calls = 0 if described["name"] == "identity" else 1
    if described.get("steps") == "multi":
        calls = int(described.get("respacing") or 1000)
    return Cost(certificates, samples, calls * samples)


def rows(experiment: Experiment, output: Path) -> list[Row]:
    """Return the rows of the runs in `output` that there are, finished or not, and the published ones."""
    found = []
    for part in experiment.parts:
        if (output / part.name / "run.json").exists():
            for row in results.rows(output / part.name):
                label = row.method if part.geometry == "ours" else f"{row.method}, paper's geometry"
                found.append(dataclasses.replace(row, method=label))
    return [*found, *experiment.published]


def write(experiment: Experiment, output: Path) -> list[Row]:
    """Write the tables of all runs in `output` and return their rows; the same runs give the same bytes."""
    found = rows(experiment, output)
    for name, content in (
        ("table.md", FORMATS["markdown"](found)),
        ("table.tex", FORMATS["latex"](found)),
        ("metrics.csv", FORMATS["csv"](found)),
        ("metrics.json", FORMATS["json"](found)),
        ("per_class.csv", per_class(found)),
    ):
        write_atomically(output / name, content.encode())
    return found


def select(
    experiment: Experiment, *, geometries: Sequence[str], only: Sequence[str] = ()
) -> tuple[Part, ...]:
    """Return the runs of these geometries, or those named `only`; `UnknownNameError` for a name there is not."""
    names = [part.name for part in experiment.parts]
    for name in only:
        if name not in names:
            raise UnknownNameError.of("run", name, names, listed="there are")
    if only:
        return tuple(part for part in experiment.parts if part.name in only)
    return tuple(part for part in experiment.parts if part.geometry in geometries)


def execute(
    experiment: Experiment, parts: Sequence[Part], output: Path, *, run: Callable[[Part, Path], None]
) -> None:
    """Do `parts` of `experiment` one after another in folders of `output`, and write the tables after each.

    run: does one, given its folder; what is finished in it is not done again. Runs share nothing, so that several
    processes can do different ones at once.
    """
    for part in parts:
        run(part, output / part.name)
        write(experiment, output)
