"""That a test can lay out a dataset of files, and that what such a dataset must do is found where it does not."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from PIL import Image

from smoothseg import ConfigError, DataError, UnknownNameError
from smoothseg.testing import check_imports, check_missing, label_map, plain_image, recipe, write_image

PLUGIN = '''"""A plugin of one dataset."""
import dataclasses
{early}

@dataclasses.dataclass(frozen=True)
class Recipe:
    root: str

    def load(self):
        {late}
        import numpy as np
        from PIL import Image

        return [np.asarray(Image.open(self.root + "/a.png"))]
'''


@dataclasses.dataclass(frozen=True)
class Missing:
    """A recipe whose data are not there while `file` is not, if one is given."""

    message: str = "no such folder: expected a/*.png, from https://example.org (CC0)"
    file: object = None

    def load(self):
        if self.file is None or not self.file.exists():
            raise DataError(self.message)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Return a function that puts a plugin where Python finds it and returns its recipe for a folder with an image."""
    monkeypatch.syspath_prepend(str(tmp_path))
    write_image(tmp_path / "data/a.png", plain_image())

    def make(early="", late=""):
        (tmp_path / "smoothseg_small.py").write_text(PLUGIN.format(early=early, late=late), encoding="utf-8")
        import smoothseg_small

        return smoothseg_small.Recipe(str(tmp_path / "data"))

    yield make
    sys.modules.pop("smoothseg_small", None)


def test_an_image_is_plain_and_a_label_map_repeats_its_values():
    assert plain_image(7).shape == (4, 6, 3)
    assert np.unique(plain_image(7, (2, 3)).reshape(-1, 3), axis=0).tolist() == [[7, 10, 200]]
    assert plain_image().dtype == label_map(0).dtype == np.uint8
    assert label_map(3, 255).shape == (4, 6)
    assert label_map(1, 2, 255, size=(2, 2)).tolist() == [[1, 2], [255, 1]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".WEBP", ".jpg"])
def test_a_written_image_is_read_as_it_was(tmp_path, suffix):
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    path = write_image(tmp_path / f"a/b/c{suffix}", pixels)
    assert path == tmp_path / f"a/b/c{suffix}"
    found = np.asarray(Image.open(path))
    assert found.shape == pixels.shape
    assert suffix == ".jpg" or (found == pixels).all()
    written = write_image(tmp_path / "labels.png", label_map(0, 11, 255))
    np.testing.assert_array_equal(np.asarray(Image.open(written)), label_map(0, 11, 255))


def test_a_message_that_says_what_is_missing_and_where_to_get_it_passes():
    check_missing(Missing(), "no .* folder", "a/*.png", "https://example.org", "CC0")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("there is none: a/*.png (CC0)", "expected a message that matches 'no such', got 'there is none"),
        ("no such folder: (CC0)", r"expected a message with 'a/\*\.png', got 'no such folder"),
        ("no such folder:\na/*.png (CC0)", "expected a message of one line"),
    ],
)
def test_a_message_that_lacks_something_is_found(message, expected):
    with pytest.raises(AssertionError, match=expected):
        check_missing(Missing(message), "no such", "a/*.png", "CC0")


def test_a_recipe_that_loads_without_its_data_is_found_and_another_error_is_raised(tmp_path):
    with pytest.raises(AssertionError, match="expected load to raise a DataError"):
        check_missing(Missing(file=tmp_path), "no such")

    class Broken:
        def load(self):
            raise KeyError("root")

    with pytest.raises(KeyError):
        check_missing(Broken(), "no such")


def test_what_is_taken_away_for_the_check_is_put_back_whatever_happens(tmp_path):
    folder = write_image(tmp_path / "data/a.png", plain_image()).parent
    check_missing(Missing(file=folder), "no such", without=folder)
    assert (folder / "a.png").is_file()
    with pytest.raises(AssertionError, match="expected load to raise a DataError"):
        check_missing(Missing(file=tmp_path), "no such", without=folder)
    assert (folder / "a.png").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_plugin_that_imports_what_is_slow_only_for_reading_passes(plugin):
    check_imports(plugin())


def test_an_import_too_many_is_found(plugin):
    with pytest.raises(AssertionError, match="importing smoothseg_small imports PIL, numpy"):
        check_imports(plugin(early="import PIL, numpy"))


def test_reading_that_imports_torch_or_fails_is_found(plugin):
    with pytest.raises(AssertionError, match="reading a sample of smoothseg_small imports torch"):
        check_imports(plugin(late="import torch"))


def test_an_error_of_reading_is_passed_on(plugin):
    broken = plugin(late="raise ValueError('no sample')")
    with pytest.raises(AssertionError, match="ValueError: no sample"):
        check_imports(broken)


def test_a_recipe_is_the_one_that_the_command_line_names():
    from smoothseg_streets import StreetsRecipe

    assert recipe("dataset", "streets:count=2,seed=5") == StreetsRecipe(count=2, seed=5)
    assert recipe("dataset", {"name": "streets", "count": 2}) == StreetsRecipe(count=2)
    assert recipe("denoiser", "identity").load("cpu") is not None
    with pytest.raises(UnknownNameError, match="street"):
        recipe("dataset", "street")
    with pytest.raises(ConfigError, match="count"):
        recipe("dataset", "streets:count=many")
    with pytest.raises(UnknownNameError, match="counts"):
        recipe("dataset", "streets:counts=2")
