import numpy as np
import pytest

from smoothseg.data.palettes import palette


def test_generated_colours_are_far_apart_and_far_from_black_and_white() -> None:
    colours = np.array([(0, 0, 0), (255, 255, 255), *palette(255)])
    apart = np.abs(colours[:, None] - colours[None]).max(axis=-1) + 999 * np.eye(len(colours), dtype=int)
    assert apart.min() >= 30
    assert apart[:22, :22].min() >= 60


def test_a_shorter_palette_begins_a_longer_one() -> None:
    assert palette(0) == ()
    assert palette(7) == palette(255)[:7]
    assert len(set(palette(727))) == 727
    with pytest.raises(ValueError, match="expected 0 to 727 colours, got 728"):
        palette(728)
