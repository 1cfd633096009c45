"""`smoothseg new`: write a package to start from."""

from __future__ import annotations

import click

import smoothseg

__all__ = ["register_commands"]


@smoothseg.hookimpl
def register_commands(cli: click.Group) -> None:
    """Offer `smoothseg new`."""
    from smoothseg_scaffold.command import new

    cli.add_command(new)
