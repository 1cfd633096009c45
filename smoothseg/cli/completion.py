"""Shell completion: commands, names of components and, after `NAME:`, their options and values."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class

from smoothseg.components.plugins import plugins
from smoothseg.components.registry import Entry

__all__ = ["SchemaName", "TrackerName", "candidates", "completion", "component", "component_of_kind", "name"]

_VARIABLE = "_SMOOTHSEG_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

# bash ends words at ':' and '='. So the script passes on the whole line, and the answer is only the text after the last
# of them, because the rest of the word stays.
_BASH = """\
%(complete_func)s() {
    local kind word
    COMPREPLY=()
    while IFS=, read -r kind word; do
        case "$kind" in
            plain) COMPREPLY+=("$word") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(SMOOTHSEG_LINE="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:] ]] && compopt -o nospace
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Bash, with support for words that contain ':' and '='."""

    name = "bash"
    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """Check nothing: the script is for the user's shell, not for the bash found here."""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("SMOOTHSEG_LINE", "")
        words = click.shell_completion.split_arg_string(line)
        unfinished = words.pop() if words and not line[-1].isspace() else ""
        return words[1:], unfinished

    def format_completion(self, item: CompletionItem) -> str:
        _, unfinished = self.get_completion_args()
        if unfinished.startswith("--"):  # --option=value
            unfinished = unfinished.partition("=")[2] or unfinished
        kept = max(unfinished.rfind(":"), unfinished.rfind("=")) + 1
        return f"{item.type},{str(item.value)[kept:]}"


add_completion_class(_Bash)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One word that can replace the unfinished word, with a short description."""

    word: str
    help: str


def candidates(kind: str, unfinished: str) -> list[Candidate]:
    """Return the possible completions of `unfinished`, the beginning of a spec `name:key=value,...` of a `kind`.

    Before the colon these are names, after it the options not given yet, and after an `=` the values of an option with
    a fixed set of values.
    """
    name, colon, rest = unfinished.partition(":")
    if not colon:
        return [
            Candidate(entry.name, entry.summary)
            for entry in plugins()[kind]
            if entry.name.startswith(unfinished)
        ]
    if name not in plugins()[kind]:
        return []
    return list(_options(plugins()[kind].entry(name), f"{name}:", rest))


def _options(entry: Entry, before: str, rest: str) -> Iterator[Candidate]:
    *whole, last = rest.split(",")
    before += "".join(f"{part}," for part in whole)
    given = {part.partition("=")[0] for part in whole}
    key, equals, value = last.partition("=")
    for field in entry.fields:
        if equals and field.name == key:
            for choice in [*_choices(field.type), *(_weights(entry) if key == "weights" else ())]:
                if choice.startswith(value):
                    yield Candidate(f"{before}{key}={choice}", field.help)
        elif not equals and field.name not in given and field.name.startswith(key):
            yield Candidate(f"{before}{field.name}=", field.help)


def _weights(entry: Entry) -> list[str]:
    """Return the names of the weights in the catalogue of the component's plugin; none if it is broken."""
    from smoothseg.errors import PluginError
    from smoothseg.weights.catalogue import catalogue
    from smoothseg.weights.references import package_of

    try:
        return [each.name for each in catalogue(package_of(entry.recipe)).values() if each.fits(entry.name)]
    except PluginError:  # completion cannot show an error
        return []


def _choices(annotation: str) -> list[str]:
    """Return the values of a field with the type `annotation` (source text); empty if the set is open."""
    if annotation == "bool":
        return ["false", "true"]
    literal = re.search(r"Literal\[(.*?)\]", annotation)
    return re.findall(r"[\"']([^\"']+)[\"']", literal[1]) if literal else []


def component(*kinds: str) -> Callable[..., list[CompletionItem]]:
    """Return the completion function of an option or an argument that takes components of `kinds`."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [
            CompletionItem(each.word, help=each.help)
            for kind in kinds
            for each in candidates(kind, incomplete)
        ]

    return complete


def component_of_kind(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a component of the kind given by the preceding argument `kind`."""
    kind = context.params.get("kind")
    return component(kind)(context, parameter, incomplete) if kind else []


def name(*kinds: str, of_kinds: bool = False) -> Callable[..., list[CompletionItem]]:
    """Return the completion function of plain names of components of `kinds`, and of kinds if `of_kinds`."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if ":" in incomplete:
            return []
        names = component(*kinds)(context, parameter, incomplete)
        also = [CompletionItem(kind) for kind in kinds if of_kinds and kind.startswith(incomplete)]
        return [*also, *names]

    return complete


class SchemaName(click.ParamType):  # type: ignore[type-arg]
    """The name of a kind of configuration file."""

    name = "file"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the names."""
        from smoothseg.runs import schema

        return f"[{'|'.join(schema.names())}]"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete one of them."""
        from smoothseg.runs import schema

        return [CompletionItem(each) for each in schema.names() if each.startswith(incomplete)]


class TrackerName(click.ParamType):  # type: ignore[type-arg]
    """The name of an experiment tracker that a plugin offers, or `none`."""

    name = "tracker"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        """Show the names."""
        return f"[{'|'.join(self._choice().choices)}]"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete one of them."""
        return self._choice().shell_complete(ctx, param, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail with the list of names."""
        return str(self._choice().convert(value, param, ctx))

    @staticmethod
    def _choice() -> click.Choice[str]:
        return click.Choice([*plugins().functions["tracker"].names, "none"])


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete smoothseg.

    It completes commands, options, files, names of components, and their options behind NAME:. Load it in the shell's
    own start file:

    \b
    Examples:
      eval "$(smoothseg completion bash)"
      eval "$(smoothseg completion zsh)"
      smoothseg completion fish | source
    """
    made: Any = get_completion_class(shell)
    click.echo(
        made(click.get_current_context().find_root().command, {}, "smoothseg", _VARIABLE).source(), nl=False
    )
