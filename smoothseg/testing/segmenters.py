"""What must a segmenter promise?"""

from __future__ import annotations

import torch

from smoothseg.protocols import Segmenter
from smoothseg.testing.promises import Check, Rows, assert_all, digests_check, protocol_check

__all__ = ["check_segmenter", "segmenter_checks"]


def check_segmenter(segmenter: Segmenter, *, atol: float = 0.0, device: torch.device | str = "cpu") -> None:
    """Assert the promises of `Segmenter`: shape, dtype, device, odd sizes, determinism, independence of rows.

    atol: how far a row may differ between batch sizes. 0 asks for the same bits: only then do the votes not depend
        on the batch size.
    device: where the segmenter was loaded.
    """
    assert_all(segmenter_checks(segmenter, atol=atol, device=device))


def segmenter_checks(segmenter: Segmenter, atol: float, device: torch.device | str) -> tuple[Check, ...]:
    """Return the checks of a segmenter, in order; the arguments are those of `check_segmenter`."""
    results = Rows(lambda images, rows: segmenter.segment(images[rows].clone()), "segment", 0.1, device)

    def classes() -> None:
        names = segmenter.classes
        assert names, "classes is empty"
        plain = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
        assert plain, f"classes: expected a tuple of names, got {names!r}"
        assert len(set(names)) == len(names), f"classes has a name twice: {names}"

    def shape() -> None:
        for images, result in results.each():
            assert result.ndim == 4, f"segment: expected scores (B, C, h, w), got shape {tuple(result.shape)}"
            expected = (len(images), len(segmenter.classes))
            assert result.shape[:2] == expected, (
                f"segment: expected (B, C) = {expected}, got {tuple(result.shape[:2])}"
            )

    def dtype() -> None:
        for _, result in results.each():
            assert result.is_floating_point(), f"segment: expected floating point scores, got {result.dtype}"

    return (
        protocol_check(segmenter, "segmenter"),
        digests_check(segmenter),
        Check(
            "classes",
            "the classes have names, each another",
            "A label is an index into the class names; they are compared with the dataset's.",
            classes,
        ),
        Check(
            "shape",
            "there is a score for every class",
            "Every class needs its score, in the order of the class names.",
            shape,
            vital=True,
        ),
        Check(
            "dtype",
            "scores are floating point",
            "Scores are brought to the image's size by interpolation.",
            dtype,
        ),
        *results.checks(atol),
    )
