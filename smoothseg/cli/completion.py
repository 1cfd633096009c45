"""`smoothseg completion`: the script that lets a shell complete commands, options and components."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class

__all__ = ["SchemaName", "TrackerName", "completion", "component", "component_of_kind", "name"]

_VARIABLE = "_SMOOTHSEG_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

# bash takes ':' and '=' for ends of words. So the line is passed on as it is, and what follows the last of them is the
# answer, because the rest of the word stays.
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
    """Bash, with words that hold ':' and '='."""

    name = "bash"
    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """Say nothing: the script is for a later shell than the one that happens to be found here."""

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


def component(*kinds: str) -> Callable[..., list[CompletionItem]]:
    """Return what completes an option or an argument that takes components of `kinds`."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from smoothseg.cli.candidates import candidates

        return [
            CompletionItem(each.word, help=each.help)
            for kind in kinds
            for each in candidates(kind, incomplete)
        ]

    return complete


def component_of_kind(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a component of the kind that the argument `kind` before it names."""
    kind = context.params.get("kind")
    return component(kind)(context, parameter, incomplete) if kind else []


def name(*kinds: str, of_kinds: bool = False) -> Callable[..., list[CompletionItem]]:
    """Return what completes the plain name of a component of `kinds`; `of_kinds`: or that of a kind."""

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
        """Return the name, or say which there are."""
        return str(self._choice().convert(value, param, ctx))

    @staticmethod
    def _choice() -> click.Choice[str]:
        from smoothseg.components.plugins import plugins

        return click.Choice([*plugins()["tracker"].names, "none"])


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
