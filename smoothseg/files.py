"""How a file is written so that a crash leaves the old or the whole new one, and what is read of a stranger's file.

What is read is a regular file of bounded size, and JSON or YAML of bounded depth: a pipe is not waited for, a device is
not drained, and a short text that stands for a long one is refused before it is built.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from smoothseg.errors import ConfigError

__all__ = [
    "LARGEST_TEXT",
    "LARGEST_YAML",
    "opened",
    "parse_json",
    "parse_yaml",
    "path_of",
    "plain",
    "read_bytes",
    "read_json",
    "read_text",
    "read_yaml",
    "replacing",
    "sha256_of",
    "underscored",
    "write_atomically",
    "yaml_of",
]

LARGEST_TEXT = 2**24
"""Bytes of the largest text file, JSON included, that is read."""

LARGEST_YAML = 2**20
"""Bytes of the largest YAML file that is read: its parser takes some seconds for it."""

DEEPEST = 100
"""How deep the collections of YAML may be nested. The depth of JSON is Python's limit of recursion."""

MOST_VALUES = 200_000
"""Values that a YAML file may stand for, what its aliases repeat included."""

INTEGERS = range(-(2**63), 2**64)
"""The whole numbers that JSON and YAML may hold. Longer ones cannot be printed, or have no floating-point number."""


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
        temporary.unlink(missing_ok=True)  # a link that lies there would be written through
        temporary.touch(exist_ok=False)
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


def path_of(text: str) -> Path:
    """Return the path that `text` names, with the user's folder for a `~` at its beginning if there is that user."""
    return Path(os.path.expanduser(text))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open the regular file `path` for reading; raise `OSError` for anything else, without waiting for it."""
    try:
        # a pipe without a writer would make `open` wait
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:  # a null byte, or letters that are none
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from None
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(
                errno.EINVAL, "expected a regular file, got a pipe, a socket or a device", str(path)
            )
        yield file


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of the regular file `path`; raise `OSError` if it is none, or has more than `most` bytes."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most else file.read(most + 1)
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"expected at most {most} bytes, got {max(size, len(content))}", str(path))
    return content


def sha256_of(path: Path) -> str:
    """Return the sha256 of the regular file `path` as 64 hexadecimal digits; raise `OSError` if it is none."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, *, encoding: str = "utf-8") -> str:
    """Return the text in a file of at most `LARGEST_TEXT` bytes; `OSError` or `UnicodeDecodeError` if there is none."""
    return read_bytes(path, LARGEST_TEXT).decode(encoding)


def read_json(path: Path) -> Any:
    """Return the value in a JSON file of at most `LARGEST_TEXT` bytes; `OSError` or `ValueError` if it is none."""
    return parse_json(read_text(path))


def parse_json(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Return the value of a JSON text; raise `ValueError` if it is none, nested too deep or with too long a number.

    pairs: what makes a mapping of its keys and values; None: the last of equal keys counts.
    """
    try:
        return json.loads(text, parse_int=_integer, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None


def plain(value: Any) -> Any:
    """Return a value of lists, mappings, text and numbers as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value))


def parse_yaml(content: str | bytes) -> Any:
    """Return the value of a YAML text; raise `yaml.YAMLError` or `ValueError` if it is none.

    Refused besides: a key given twice, which YAML does not allow, collections nested deeper than `DEEPEST`, aliases
    that make more than `MOST_VALUES` values, integers outside of `INTEGERS`, and text that no file name or terminal
    can hold (null bytes, surrogates).
    """
    if len(content) > LARGEST_YAML:
        raise ValueError(f"expected at most {LARGEST_YAML} bytes, got {len(content)}")
    try:
        return yaml.load(content, _Loader)
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:  # of its constructors
        raise ValueError(f"a value that is none: {error!r}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raise `ConfigError` with file and line if it is not one.

    `parse_yaml` says what is refused.
    """
    try:
        content = parse_yaml(
            read_bytes(path, LARGEST_YAML)
        )  # UTF-8, or UTF-16 with its mark, as some shells write it
    except OSError as error:
        raise ConfigError(f"configuration {path} cannot be read: {error.strerror or error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"configuration {path}{line}: {getattr(error, 'problem', None) or str(error).splitlines()[0]}"
        ) from None
    except ValueError as error:
        raise ConfigError(f"configuration {path}: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"configuration {path} must be a mapping of options, got {type(content).__name__}")
    return content


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LONGEST_NUMBER = 100


def _integer(digits: str) -> int:
    """Return the number that `digits` mean; raise `ValueError` for one outside of `INTEGERS`."""
    # Twenty digits and a sign are the longest in range: more need not be converted.
    number = int(digits) if len(digits) <= 21 else INTEGERS.stop
    if number not in INTEGERS:
        raise ValueError(f"expected integers of 64 bits, got one of {len(digits.lstrip('-'))} digits")
    return number


class _Loader(yaml.SafeLoader):
    """The safe loader, with what `parse_yaml` refuses besides."""

    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}
        """Values of every finished node by its identity, those of aliases counted as often as they stand there."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:  # not finished: it is around the alias
                raise _problem("an alias repeats what it is a part of", event)
            return node
        self._depth += 1
        if self._depth > DEEPEST:
            raise _problem(f"collections are nested more than {DEEPEST} deep", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = size = 1 + sum(self._sizes[id(each)] for each in _parts(node))
        if size > MOST_VALUES:
            raise _problem(f"aliases repeat it to more than {MOST_VALUES} values", event)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        there = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in there:
                    raise _problem(f"'{key.value}' is given twice", key)
                there.add((key.tag, key.value))
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and any(
            letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value
        ):
            raise _problem("a null byte or half a character is in the text", node)
        return value

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise _problem(f"expected a number, got one of {len(node.value)} characters", node)
        try:
            value = super().construct_object(node, deep=deep)
        except ValueError as error:  # a date that is none, a number too long to convert
            raise _problem(str(error), node) from None
        if isinstance(value, int) and value not in INTEGERS:
            raise _problem("expected integers of 64 bits, got a longer one", node)
        return value


def _parts(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield the nodes directly in a collection."""
    for each in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from each if isinstance(each, tuple) else (each,)


def _problem(said: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=said, problem_mark=at.start_mark)


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
