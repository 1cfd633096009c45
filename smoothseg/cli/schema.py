"""`smoothseg schema`: print the JSON schemas of smoothseg's YAML files, for editors."""

from __future__ import annotations

import json

import click

from smoothseg.cli.completion import SchemaName

__all__ = ["schema"]


@click.command()
@click.argument(
    "name",
    type=SchemaName(),
    default="certify",
)
def schema(name: str) -> None:
    """Print the JSON schema of a configuration file.

    It has every key and every component with its options, those of installed plugins included. Editors complete and
    check a YAML file that begins with this line.

    \b
    The line:
      # yaml-language-server: $schema=certify.schema.json
    """
    from smoothseg.runs.schema import schema as made

    click.echo(json.dumps(made(name), indent=1))
