"""How does a user train a segmenter or a denoiser of their own? With `smoothseg train`, on any dataset."""

from __future__ import annotations

import click

import smoothseg

__all__ = ["register_commands", "register_schemas", "train"]


class _Commands(click.Group):
    """A group whose commands have an option for every field of a configuration and are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["denoiser", "segmenter"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from smoothseg_training import command

        return {"denoiser": command.denoiser, "segmenter": command.segmenter}.get(cmd_name)


@click.group(cls=_Commands)
def train() -> None:
    """Train a segmenter or a denoiser on a dataset."""


@smoothseg.hookimpl
def register_commands(cli: click.Group) -> None:
    """Add `smoothseg train` to the command line."""
    cli.add_command(train)


@smoothseg.hookimpl
def register_schemas(register: smoothseg.RegisterFunction) -> None:
    """Register the schemas of `smoothseg train segmenter --config` and `smoothseg train denoiser --config`."""

    def segmenter() -> dict[str, object]:
        from smoothseg_training import schemas

        return schemas.segmenter()

    def denoiser() -> dict[str, object]:
        from smoothseg_training import schemas

        return schemas.denoiser()

    register("train-segmenter", segmenter)
    register("train-denoiser", denoiser)
