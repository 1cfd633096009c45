"""How an image of any size meets a network that does not take every size.

mmsegmentation's networks differ: most take any size, some need both sides above a few pixels, some need multiples
of 32, and some, in sliding windows, need every window to be whole. Configs do not say which, so sizes are tried on
blank images, from what changes the image least to what changes it most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch

from smoothseg import ConfigError, SmoothsegError, networks
from smoothseg_mmseg.library import first_line

__all__ = ["AS_IT_IS", "Fit", "found"]

_MULTIPLE = 32
_LEAST = (64, 128, 256, 512, 1024)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What the sides of an image must be: at least `least` (height, width), and multiples of `multiple`."""

    least: tuple[int, int] = (1, 1)
    multiple: int = 1

    def pad(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (B, C, H, W) reflected at the bottom and the right until they fit."""
        images = networks.pad(images, self.multiple)
        height, width = (max(side, least) for side, least in zip(images.shape[-2:], self.least, strict=True))
        if (height, width) == tuple(images.shape[-2:]):
            return images
        return networks.pad(images, max(self.least))[..., :height, :width]


AS_IT_IS = Fit()
"""Every size fits."""


def found(run: Callable[[Fit, int, int], None], *, window: tuple[int, int] | None) -> Fit:
    """Return the first fit with which `run` raises nothing for images of one pixel and of odd sides.

    run: called with a fit, a height and a width; runs the network on such an image.
    window: height and width of a sliding window, None where the network sees the image whole.

    Raises `ConfigError` with the first reason if the network takes no size; smoothseg's own errors, such as that of a
    missing operation, pass as they are.
    """
    reason: Exception | None = None
    for fit, sizes in _candidates(window):
        try:
            for height, width in sizes:
                run(fit, height, width)
        except (SmoothsegError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a network may raise anything where a size does not fit
            reason = reason or error
        else:
            return fit
    raise ConfigError(
        f"the network could not be run: {type(reason).__name__}: {first_line(reason or Exception())}"
    ) from reason


def _candidates(window: tuple[int, int] | None) -> Iterator[tuple[Fit, list[tuple[int, int]]]]:
    yield AS_IT_IS, _sizes(_MULTIPLE)
    yield Fit(least=(_MULTIPLE, _MULTIPLE)), _sizes(_MULTIPLE)
    if window is not None:
        # From here on the network sees nothing but whole windows.
        yield Fit(least=window), [(1, 1)]
        return
    yield Fit(multiple=_MULTIPLE), _sizes(_MULTIPLE)
    for least in _LEAST:
        yield Fit(least=(least, least)), _sizes(least)


def _sizes(least: int) -> list[tuple[int, int]]:
    """Return the sizes to try: one pixel, and odd sides just above `least`."""
    return [(1, 1), (least + 1, least + 15)]
