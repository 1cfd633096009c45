"""Which checks must a component of a given kind pass?"""

from __future__ import annotations

from typing import Any

import torch

from smoothseg.testing.certifiers import certifier_checks
from smoothseg.testing.datasets import dataset_checks
from smoothseg.testing.denoisers import denoiser_checks
from smoothseg.testing.promises import Check
from smoothseg.testing.segmenters import segmenter_checks

__all__ = ["checks"]


def checks(
    kind: str,
    component: Any,
    *,
    sigma: float = 0.25,
    atol: float = 0.0,
    device: torch.device | str = "cpu",
    samples: int = 3,
    recipe: Any = None,
) -> tuple[Check, ...]:
    """Return the checks of a component of `kind` ('denoiser', 'segmenter', 'certifier', 'dataset'), in order.

    sigma: noise level that a denoiser is told, in [0, 1] pixel units.
    atol: how far a row of a denoiser's or segmenter's result may differ between batch sizes; 0 asks for the same bits.
    device: where the component was loaded.
    samples: how many samples of a dataset are read.
    recipe: what a certifier was loaded from, which says what it promises; see `check_certifier`.

    Raises `ValueError` for another kind.
    """
    if kind == "denoiser":
        return denoiser_checks(component, sigma, atol, device)
    if kind == "segmenter":
        return segmenter_checks(component, atol, device)
    if kind == "certifier":
        return certifier_checks(component, recipe)
    if kind == "dataset":
        return dataset_checks(component, samples)
    raise ValueError(f"expected a kind of component, got {kind!r}")
