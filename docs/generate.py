"""Write the reference pages that follow from the code: command line, components, and what a terminal shows of them.

    python docs/generate.py

The pages are committed, so that they can be read without building anything; a test compares them with the code.
The first two are made from click's parameters and from the recipes' fields, not from rendered help, whose layout
differs between versions of click; the third, `docs/terminal.py`, is what one version renders, and says which.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import click

from smoothseg.cli import cli
from smoothseg.components.discovery import KINDS
from smoothseg.components.plugins import plugins

REFERENCE = Path(__file__).resolve().parent / "reference"

NOTE = "<!-- Written by docs/generate.py: run it again instead of editing this page. -->"

_NUMBERS = {"integer": "whole number", "integer range": "whole number", "float": "number"}


def pages() -> dict[str, str]:
    """Return the generated pages: file name in `docs/reference` to text."""
    terminal = runpy.run_path(str(REFERENCE.parent / "terminal.py"))["page"]
    makers = (("cli.md", _commands), ("components.md", _components), ("terminal.md", terminal))
    return {name: _page(make()) for name, make in makers}


def _page(paragraphs: Iterator[str]) -> str:
    return "\n\n".join([NOTE, *paragraphs]) + "\n"


def _commands() -> Iterator[str]:
    yield "# Command line"
    yield (
        "Every command answers `--help` (`-h`), and `smoothseg --version` prints the version. Plugins may add\n"
        "commands; these come with smoothseg. The exit code is 0 for success, 2 for a mistake that the caller can\n"
        "mend and 1 for any other failure; see [errors](errors.md)."
    )
    yield from _command(cli, click.Context(cli, info_name="smoothseg"))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield f"```text\n{' '.join([context.command_path, *_usage(command)])}\n```"
    yield from _prose(command.help or "")
    options = [option for option in command.params if isinstance(option, click.Option)]
    if rows := [_row(option) for option in options if not option.is_eager]:
        yield "\n".join(["| option | takes | |", "| --- | --- | --- |", *rows])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, click.Context(child, context, name))


def _usage(command: click.Command) -> Iterator[str]:
    """Give what follows a command's name on the command line."""
    if any(isinstance(option, click.Option) and not option.is_eager for option in command.params):
        yield "[OPTIONS]"
    if isinstance(command, click.Group):
        yield "COMMAND"
    for argument in command.params:
        if isinstance(argument, click.Argument):
            word = (argument.name or "").upper() + ("..." if argument.nargs == -1 else "")
            yield word if argument.required else f"[{word}]"


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    text = option.help or ""
    if option.show_default:
        text += f"  [default: {option.default}]"
    if option.required:
        text += "  [required]"
    return f"| {names} | {_takes(option)} | {_cell(text)} |"


def _takes(option: click.Option) -> str:
    kind = option.type
    if option.is_flag:
        return ""
    if isinstance(kind, click.Choice):
        return ", ".join(f"`{choice}`" for choice in kind.choices)
    if option.metavar:
        return f"`{option.metavar}`"
    if isinstance(kind, click.Path):
        return "file" if not kind.dir_okay else "folder" if not kind.file_okay else "path"
    shown = kind.get_metavar(option, click.Context(cli))
    if shown and shown.startswith("[") and shown.endswith("]"):  # a type of our own that offers names
        return ", ".join(f"`{name}`" for name in shown[1:-1].split("|"))
    return _NUMBERS.get(kind.name, "text")


def _prose(text: str) -> Iterator[str]:
    """Give the paragraphs of a help text; what click does not wrap is code behind its first line."""
    for paragraph in text.strip().split("\n\n"):
        lines = [line.strip() for line in paragraph.splitlines()]
        if lines[0] != "\b":
            yield "\n".join(lines)
            continue
        yield lines[1]
        language = "text" if any("  " in line for line in lines) else "console"
        yield "\n".join([f"```{language}", *lines[2:], "```"])


def _components() -> Iterator[str]:
    yield "# Components"
    yield (
        "What smoothseg brings along, as `smoothseg components` lists it. A component is written `NAME` or\n"
        "`NAME:key=value,key=value` on the command line and in YAML, or as a mapping with `name` and the options.\n"
        "`none` stands for no value. How to add components of your own: [plugins](../guides/plugin.md)."
    )
    installed = plugins()
    ours = {plugin.owner for plugin in installed.plugins if plugin.distribution == "smoothseg"}
    for kind in KINDS:
        yield f"## {kind.capitalize()}s"
        for entry in installed[kind]:
            if entry.owner not in ours:
                continue
            yield f"### {entry.name}"
            yield entry.summary
            if entry.fields:
                rows = [
                    f"| `{field.name}` | `{'none' if field.default is None else field.default}` | {_cell(field.help)} |"
                    for field in entry.fields
                ]
                yield "\n".join(["| option | default | |", "| --- | --- | --- |", *rows])


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
