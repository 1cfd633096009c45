"""Which images a page shows, and everything it needs to show them, as JSON values.

Arrays are deflated and encoded in base64. They are exact. The pixels that a browser decodes for a script are not: some
browsers disturb them on purpose.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg.certificates import certificate, file
from smoothseg.certificates.counts import Counts
from smoothseg.certificates.hierarchy import Hierarchy
from smoothseg.errors import DataError
from smoothseg.files import read_bytes
from smoothseg.report import previews
from smoothseg.report.colours import colours_of
from smoothseg.runs import results

__all__ = ["BUDGET", "IMAGES", "Gallery", "chosen", "gallery"]

IMAGES = 24
"""The most images that a page shows."""

BUDGET = 16_000_000
"""The most characters that these images may take together; the first one is always shown."""

_NO_RADIUS = 65535

_LARGEST_PHOTO = 2**23
"""Bytes of the largest preview that is taken: several times those of one that smoothseg writes."""

_Entries = Mapping[tuple[str, float], Mapping[str, Mapping[str, Any]]]
_Hierarchies = Mapping[str, Hierarchy | None]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """What the page's script is given.

    data: JSON values. shown: how many images are in it. images: how many the run has. reduced: whether any image is
    shown smaller than it is.
    """

    data: Mapping[str, Any]
    shown: int
    images: int
    reduced: bool


def gallery(directory: Path, identity: Mapping[str, Any], entries: _Entries) -> Gallery:
    """Return the images of the run in `directory`, in the order of the run.

    identity: its run.json. entries: its ledger lines. A certificate that cannot be read is left out.
    """
    colours, ignore = previews.read_legend(directory)
    methods = list(dict.fromkeys(name for name, _ in entries))
    hierarchies = {name: results.hierarchy(identity, name) for name in methods}
    sigmas = list(dict.fromkeys(sigma for _, sigma in entries))
    keys = [key for key in identity["images"] if any(key in each for each in entries.values())]
    furthest = 0.0
    found: dict[str, Mapping[str, Any]] = {}
    left = BUDGET
    reduced = False
    for key in chosen(keys, entries, hierarchies=hierarchies):
        made = _image(directory, key, hierarchies, sigmas, entries, ignore)
        if made is None:
            continue
        size = len(json.dumps(made))
        if found and size > left:
            continue
        left -= size
        found[key] = made
        furthest = max(furthest, made["furthest"])
        reduced |= made["reduced"]
    data = {
        "sigmas": sigmas,
        "methods": [
            {"name": name, "classes": _classes(identity["classes"][name], hierarchies[name], colours)}
            for name in methods
        ],
        "ignore": ignore,
        "furthest": furthest,
        "images": [found[key] for key in keys if key in found],
    }
    return Gallery(data, len(found), len(keys), reduced)


def chosen(
    keys: Sequence[str], entries: _Entries, most: int = IMAGES, *, hierarchies: _Hierarchies | None = None
) -> list[str]:
    """Return at most `most` of `keys`: alternately one of the others, spread evenly, and one of the worst.

    The worst have the lowest mean certified accuracy over all methods and sigmas, or without labels the highest
    abstention. hierarchies: of what each method certifies.
    """
    most = min(most, len(keys))
    known = hierarchies or {}
    worst = sorted(keys, key=lambda key: (_mean_score(key, entries, known), key))[: most // 2]
    rest = [key for key in keys if key not in set(worst)]
    spread = most - len(worst)
    others = [rest[(2 * i + 1) * len(rest) // (2 * spread)] for i in range(spread)]
    turns = itertools.zip_longest(others, worst)
    return [key for turn in turns for key in turn if key is not None]


def _mean_score(key: str, entries: _Entries, hierarchies: _Hierarchies) -> float:
    scores = [
        _score(_shares(each[key], hierarchies.get(method)))
        for (method, _), each in entries.items()
        if key in each
    ]
    return sum(scores) / len(scores)


def _score(shares: Mapping[str, float | None]) -> float:
    correct, abstained = shares["correct"], shares["abstained"]
    if correct is not None:
        return correct
    return 0.0 if abstained is None else 1 - abstained


def _shares(entry: Mapping[str, Any], hierarchy: Hierarchy | None) -> dict[str, float | None]:
    """Return the shares of the labelled pixels that are correct, wrong and held back, and that of all that abstains."""
    counts = Counts.from_json(entry["certified"])
    abstained = (counts.pixels - counts.certified) / counts.pixels
    labelled = sum(pixels for _, _, pixels in counts.confusion or ())
    if not labelled:
        return {"correct": None, "wrong": None, "held_back": None, "abstained": abstained}
    correct = counts.correct(hierarchy)
    held_back = sum(n for _, column, n in counts.confusion or () if column == counts.classes)
    return {
        "correct": correct / labelled,
        "wrong": (labelled - correct - held_back) / labelled,
        "held_back": held_back / labelled,
        "abstained": abstained,
    }


def _image(
    directory: Path,
    key: str,
    hierarchies: _Hierarchies,
    sigmas: Sequence[float],
    entries: _Entries,
    ignore: int | None,
) -> dict[str, Any] | None:
    views: list[list[dict[str, Any] | None]] = []
    clean: list[str | None] = []
    noisy: dict[float, str | None] = {}
    size: tuple[int, ...] = ()
    furthest = 0.0
    for method, hierarchy in hierarchies.items():
        views.append([])
        clean.append(None)
        for sigma in sigmas:
            entry = entries.get((method, sigma), {}).get(key)
            made = None if entry is None else _load(directory / entry["certificate"])
            if made is None or entry is None:
                views[-1].append(None)
                continue
            size = made.prediction.shape
            radius = made.radius if np.isfinite(made.radius) else None
            reaches = radius or 0.0
            if made.verdict.radii is not None and made.certified.any():
                reaches = float(made.verdict.radii[made.certified].max())
            furthest = max(furthest, reaches)
            slug = entry["certificate"].split("/")[1]
            views[-1].append(
                {
                    **_shares(entry, hierarchy),
                    "prediction": _numbers(made.prediction),
                    "certified": _packed(np.packbits(previews.thinned(made.certified))),
                    "hits": _numbers(made.hits),
                    "trials": made.trials,
                    "radius": radius,
                    "radii": None if made.verdict.radii is None else _radii(made, reaches),
                    "reaches": reaches,
                    "denoised": _photo(previews.denoised_path(directory, key, slug, sigma)),
                }
            )
            if made.clean is not None and clean[-1] is None:
                clean[-1] = _numbers(made.clean)
            noisy[sigma] = noisy.get(sigma) or _photo(previews.noisy_path(directory, key, sigma))
    if not size:
        return None
    labels = previews.read_labels(directory, key)
    if labels is not None and labels.shape != size:
        raise DataError(f"{previews.labels_path(directory, key)} has shape {labels.shape}, not {size}")
    height, width = previews.reduced(size[0], size[1])
    return {
        "key": key,
        "size": [size[0], size[1]],
        "shown": [height, width],
        "reduced": (height, width) != size,
        "furthest": furthest,
        "image": _photo(previews.image_path(directory, key)),
        "labels": None if labels is None else _numbers(labels),
        "noisy": [noisy.get(sigma) for sigma in sigmas],
        "clean": clean,
        "views": views,
    }


def _load(path: Path) -> certificate.Certificate | None:
    try:
        return file.load(path)
    except DataError:
        return None


def _classes(
    names: Sequence[str], hierarchy: Hierarchy | None, colours: Sequence[tuple[int, int, int]] | None
) -> list[list[Any]]:
    """Return name and colour of each class, and of each group its name, its colour and the labels of its classes."""
    found: list[list[Any]] = [
        [name, list(colour)]
        for name, colour in zip(names, colours_of(names, hierarchy, colours), strict=True)
    ]
    if hierarchy is not None:
        for node in range(len(hierarchy.classes), len(names)):
            found[node].append(np.flatnonzero(hierarchy.members[node]).tolist())
    return found


def _radii(made: certificate.Certificate, furthest: float) -> str:
    """Return radii as 16-bit shares of the largest, rounded down; 65535 where there is none."""
    radii = made.verdict.radii
    assert radii is not None
    levels = np.full(radii.shape, _NO_RADIUS, dtype=np.uint16)
    if furthest > 0:
        own = radii[made.certified].astype(np.float64)
        shares = np.floor(own / furthest * (_NO_RADIUS - 1))
        # A quotient that was rounded up to a whole number is one too high: what the page makes of it tells.
        levels[made.certified] = shares - (shares / (_NO_RADIUS - 1) * furthest > own)
    return _numbers(levels)


def _numbers(array: npt.NDArray[Any]) -> str:
    """Return whole numbers (H, W), reduced: "1:" or "2:" for the bytes of each, then the packed bytes."""
    array = previews.thinned(array)
    small = int(array.max(initial=0)) < 256
    plain = np.ascontiguousarray(array.astype(np.uint8 if small else "<u2"))
    return f"{1 if small else 2}:{_packed(plain)}"


def _packed(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()


def _photo(path: Path) -> str | None:
    try:
        content = read_bytes(path, _LARGEST_PHOTO)
    except OSError:
        return None
    if not content.startswith(b"\xff\xd8\xff"):  # what is no JPEG is none of our previews
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
