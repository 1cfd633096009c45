"""`smoothseg verify` and `smoothseg recertify`: check or redo verdicts from certificates alone, without networks."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from smoothseg.cli.completion import component

__all__ = ["recertify", "verify"]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--images",
    is_flag=True,
    help="Also compare a run's images, labels and counts with its dataset, which must be there.",
)
@click.option(
    "--dataset",
    shell_complete=component("dataset"),
    help="The run's images, if they are not where run.json says; implies --images.",
)
@click.option(
    "--resample",
    type=click.IntRange(min=1),
    metavar="K",
    help="Also label K noise samples of every certificate of a run again. Needs networks and images.",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Also check that a run is signed by the owner of this public Ed25519 key.",
)
def verify(
    paths: tuple[Path, ...], images: bool, dataset: str | None, resample: int | None, key: Path | None
) -> None:
    """Recompute every verdict from the counts in certificate files.

    PATHS are certificates (.npz) or folders that hold some. Of a run, certificates, run.json, ledger, tables and
    manifest are compared with each other. Needs no networks, no torch and no GPU, and images with --images alone.
    """
    from smoothseg.certificates import recheck
    from smoothseg.certificates.file import load
    from smoothseg.components.plugins import plugins
    from smoothseg.errors import ConfigError, SmoothsegError, VerificationError, visible
    from smoothseg.report.checking import differences
    from smoothseg.runs import manifest
    from smoothseg.runs.auditing import audit
    from smoothseg.smoothing.kinds import GAUSSIAN, name_of

    if key is not None:
        manifest.verifying_key(key)  # a wrong file is no fault of a run
    runs, images = _runs(paths), images or dataset is not None
    files = _files(paths, least=0 if runs else 1)
    faults: list[str] = []
    gaussian, again = False, 0
    for file in files:
        try:
            loaded = load(file)
            recheck.verify(loaded, plugins()["certifier"].recipe(loaded.provenance["certifier"]).load())
        except SmoothsegError as error:
            faults.append(f"{file}: {str(error).removeprefix(f'{file} ')}")
            continue
        gaussian |= name_of(loaded.provenance.get("noise", "")) == "gaussian"
        again += bool(recheck.history(loaded))
    for option, given in (
        *(("--dataset", dataset), ("--images", images)),
        *(("--resample", resample), ("--key", key)),
    ):
        if given and not runs:
            raise ConfigError(f"{option} is about a run: there is none in what was given")
    for run in runs:
        own = (
            f"{run}:",
            f"{run}{os.sep}",
        )  # how faults of this run begin, and of no other whose name begins alike
        try:
            found = itertools.chain(
                manifest.differences(run), audit(run, images=images, dataset=dataset), differences(run)
            )
            faults.extend(f"{run}: {fault}" for fault in found)
            if key is not None:
                manifest.check_signature(run, key)
        except VerificationError as error:
            faults.append(str(error))
        except SmoothsegError as error:
            faults.append(str(error))
            continue
        if resample is not None and not any(fault.startswith(own) for fault in faults):
            faults.extend(_resampled(run, resample, dataset))
    for fault in faults:
        click.echo(f"WRONG  {visible(fault)}", err=True)
    wrong = len(faults)
    if wrong:
        raise VerificationError(f"{wrong} fault{'' if wrong == 1 else 's'} in {_count(len(files))}")
    if gaussian:
        click.echo(f"note: {GAUSSIAN}", err=True)
    if again:
        click.echo(
            f"note: {_count(again)} decided after the fact, by recertify: valid if the setting was chosen without "
            "looking at the counts, or with its share of alpha",
            err=True,
        )
    for run in runs:
        for note in _notes(run, signed=key is not None):
            click.echo(f"note: {run}: {note}", err=True)
    what = "run.json, ledger and tables (json, csv)" + (", images and labels" if images else "")
    bound = f", and agrees with {what}" if runs else ""
    click.echo(f"{_count(len(files))} verified: every verdict follows from its counts{bound}.")


def _runs(paths: tuple[Path, ...]) -> list[Path]:
    """Return the run directories in `paths`, those included of which the files that name the run were removed."""
    from smoothseg.runs import manifest

    sure = ("run.json", "ledger.jsonl", manifest.NAME)
    return sorted(
        {
            each.parent
            for path in paths
            if path.is_dir()
            for name in (*sure, *manifest.FILES)
            for each in path.rglob(name)
            if name in sure or (each.parent / "certificates").is_dir()
        }
    )


def _notes(run: Path, *, signed: bool) -> Iterator[str]:
    """Yield what a reader of a verified run should know, without being a fault."""
    from smoothseg.runs import manifest, results
    from smoothseg.runs.ledger import Ledger, has_failed

    identity = results.read_identity(run)
    failed = results.failures(run, identity)
    if skipped := len(identity.get("skipped", ())):
        yield f"{skipped} image{'' if skipped == 1 else 's'} left out as unusable; --images looks at them again"
    if count := sum(map(len, failed.values())):
        (_, sigma), first = next(iter(failed.items()))
        yield (
            f"{count} certificate{'' if count == 1 else 's'} could not be made, the first is of {next(iter(first))} at "
            f"sigma {sigma:g}; ledger and tables say so"
        )
    lines = list(Ledger(run / "ledger.jsonl"))
    made = {entry["certificate"] for entry in lines if not has_failed(entry)}
    if again := len({entry["certificate"] for entry in lines if has_failed(entry)} & made):
        yield f"certificates that failed once and were made later: {again}"
    if not (run / manifest.NAME).exists():
        yield f"it has no {manifest.NAME}: table.md, table.tex, page and pictures are not compared with anything"
    elif signed:
        yield "the owner of the key signed it"
    elif (run / manifest.SIGNATURE).exists():
        yield "it is signed; --key PUBLIC_KEY checks by whom"


def _resampled(run: Path, count: int, dataset: str | None) -> Iterator[str]:
    """Label noise samples of a run again; say how many labels agree, and yield what cannot be true."""
    from smoothseg.runs import resampling
    from smoothseg.terminal.progress import counting, downloading

    if other := resampling.other_versions(run):
        click.echo(f"note: {run}: {', '.join(other)}: single labels may differ for that", err=True)
    found = []
    with downloading() as on_download, counting("resampling", unit="certificates") as told:
        for each in resampling.resample(run, count, dataset=dataset, on_download=on_download, told=told):
            found.append(each)
            if each.contradicts:
                yield (
                    f"{run}: {each.path}: hits: samples {', '.join(map(str, each.samples))} have the predicted class "
                    f"at {each.hits} pixels, the stored hits let expect {each.expected:.0f} and rule out the labels of "
                    f"{each.impossible}"
                )
    if not found:
        return
    hits, expected = sum(each.hits for each in found), sum(each.expected for each in found)
    if resampling.chance(found) < resampling.CHANCE / 2:
        yield (
            f"{run}: hits: of all samples labelled again, {hits} labels are the predicted class; the stored hits let "
            f"expect {expected:.0f}"
        )
    click.echo(
        f"{run}: labelled {count} sample{'' if count == 1 else 's'} of every certificate again: {hits} labels are the "
        f"predicted class, the stored hits let expect {expected:.0f}",
        err=True,
    )
    if rounded := sum(each.impossible for each in found if not each.contradicts):
        click.echo(
            f"note: {run}: the stored hits rule out the labels of {rounded} pixel{'' if rounded == 1 else 's'}, "
            "as few as another processor makes by rounding",
            err=True,
        )


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--certifier",
    required=True,
    shell_complete=component("certifier"),
    help="Certifier to decide with, e.g. holm:tau=0.9,n=100.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the new certificates.",
)
def recertify(paths: tuple[Path, ...], certifier: str, output: Path) -> None:
    """Decide again from stored counts with another tau, alpha or correction.

    n0 and n are those of the counts. The new certificates are valid if the setting was chosen without looking at
    the old ones. To try several settings and keep the best, give each a share of alpha.
    """
    from smoothseg.certificates import recheck
    from smoothseg.certificates.file import load, save
    from smoothseg.certificates.rounding import rounded_down
    from smoothseg.components.plugins import plugins
    from smoothseg.components.registry import parse
    from smoothseg.errors import ConfigError
    from smoothseg.smoothing.kinds import GAUSSIAN, name_of

    registry = plugins()["certifier"]
    name, options = parse(certifier, "certifier")
    registry.recipe({"name": name, **options})
    takes = {field.name for field in registry.entry(name).fields}
    targets: dict[Path, Path] = {}
    for path in paths:
        for file in _files((path,)):
            target = output / file.relative_to(path if path.is_dir() else path.parent)
            if target in targets or target.exists():
                raise ConfigError(f"{target} would be written over; choose an empty --output for each run")
            targets[target] = file
    made = {}
    for target, file in targets.items():
        loaded = load(file)
        before = loaded.provenance["certifier"]
        stops = getattr(registry.entry(name).recipe, "stops", ())
        drawn: dict[str, Any] = {
            key: before[key]
            for key in (*recheck.SELECTING, *stops, "block")
            if key in before and key in takes
        }
        recipe = registry.recipe({"name": name, **drawn, **options})
        made[target] = recheck.recertify(loaded, recipe.load(), registry.describe(recipe))
        click.echo(
            f"{file.name}: abstained {100 * loaded.abstained:.1f}% -> {100 * made[target].abstained:.1f}%, "
            f"radius {rounded_down(loaded.radius, 4)} -> {rounded_down(made[target].radius, 4)}"
        )
    if any(name_of(each.provenance.get("noise", "")) == "gaussian" for each in made.values()):
        click.echo(f"note: {GAUSSIAN}", err=True)
    for target, certificate in made.items():
        save(certificate, target)
    click.echo(f"{_count(len(made))} in {output}")


def _count(files: int) -> str:
    return f"{files} certificate{'' if files == 1 else 's'}"


def _files(paths: tuple[Path, ...], *, least: int = 1) -> list[Path]:
    from smoothseg.errors import DataError

    files = [file for path in paths for file in (sorted(path.rglob("*.npz")) if path.is_dir() else [path])]
    if len(files) < least:
        raise DataError(f"no certificates (.npz) in {', '.join(map(str, paths))}")
    return files
