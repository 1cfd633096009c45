"""`smoothseg components` and `smoothseg plugins`: what is installed, and what it takes."""

from __future__ import annotations

import click

__all__ = ["components", "plugins"]


@click.command()
@click.argument("names", nargs=-1)
def components(names: tuple[str, ...]) -> None:
    """List denoisers, segmenters, certifiers and datasets with their options.

    NAMES limits the list to components of these names or kinds.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from smoothseg.errors import UnknownNameError
    from smoothseg.plugins import KINDS
    from smoothseg.plugins import plugins as installed

    registries = installed()
    known = {entry.name for kind in KINDS for entry in registries[kind]} | set(KINDS)
    for name in names:
        if name not in known:
            raise UnknownNameError.of("component or kind", name, known, listed="installed")
    console = Console(highlight=False)
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
def plugins() -> None:
    """List installed plugins, what they offer, or why they are broken."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from smoothseg.plugins import KINDS
    from smoothseg.plugins import plugins as installed

    found = installed()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("plugin", "distribution", "offers"):
        table.add_column(column)
    for plugin in found.plugins:
        offers = ", ".join(
            f"{kind} {entry.name}" for kind in KINDS for entry in found[kind] if entry.owner == plugin.owner
        )
        if plugin.disabled:
            offers = "switched off by SMOOTHSEG_DISABLE"
        elif plugin.error is not None:
            offers = f"BROKEN: {plugin.error}"
        table.add_row(plugin.name, f"{plugin.distribution} {plugin.version}", Text(offers))
    Console(highlight=False).print(table)
