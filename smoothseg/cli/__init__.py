"""The command line: parse, call one library function, echo."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

import smoothseg
from smoothseg.cli.certify import certify
from smoothseg.cli.check import recertify, verify
from smoothseg.cli.components import components, plugins
from smoothseg.cli.report import report
from smoothseg.cli.train import train
from smoothseg.errors import SmoothsegError

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(smoothseg.__version__, prog_name="smoothseg")
def cli() -> None:
    """Certified semantic segmentation by randomized smoothing.

    Labels many noisy copies of an image, votes, tests, and abstains where the vote is not clear: what is left
    is guaranteed, pixel by pixel, against every perturbation within an l2 radius.

    \b
    Try first:
      smoothseg certify                 certify procedural street scenes with the packaged models
      smoothseg components              denoisers, segmenters, certifiers and datasets, with their options
    """


for command in (certify, report, verify, recertify, components, plugins, train):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors are one line on stderr, exit code 2 for the user's mistakes, else 1."""
    warnings.showwarning = _one_line
    try:
        from smoothseg.plugins import plugins as installed

        installed().register_commands(cli)
        return cli.main(args=arguments, prog_name="smoothseg", standalone_mode=True)
    except SmoothsegError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


def _one_line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Show what smoothseg warns of as one line; leave other libraries' warnings out of the user's way."""
    if issubclass(category, UserWarning):
        click.echo(f"Warning: {str(message).splitlines()[0]}", err=True)
