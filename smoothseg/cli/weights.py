"""`smoothseg weights`: list, fetch, check and convert weight files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothseg.cli.completion import component as spec_of
from smoothseg.cli.completion import name as name_of
from smoothseg.errors import visible
from smoothseg.terminal.progress import downloading

if TYPE_CHECKING:
    from smoothseg.weights.catalogue import Entry

__all__ = ["weights"]

_KINDS = ("denoiser", "segmenter")


@click.group()
def weights() -> None:
    """List, fetch, check and convert weight files.

    Downloads lie in the cache: SMOOTHSEG_CACHE, or smoothseg in the user's cache folder. Proxies are taken from the
    environment; SMOOTHSEG_OFFLINE=1 forbids to fetch anything.
    """


@weights.command("list")
@click.argument("names", nargs=-1, shell_complete=name_of(*_KINDS))
def list_(names: tuple[str, ...]) -> None:
    """List the weights that denoisers and segmenters know by name.

    NAMES limits the list to these components, and shows where their files come from.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from smoothseg.errors import UnknownNameError
    from smoothseg.terminal.console import Plain

    known = dict(_catalogues())
    for given in names:
        if given not in known:
            raise UnknownNameError.of("component with weights", given, known, listed="installed")
    console = Plain()
    for component, entries in known.items():
        if not entries or (names and component not in names):
            continue
        console.print(Text(component, style="bold cyan"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), pad_edge=False)
        for entry in entries:
            auto = f"auto for {', '.join(entry.datasets)}" if entry.datasets else ""
            table.add_row(f"  {entry.name}", _state(entry), Text(auto, style="dim"))
        console.print(table)
        for entry in entries if names else ():
            place = entry.download.told if entry.download is not None else str(entry.path)
            console.print(Text(f"\n    {entry.name}"))
            for line in (entry.source, f"licence: {entry.licence}"):
                console.print(Padding(Text(line, style="dim"), (0, 0, 0, 6)))
            console.print(Text(f"      {place}", style="dim"), soft_wrap=True)  # an address is never wrapped
    console.print(
        Text("Use them as COMPONENT:weights=NAME; auto, the default, goes by the dataset.", style="dim")
    )


@weights.command()
@click.argument("references", nargs=-1, required=True, shell_complete=spec_of(*_KINDS))
def fetch(references: tuple[str, ...]) -> None:
    """Fetch weights into the cache and verify them.

    REFERENCES are components with their weights, such as adm:weights=256-uncond, or addresses: https://... with
    #sha256=... where the hash is known, or hf://owner/name/file@revision.
    """
    from smoothseg.files import sha256_of
    from smoothseg.weights.downloads import fetch as fetch_source
    from smoothseg.weights.references import locate, package_of
    from smoothseg.weights.sources import Source

    places: list[Path | Source] = []
    for reference in references:  # all are validated before the first is fetched
        if re.match(r"\w+://", reference):
            places.append(Source.of(reference))
            continue
        component, recipe = _recipe(reference)
        places.append(locate(recipe.weights, package=package_of(recipe), component=component)[0])
    with downloading() as progress:
        for place in places:
            if isinstance(place, Source):
                found = fetch_source(place, progress=progress)
                click.echo(f"{found.path}\n  sha256 {found.sha256}")
            else:
                click.echo(f"{place}\n  sha256 {sha256_of(place)}, here already")


@weights.command()
@click.argument("specs", nargs=-1, shell_complete=spec_of(*_KINDS))
def check(specs: tuple[str, ...]) -> None:
    """Check that weight files are what they should be.

    SPECS are components with their weights, such as hrnet:weights=mine.pth,width=w48: each is loaded, strictly, on
    the CPU. Without SPECS every file in the cache is compared with the hash recorded for it.
    """
    from smoothseg.errors import WeightsError
    from smoothseg.weights.downloads import verify_cache
    from smoothseg.weights.references import ensure
    from smoothseg.weights.sources import cache

    if not specs:
        wrong = found = 0
        for path, problem in verify_cache():
            found += 1
            wrong += problem is not None
            click.echo(visible(f"{'ok' if problem is None else 'WRONG'}  {problem or path}"))
        if wrong:
            raise WeightsError(
                f"{wrong} of {found} files in the cache are not known to be those that were fetched"
            )
        if not found:
            click.echo(f"nothing in the cache ({cache()})")
        return
    for spec in specs:
        component, recipe = _recipe(spec, optional=True)
        with downloading() as progress:
            ensure(recipe, component=component, progress=progress)
        loaded = recipe.load("cpu")
        classes = getattr(loaded, "classes", None)
        what = "" if classes is None else f", {len(classes)} classes: {', '.join(classes)}"
        click.echo(visible(f"ok  {spec}{what}"))
        for name, digest in loaded.digests.items():
            click.echo(visible(f"    {name}  sha256 {digest}"))


