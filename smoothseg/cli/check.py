"""`smoothseg check`: check whether a component keeps the promises of its protocol."""

from __future__ import annotations

import shutil
import textwrap

import click

from smoothseg.cli.completion import component_of_kind
from smoothseg.components.discovery import KINDS
from smoothseg.errors import visible

__all__ = ["check"]

_NAME = 15
"""The width of the column with the names of checks."""


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("spec", shell_complete=component_of_kind)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--sigma",
    type=click.FloatRange(min=0, min_open=True),
    default=0.25,
    show_default=True,
    help="Noise for a denoiser, in [0,1] pixel units.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="How far a row may differ between batch sizes; 0: not by a bit.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many images of a dataset to read.",
)
@click.pass_context
def check(
    context: click.Context, kind: str, spec: str, device: str, sigma: float, tolerance: float, images: int
) -> None:
    """Run the contract checks on a component.

    KIND is denoiser, segmenter, certifier or dataset; SPEC is the component with its options, as certify takes it. The
    checks are those of smoothseg.testing. Of each that fails it is said what is wrong and why it matters, and the exit
    code is then 1.

    \b
    Examples:
      smoothseg check denoiser adm:steps=multi
      smoothseg check dataset folder:root=photos --images 20
    """
    recipe, component = _load(kind, spec, device)

    from smoothseg.machine import devices
    from smoothseg.testing import checks

    # Each of these options applies to some kinds only.
    every = checks(
        kind,
        component,
        sigma=sigma,
        atol=tolerance,
        device=devices.device(device),
        samples=images,
        recipe=recipe,
    )
    failed = 0
    for number, each in enumerate(every, 1):
        problem = each.failure()
        click.echo(f"{'ok' if problem is None else 'FAILED':8}{each.name:{_NAME}}{each.promise}")
        if problem is None:
            continue
        failed += 1
        for text in (problem, f"Why it matters: {each.why}"):
            click.echo(_indented(visible(text)))
        if each.vital:
            for skipped in every[number:]:
                click.echo(f"{'-':8}{skipped.name:{_NAME}} not checked, because {each.name} failed")
            break
    if failed:
        click.echo(f"Error: {failed} of {len(every)} checks of {kind} {spec} failed", err=True)
        context.exit(1)
    click.echo(f"{kind} {spec}: no broken promise found in {len(every)} checks.")


def _load(kind: str, spec: str, device: str) -> tuple[object, object]:
    """Return recipe and component of `spec`; any exception of the recipe's `load` becomes a one-line error."""
    from smoothseg.components import loading
    from smoothseg.components.plugins import plugins

    registry = plugins()[kind]
    recipe = registry.recipe(spec)
    if kind in ("certifier", "dataset"):
        return recipe, loading.load(kind, recipe, partial=True)
    from smoothseg import weights
    from smoothseg.terminal.progress import downloading

    name = registry.name_of(recipe)
    recipe = weights.pinned(recipe, component=name)
    if isinstance(reference := getattr(recipe, "weights", None), str):
        weights.locate(reference, package=weights.package_of(recipe), component=name)
    from smoothseg.machine import devices  # imports torch: misspelt weights must fail before this

    place = devices.device(device)
    with downloading() as progress:
        return recipe, loading.load(kind, recipe, device=place, progress=progress, partial=True)


def _indented(text: str) -> str:
    width = min(100, shutil.get_terminal_size().columns)
    return textwrap.fill(text, width, initial_indent=8 * " ", subsequent_indent=8 * " ")
