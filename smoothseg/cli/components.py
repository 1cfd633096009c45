"""`smoothseg components` and `smoothseg plugins`: list what is installed, with its options."""

from __future__ import annotations

import click

from smoothseg.cli.completion import name
from smoothseg.components.discovery import KINDS

__all__ = ["components", "plugins"]


@click.command()
@click.argument("names", nargs=-1, shell_complete=name(*KINDS, of_kinds=True))
def components(names: tuple[str, ...]) -> None:
    """List denoisers, segmenters, certifiers and datasets with their options.

    NAMES limits the list to components of these names or kinds.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from smoothseg.components.plugins import plugins as installed
    from smoothseg.errors import UnknownNameError
    from smoothseg.terminal.console import Plain

    registries = installed()
    known = {entry.name for kind in KINDS for entry in registries[kind]} | set(KINDS)
    for given in names:
        if given not in known:
            raise UnknownNameError.of("component or kind", given, known, listed="installed")
    console = Plain()
    for kind in KINDS:
        entries = [entry for entry in registries[kind] if not names or entry.name in names or kind in names]
        if not entries:
            continue
        console.print(Text(f"{kind}s", style="bold underline"))
        for entry in entries:
            console.print(
                Padding(Text.assemble((entry.name, "bold cyan"), "  ", entry.summary), (0, 0, 0, 2))
            )
            table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
            table.add_column(no_wrap=True)
            table.add_column()
            for field in entry.fields:
                table.add_row(
                    Text(f"      {field.name}={'none' if field.default is None else field.default}"),
                    Text(field.help, style="dim"),
                )
            if entry.fields:
                console.print(table)
        console.print()
    console.print(Text("Use them as NAME or NAME:key=value,key=value.", style="dim"))


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="How to print it.",
)
def plugins(form: str) -> None:
    """List installed plugins, what they offer, or why they are broken."""
    import json

    from smoothseg.components.plugins import plugins as installed

    found = installed(conflicting=True)
    if form == "json":
        described = [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "protocol": plugin.protocol,
                "offers": found.offers(plugin),
                "disabled": plugin.disabled,
                "error": plugin.error,
            }
            for plugin in found.plugins
        ]
        click.echo(json.dumps(described, indent=1))
        return
    from rich.table import Table
    from rich.text import Text

    from smoothseg.terminal.console import Plain

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("plugin", "distribution", "version", "offers"):
        table.add_column(column, overflow="fold")  # long text is wrapped, never cut off
    for plugin in found.plugins:
        if plugin.disabled:
            offers = Text("switched off by SMOOTHSEG_DISABLE", style="dim")
        elif plugin.error is not None:
            offers = Text(f"BROKEN: {plugin.error}", style="bold red")
        else:
            offers = Text(_offered(found.offers(plugin), hasattr(plugin.module, "register_commands")))
        table.add_row(Text(plugin.name), Text(plugin.distribution), Text(plugin.version), offers)
    Plain().print(table)


def _offered(names: dict[str, tuple[str, ...]], commands: bool) -> str:
    """Return the offers of a plugin as text: `denoisers dncnn, ffdnet; dataset streets`."""
    parts = [f"{kind}{'s' * (len(listed) > 1)} {', '.join(listed)}" for kind, listed in names.items()]
    return "; ".join([*parts, *(["commands"] if commands else [])]) or "nothing"
