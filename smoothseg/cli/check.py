"""`smoothseg verify` and `smoothseg recertify`: work on certificates alone, without networks."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["recertify", "verify"]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def verify(paths: tuple[Path, ...]) -> None:
    """Recompute every verdict from the counts in certificate files.

    PATHS are certificates (.npz) or folders that hold some. Needs no networks, no images and no GPU.
    """
    from smoothseg import certificate as certificates
    from smoothseg.errors import VerificationError
    from smoothseg.plugins import plugins

    files = _files(paths)
    wrong = []
    for file in files:
        loaded = certificates.load(file)
        certifier = plugins()["certifier"].recipe(loaded.provenance["certifier"]).load()
        try:
            certificates.verify(loaded, certifier)
        except VerificationError as error:
            wrong.append(f"{file}: {error}")
            click.echo(f"WRONG  {wrong[-1]}", err=True)
    if wrong:
        raise VerificationError(f"{len(wrong)} of {len(files)} certificates do not follow from their counts")
    click.echo(f"{len(files)} certificates verified: every verdict follows from its counts.")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--certifier", required=True, help="Certifier to decide with, e.g. holm:tau=0.9,n=100.")
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the new certificates.",
)
def recertify(paths: tuple[Path, ...], certifier: str, output: Path) -> None:
    """Decide again from stored counts with another tau, alpha or correction.

    The new certificates are valid if the setting was chosen without looking at the old ones. To try several
    settings and keep the best, give each a share of alpha.
    """
    from smoothseg import certificate as certificates
    from smoothseg.errors import ConfigError
    from smoothseg.plugins import plugins

    registry = plugins()["certifier"]
    recipe = registry.recipe(certifier)
    component, described = recipe.load(), registry.describe(recipe)
    roots = [path if path.is_dir() else path.parent for path in paths]
    count = 0
    for path, root in zip(paths, roots, strict=True):
        for file in _files((path,)):
            loaded = certificates.load(file)
            if described.get("n", loaded.trials) != loaded.trials:
                raise ConfigError(
                    f"{file} holds {loaded.trials} trials, but the certifier has n={described['n']}"
                )
            again = certificates.recertify(loaded, component, described)
            certificates.save(again, output / file.relative_to(root))
            count += 1
            click.echo(
                f"{file.name}: abstained {100 * loaded.abstained:.1f}% -> {100 * again.abstained:.1f}%, "
                f"radius {loaded.radius:.4f} -> {again.radius:.4f}"
            )
    click.echo(f"{count} certificates in {output}")


def _files(paths: tuple[Path, ...]) -> list[Path]:
    from smoothseg.errors import DataError

    files = [file for path in paths for file in (sorted(path.rglob("*.npz")) if path.is_dir() else [path])]
    if not files:
        raise DataError(f"no certificates (.npz) in {', '.join(map(str, paths))}")
    return files
