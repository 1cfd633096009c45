"""`smoothseg bounds`: what no perturbation within the radius can take away, from certificates alone."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from smoothseg.certificates.bounds import Bounds
    from smoothseg.runs.bounded import Bounded

__all__ = ["bounds"]


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--method", help="Only this method of the run.")
@click.option("--sigma", type=float, help="Only this noise level.")
@click.option("--image", help="Only the image with this key: every class, and the regions, are shown.")
@click.option(
    "--radius",
    type=float,
    help="Bound at a smaller radius, or at any where pixels have their own.  [default: the certificate's]",
)
@click.option(
    "--region",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Bound a part of the image: a mask of its size, 0 outside; needs --image.",
)
@click.option(
    "--least", type=click.IntRange(min=1), default=20, show_default=True, help="Smallest region, in pixels."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
def bounds(
    run: Path,
    method: str | None,
    sigma: float | None,
    image: str | None,
    radius: float | None,
    region: Path | None,
    least: int,
    form: str,
) -> None:
    """Bound IoU, Dice and sizes under every perturbation.

    RUN is a run directory. Every abstained pixel counts as the adversary's, so that all bounds of an image hold
    together with the certificate's 1 - alpha, without another test. With labels they bound the agreement with the
    ground truth, without them how far two segmentations within the radius can differ.
    """
    from smoothseg.errors import ConfigError
    from smoothseg.runs.bounded import bounded
    from smoothseg.runs.results import read_identity
    from smoothseg.smoothing.kinds import GAUSSIAN, name_of

    if region is not None and image is None:
        raise ConfigError("--region is a mask of one image: name it with --image")
    found = list(
        bounded(run, method=method, sigma=sigma, key=image, radius=radius, region=region, least=least)
    )
    if form == "json":
        click.echo(json.dumps([_plain(one) for one in found], indent=1, allow_nan=False))
        return
    from smoothseg.terminal.console import Plain

    console = Plain()
    if image is None:
        _overview(console, found)
    else:
        for one in found:
            _detail(console, one)
    console.print(
        "Each value holds under every perturbation of l2 norm at most R, all of an image together with probability "
        "at least 1 - alpha; shares are of labelled pixels, rounded to the safe side. Where pixels have their own "
        "radii, R is the smallest; --radius takes a larger one.",
        style="dim",
    )
    if any(one.grouped for one in found):
        console.print(
            "A pixel certified as a group of classes counts for each class in it as one that may have it or not: the "
            "bounds are those of every segmentation that gives each certified pixel a class of what it is certified "
            "as. Accuracy counts a group with the label as right.",
            style="dim",
        )
    if name_of(read_identity(run)["noise"]) == "gaussian":
        console.print(f"note: {GAUSSIAN}")


def _overview(console: Console, found: list[Bounded]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("image", "method"):
        table.add_column(name)
    for name in ("sigma", "R", "accuracy", "mIoU", "abstained"):
        table.add_column(name, justify="right")
    for one in found:
        whole = one.bounds
        table.add_row(
            one.key, one.method, f"{one.sigma:g}", _radius(whole.radius), _least(whole.accuracy),
            _least(whole.mean_iou), _abstained(whole),
        )  # fmt: skip
    console.print(table)


def _detail(console: Console, one: Bounded) -> None:
    from rich.table import Table

    whole = one.bounds
    console.print(
        f"{one.key}, {one.method}, sigma {one.sigma:g}, R {_radius(whole.radius)}: accuracy at least "
        f"{_least(whole.accuracy)}, mean IoU at least {_least(whole.mean_iou)}, {whole.abstained} of "
        f"{whole.pixels} pixels abstain",
        style="bold",
    )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("class, at least")
    names = ("IoU", "Dice", "recall", "precision", "stable IoU", "pixels", "at most")
    for name in names:
        table.add_column(name, justify="right")
    for bound in whole.classes:
        if bound.pixels_at_least or bound.labelled:
            shares = (bound.iou, bound.dice, bound.recall, bound.precision, bound.stable_iou)
            table.add_row(
                bound.name, *map(_least, shares), str(bound.pixels_at_least), str(bound.pixels_at_most)
            )
    console.print(table)
    if one.regions:
        parts = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        parts.add_column("region")
        for name in ("rows", "columns", "pixels", "kept", "IoU", "Dice"):
            parts.add_column(name, justify="right")
        for part in one.regions:
            within = part.within
            iou, dice = (None, None) if within is None else (within.iou, within.dice)
            kept = (part.certified / part.pixels, iou, dice)
            rows, columns = f"{part.top}-{part.bottom - 1}", f"{part.left}-{part.right - 1}"
            parts.add_row(part.name, rows, columns, str(part.pixels), *map(_least, kept))
        console.print(parts)


def _plain(one: Bounded) -> dict[str, Any]:
    plain = dataclasses.asdict(one)
    if math.isnan(one.bounds.radius):
        plain["bounds"]["radius"] = None
    return plain


def _radius(value: float) -> str:
    """Return a radius with four figures, rounded down so that bounds at it hold."""
    from smoothseg.certificates.rounding import rounded_down

    return "–" if math.isnan(value) else rounded_down(value, 4)


def _least(share: float | None) -> str:
    """Return a lower bound in percent, rounded down."""
    if share is None:
        return "–"
    # The tenths of a percent whose float is at most the share: 0.7 is written 70.0, and what is just below it 69.9.
    tenths = round(1000 * share)
    return f"{(tenths if tenths / 1000 <= share else tenths - 1) / 10:.1f}"


def _abstained(whole: Bounds) -> str:
    """Return the share of pixels that abstain in percent, rounded up."""
    return f"{-(-1000 * whole.abstained // whole.pixels) / 10:.1f}" if whole.pixels else "–"
