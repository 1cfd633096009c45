"""Where the curves of a page go: every coordinate of the chart, so that the template only has to draw.

Coordinates are those of an SVG: x to the right, y downwards, in units of the view box.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from smoothseg.certificates.rounding import rounded_down
from smoothseg.report.claim import LEVELS
from smoothseg.report.courses import Course
from smoothseg.report.curves import Curve

__all__ = [
    "HEIGHT",
    "WIDTH",
    "Chart",
    "CourseChart",
    "CourseLine",
    "Line",
    "Point",
    "Tick",
    "chart",
    "course_chart",
]

WIDTH, HEIGHT = 960, 400
"""Size of the view box."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 22, 44, 58

_FEW = 12
"""A curve with more steps than this is a line without points."""


@dataclasses.dataclass(frozen=True)
class Tick:
    """A position on an axis and the text that stands there."""

    at: float
    text: str


@dataclasses.dataclass(frozen=True)
class Point:
    """A marker, and the text that appears when the pointer is on it."""

    x: float
    y: float
    text: str


@dataclasses.dataclass(frozen=True)
class Line:
    """What is drawn for one method.

    steps: SVG paths of the share at every radius, one for each sigma. through: the path that connects the ends of the
    curves that have only one step, or "". points: those ends, and the steps of every curve that has few.
    """

    method: str
    steps: tuple[str, ...]
    through: str
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class Chart:
    """Certified share over radius. marks: vertical lines at the largest radius of each sigma for which all methods
    share one."""

    label: str
    left: float
    right: float
    top: float
    bottom: float
    radius: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    shares: tuple[Tick, ...]
    marks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    description: str


def chart(curves: Sequence[Curve]) -> Chart | None:
    """Return the chart of `curves`, methods in order of appearance; None if nothing is certified at all."""
    furthest = max((one.steps[-1][0] for one in curves if one.steps), default=0.0)
    if furthest <= 0:
        return None
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    ticks = _round_numbers(furthest * 1.06)
    end = max(furthest * 1.06, ticks[-1])

    def x(radius: float) -> float:
        return round(_LEFT + (right - _LEFT) * radius / end, 1)

    def y(share: float) -> float:
        return round(bottom - (bottom - _TOP) * share, 1)

    lines = []
    for method in dict.fromkeys(one.method for one in curves):
        own = sorted((one for one in curves if one.method == method and one.steps), key=lambda one: one.sigma)
        ends = sorted((one.steps[0], one.sigma) for one in own if len(one.steps) == 1)
        points = tuple(
            Point(
                x(r), y(share), f"{method}, σ {one.sigma:g}: {100 * share:.1f}% at radius {rounded_down(r)}"
            )
            for one in own
            if len(one.steps) <= _FEW
            for r, share in one.steps
        )
        through = " L".join(f"{x(r)} {y(share)}" for (r, share), _ in ends) if len(ends) > 1 else ""
        steps = tuple(_path([(x(r), y(share)) for r, share in one.steps], x(0), y(0)) for one in own)
        lines.append(Line(method, steps, f"M{through}" if through else "", points))

    labelled = all(one.labelled for one in curves)
    what = "certified accuracy" if labelled else "certified share of the pixels"
    return Chart(
        label=what,
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        radius=tuple(Tick(x(each), f"{each:g}") for each in ticks),
        levels=tuple(Tick(x(each / LEVELS), f"{each:g}") for each in _round_numbers(end * LEVELS)),
        shares=tuple(Tick(y(each / 100), f"{each}%") for each in range(0, 101, 20)),
        marks=_marks(curves, x),
        lines=tuple(lines),
        description="; ".join(
            f"{one.method}, σ {one.sigma:g}: {100 * one.steps[0][1]:.1f}% up to radius {rounded_down(one.steps[0][0])}"
            for one in curves
            if one.steps
        ),
    )


@dataclasses.dataclass(frozen=True)
class CourseLine:
    """What is drawn for one method: for each sigma an SVG path, a marker at its end, and the name beside it."""

    method: str
    paths: tuple[str, ...]
    points: tuple[Point, ...]
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CourseChart:
    """Certified share over noise samples."""

    left: float
    right: float
    top: float
    bottom: float
    samples: tuple[Tick, ...]
    shares: tuple[Tick, ...]
    lines: tuple[CourseLine, ...]
    description: str


def course_chart(courses: Sequence[Course]) -> CourseChart | None:
    """Return the chart of `courses`, methods in order of appearance; None if there are none."""
    if not courses:
        return None
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    furthest = max(one.steps[-1][0] for one in courses)
    ticks = _round_numbers(furthest * 1.02)
    end = max(furthest * 1.02, ticks[-1])

    def x(trials: float) -> float:
        return round(_LEFT + (right - _LEFT) * trials / end, 1)

    def y(share: float) -> float:
        return round(bottom - (bottom - _TOP) * share, 1)

    lines = []
    for method in dict.fromkeys(one.method for one in courses):
        own = [one for one in courses if one.method == method]
        paths = tuple(
            "M" + " L".join(f"{x(trials)} {y(share)}" for trials, share in one.steps) for one in own
        )
        points = tuple(
            Point(
                x(trials), y(share), f"{method}, σ {one.sigma:g}: {100 * share:.1f}% after {trials} samples"
            )
            for one in own
            for trials, share in one.steps[-1:]
        )
        lines.append(CourseLine(method, paths, points, tuple(f"σ {one.sigma:g}" for one in own)))
    return CourseChart(
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        samples=tuple(Tick(x(each), f"{each:g}") for each in ticks),
        shares=tuple(Tick(y(each / 100), f"{each}%") for each in range(0, 101, 20)),
        lines=tuple(lines),
        description="; ".join(
            f"{one.method}, σ {one.sigma:g}: {100 * one.steps[-1][1]:.1f}% after {one.steps[-1][0]} samples"
            for one in courses
        ),
    )


def _marks(curves: Sequence[Curve], x: Callable[[float], float]) -> tuple[Tick, ...]:
    radii: dict[float, set[float]] = {}
    for one in curves:
        radii.setdefault(one.sigma, set()).update(radius for radius, _ in one.steps[-1:])
    found = sorted((next(iter(each)), sigma) for sigma, each in radii.items() if len(each) == 1)
    return tuple(Tick(x(radius), f"σ {sigma:g}") for radius, sigma in found)


def _path(steps: Sequence[tuple[float, float]], start: float, floor: float) -> str:
    """Return a staircase from the left edge through (x, y) of each step, and down to the floor at the end."""
    path = f"M{start} {steps[0][1]}"
    for i, (x, _) in enumerate(steps):
        path += f" H{x} V{steps[i + 1][1] if i + 1 < len(steps) else floor}"
    return path


def _round_numbers(end: float) -> list[float]:
    """Return 0 and the multiples of 1, 2 or 5 times a power of ten up to `end`, four to nine of them."""
    raw = end / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= raw)
    return [round(i * step, 10) for i in range(int(end / step + 1e-9) + 1)]
