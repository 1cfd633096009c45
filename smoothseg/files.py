"""How a file is written so that a crash leaves the old or the whole new one, and how YAML becomes options."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from smoothseg.errors import ConfigError

__all__ = ["read_yaml", "replacing", "underscored", "write_atomically", "yaml_of"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash leaves either the old file or the whole new one.

    Missing folders are created. For content too large to hold twice, see `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; at the end of the block that file replaces `path`.

    The new content is on the disk before it gets the name, and the name is on the disk before the block ends (except on
    Windows, where a folder cannot be synchronised). If the block raises, `path` stays as it was and no other file
    remains. A killed process leaves a file called `.{name}.{pid}.tmp`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)  # some libraries write files that nobody else may read
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _synchronise(path.parent)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raise `ConfigError` with file and line if it is not one.

    A key given twice is refused: YAML does not allow it, and either value would be a guess.
    """
    try:
        content = yaml.load(
            path.read_bytes(), _Loader
        )  # UTF-8, or UTF-16 with its mark, as some shells write it
    except OSError as error:
        raise ConfigError(f"configuration {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"configuration {path}{line}: {getattr(error, 'problem', None) or str(error).splitlines()[0]}"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"configuration {path} must be a mapping of options, got {type(content).__name__}")
    return content


class _Loader(yaml.SafeLoader):
    """The safe loader, but it refuses equal keys instead of silently taking the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        there = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in there:
                    raise yaml.MarkedYAMLError(
                        problem=f"'{key.value}' is given twice", problem_mark=key.start_mark
                    )
                there.add((key.tag, key.value))
        return node


def underscored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with underscores for the hyphens of their keys; raise `ConfigError` for one given both ways."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in found:
            raise ConfigError(f"'{name}' is given twice, with hyphens and with underscores")
        found[name] = value
    return found


def yaml_of(values: Mapping[str, Any]) -> str:
    """Return `values`, plain ones, as YAML in their order; `read_yaml` reads it back.

    The text is ASCII, so a shell's redirection writes the same bytes in every encoding.
    """
    return yaml.safe_dump(dict(values), sort_keys=False)


def _synchronise(folder: Path) -> None:
    """Write the names in `folder` to the disk."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
