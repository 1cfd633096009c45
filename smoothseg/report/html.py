"""The report of a run as one HTML file that needs nothing else: made from the run directory, without torch.

The same run gives the same bytes. The page holds no times and no paths, and its own policy forbids it to fetch
anything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothseg.certificates.rounding import rounded_down
from smoothseg.components.plugins import plugins
from smoothseg.components.registry import settings
from smoothseg.files import write_atomically
from smoothseg.machine import versions
from smoothseg.report import charts, claim, courses, curves, previews
from smoothseg.report.colours import colours_of
from smoothseg.report.gallery import IMAGES, gallery
from smoothseg.report.layout import comparable, long, wide
from smoothseg.report.rows import Row, rows
from smoothseg.runs import results
from smoothseg.smoothing.kinds import name_of

if TYPE_CHECKING:
    import jinja2

__all__ = ["NAME", "page", "write"]

NAME = "report.html"
"""The page's name in the run directory."""

_PAGE = Path(__file__).resolve().parent / "page"

_PATH = re.compile(r"[^=,]*[/\\]")
"""The part of an option's value that means something only on the machine that made the run."""


def write(directory: Path) -> Path:
    """Write the page of the run in `directory` into it and return its path, also while the run is unfinished.

    Raises `DataError` if `directory` holds no run.
    """
    path = directory / NAME
    write_atomically(path, page(directory).encode("utf-8", "backslashreplace"))
    return path


def page(directory: Path) -> str:
    """Return the page of the run in `directory`; raise `DataError` if it holds no run."""
    import markupsafe

    identity = results.read_identity(directory)
    result = rows(directory)
    found, failed = results.entries(directory, identity), results.failures(directory, identity)
    lines = {at: list(each.values()) for at, each in found.items()}
    images = max((row.images for row in result), default=0)
    own_radii = {
        name for (name, _), each in lines.items() if any(one.get("by_radius") is not None for one in each)
    }
    pictures = gallery(directory, identity, found)
    names = list(dict.fromkeys(name for name, _ in found))
    return _template().render(
        version=versions.own(),
        dataset=str(identity["plan"]["dataset"]["name"]),
        planned=len(identity["images"]),
        images=images,
        unfinished=any(row.images + len(row.failed) < len(identity["images"]) for row in result)
        or len(result) < len(identity["plan"]["methods"]) * len(identity["plan"]["sigma"]),
        skipped=len(identity.get("skipped", ())),
        failures=[
            (key, f"{name}, σ {sigma:g}", str(entry["failed"]))
            for (name, sigma), each in failed.items()
            for key, entry in each.items()
        ],
        claim=claim.claim(identity, images=images, own_radii=own_radii),
        own_radii=bool(own_radii),
        grouped=any(row.grouped for row in result),
        reaches=claim.reach(lines),
        layout=(wide if comparable(result) else long)(result, timing=False) if result else None,
        chart=charts.chart(
            [
                curves.curve(name, sigma, each, results.hierarchy(identity, name))
                for (name, sigma), each in lines.items()
            ]
        ),
        course=charts.course_chart(
            [
                way
                for (name, sigma), each in lines.items()
                if (way := courses.course(name, sigma, each)) is not None
            ]
        ),
        width=charts.WIDTH,
        height=charts.HEIGHT,
        methods=names,
        classes=_per_class(result, directory, identity),
        gallery=pictures,
        most=IMAGES,
        longest=previews.LONGEST,
        setup=_setup(identity),
        style=markupsafe.Markup((_PAGE / "report.css").read_text(encoding="utf-8")),
        script=markupsafe.Markup((_PAGE / "report.js").read_text(encoding="utf-8")),
    )


@functools.cache
def _template() -> jinja2.Template:
    """Return the page's template, compiled once for all pages that are written."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "figures": _figures, "between": _between}
    return environment.get_template("report.html.jinja")


def _per_class(rows: list[Row], directory: Path, identity: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sigmas of each method with labels, and its labelled classes with their scores at each sigma."""
    colours, _ = previews.read_legend(directory)
    result = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method and row.certified and row.certified.per_class]
        if not own:
            continue
        scores = [row.certified.per_class for row in own if row.certified is not None]
        total = own[0].certified.labelled_pixels if own[0].certified else 0
        hierarchy = results.hierarchy(identity, method)
        shown = colours_of(identity["classes"][method], hierarchy, colours)
        classes = []
        for c, one in enumerate(scores[0]):
            if any(each[c].pixels for each in scores):
                classes.append(
                    {
                        "name": one.name,
                        "colour": shown[c],
                        "share": one.pixels / total,
                        "scores": [each[c] for each in scores],
                    }
                )
        result.append({"method": method, "sigmas": [row.sigma for row in own], "classes": classes})
    return result


def _setup(identity: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the results depend on as (term, text), with paths reduced to file names."""
    plan = identity["plan"]
    terms = [("dataset", _component("dataset", plan["dataset"]))]
    for method in plan["methods"]:
        parts = (_component(kind, method[kind]) for kind in ("denoiser", "segmenter", "certifier"))
        terms.append((str(method["name"]), " · ".join(parts)))
    terms += [
        ("σ", ", ".join(f"{sigma:g}" for sigma in plan["sigma"])),
        ("scale", f"{plan['scale']:g}, {plan['convention']}, denoised at {plan['denoise_at']}"),
        ("noise", f"{name_of(identity['noise'])} ({identity['noise']}), seed {plan['seed']}"),
        ("device", str(plan["device"])),
        ("versions", ", ".join(f"{name} {version}" for name, version in identity["versions"].items())),
    ]
    digests = {
        f"{_PATH.sub('', name)} {digest[:12]}"
        for parts in identity["weights"].values()
        for each in parts.values()
        for name, digest in each.items()
    }
    if digests:
        terms.append(("weights (sha256)", ", ".join(sorted(digests))))
    return terms


def _component(kind: str, plain: Mapping[str, Any]) -> str:
    """Return a component as it is named on the command line, a certifier with all its options."""
    shown = {key: _PATH.sub("", value) if isinstance(value, str) else value for key, value in plain.items()}
    registry = plugins()[kind]
    known = kind != "certifier" and plain["name"] in registry
    defaults = (
        {field.name: field.default for field in registry.entry(plain["name"]).fields} if known else None
    )
    return settings(str(plain["name"]), shown, defaults)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _figures(value: float) -> str:
    """Return a radius with three significant figures, rounded down."""
    return rounded_down(value)


def _between(values: tuple[float, float]) -> str:
    low, high = (rounded_down(value, 2) for value in values)
    return low if low == high else f"{low} to {high}"
