"""What a figure for a paper shows: the stages of one image side by side, a row for each method and sigma.

Label maps have their full size, and the same run gives the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg.certificates import certificate, file
from smoothseg.certificates.rounding import rounded_down
from smoothseg.data.images import read_image
from smoothseg.errors import ConfigError, DataError, UnknownNameError, visible
from smoothseg.files import write_atomically
from smoothseg.report import previews
from smoothseg.report.colours import colourise, colours_of, legend
from smoothseg.report.typesetting import FORMATS, Strip, typeset
from smoothseg.runs import results

__all__ = ["figure"]


def figure(
    directory: Path,
    key: str,
    output: Path,
    *,
    methods: Sequence[str] = (),
    sigmas: Sequence[float] = (),
    dpi: int = 300,
) -> None:
    """Draw image `key` of the run in `directory` into `output`, a .pdf, .png or .svg.

    There is a row for each method and sigma, all of the run or those given. The columns are the input, the ground
    truth, the plain prediction of the clean image, the noisy and the denoised input, and the certified segmentation,
    as far as the run has them. dpi: pixels per inch, of a png and of the pictures in a pdf.

    Raises `ConfigError` for an unknown suffix, image, method or sigma, and `DataError` if `directory` holds no run or
    none of its certificates of the image is finished.
    """
    kind = output.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(f"output {output}: expected a name that ends in .pdf, .png or .svg")
    identity = results.read_identity(directory)
    if key not in identity["images"]:
        raise UnknownNameError.of("image", key, identity["images"])
    plan = identity["plan"]
    wanted = _subset("method", methods, [str(method["name"]) for method in plan["methods"]])
    levels = _subset("sigma", sigmas, [float(sigma) for sigma in plan["sigma"]])
    entries = results.entries(directory, identity)
    colours, ignore = previews.read_legend(directory)
    strips: list[Strip] = []
    seen: dict[str, tuple[int, int, int]] = {}
    for method in wanted:
        classes = identity["classes"][method]
        own = colours_of(classes, results.hierarchy(identity, method), colours)
        for sigma in levels:
            entry = entries.get((method, sigma), {}).get(key)
            if entry is None:
                continue
            made = file.load(directory / entry["certificate"])
            labels = previews.read_labels(directory, key)
            strips.append(_strip(directory, key, entry, made, labels, own, ignore, alone=len(wanted) == 1))
            seen |= dict(
                legend(
                    [(made.prediction, made.certified)],
                    labels,
                    made.clean,
                    classes=classes,
                    palette=own,
                    ignore=ignore,
                )
            )
    if not strips:
        raise DataError(f"{directory} has no certificate of image {key} yet")
    write_atomically(output, typeset(strips, seen, kind=kind, dpi=dpi))


def _subset(what: str, given: Sequence[Any], known: Sequence[Any]) -> list[Any]:
    for each in given:
        if each not in known:
            raise UnknownNameError.of(what, str(each), [str(name) for name in known])
    return [each for each in known if not given or each in given]


def _strip(
    directory: Path,
    key: str,
    entry: Mapping[str, Any],
    made: certificate.Certificate,
    labels: npt.NDArray[np.uint8] | None,
    colours: Sequence[tuple[int, int, int]],
    ignore: int | None,
    *,
    alone: bool,
) -> Strip:
    sigma, slug = float(entry["sigma"]), str(entry["certificate"]).split("/")[1]
    tiles = []
    for title, path in (
        ("image", previews.image_path(directory, key)),
        ("ground truth", None),
        ("clean prediction", None),
        ("noisy", previews.noisy_path(directory, key, sigma)),
        ("denoised", previews.denoised_path(directory, key, slug, sigma)),
    ):
        if title == "ground truth" and labels is not None:
            tiles.append((title, colourise(labels, colours, ignore=ignore)))
        elif title == "clean prediction" and made.clean is not None:
            tiles.append((title, colourise(made.clean, colours)))
        elif path is not None and path.exists():
            tiles.append((title, _photo(path)))
    tiles.append(("certified", colourise(made.prediction, colours, abstained=~made.certified)))
    reach = f", R {rounded_down(made.radius)}" if np.isfinite(made.radius) else ""
    label = f"σ {sigma:g}{reach}"
    return Strip(label if alone else f"{visible(str(entry['method']))}\n{label}", tiles)


def _photo(path: Path) -> npt.NDArray[np.uint8]:
    return read_image(path)
