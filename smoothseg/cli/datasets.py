"""`smoothseg datasets`: show the contents of a dataset and which of its files are unusable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from smoothseg.cli.completion import component
from smoothseg.errors import one_line
from smoothseg.terminal.progress import counting

if TYPE_CHECKING:
    from rich.console import Console

    from smoothseg.data.inspection import Inspection

__all__ = ["datasets"]

_SIZES = 10
"""How many of the most frequent sizes the table shows."""


@click.group()
def datasets() -> None:
    """Look into datasets.

    Which there are, with their options: smoothseg components dataset.
    """


@datasets.command()
@click.argument("spec", shell_complete=component("dataset"))
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="How to print it.",
)
@click.pass_context
def check(context: click.Context, spec: str, form: str) -> None:
    """Read every image and annotation of a dataset and count what is in it.

    SPEC is a dataset with its options, such as cityscapes:root=cityscapes,split=val. Files that are missing or cannot
    be used are named one by one, and the exit code is then 1.
    """
    from smoothseg.components.plugins import plugins
    from smoothseg.data.inspection import inspect

    recipe = plugins()["dataset"].recipe(spec)
    with counting("reading images") as progress:
        found = inspect(recipe, on_image=progress)
    if form == "json":
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        from smoothseg.terminal.console import Plain

        _show(found, Plain())
    for problem in found.problems:
        click.echo(f"WRONG  {one_line(problem)}", err=True)
    if found.problems:
        click.echo(one_line(f"Error: {_count(len(found.problems), 'fault')} in {spec}"), err=True)
        context.exit(1)


def _show(found: Inspection, console: Console) -> None:
    from rich.table import Table

    console.print(f"{_count(found.images, 'image')}, {found.labelled} with labels")
    sizes = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("height x width", "images"):
        sizes.add_column(column, justify="right")
    for (height, width), count in found.sizes[:_SIZES]:
        sizes.add_row(f"{height} x {width}", str(count))
    if len(found.sizes) > _SIZES:
        left = found.sizes[_SIZES:]
        sizes.add_row(f"{len(left)} other sizes", str(sum(count for _, count in left)))
    if found.sizes:
        console.print(sizes)
    if not found.labelled:
        return
    classes = Table(box=None, header_style="bold", pad_edge=False)
    classes.add_column("class")
    for column in ("pixels", "share", "images"):
        classes.add_column(column, justify="right")
    for share in found.classes:
        classes.add_row(share.name, f"{share.pixels:,}", f"{100 * share.share:.3f}%", str(share.images))
    console.print(classes)
    pixels, part = found.ignored
    console.print(f"ignored: {pixels:,} pixels, {100 * part:.3f}% of all; shares are of the others")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
