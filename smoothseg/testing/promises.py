"""What is a check, and which promises do components of several kinds share?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from smoothseg import networks
from smoothseg.components.loading import PROTOCOLS, lacking
from smoothseg.errors import first_line

__all__ = ["Check", "Rows", "assert_all", "digests_check", "protocol_check"]

_SIZES = ((24, 40), (33, 47))
"""Image sizes (H, W) of the checks: one even, one odd; neither is square."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One promise of a protocol.

    name: one word.
    promise: what is checked, in a few words.
    why: what goes wrong in a certificate if the promise is broken, in a sentence or two.
    run: raises `AssertionError` with what was expected and what came, or whatever the component raises.
    vital: if this check fails, no other check of the component makes sense.
    """

    name: str
    promise: str
    why: str
    run: Callable[[], None]
    vital: bool = False

    def failure(self) -> str | None:
        """Return in one line how the promise was broken, or None if it is kept."""
        try:
            self.run()
        except AssertionError as error:
            return first_line(error)
        except Exception as error:  # a plugin may raise anything; that is a finding, too
            return f"it raised {type(error).__name__}: {first_line(error)}"
        return None


def assert_all(checks: tuple[Check, ...]) -> None:
    """Run `checks` in order, up to the first that raises."""
    for check in checks:
        check.run()


def protocol_check(component: Any, kind: str) -> Check:
    """Return the check that `component` has every member of the protocol of `kind`."""
    name = PROTOCOLS[kind].__name__

    def run() -> None:
        missing = lacking(component, kind)
        assert not missing, (
            f"{type(component).__name__} is no smoothseg.{name}: it lacks {', '.join(missing)}"
        )

    why = "smoothseg calls a component by the names of its protocol and by no others."
    return Check("protocol", f"it has what smoothseg.{name} names", why, run, vital=True)


def digests_check(component: Any) -> Check:
    """Return the check that `component.digests` maps names to SHA-256 digests in hexadecimal."""

    def run() -> None:
        for name, digest in component.digests.items():
            right = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
            assert right, f"digest of {name}: expected 64 hexadecimal digits, got {digest!r}"

    why = "The digests go into every certificate and tell which weights it was made with."
    return Check("digests", "weight files are named by their sha256", why, run)


class Rows:
    """What denoisers and segmenters must promise of every row of a batch.

    It holds the results of `apply(images, rows)` for three images of each of `_SIZES`, computed on first use.

    apply: the component's function of noisy images (3, 3, H, W) and of the slice of rows to compute.
    what: its name in messages.
    sigma: noise level of the images, in [0, 1] pixel units.
    device: where the images are put.
    """

    def __init__(
        self,
        apply: Callable[[torch.Tensor, slice], torch.Tensor],
        what: str,
        sigma: float,
        device: torch.device | str,
    ) -> None:
        self.apply = apply
        self.what = what
        self.images = [_noisy(size, sigma).to(device) for size in _SIZES]

    @functools.cached_property
    def together(self) -> list[torch.Tensor]:
        """The result of each whole batch."""
        results = [self.apply(images, slice(0, 3)) for images in self.images]
        for result in results:
            assert isinstance(result, torch.Tensor), (
                f"{self.what}: expected a tensor, got {type(result).__name__}"
            )
        return results

    def each(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield each batch with its result."""
        return zip(self.images, self.together, strict=True)

    def checks(self, atol: float) -> tuple[Check, ...]:
        """Return the checks that denoisers and segmenters share: device, finite values, determinism, rows.

        atol: how far a row may differ between batch sizes.
        """

        def device() -> None:
            for images, result in self.each():
                assert result.device == images.device, (
                    f"{self.what}: expected {images.device}, got {result.device}"
                )

        def finite() -> None:
            for images, result in self.each():
                wrong = result.numel() - int(torch.isfinite(result).sum())
                assert not wrong, f"{self._at(images)}: {wrong} of {result.numel()} values are not finite"

        def deterministic() -> None:
            for images, result in self.each():
                again = self.apply(images, slice(0, 3))
                assert torch.equal(again, result), (
                    f"{self._at(images)}: the same input gave another result the second time"
                )

        def rows() -> None:
            for images, result in self.each():
                for i in range(3):
                    alone = self.apply(images, slice(i, i + 1))
                    assert len(alone) == 1, f"{self._at(images)}: one row gave {len(alone)}"
                    worst = float((alone[0] - result[i]).abs().max())
                    assert worst <= atol, (
                        f"{self._at(images)}: row {i} depends on the batch it is in (by up to {worst:.3g}, expected "
                        f"at most {atol:g})"
                    )

        return (
            Check(
                "device",
                "results are on the device of the images",
                "Labels are counted where the images are.",
                device,
            ),
            Check(
                "finite",
                "every value is a finite number",
                "A pixel without a number has no likeliest class, and its vote means nothing.",
                finite,
            ),
            Check(
                "deterministic",
                "the same input gives the same result, bit for bit",
                "The base model is a fixed function of the noisy image: that is what the guarantee is about, and a run "
                "that is taken up again must count the same votes.",
                deterministic,
            ),
            Check(
                "rows",
                "row i depends on row i alone, whatever the batch",
                "The votes of an image are independent samples only if no sample sees another, and --batch-size must "
                "not change a count. Run a network on a fixed number of rows at a time (smoothseg.networks.in_rows).",
                rows,
            ),
        )

    def _at(self, images: torch.Tensor) -> str:
        return f"{self.what} at {tuple(images.shape[2:])}"


def _noisy(size: tuple[int, int], sigma: float) -> torch.Tensor:
    """Return three noisy images (3, 3, H, W), each with a gradient of its own."""
    rows, columns = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
    clean = torch.stack([rows * columns, (rows + columns) / 2, (1 - rows) * columns])
    return clean[:, None] + sigma * networks.standard_normal([1, 2, 3], (3, *size))
