"""`smoothseg report`: print the tables of a run again, or write its page."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from smoothseg.report import Row

__all__ = ["report", "show"]

FORMAT_NAMES = ("table", "markdown", "latex", "csv", "json")


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMAT_NAMES),
    default="table",
    show_default=True,
    help="How to print it.",
)
@click.option("--html", is_flag=True, help="Write the page RUN/report.html instead, and print its path.")
@click.option(
    "--sign",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Sign the run with this Ed25519 key instead, if every file is as its manifest says.",
)
def report(run: Path, form: str, html: bool, sign: Path | None) -> None:
    """Print the results of the run directory RUN.

    They are computed from the run's ledger, also while the run is still going on. The page is one file that opens
    in any browser, without network: the claim, the table, curves, classes, and the images layer by layer.
    """
    from smoothseg.errors import ConfigError, RunBusyError
    from smoothseg.runs import manifest
    from smoothseg.runs.locking import locked

    if html and sign is not None:
        raise ConfigError("give --html or --sign, not both")
    if html:
        from smoothseg.report.html import write

        path = write(run)
        with contextlib.suppress(RunBusyError), locked(run):  # a run that goes on writes its own at its end
            manifest.update(run, [path.name])
        click.echo(path)
        return
    if sign is not None:
        key = manifest.signing_key(sign)
        with locked(run):
            manifest.sign(run, key)
        click.echo(run / manifest.SIGNATURE)
        return
    from smoothseg.report.rows import rows

    show(rows(run), form)


def show(result: Sequence[Row], form: str) -> None:
    """Print rows; the terminal's table is coloured and shows the measured seconds per image."""
    from smoothseg.report import FORMATS, table

    if form == "table":
        from smoothseg.terminal.console import Plain

        console = Plain()
        console.print(table(result, width=console.width))
    else:
        click.echo(FORMATS[form](result), nl=False)
