"""From images in any form that `smoothseg.certify` accepts to a dataset with checked samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothseg.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from smoothseg.protocols import Dataset, Sample

__all__ = ["Images", "check", "collected"]

_DEVIATION = 1e-4
"""How far, in levels, a float may lie off its 8-bit value: several times what dividing by 255 in float32 leaves.

Over an image of 1024 x 2048 it adds up to an l2 norm of at most 0.001, in practice to 0.00003.
"""


class Images:
    """Images that belong to no dataset; the class names are those of the segmenter."""

    palette: tuple[tuple[int, int, int], ...] = ()

    def __init__(self, samples: Sequence[Sample], ignore: int, classes: tuple[str, ...] = ()) -> None:
        self._samples = samples
        self.ignore = ignore
        self.classes = classes
        self.keys = tuple(sample.key for sample in samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def check_labels(self, classes: tuple[str, ...]) -> None:
        """Raise `DataError` for a label that is not one of `classes`."""
        from smoothseg.data.checks import check_sample

        known = Images(self._samples, self.ignore, classes)
        for sample in self._samples:
            check_sample(sample, sample.key, known)


def collected(images: Any, ignore: int) -> tuple[Dataset, bool]:
    """Return the images given to `certify` as a dataset, and whether a single image was given."""
    from smoothseg.protocols import Dataset

    if isinstance(images, list | tuple):
        samples = [_sample(image, f"image {index}") for index, image in enumerate(images)]
        return Images(samples, ignore), False
    if isinstance(images, Dataset):
        return images, False
    return Images([_sample(images, "the image")], ignore), True


def check(dataset: Dataset) -> list[tuple[int, int]]:
    """Return the distinct sizes (H, W) of the images, in order; raise `DataError` for unusable samples."""
    from smoothseg.certificates.digests import sample_digests
    from smoothseg.data.checks import check_dataset, check_sample
    from smoothseg.data.keys import KEY

    if len(dataset) == 0:
        raise DataError("there are no images to certify")
    if not isinstance(dataset, Images):
        check_dataset(dataset)
    sizes: dict[tuple[int, int], None] = {}
    seen: dict[str, str | None] = {}
    for index, key in enumerate(dataset.keys):
        sample = dataset[index]
        if isinstance(dataset, Images):
            if not KEY.fullmatch(key):
                raise DataError(f"key {key!r} is not fit for a file name (letters, digits, '-_.')")
            digest = sample_digests(sample)["image"]
            if seen.setdefault(key, digest) != digest:
                raise DataError(f"two images have the key '{key}', and would see the same noise: rename one")
            sample = dataclasses.replace(sample, labels=None)  # labels are checked when the classes are known
        check_sample(sample, key, dataset)
        sizes[sample.image.shape[0], sample.image.shape[1]] = None
    return list(sizes)


def _sample(image: Any, what: str) -> Sample:
    """Return an image in any form that `certify` accepts as a sample; raise `DataError` for any other form."""
    import numpy as np
    import torch
    from PIL import Image

    from smoothseg.certificates.digests import sample_digests
    from smoothseg.components.plugins import plugins
    from smoothseg.data.images import read_image
    from smoothseg.data.keys import key_of
    from smoothseg.protocols import Sample

    if isinstance(image, Sample):
        return image
    if isinstance(image, str | Path):
        name = str(image).partition(":")[0]
        if not Path(image).exists() and name in plugins()["dataset"]:
            raise DataError(f"{image}: no such file; a dataset is smoothseg.dataset({str(image)!r})")
        return Sample(key_of(Path(Path(image).name)), read_image(image))
    if isinstance(image, Image.Image):
        if image.mode != "RGB":
            raise DataError(
                f"{what}: expected an RGB image, got mode {image.mode}; convert it as you see fit"
            )
        pixels = np.array(image)
    elif isinstance(image, torch.Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            raise DataError(f"{what}: expected a tensor (3, H, W), got {tuple(image.shape)}")
        image = image.detach().cpu().permute(1, 2, 0)
        pixels = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    elif isinstance(image, np.ndarray):
        pixels = image
    else:
        raise DataError(
            f"{what}: expected an array (H, W, 3), a PIL image, a tensor (3, H, W), a path or a list of them, "
            f"got {type(image).__name__}"
        )
    unnamed = Sample("image", np.ascontiguousarray(_eight_bits(pixels, what)))
    return dataclasses.replace(unnamed, key=f"image-{str(sample_digests(unnamed)['image'])[:16]}")


def _eight_bits(values: npt.NDArray[Any], what: str) -> npt.NDArray[np.uint8]:
    """Return `values` as uint8; floats must be 8-bit levels divided by 255: anything else needs a repair."""
    import numpy as np

    if values.ndim != 3 or values.shape[2] != 3 or not values.size:
        raise DataError(f"{what}: expected shape (H, W, 3), got {values.shape}")
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(f"{what}: expected uint8 in 0..255 or floats in 0..1, got {values.dtype}")
    scaled = values.astype(np.float64) * 255
    levels = np.rint(scaled).clip(0, 255)
    deviation = float(np.abs(scaled - levels).max())
    if not deviation <= 1:  # NaN fails
        low, high = float(scaled.min()), float(scaled.max())
        raise DataError(f"{what}: expected floats in 0..1, got {low / 255:g}..{high / 255:g}")
    if deviation > _DEVIATION:
        raise DataError(
            f"{what}: expected floats that are 8-bit levels divided by 255, got some {deviation:.2g} of a level off; "
            "give uint8, rounded as you see fit"
        )
    return levels.astype(np.uint8)
