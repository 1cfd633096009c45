"""What must a denoiser promise?"""

from __future__ import annotations

import torch

from smoothseg.protocols import Denoiser
from smoothseg.testing.promises import Check, Rows, assert_all, digests_check, protocol_check

__all__ = ["check_denoiser", "denoiser_checks"]


def check_denoiser(
    denoiser: Denoiser, *, sigma: float = 0.25, atol: float = 0.0, device: torch.device | str = "cpu"
) -> None:
    """Assert the promises of `Denoiser`: shape, dtype, device, odd sizes, determinism, independence of rows.

    sigma: noise level, in [0, 1] pixel units.
    atol: how far a row may differ between batch sizes. 0 asks for the same bits: only then do the votes not depend
        on the batch size.
    device: where the denoiser was loaded.
    """
    assert_all(denoiser_checks(denoiser, sigma=sigma, atol=atol, device=device))


def denoiser_checks(
    denoiser: Denoiser, sigma: float, atol: float, device: torch.device | str
) -> tuple[Check, ...]:
    """Return the checks of a denoiser, in order; the arguments are those of `check_denoiser`."""
    seeds = [11, 12, 2**127 + 13]

    def apply(noisy: torch.Tensor, rows: slice) -> torch.Tensor:
        return denoiser.denoise(noisy[rows].clone(), sigma, seeds=seeds[rows])

    results = Rows(apply, "denoise", sigma, device)

    def shape() -> None:
        for noisy, result in results.each():
            assert result.shape == noisy.shape, (
                f"denoise: expected shape {tuple(noisy.shape)}, got {tuple(result.shape)}"
            )

    def dtype() -> None:
        for _, result in results.each():
            assert result.dtype == torch.float32, f"denoise: expected float32, got {result.dtype}"

    return (
        protocol_check(denoiser, "denoiser"),
        digests_check(denoiser),
        Check(
            "shape",
            "the estimate has the shape of the image, of any size",
            "Every pixel of the image needs its estimate, whatever the image's size.",
            shape,
            vital=True,
        ),
        Check("dtype", "the estimate is float32", "Segmenters are handed float32.", dtype),
        *results.checks(atol),
    )
