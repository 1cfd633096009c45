"""`smoothseg new`: write a package to start from."""

from __future__ import annotations

from pathlib import Path

import click

from smoothseg.components.discovery import KINDS

__all__ = ["new"]


@click.group()
def new() -> None:
    """Write a package to begin with: a plugin."""


@new.command()
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="What the plugin is to offer.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the package, new or empty.  [default: smoothseg-NAME]",
)
def plugin(name: str, kind: str, output: Path | None) -> None:
    """Write a plugin: a package that installs, passes its tests and does something small.

    NAME is that of the component, such as soft-blur. The package has a module with the component, its test, a
    pyproject.toml with the entry point and a README.md.

    \b
    Example:
      smoothseg new plugin soft-blur --kind denoiser
    """
    from smoothseg_scaffold.writing import write

    scaffold, folder = write(name, kind, output)
    click.echo(f"wrote {scaffold.distribution}, with the {kind} '{scaffold.name}', to {folder}")
    click.echo("\nNext:")
    for command in (
        f'cd "{folder}"' if " " in str(folder) else f"cd {folder}",
        'pip install -e ".[test]"',
        "pytest",
        f"smoothseg check {kind} {scaffold.name}",
    ):
        click.echo(f"  {command}")
