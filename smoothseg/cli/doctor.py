"""`smoothseg doctor`: show what this installation consists of, what is broken, and what would be slow."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from smoothseg.machine.doctor import Examination

__all__ = ["doctor"]


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
def doctor(form: str) -> None:
    """Show versions, devices, memory, cache and plugins.

    Says what would be slow, and why, and what is broken; the exit code is 1 if anything is. It is what a report of a
    fault should contain. Nothing is changed, and nothing is fetched.
    """
    from smoothseg.machine.doctor import examine

    found = examine()
    if form == "json":
        click.echo(json.dumps({**dataclasses.asdict(found), "healthy": found.healthy}, indent=1))
    else:
        from smoothseg.terminal.console import Plain

        _show(Plain(), found)
    if not found.healthy:
        sys.exit(1)


def _show(console: Console, found: Examination) -> None:
    first = ("python", "smoothseg", "torch")
    _section(
        console,
        "versions",
        [
            *((name, found.versions.get(name, "not installed")) for name in first),
            *((name, version) for name, version in found.versions.items() if name not in first),
            *((name, version or "not installed, optional") for name, version in found.optional.items()
              if name not in found.versions),
            ("system", f"{found.system['platform']}, {found.system['processor']}"),
        ],
    )  # fmt: skip
    _section(
        console,
        "devices",
        [
            (
                device.name,
                device.about
                + ("" if device.memory is None else f", {device.memory / 1e9:.0f} GB")
                + ("" if device.used else ", not used"),
            )
            for device in found.devices
        ],
    )
    memory = found.memory
    _section(
        console,
        "memory",
        [
            ("main", f"{_size(memory['available'])} of {_size(memory['total'])} free"),
            ("disk", f"{_size(memory['disk'])} free in the current folder"),
        ],
    )
    cache = found.cache
    offline = ", SMOOTHSEG_OFFLINE forbids to fetch more" if cache["offline"] else ""
    _section(
        console,
        "cache",
        [
            ("folder", cache["folder"]),
            ("holds", f"{cache['files']} files, {_size(cache['bytes'])}{offline}"),
            *(("", name) for name in cache["weights"]),
        ],
    )
    states = {"off": "switched off", "broken": "BROKEN"}
    _section(
        console,
        "plugins",
        [
            (plugin["name"], states.get(plugin["state"], ", ".join(plugin["offers"]) or "commands"))
            for plugin in found.plugins
        ],
    )
    _notes(console, "what would be slow, or is switched off", found.slow, style="yellow")
    _notes(console, "what is broken", found.broken, style="bold red")
    if found.healthy:
        console.print("nothing is broken", style="green")


def _section(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(title, style="bold underline"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(f"  {name}"), Text(text, style="dim" if text.startswith("not installed") else ""))
    console.print(table)
    console.print()


def _notes(console: Console, title: str, notes: Iterable[str], *, style: str) -> None:
    from rich.padding import Padding
    from rich.text import Text

    listed = list(notes)
    if not listed:
        return
    console.print(Text(title, style="bold underline"))
    for note in listed:
        console.print(Padding(Text(f"- {note}", style=style), (0, 0, 0, 2)))
    console.print()


def _size(count: int | None) -> str:
    from smoothseg.cli.estimates import size

    return "?" if count is None else size(count)
