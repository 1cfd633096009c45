"""Write a new plugin: a package that installs, passes its tests and does something small."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

import smoothseg
from smoothseg.components.discovery import KINDS
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError

__all__ = ["Scaffold", "write"]

_TEMPLATES = Path(__file__).resolve().parent / "templates"

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 24
"""The most characters of a name; longer names do not fit the lines of the templates."""

_PREFIX = "smoothseg-"


@dataclasses.dataclass(frozen=True)
class Scaffold:
    """The package of one component.

    name: the component's name for `smoothseg certify`. kind: one of `KINDS`.
    """

    name: str
    kind: str

    @property
    def distribution(self) -> str:
        """The name of the package for pip."""
        return _PREFIX + self.name

    @property
    def module(self) -> str:
        """The name for Python imports, which is also the entry point's name."""
        return self.distribution.replace("-", "_")

    @property
    def title(self) -> str:
        """The prefix of its class names."""
        return "".join(part.capitalize() for part in self.name.split("-"))

    def files(self) -> dict[str, str]:
        """Return the text of every file, by path in the package's folder."""
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=False,  # the templates are Python and Markdown, and the names are checked
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        templates = {
            "pyproject.toml": "pyproject.toml.jinja",
            "README.md": "README.md.jinja",
            f"{self.module}.py": f"{self.kind}.py.jinja",
            f"tests/test_{self.module}.py": "test.py.jinja",
        }
        return {
            path: environment.get_template(template).render(
                name=self.name,
                kind=self.kind,
                distribution=self.distribution,
                module=self.module,
                title=self.title,
                version=smoothseg.__version__,
                protocol=smoothseg.PROTOCOL_VERSION,
            )
            for path, template in templates.items()
        }


def write(name: str, kind: str, folder: Path | None = None) -> tuple[Scaffold, Path]:
    """Write the package of a component called `name` and return it with its folder.

    name: lower-case letters, digits and single hyphens, starting with a letter. A leading `smoothseg-` belongs to the
    distribution and is not repeated. kind: one of `KINDS`. folder: the target; None means `smoothseg-NAME`.

    Raises `ConfigError` for an invalid name, for a name taken by a component of this kind or by an importable module,
    and for a folder that is not empty.
    """
    if kind not in KINDS:
        raise ConfigError(f"expected a kind of {', '.join(KINDS)}, got '{kind}'")
    scaffold = Scaffold(name.removeprefix(_PREFIX), kind)
    if not _NAME.fullmatch(scaffold.name) or len(scaffold.name) > _LONGEST:
        raise ConfigError(
            f"'{name}' cannot be the name of a plugin: expected at most {_LONGEST} lower-case letters, digits and "
            "single hyphens, a letter first, such as 'soft-blur'"
        )
    registry = plugins()[kind]
    if scaffold.name in registry:
        owner = registry.entry(scaffold.name).owner
        raise ConfigError(f"there is a {kind} '{scaffold.name}' already, of {owner}: choose another name")
    if importlib.util.find_spec(scaffold.module) is not None:
        raise ConfigError(f"there is a module {scaffold.module} already: choose another name")
    folder = Path(scaffold.distribution) if folder is None else folder
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"the folder {folder} is not empty: choose another one with --output")
    for path, text in scaffold.files().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    return scaffold, folder
