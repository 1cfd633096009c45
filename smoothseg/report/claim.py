"""What a run claims, in plain words: the statement, its scope, and its radii in every unit.

The words fit every certifier that decides per pixel and per image. The certifier's own promise stands beside them.
"""

from __future__ import annotations

import dataclasses
import decimal
import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from smoothseg.certificates.counts import Counts
from smoothseg.certificates.rounding import over_root, scaled
from smoothseg.components.plugins import plugins
from smoothseg.report.rows import tolerated_of
from smoothseg.smoothing.kinds import name_of

__all__ = ["LEVELS", "Claim", "Reach", "claim", "reach"]

LEVELS = 255
"""8-bit levels in one unit of pixel value."""

_NOT_TOGETHER = "Whatever is promised of one image is not promised of all of them together."


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is stated, its scope as (term, text), and the promise of each certifier as (name, lines).

    statements: pairs (methods, sentence), one for each thing that is promised; no methods where all promise the same.
    """

    statements: tuple[tuple[tuple[str, ...], str], ...]
    scope: tuple[tuple[str, str], ...]
    promises: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Reach:
    """A radius in every unit.

    methods: the methods that have it. radius: l2 norm over the whole image, in [0, 1] units; levels: the same in 8-bit
    levels. rms, rms_levels: radius / sqrt(3HW) in the same two units, the root mean square of the change per pixel and
    channel, for the largest and the smallest image. All are rounded down.
    """

    sigma: float
    methods: tuple[str, ...]
    radius: float
    levels: float
    rms: tuple[float, float]
    rms_levels: tuple[float, float]


def claim(identity: Mapping[str, Any], *, images: int, own_radii: Collection[str]) -> Claim:
    """Return what the run of `identity` (its run.json) claims for that many `images`.

    own_radii: the methods whose pixels have radii of their own.
    """
    methods = identity["plan"]["methods"]
    known = [tolerated_of(each["certifier"]) is not None for each in methods]
    alphas = {each["certifier"].get("alpha") for each in methods}
    alpha = next(iter(alphas)) if len(alphas) == 1 and all(known) else None
    sentences: dict[str, list[str]] = {}
    for method in methods:
        sentence = _sentence(
            method["certifier"],
            own=method["name"] in own_radii,
            grouped=method["name"] in identity.get("levels", {}),
        )
        sentences.setdefault(sentence, []).append(str(method["name"]))
    alike = len(sentences) == 1
    statements = tuple((() if alike else tuple(names), sentence) for sentence, names in sentences.items())
    several = len(methods) * len(identity["plan"]["sigma"]) > 1
    scope = [
        (
            "The smoothed model",
            "The class that is most likely under noise. Nothing is claimed about the network without it.",
        ),
        (
            "l2",
            "R bounds the change of all pixels and channels together, as the square root of the sum of squares. "
            "Nothing is claimed about rotations, weather, blur or a bound for each pixel.",
        ),
        ("Each image by itself", _per_image(alpha, images) if any(known) else _NOT_TOGETHER),
        (
            "Stable, not right",
            "A certified pixel may be certified as the wrong class. The table counts both.",
        ),
        ("Abstained", "Nothing is claimed about pixels that abstain."),
    ]
    if identity.get("levels"):
        scope.insert(
            1,
            (
                "Groups of classes",
                "Where a group is shown, the smoothed model is the one that tells no classes of that group apart: the "
                "group keeps most of the votes. Nothing is claimed about which class of it has the most, nor that a "
                "single class outside of it has fewer.",
            ),
        )
    if name_of(identity["noise"]) == "gaussian":
        scope.insert(
            0,
            (
                "Gaussian noise in floating point",
                "It is rounded in a way that shows the clean image. A network that makes use of it is certified "
                "falsely; lattice noise has no such gap.",
            ),
        )
    if several:
        at = [term for term, _ in scope].index("Stable, not right")
        scope.insert(
            at,
            (
                "Each setting by itself",
                "Every method and σ has an α of its own. Picking the best of them afterwards is not covered.",
            ),
        )
    certifiers = dict.fromkeys(str(each["certifier"]["name"]) for each in methods)
    promises = tuple((name, promise) for name in certifiers if (promise := _promise(name)))
    return Claim(statements, tuple(scope), promises)


def reach(entries: Mapping[tuple[str, float], Sequence[Mapping[str, Any]]]) -> list[Reach]:
    """Return the radii in `entries`, the ledger lines by (method, sigma): one for each sigma and radius, ascending.

    Where the images of a method have different radii, the smallest counts.
    """
    sizes = [Counts.from_json(entry["certified"]).pixels for each in entries.values() for entry in each]
    found: dict[tuple[float, float], list[str]] = {}
    for (method, sigma), each in entries.items():
        radii = [float(entry["radius"]) for entry in each if entry["radius"] is not None]
        if radii:
            found.setdefault((sigma, min(radii)), []).append(method)
    result = []
    for (sigma, radius), methods in sorted(found.items()):
        levels, low, high = scaled(radius, LEVELS), 3 * max(sizes), 3 * min(sizes)
        result.append(
            Reach(
                sigma=sigma,
                methods=tuple(methods),
                radius=radius,
                levels=levels,
                rms=(over_root(radius, low), over_root(radius, high)),
                rms_levels=(over_root(levels, low), over_root(levels, high)),
            )
        )
    return result


def _sentence(certifier: Mapping[str, Any], *, own: bool, grouped: bool) -> str:
    """Return what a certifier, described as in run.json, promises.

    own: whether pixels have radii of their own. grouped: whether they may have groups of classes.
    """
    allowed = tolerated_of(certifier)
    if allowed is None:
        return (
            f"The certifier {certifier['name']} knows what it promises, and it is not installed here, or not with "
            "these options. This page cannot say what its certificates guarantee."
        )
    alpha = certifier.get("alpha")
    sure = "1 − α"
    if alpha:
        exact = decimal.Decimal(repr(alpha))
        percent = decimal.Context(prec=10, rounding=decimal.ROUND_FLOOR).multiply(100, 1 - exact)
        sure = f"{percent.normalize():f} %" if alpha >= 1e-9 else f"1 − {alpha!r}"
    whom = "every certified pixel"
    if allowed:
        whom = f"all but at most {allowed} certified pixel{'' if allowed == 1 else 's'}"
    return (
        f"With probability at least {sure} over the noise that was drawn, for each image by itself: however the image "
        f"is changed, as long as the change has an l2 norm of at most {'the pixel’s' if own else 'the'} radius R, the "
        f"smoothed model gives {whom} the class{', or the group of classes,' if grouped else ''} that is shown here."
    )


def _per_image(alpha: float | None, images: int) -> str:
    """Return what `alpha`, the same for all methods or None, says of one image and of all `images`; rounded up."""
    if alpha is None:
        return "α is the probability of an error in one image, not in all of them together."
    exact = decimal.Decimal(repr(alpha))
    one = f"α = {_rounded_up(exact, 6)} is the probability of an error in one image."
    together = _rounded_up(min(decimal.Decimal(1), exact * images), 3)
    return one if images <= 1 else f"{one} Over {images} images it may add up to {together}."


def _rounded_up(value: decimal.Decimal, figures: int) -> str:
    rounded = decimal.Context(prec=figures, rounding=decimal.ROUND_CEILING).plus(value)
    return f"{float(rounded):.{figures}g}"


def _promise(certifier: str) -> str:
    """Return what the recipe's docstring states between its first line and its source, or "".

    A paragraph is a line, and so is an item of a list.
    """
    registry = plugins()["certifier"]
    if certifier not in registry:
        return ""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(registry.entry(certifier).recipe.__doc__ or "").split("\n\n")[1:]:
        if paragraph.startswith("Source"):
            break
        lines.append("")
        for line in paragraph.splitlines():
            if line.startswith("- "):
                lines.append(f"• {line[2:]}")
            else:
                lines[-1] = f"{lines[-1]} {line}".strip()
    return "\n".join(line.replace("`", "") for line in lines if line)
