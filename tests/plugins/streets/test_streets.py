"""The dataset `streets`: what its scenes promise to whoever trains or measures on them."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from smoothseg import ConfigError, Dataset
from smoothseg.testing import check_dataset, recipe
from smoothseg_streets import StreetsRecipe

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
VOID = 11


def streets(**options):
    return StreetsRecipe(**({"height": 48, "width": 64} | options)).load()


@pytest.fixture(scope="module")
def scenes():
    """Forty scenes of the training split, 72 x 96."""
    dataset = streets(split="train", count=40, height=72, width=96)
    return [dataset[index] for index in range(len(dataset))]


def shares(samples):
    counts = sum(np.bincount(sample.labels.ravel(), minlength=12) for sample in samples)
    return counts / counts.sum()


def digest(samples):
    return hashlib.sha256(b"".join(s.image.tobytes() + s.labels.tobytes() for s in samples)).hexdigest()


def test_it_is_a_dataset_registered_by_name():
    dataset = recipe("dataset", "streets:split=train,count=4,height=40,width=56,seed=3").load()
    assert isinstance(dataset, Dataset)
    check_dataset(dataset, samples=2)
    assert dataset.classes == CLASSES
    assert dataset.ignore == VOID
    assert dataset.palette[:4] == ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128))
    assert dataset.keys == (
        "streets-train-0000",
        "streets-train-0001",
        "streets-train-0002",
        "streets-train-0003",
    )


def test_a_scene_is_the_same_in_another_process_and_order_and_needs_no_torch():
    code = (
        "import hashlib, sys\n"
        "from smoothseg_streets import StreetsRecipe\n"
        "dataset = StreetsRecipe(count=3, height=48, width=64, seed=5).load()\n"
        "scenes = {k: dataset[k] for k in (2, 0, 1)}\n"
        "data = b''.join(scenes[k].image.tobytes() + scenes[k].labels.tobytes() for k in range(3))\n"
        "print('torch' in sys.modules, hashlib.sha256(data).hexdigest())\n"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dataset = streets(count=3, seed=5)
    assert there.stdout.split() == ["False", digest(dataset[k] for k in range(3))]


def test_the_count_does_not_change_the_scenes():
    assert digest([streets(count=2)[1]]) == digest([streets(count=30)[1]])


def test_splits_seeds_and_positions_are_different_scenes():
    found = [
        streets(split=split, seed=seed)[index]
        for split in ("train", "val")
        for seed in (0, 1)
        for index in (0, 1)
    ]
    for k, first in enumerate(found):
        for second in found[:k]:
            assert (first.labels != second.labels).mean() > 0.1
            assert np.abs(first.image.astype(int) - second.image).mean() > 5


def test_an_index_outside_is_refused():
    dataset = streets(count=3)
    assert dataset[-1].key == "streets-val-0002"
    with pytest.raises(IndexError, match="below 3, got 3"):
        dataset[3]


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (121, 50), (40, 161), (16, 16)])
def test_any_size_can_be_rendered(size):
    sample = streets(height=size[0], width=size[1])[4]
    assert sample.image.shape == (*size, 3)
    assert sample.labels.shape == size
    assert sample.image.dtype == sample.labels.dtype == np.uint8
    assert sample.labels.max() <= VOID
    assert len(np.unique(sample.labels)) >= 4
    assert sample.image.std() > 5


@pytest.mark.parametrize("index", [0, 1, 2])
def test_another_size_shows_the_same_scene(index):
    small, large = streets()[index], streets(height=144, width=192)[index]
    assert (small.labels == large.labels[1::3, 1::3]).mean() > 0.88
    mean = large.image.reshape(48, 3, 64, 3, 3).mean(axis=(1, 3))
    assert np.abs(mean - small.image).mean() < 9


def test_a_wider_image_continues_the_scene_to_both_sides_of_the_vanishing_point():
    square, wide = streets(height=48, width=64)[3], streets(height=24, width=64)[3]
    # Same width, same focal length: the lower image is the middle of the higher one.
    assert (square.labels[12:36] == wide.labels).mean() > 0.9


def test_every_class_occurs_about_as_often_as_in_camvid(scenes):
    # Shares of the training images of CamVid (SegNet's 11 classes, then void).
    camvid = (0.169, 0.233, 0.0098, 0.317, 0.045, 0.097, 0.0117, 0.0113, 0.0587, 0.0064, 0.0029, 0.0395)
    found = shares(scenes)
    for name, share, expected in zip((*CLASSES, "void"), found, camvid, strict=True):
        assert expected / 3.5 < share < expected * 3.5, f"{name}: {share:.4f}, CamVid has {expected}"
    for name in ("sky", "building", "road", "tree", "car"):
        k = CLASSES.index(name)
        assert camvid[k] / 1.7 < found[k] < camvid[k] * 1.7, f"{name}: {found[k]:.3f}"


def test_labels_follow_the_geometry_of_a_street(scenes):
    rows = np.arange(72)[:, None]
    for sample in scenes:
        labels = sample.labels
        assert not np.isin(labels[-1], (CLASSES.index("sky"),)).any(), f"{sample.key}: sky underfoot"
        assert not np.isin(labels[0], (CLASSES.index("road"), CLASSES.index("pavement"))).any(), sample.key
        road, sky = labels == CLASSES.index("road"), labels == CLASSES.index("sky")
        assert road.mean() > 0.05, f"{sample.key}: no road"
        if sky.any():
            assert (rows * road).sum() / road.sum() > (rows * sky).sum() / sky.sum() + 10, sample.key


def test_small_and_distant_objects_occur_in_most_scenes(scenes):
    seen = dict.fromkeys(("pole", "sign", "car", "pedestrian", "bicyclist"), 0)
    for sample in scenes:
        for name in seen:
            pieces, count = ndimage.label(sample.labels == CLASSES.index(name))
            sizes = np.bincount(pieces.ravel())[1:]
            seen[name] += count > 0 and bool((sizes < 0.004 * sample.labels.size).any())
    assert seen["pole"] > 30
    assert seen["car"] > 20
    assert seen["sign"] > 20
    assert seen["pedestrian"] > 15
    assert seen["bicyclist"] > 8


def test_light_differs_from_scene_to_scene(scenes):
    brightness = np.array([sample.image.mean() for sample in scenes])
    warmth = np.array([float(s.image[..., 0].mean()) - float(s.image[..., 2].mean()) for s in scenes])
    assert brightness.std() > 20
    assert brightness.min() < 75
    assert brightness.max() > 140
    assert warmth.min() < -8
    assert warmth.max() > 15


@pytest.mark.parametrize("bits", [3, 4])
def test_colour_does_not_tell_the_class(scenes, bits):
    def codes(sample):
        part = (sample.image >> (8 - bits)).astype(np.int64)
        return ((part[..., 0] << 2 * bits) + (part[..., 1] << bits) + part[..., 2]).ravel()

    def fitted(samples):
        counts = np.zeros((1 << 3 * bits, 12))
        for sample in samples:
            np.add.at(counts, (codes(sample), sample.labels.ravel()), 1)
        return counts[:, :11]

    def score(guess, samples):
        confusion = np.zeros((11, 12))
        for sample in samples:
            np.add.at(confusion, (guess[codes(sample)], sample.labels.ravel()), 1)
        confusion = confusion[:, :11]
        hits = np.diag(confusion)
        union = confusion.sum(0) + confusion.sum(1) - hits
        return hits.sum() / confusion.sum(), (hits / np.maximum(union, 1)).mean()

    train, other = scenes[:28], scenes[28:]
    counts = fitted(train)
    for table in (counts, counts / np.maximum(counts.sum(axis=0), 1)):
        accuracy, mean_iou = score(table.argmax(axis=1), other)
        assert mean_iou < 0.22
        assert accuracy < 0.6
    # A table that knew the other scenes' own colours would still be wrong on a large part.
    accuracy, _ = score(fitted(other).argmax(axis=1), other)
    assert accuracy < 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count of at least 1, got 0"),
        ({"height": 15}, "height of 16 to 4096 pixels, got 15"),
        ({"width": 5000}, "width of 16 to 4096 pixels, got 5000"),
        ({"seed": -1}, "seed of 0 or more, got -1"),
        ({"split": "test"}, "split train or val, got 'test'"),
    ],
)
def test_a_value_out_of_range_is_a_config_error(options, message):
    with pytest.raises(ConfigError, match=message):
        StreetsRecipe(**options).load()


def test_an_unknown_split_is_refused_before_load():
    with pytest.raises(ConfigError, match="'train' or 'val'"):
        recipe("dataset", "streets:split=test")


@pytest.mark.parametrize(
    ("index", "counts", "colour"),
    [
        (0, (1618, 5078, 169, 3662, 561, 86, 36, 152, 748, 92, 71, 15), (114.0, 108.5, 105.3)),
        (1, (2392, 2595, 216, 4343, 435, 833, 97, 681, 347, 75, 274, 0), (117.5, 129.6, 136.5)),
        (2, (2363, 2030, 239, 4254, 477, 1795, 2, 437, 589, 85, 0, 17), (118.0, 111.4, 110.3)),
    ],
)
def test_the_scenes_that_models_were_trained_on_stay_as_they_are(index, counts, colour):
    # Another processor may round a sample's edge differently; another scene is far beyond these tolerances.
    sample = streets(height=96, width=128)[index]
    found = np.bincount(sample.labels.ravel(), minlength=12)
    np.testing.assert_allclose(found, counts, atol=25)
    np.testing.assert_allclose(sample.image.mean(axis=(0, 1)), colour, atol=0.5)


def test_cards_of_models_trained_on_the_scenes_state_their_licence():
    from smoothseg_training.card import data_card

    assert data_card(StreetsRecipe(count=1, height=32, width=48).load())["licence"].endswith("Apache-2.0")
