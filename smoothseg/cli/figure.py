"""`smoothseg figure`: draw an image of a run as a figure for a paper."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["figure"]


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--image", "key", required=True, help="Key of the image, as the report shows it.")
@click.option("--method", multiple=True, help="A row for this method; repeatable.  [default: all]")
@click.option("--sigma", multiple=True, type=float, help="A row for this noise; repeatable.  [default: all]")
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it: .pdf, .png or .svg.",
)
@click.option(
    "--dpi", type=click.IntRange(min=30, max=2400), default=300, show_default=True, help="Pixels an inch."
)
def figure(
    run: Path, key: str, method: tuple[str, ...], sigma: tuple[float, ...], output: Path, dpi: int
) -> None:
    """Draw an image of the run directory RUN for print.

    A row a method and noise level; columns are the image, the ground truth, the plain prediction, the noisy and the
    denoised input, and the certified segmentation. Needs no networks and no dataset.
    """
    from smoothseg.report.figure import figure as draw

    draw(run, key, output, methods=method, sigmas=sigma, dpi=dpi)
    click.echo(output)
