"""Do pictures show the right colour at the right place, at every size?"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from smoothseg.report.colours import ABSTAINED, IGNORED
from smoothseg.report.pictures import View, panel

PALETTE = ((200, 10, 10), (10, 200, 10), (10, 10, 200))
NAMES = ("road", "sky", "car")
RED, GREEN, BLUE = PALETTE

PREDICTION = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)
CERTIFIED = np.array([[True, True, False], [False, True, True]])
VIEW = View(prediction=PREDICTION, certified=CERTIFIED, sigma=0.25, radius=0.169)

LEFT, TOP, GUTTER = 24, 130, 14
"""Where the first tile of a picture's first row begins, and what lies between two tiles."""

SIDE = 86
"""What a pixel of the 2 x 3 image becomes: 256 / 3, rounded up."""


def draw(views=(VIEW,), **options) -> Image.Image:
    settings = {"key": "a_01", "method": "adm + hrnet", "classes": NAMES, "palette": PALETTE, "ignore": 255}
    return panel(views, **{**settings, **options})


def tile(
    picture: Image.Image, column: int, *, left: int = LEFT, top: int = TOP
) -> list[list[tuple[int, ...]]]:
    """The colours in the middle of each pixel of the tile."""
    start = left + column * (3 * SIDE + GUTTER)
    return [
        [picture.getpixel((start + x * SIDE + SIDE // 2, top + y * SIDE + SIDE // 2)) for x in range(3)]
        for y in range(2)
    ]


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {colour for _, colour in picture.getcolors(maxcolors=2**24)}


def test_certified_tile_is_white_where_it_abstains() -> None:
    assert tile(draw(), 0) == [[RED, GREEN, ABSTAINED], [ABSTAINED, RED, GREEN]]


def test_one_view_stands_in_one_row_with_truth_beside_the_certified() -> None:
    noisy = np.full((2, 3, 3), (-0.5, 0.5, 1.5))
    noisy[0, 0] = (0.0, 1.0, 0.2)
    denoised = np.full((2, 3, 3), (60, 70, 80), np.uint8)
    labels = np.array([[0, 1, 255], [2, 0, 1]], np.uint8)
    view = View(
        prediction=PREDICTION, certified=CERTIFIED, sigma=0.25, radius=None, noisy=noisy, denoised=denoised
    )
    picture = draw([view], labels=labels)
    assert tile(picture, 0) == [[(0, 255, 51), (0, 128, 255), (0, 128, 255)], [(0, 128, 255)] * 3]
    assert tile(picture, 1) == [[(60, 70, 80)] * 3] * 2
    assert tile(picture, 2) == [[RED, GREEN, IGNORED], [BLUE, RED, GREEN]]
    assert tile(picture, 3) == [[RED, GREEN, ABSTAINED], [ABSTAINED, RED, GREEN]]
    assert picture.width == 2 * LEFT + 4 * 3 * SIDE + 3 * GUTTER


def test_several_views_stand_below_what_they_share() -> None:
    clean = np.full((2, 3), 2, np.uint8)
    image = np.full((2, 3, 3), (1, 2, 3), np.uint8)
    other = View(prediction=PREDICTION, certified=~CERTIFIED, sigma=0.5, radius=0.337)
    picture = draw([VIEW, other], image=image, clean=clean, labels=PREDICTION)
    first = 24 + 62 + 6
    assert tile(picture, 0, top=first) == [[(1, 2, 3)] * 3] * 2
    assert tile(picture, 1, top=first) == [[BLUE] * 3] * 2
    assert tile(picture, 2, top=first) == [[RED, GREEN, GREEN], [RED, RED, GREEN]]
    second = first + 2 * SIDE + 26 + 44
    assert tile(picture, 0, top=second) == [[RED, GREEN, ABSTAINED], [ABSTAINED, RED, GREEN]]
    third = second + 2 * SIDE + 26 + 44
    assert tile(picture, 0, top=third) == [[ABSTAINED, ABSTAINED, GREEN], [RED, ABSTAINED, ABSTAINED]]


def test_legend_holds_the_classes_that_occur_alone() -> None:
    everywhere = View(prediction=PREDICTION, certified=np.ones((2, 3), bool), sigma=0.25, radius=0.1)
    nowhere = View(prediction=PREDICTION, certified=np.zeros((2, 3), bool), sigma=0.25, radius=None)
    below = TOP + 2 * SIDE + 26
    for views, seen in (
        ([everywhere], {RED, GREEN}),
        ([VIEW], {RED, GREEN, ABSTAINED}),
        ([nowhere], {ABSTAINED}),
    ):
        picture = draw(views)
        legend = picture.crop((0, below, picture.width, picture.height))
        assert colours(legend) & {*PALETTE, ABSTAINED, IGNORED} == seen


def test_title_and_captions_are_drawn() -> None:
    ink = np.asarray(draw())
    background = np.array([246, 246, 243])
    for top, bottom in ((24, 50), (52, 76), (104, 126), (TOP + 2 * SIDE + 4, TOP + 2 * SIDE + 24)):
        assert (ink[top:bottom] != background).any()
    assert (np.asarray(draw(key="b_02")) != ink).any()
    assert (np.asarray(draw(method="other")) != ink).any()


def test_the_same_input_gives_the_same_picture() -> None:
    assert draw().tobytes() == draw().tobytes()


@pytest.mark.parametrize(
    ("size", "extent"),
    [
        ((32, 32), (256, 256)),
        ((255, 100), (100, 255)),
        ((120, 200), (400, 240)),
        ((1024, 2048), (480, 240)),
        ((500, 375), (360, 480)),
    ],
)
def test_tiles_of_every_size_are_readable(size: tuple[int, int], extent: tuple[int, int]) -> None:
    prediction = np.zeros(size, np.uint8)
    noisy = np.zeros((*size, 3), np.float32)
    view = View(prediction=prediction, certified=prediction == 0, sigma=1.0, radius=0.67, noisy=noisy)
    picture = draw([view], labels=prediction)
    assert picture.width == max(2 * LEFT + 3 * extent[0] + 2 * GUTTER, 2 * LEFT + 320)
    assert picture.height == TOP + extent[1] + 26 + 14 + 26 + 24


def test_reduced_label_tiles_mix_no_colours() -> None:
    prediction = np.indices((900, 700)).sum(axis=0) % 2
    certified = np.ones((900, 700), bool)
    picture = draw([View(prediction=prediction, certified=certified, sigma=1.0, radius=0.1)])
    inside = picture.crop((LEFT, TOP, LEFT + 373, TOP + 480))
    assert colours(inside) == {RED, GREEN}


def test_a_denoised_image_of_another_size_fills_its_tile() -> None:
    view = View(
        prediction=PREDICTION, certified=CERTIFIED, sigma=1.0, radius=0.1, denoised=np.full((5, 7, 3), 0.2)
    )
    assert tile(draw([view]), 0) == [[(51, 51, 51)] * 3] * 2


def test_names_beyond_the_font_and_the_width_are_still_drawn() -> None:
    picture = draw(key="x" * 500, method="σ naïve", classes=("straße " * 60, "sky", "car"))
    assert picture.width == 2 * LEFT + 320


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"labels": np.zeros((3, 2), np.uint8)},
            r"labels: expected the prediction's shape \(2, 3\), got \(3, 2\)",
        ),
        ({"image": np.zeros((3, 2, 4), np.uint8)}, r"shape \(H, W, 3\)"),
        ({"palette": PALETTE[:2]}, "expected a colour a class, got 2 for 3"),
        ({"views": ()}, "at least one view"),
    ],
)
def test_what_does_not_belong_together_is_refused(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(**options)
