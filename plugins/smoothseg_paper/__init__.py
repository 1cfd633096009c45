"""`smoothseg reproduce`: make the tables of the DenoiseCertify paper, with the published numbers beside them."""

from __future__ import annotations

import click

import smoothseg

__all__ = ["register_commands"]


@smoothseg.hookimpl
def register_commands(cli: click.Group) -> None:
    """Offer `smoothseg reproduce`."""
    from smoothseg_paper.command import reproduce

    cli.add_command(reproduce)
