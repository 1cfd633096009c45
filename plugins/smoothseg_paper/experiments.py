"""An experiment: several runs that make one table, with the published numbers beside them.

An experiment is a YAML file. `common` holds the options of `smoothseg certify` that all runs share. `runs` is a list of
further options, each with a `name` (its folder). The geometry of a run is `paper` with `convention: paper`, as in the
published code, else `ours`, where the denoiser receives the noise left after resizing. `published` names rows of
`published.yaml`.

OUTPUT/
  RUN-NAME/                                         an ordinary run directory each, see `smoothseg.runs.resuming`
  table.md, metrics.csv, metrics.json, table.tex    all rows together, with the published ones
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smoothseg.certificates.metrics import Scores
from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.files import read_yaml
from smoothseg.report.formats import write_tables
from smoothseg.report.rows import Row
from smoothseg.report.rows import rows as run_rows
from smoothseg.runs.plan import Plan

__all__ = [
    "GEOMETRIES",
    "TABLES",
    "Experiment",
    "Part",
    "check",
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
_TABLES = _HERE / "tables"
"""The folder of the paper's experiments."""

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclasses.dataclass(frozen=True)
class Part:
    """One run of an experiment."""

    name: str
    plan: Plan

    @property
    def geometry(self) -> str:
        """`paper` for the conventions of the published code, else `ours`."""
        return "paper" if self.plan.convention == "paper" else "ours"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The content of a YAML file: a title, runs, and the published rows beside them."""

    title: str
    parts: tuple[Part, ...]
    published: tuple[Row, ...]
    source: str = ""
    """Where the published rows come from."""


def find(table: str, dataset: str) -> Path:
    """Return the file of a table of the paper for a dataset; the message of `UnknownNameError` lists the tables."""
    known: dict[str, set[str]] = {}
    for path in sorted(_TABLES.glob("*.yaml")):
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
    """Return the experiment described by `content`; messages name its `source`.

    overrides: options that override the file's in every run (`images`, `seed`, ...). root: the dataset's folder.

    Raises `ConfigError` if `content` is not an experiment, and the errors of `Plan.of`.
    """
    for key in content:
        if key not in ("title", "common", "runs", "published"):
            raise UnknownNameError.of(f"key of {source}", key, ("title", "common", "runs", "published"))
    listed = content.get("runs")
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{source}: runs must be a list of runs")
    common = content.get("common") or {}
    if not isinstance(common, Mapping) or not all(isinstance(entry, Mapping) for entry in listed):
        raise ConfigError(f"{source}: common and each of runs must be a mapping of options")
    parts: list[Part] = []
    for entry in listed:
        options = {**common, **entry}
        name = options.pop("name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in {part.name for part in parts}:
            raise ConfigError(
                f"{source}: each run needs a name of its own of a-z, 0-9, '.' and '-', got {name!r}"
            )
        options |= {key: value for key, value in (overrides or {}).items() if value is not None}
        if root is not None:
            options["dataset"] = _rooted(options.get("dataset"), root)
        parts.append(Part(name, Plan.of(options)))
    title = str(content.get("title", Path(source).stem))
    beside = content.get("published")
    found = published(beside)
    return Experiment(title, tuple(parts), found, str(_published()[str(beside)]["source"]) if found else "")


def _rooted(spec: Any, root: str) -> dict[str, Any]:
    from smoothseg.components.registry import parse

    name, options = parse(spec, "dataset")
    return {"name": name, **options, "root": root}


def published(key: Any) -> tuple[Row, ...]:
    """Return the published rows under `key` of `published.yaml`; none for None."""
    if key is None:
        return ()
    data = _published()
    if not isinstance(key, str) or key not in data:
        raise UnknownNameError.of("published table", str(key), data)
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
                    tolerates=0,
                    sigma=float(sigma),
                    noise="gaussian",  # in 32-bit floating point, as the published code draws it
                    radius=float(table["radius"][sigma]),
                    scale=float(method["scale"]),
                    images=images,
                    certified=_scores(images, accuracy, mean_iou, abstained),
                    clean=None if clean is None else _scores(images, clean[0], clean[1], None),
                    seconds=method.get("seconds"),
                )
            )
    return tuple(found)


def _published() -> dict[str, Any]:
    return read_yaml(_HERE / "published.yaml")


def _scores(images: int, accuracy: float, mean_iou: float, abstained: float | None) -> Scores:
    return Scores(images, 0, accuracy, mean_iou, abstained, None, None, None, ())


def check(parts: Sequence[Part]) -> None:
    """Raise the first error in `parts` that can be found before any of them runs."""
    for part in parts:
        part.plan.check_weights()
        for method in part.plan.methods:
            method.certifier.load()


def rows(experiment: Experiment, output: Path) -> list[Row]:
    """Return the rows of all existing runs in `output`, finished or not, and the published rows.

    If methods of two runs would look the same, the run's name follows the method's.
    """
    found: list[tuple[Part, Row]] = []
    for part in experiment.parts:
        if (output / part.name / "run.json").exists():
            for row in run_rows(output / part.name):
                label = row.method if part.geometry == "ours" else f"{row.method}, paper's geometry"
                found.append((part, dataclasses.replace(row, method=label)))
    told: dict[Any, set[str]] = {}
    for part, row in found:
        told.setdefault(_identity(row), set()).add(part.name)
    return [
        *(
            row
            if len(told[_identity(row)]) == 1
            else dataclasses.replace(row, method=f"{row.method}, {part.name}")
            for part, row in found
        ),
        *experiment.published,
    ]


def _identity(row: Row) -> tuple[Any, ...]:
    return row.method, row.denoiser, row.segmenter, row.certifier, row.scale, row.sigma


def write(experiment: Experiment, output: Path) -> None:
    """Write the tables of all runs in `output`; the same runs give the same bytes."""
    write_tables(output, rows(experiment, output))


def select(
    experiment: Experiment, *, geometries: Sequence[str], only: Sequence[str] = ()
) -> tuple[Part, ...]:
    """Return the runs of these geometries, or those named `only`; `UnknownNameError` for an unknown name."""
    names = [part.name for part in experiment.parts]
    for name in only:
        if name not in names:
            raise UnknownNameError.of("run", name, names, listed="there are")
    chosen = tuple(
        part for part in experiment.parts if (part.name in only if only else part.geometry in geometries)
    )
    if not chosen:
        raise ConfigError(f"{experiment.title}: none of its runs has the geometry {' or '.join(geometries)}")
    return chosen


def execute(
    experiment: Experiment, parts: Sequence[Part], output: Path, *, run: Callable[[Part, Path], None]
) -> None:
    """Execute `parts` of `experiment` one by one in folders of `output`, and write the tables after each.

    run: executes one part in the given folder, without repeating finished work. Runs share nothing, so several
    processes can execute different runs at once.
    """
    for part in parts:
        run(part, output / part.name)
        write(experiment, output)
