import math
import random

import pytest

from smoothseg.certificates.rounding import rounded_down


@pytest.mark.parametrize(
    ("value", "figures", "text"),
    [
        (0.1686224375490187, 3, "0.168"),
        (0.1686224375490187, 4, "0.1686"),
        (0.33724487509803904, 3, "0.337"),
        (42.9987, 3, "42.9"),
        (0.0017999, 2, "0.0017"),
        (0.3, 3, "0.3"),  # the float is below three tenths, and so is the float that reads "0.3"
        (0.9996, 3, "0.999"),
        (0.17, 2, "0.17"),
        (1234.5, 3, "1230"),
        (0.0, 3, "0"),
        (1e-9, 3, "0.000000001"),
        (math.nan, 3, "nan"),
    ],
)
def test_numbers_are_written_with_few_figures_and_never_above(value, figures, text):
    assert rounded_down(value, figures) == text


@pytest.mark.parametrize("figures", [2, 3, 4, 6])
def test_what_is_written_reads_as_at_most_the_value_and_close_to_it(figures):
    drawn = random.Random(figures)
    for _ in range(2000):
        value = drawn.uniform(0.1, 10) * 10.0 ** drawn.randint(-6, 3)
        read = float(rounded_down(value, figures))
        assert read <= value < read * (1 + 10.0 ** (1 - figures)) + 1e-300
        assert rounded_down(read, figures) == rounded_down(value, figures)
