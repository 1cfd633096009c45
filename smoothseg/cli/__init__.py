"""The command line: parse, call one library function, show the result.

Nothing is computed here, and the rooms below do not know the command line.

Private: its import paths may change without notice.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import click

from smoothseg.cli.bounds import bounds
from smoothseg.cli.certify import certify
from smoothseg.cli.check import check
from smoothseg.cli.completion import completion
from smoothseg.cli.components import components, plugins
from smoothseg.cli.datasets import datasets
from smoothseg.cli.doctor import doctor
from smoothseg.cli.figure import figure
from smoothseg.cli.recheck import recertify, verify
from smoothseg.cli.report import report
from smoothseg.cli.schema import schema
from smoothseg.cli.weights import weights
from smoothseg.components.discovery import Plugins
from smoothseg.components.plugins import plugins as installed
from smoothseg.errors import SmoothsegError, first_line, one_line, out_of_memory

__all__ = ["cli", "main"]


class _Group(click.Group):
    """A group with the commands of the installed plugins in addition to its own."""

    _plugins: Plugins | None = None
    _own: Mapping[str, click.Command] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self._ask_plugins()
        command = super().get_command(ctx, cmd_name)
        if command is None and not ctx.resilient_parsing:
            installed()  # raises if conflicting plugins are the reason
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands[name].get_short_help_str(80)) for name in names])

    def _ask_plugins(self) -> None:
        """Let the plugins add their commands, once."""
        found = installed(conflicting=True)
        if found is self._plugins:
            return
        self._own = dict(self.commands) if self._own is None else self._own
        self._plugins, self.commands = found, dict(self._own)
        found.register_commands(self)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="smoothseg", prog_name="smoothseg")
def cli() -> None:
    """Certified semantic segmentation by randomized smoothing.

    Labels many noisy copies of an image, votes, tests, and abstains where the vote is not clear: what is left
    is guaranteed, pixel by pixel, against every perturbation within an l2 radius.

    \b
    Try first:
      smoothseg certify       certify street scenes with the packaged models
      smoothseg components    what can be combined, with every option
    """


for command in (
    *(certify, report, figure, bounds, verify, recertify),
    *(components, plugins, check, datasets, weights),
    *(completion, doctor, schema),
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line. Errors are one line on stderr; the exit code is 2 for user errors, else 1."""
    warnings.showwarning = _one_line
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console without sigma shows a question mark instead
    try:
        return cli.main(args=arguments, prog_name="smoothseg", standalone_mode=True)
    except SmoothsegError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except (OSError, MemoryError) as error:
        click.echo(f"Error: {one_line(str(error)) or 'out of memory'}", err=True)
        sys.exit(1)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        click.echo(f"Error: out of memory on the device: {str(error).splitlines()[0]}", err=True)
        sys.exit(1)


def _one_line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Show a warning as one line; drop warnings that libraries address to programmers."""
    from smoothseg.components.plugin import PluginWarning

    if issubclass(category, PluginWarning):
        click.echo(f"Warning: {one_line(first_line(message))}", err=True)
