"""Is every connected region found, with the bounds that hold for its pixels?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from smoothseg.certificates.bounds import bounds
from smoothseg.certificates.regions import regions

CLASSES = ("sky", "road", "car")
IGNORE = 255


def test_regions_are_connected_along_sides_and_sorted_by_size():
    prediction = np.array([[1, 0, 1, 1], [0, 1, 1, 1], [2, 2, 0, 0]])
    certified = np.ones((3, 4), dtype=bool)
    certified[1, 2:] = False
    found = regions(prediction, certified, CLASSES, least=2)
    assert [(r.name, r.pixels, r.certified) for r in found] == [("road", 5, 3), ("car", 2, 2), ("sky", 2, 2)]
    assert (found[0].top, found[0].left, found[0].bottom, found[0].right) == (0, 1, 2, 4)


def test_a_region_has_the_bounds_of_its_class_among_its_pixels():
    rng = np.random.default_rng(2)
    prediction, labels = rng.integers(0, 2, (2, 8, 9))
    labels[0] = IGNORE
    certified = rng.random((8, 9)) < 0.7
    found = regions(prediction, certified, CLASSES, least=3, labels=labels, ignore=IGNORE)
    assert len(found) > 2
    for part in found:
        index = CLASSES.index(part.name)
        box = np.zeros((8, 9), dtype=bool)
        box[part.top : part.bottom, part.left : part.right] = True
        numbers, _ = ndimage.label(prediction == index)
        inside = next(
            m
            for n in np.unique(numbers[box])
            if n and not ((m := numbers == n) & ~box).any() and m.sum() == part.pixels
        )
        if (labels[inside] == IGNORE).all():
            assert part.within is None
            continue
        whole = bounds(
            prediction, certified, CLASSES, radius=0.1, labels=labels, ignore=IGNORE, region=inside
        )
        assert part.within == whole.classes[index]