@weights.command()
@click.argument("spec", shell_complete=spec_of(*_KINDS))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--half", is_flag=True, help="Store numbers in half precision: half the size, other results.")
def convert(spec: str, output: Path, half: bool) -> None:
    """Write weights anew as one safetensors file that says all of itself.

    SPEC is a component with its weights and what they do not say, such as hrnet:weights=cityscapes.pth,width=w48. The
    file is loaded strictly; OUTPUT holds its tensors in the network's own keys, with size and classes, and needs no
    options.
    """
    from smoothseg import weights as files
    from smoothseg.errors import ConfigError
    from smoothseg.weights.stored import Convertible

    component, recipe = _recipe(spec, optional=True)
    if not isinstance(recipe, Convertible):
        raise ConfigError(f"'{component}' writes no weight files of its own")
    if output.suffix != ".safetensors":
        raise ConfigError(f"OUTPUT must end in .safetensors, got {output}")
    if output.exists():
        raise ConfigError(f"{output} exists already")
    with downloading() as progress:
        files.ensure(recipe, component=component, progress=progress)
    made = recipe.converted()
    assert made.network is not None
    files.save(
        output,
        made.state,
        network=made.network,
        config=made.config,
        classes=made.classes,
        card=made.card,
        half=half,
    )
    click.echo(f"{output}\n  sha256 {files.digest(output)}, {len(made.state)} tensors of {made.path.name}")


def _catalogues() -> Iterator[tuple[str, list[Entry]]]:
    """Yield every component that takes weight references, with its entries in the plugin's catalogue."""
    from smoothseg.components.plugin import PluginWarning
    from smoothseg.components.plugins import plugins
    from smoothseg.errors import PluginError
    from smoothseg.weights.catalogue import catalogue
    from smoothseg.weights.references import package_of

    for kind in _KINDS:
        for entry in plugins()[kind]:
            if any(field.name == "weights" for field in entry.fields):
                try:
                    known = catalogue(package_of(entry.recipe)).values()
                except PluginError as error:  # one broken catalogue must not hide the others
                    warnings.warn(str(error), PluginWarning, stacklevel=2)
                    continue
                yield entry.name, [each for each in known if each.fits(entry.name)]


def _state(entry: Entry) -> str:
    if entry.path is not None:
        return "comes along"
    assert entry.download is not None
    if entry.download.path.is_file():
        return "in the cache"
    size = entry.download.size
    return "to be fetched" if size is None else f"to be fetched, {size / 1e6:,.0f} MB"


def _recipe(spec: str, *, optional: bool = False) -> tuple[str, Any]:
    """Return the name and the recipe, after `weights.pinned`, of the spec of a denoiser or a segmenter.

    optional: accept a component without a weight reference instead of raising `ConfigError`.
    """
    from smoothseg.components.plugins import plugins
    from smoothseg.components.registry import parse
    from smoothseg.errors import ConfigError, UnknownNameError
    from smoothseg.weights.references import pinned

    name, _ = parse(spec, "component")
    for kind in _KINDS:
        if name in plugins()[kind]:
            recipe = pinned(plugins()[kind].recipe(spec), component=name)
            if not optional and not isinstance(getattr(recipe, "weights", None), str):
                raise ConfigError(
                    f"'{spec}' names no weights to fetch; {name} finds its files when it is loaded"
                )
            return name, recipe
    known = [entry.name for kind in _KINDS for entry in plugins()[kind]]
    raise UnknownNameError.of("denoiser or segmenter", name, known, listed="installed")
