"""How a network that needs a fixed number of rows, normalised values or certain sides sees any batch of any size.

A component's rows must not depend on each other (see `smoothseg.Segmenter`). The kernel that a library picks, and with
it the last bits of a result, may depend on the batch size. Networks therefore see a fixed number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Network",
    "cropped",
    "fold_batch_norms",
    "in_rows",
    "normalised",
    "pad",
    "padded",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""The mean of ImageNet's images: red, green and blue, in [0, 1] units."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""The standard deviation of ImageNet's images: red, green and blue, in [0, 1] units."""

Network = Callable[[torch.Tensor], torch.Tensor]
"""(B, C, H, W), sides that fit -> (B, D, H, W)."""


def in_rows(apply: Callable[[list[int]], torch.Tensor], count: int, *, rows: int = 1) -> torch.Tensor:
    """Return the results of `apply` for rows 0 to `count` - 1, `rows` at a time, concatenated.

    apply: receives exactly `rows` indices and returns a row for each. If `count` is not a multiple, the last index is
        repeated and the results of the copies are dropped.

    Raises `ValueError` if `count` is 0, because the shape of a row is then unknown.
    """
    if count < 1:
        raise ValueError(f"there are no rows: expected a batch of at least 1, got {count}")
    parts = []
    for begin in range(0, count, rows):
        end = min(begin + rows, count)
        filled = [min(begin + i, end - 1) for i in range(rows)]
        parts.append(apply(filled)[: end - begin])
    return torch.cat(parts)


def normalised(images: torch.Tensor, *, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return images (B, C, H, W) minus `mean`, divided by `std`, one number per channel in the images' units."""
    centre = torch.tensor(mean, dtype=images.dtype, device=images.device).view(-1, 1, 1)
    width = torch.tensor(std, dtype=images.dtype, device=images.device).view(-1, 1, 1)
    return (images - centre) / width


def pad(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return (B, C, H, W) images reflected at the bottom and the right until both sides are multiples of `multiple`.

    An image smaller than the padding is reflected repeatedly.
    """
    for axis in (-2, -1):
        length = images.shape[axis]
        if missing := -length % multiple:
            period = max(1, 2 * (length - 1))
            position = torch.arange(length + missing, device=images.device) % period
            images = images.index_select(
                axis, torch.minimum(position, period - position).clamp_(max=length - 1)
            )
    return images


def padded(network: Network, images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return `network` of the padded images, cropped to their size."""
    return network(pad(images, multiple))[..., : images.shape[-2], : images.shape[-1]]


def cropped(scores: torch.Tensor, padded: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """Return the part of the `scores` of a padded image that belongs to the image of `size`.

    scores: (B, C, h, w), values spread evenly over `padded` (height, width); the image is at the top left. The result
    has as few values as cover `size`, spread evenly over it. Upsampled to `size`, it lies where the upsampled `scores`
    do.

    A side that holds a whole number of values is simply cut. On any other side the last value would cover pixels beyond
    the image, and upsampling would shift all values towards the start. The values are therefore interpolated at the
    right places. (Upsampling first and then cropping would do as well, but hold a value per class for every pixel.)

    Raises `ValueError` if a side of `padded` is not a multiple of that of `scores`, or is shorter than that of `size`.
    """
    height, width = scores.shape[-2:]
    if padded[-2] % height or padded[-1] % width:
        raise ValueError(
            f"scores of {height}x{width} do not lie evenly on a padded image of {padded[-2]}x{padded[-1]}"
        )
    if size[-2] > padded[-2] or size[-1] > padded[-1]:
        raise ValueError(
            f"an image of {size[-2]}x{size[-1]} has no padded copy of {padded[-2]}x{padded[-1]}, which is smaller"
        )
    for axis in (-2, -1):
        stride, length = padded[axis] // scores.shape[axis], size[axis]
        count = -(-length // stride)
        if length % stride == 0:
            scores = scores.narrow(axis, 0, count)
            continue
        position = (torch.arange(count, dtype=torch.float64) + 0.5) * (length / (count * stride)) - 0.5
        position = position.clamp_(min=0)
        first = position.floor().long()
        second = (first + 1).clamp_(max=scores.shape[axis] - 1)
        share = (position - first).to(scores).view((-1, 1) if axis == -2 else (-1,))
        one, other = (scores.index_select(axis, place.to(scores.device)) for place in (first, second))
        scores = torch.lerp(one, other, share)
    return scores


def fold_batch_norms(module: nn.Module) -> None:
    """Merge batch norms into the convolutions before them, in place; `module` is in eval mode.

    Only a batch norm directly after its convolution is folded, among the children of one module in the order in which
    they were added. An identity replaces it. The result is the same only if the convolution feeds nothing else, which
    the order of children does not show. Use it only for networks known to be built that way.
    """
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], nn.utils.fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norms(child)
        before = (name, child)
