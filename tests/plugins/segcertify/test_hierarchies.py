"""Hierarchies of classes: their files, the choice of a level for each pixel, and what its certificate says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import smoothseg
import smoothseg_segcertify as plugin
from smoothseg.certificates import recheck
from smoothseg.certificates.hierarchy import fitted, hierarchy_of
from smoothseg.components.plugins import plugins
from smoothseg.data import class_names
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.sampling import Draw
from smoothseg.testing import CountingDenoiser, LabelDraw, check_certifier
from smoothseg_segcertify.hierarchies import HierarchicalSelection, hierarchy, packaged

CLASSES = ("road", "car", "truck", "tree", "bush")
TEXT = """
classes: [tree, bush, road, car, truck]
levels:
  - vehicle: [car, truck]
    plant: [bush, tree]
  - all: [road, vehicle, plant]
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def test_a_file_gives_the_nodes_of_each_level_in_the_segmenters_order(path):
    found = hierarchy(path, CLASSES)

    assert found.names == (*CLASSES, "vehicle", "plant", "all")
    assert found.levels == ((0, 1, 2, 3, 4), (0, 5, 5, 6, 6), (7, 7, 7, 7, 7))
    assert found.groups == {"vehicle": ("car", "truck"), "plant": ("tree", "bush"), "all": CLASSES}
    assert hierarchy(path).classes == ("tree", "bush", "road", "car", "truck")


def test_packaged_hierarchies_have_the_classes_of_their_datasets():
    from smoothseg_camvid import dataset as camvid
    from smoothseg_streets import labels as streets

    assert packaged() == ("camvid", "cityscapes", "pascal-context")
    for name, classes in (
        ("cityscapes", class_names.CITYSCAPES),
        ("pascal-context", class_names.PASCAL_CONTEXT),
        ("camvid", camvid.CLASSES),
        ("camvid", streets.CLASSES),
    ):
        found = hierarchy(name, classes)
        assert found.classes == tuple(classes)
        assert set(found.levels[-1]) == {len(found.names) - 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classes: [a, b]\nlevels: [{g: [a, b]}", "line 2: "),
        ("[a, b]", "expected a mapping of classes and levels, and nothing else"),
        ("classes: [a, b]\nlevels: [{g: [a, b]}]\nnames: []", "expected a mapping of classes and levels"),
        ("classes: [a, 1]\nlevels: [{g: [a, b]}]", "classes must be a list of names"),
        ("classes: [a, a]\nlevels: [{g: [a, b]}]", "the class 'a' is given twice"),
        ("classes: [a, b]\nlevels: []", "levels must be a list, with the finest level first"),
        ("classes: [a, b]\nlevels: [[a, b]]", "level 1 must be a mapping of groups by name"),
        ("classes: [a, b]\nlevels: [{g: a}]", "level 1: 'g' must be a list of names"),
        ("classes: [a, b]\nlevels: [{g: [a, c]}]", "level 1: 'g' has 'c', which is nothing"),
        ("classes: [a, b]\nlevels: [{g: [a]}]", "level 1: 'g' groups nothing, it has one part"),
        ("classes: [a, b]\nlevels: [{b: [a, b]}]", "level 1: there is a 'b' already"),
        ("classes: [a, b, c]\nlevels: [{g: [a, b], h: [b, c]}]", "level 1: 'b' is in 'g' and in 'h'"),
        (
            "classes: [a, b, c]\nlevels: [{g: [a, b]}, {h: [a, c]}]",
            "level 2: 'h' has 'a', which is in a group already: name that group",
        ),
    ],
)
def test_a_file_that_is_no_hierarchy_is_refused_in_one_line(tmp_path, text, said):
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(smoothseg.ConfigError) as raised:
        hierarchy(str(path))
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_other_classes_than_the_segmenters_are_refused(path):
    with pytest.raises(
        smoothseg.ConfigError, match="has the class 'bush', which the segmenter does not know"
    ):
        hierarchy(path, ("road", "car", "truck", "tree", "shrub"))
    with pytest.raises(smoothseg.ConfigError, match="lacks the class 'bus' of the segmenter"):
        hierarchy(path, (*CLASSES, "bus"))
    with pytest.raises(smoothseg.ConfigError, match="no such file, and by name there are camvid, cityscapes"):
        hierarchy("citiscapes")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thresholds": (0.5, 0.2)}, "thresholds must ascend"),
        ({"thresholds": (1.5,)}, "thresholds must be at most 1"),
        ({"thresholds": (float("nan"),)}, "thresholds must be at most 1"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"tau": 0.4}, "tau must be at least 0.5"),
        ({"alpha": 0.0}, "alpha must be between"),
        ({"n0": 0}, "n0 must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(smoothseg.ConfigError, match=said):
        plugin.HierarchicalRecipe(**options).load()


def test_more_thresholds_than_levels_are_refused(path):
    certifier = plugin.HierarchicalRecipe(hierarchy=path).load()
    with pytest.raises(smoothseg.ConfigError, match="2 levels above the classes, for 3 thresholds"):
        certifier.fitted(CLASSES)


def test_options_come_from_text():
    recipe = plugins()["certifier"].recipe("hierarchical:hierarchy=camvid,thresholds=0,0.3,test=bonferroni")
    assert recipe == plugin.HierarchicalRecipe(hierarchy="camvid", thresholds=(0.0, 0.3), test="bonferroni")


def selection(path, thresholds, **options):
    return HierarchicalSelection(path, thresholds, **options).fitted(CLASSES)


def scores(*probabilities):
    """Return scores (n, 5, 1, 1) whose softmax is `probabilities`, one list a sample."""
    return np.log(np.array(probabilities, dtype=np.float64))[:, :, None, None].astype(np.float32)


SURE = [0.92, 0.02, 0.02, 0.02, 0.02]
CAR_OR_TRUCK = [0.04, 0.5, 0.38, 0.04, 0.04]
ANYTHING = [0.24, 0.22, 0.18, 0.19, 0.17]


@pytest.mark.parametrize(
    ("given", "labels", "level", "name"),
    [
        ([SURE] * 3, [0, 0, 0], 0, "road"),
        ([CAR_OR_TRUCK] * 3, [1, 1, 2], 1, "vehicle"),
        ([ANYTHING] * 3, [0, 1, 3], 2, "all"),
        # Two of three samples are sure, the mean is not.
        ([SURE, SURE, [0.02, 0.92, 0.02, 0.02, 0.02]], [0, 0, 1], 0, "road"),
    ],
)
def test_a_level_is_the_number_of_thresholds_that_the_difference_does_not_exceed(
    path, given, labels, level, name
):
    chosen = selection(path, (0.03, 0.2))
    draw = LabelDraw(np.array(labels)[:, None, None], classes=5, scores=scores(*given))
    prediction = chosen.select(draw, 3)
    tally = chosen.tally(prediction)

    assert chosen.hierarchy.names[prediction[0, 0]] == name
    assert chosen.hierarchy.levels[level][labels[0]] == prediction[0, 0]
    assert tally.trials == 0


def test_thresholds_are_inclusive(path):
    levels = selection(path, (0.25, 0.5)).levels(np.array([[0.25, 0.5, 0.50001, 0.24, 1.0]]))
    assert levels.tolist() == [[2, 1, 0, 2, 0]]


def test_the_temperature_flattens_the_posteriors(path):
    labels = np.ones((3, 1, 1), int)
    given = scores(*[CAR_OR_TRUCK] * 3)
    sharp, flat = (
        selection(path, (0.0, 0.1), temperature=temperature).select(
            LabelDraw(labels, classes=5, scores=given), 3
        )
        for temperature in (1.0, 2.0)
    )
    assert (sharp.item(), flat.item()) == (1, 5)  # car, vehicle


def test_votes_may_stand_for_posteriors(path):
    labels = np.array([1, 1, 1, 2])[:, None, None]  # shares 3/4 and 1/4
    below, at = (
        selection(path, (0.0, each), unsure="votes").select(LabelDraw(labels, classes=5), 4).item()
        for each in (0.49, 0.5)
    )
    assert (below, at) == (1, 5)


def test_the_mode_is_taken_anew_at_the_level_and_a_tie_goes_to_the_lowest_node(path):
    # Road has the most votes of all classes, the plants together have more.
    labels = np.array([0, 0, 0, 3, 3, 4, 4])[:, None, None]
    at_level = selection(path, (-1.0, 1.0), unsure="votes")
    assert at_level.select(LabelDraw(labels, classes=5), 7).item() == 6
    tied = np.array([0, 0, 1, 2, 3, 4])[:, None, None]
    assert at_level.select(LabelDraw(tied, classes=5), 6).item() == 0
    assert at_level.select(LabelDraw(tied[2:], classes=5), 4).item() == 5


def test_a_hit_shows_a_class_of_the_node(path):
    # Columns of levels 0, 1 and 2: road surely, a vehicle, anything.
    first = np.stack([scores(SURE, CAR_OR_TRUCK, ANYTHING)[:, :, 0, 0].T[:, None, :]] * 2)
    labels = np.array([[0, 1, 0], [0, 2, 0], [0, 1, 0], [0, 2, 4], [1, 1, 2], [3, 0, 3], [0, 4, 1]])[
        :, None, :
    ]
    draw = LabelDraw(labels, classes=5, scores=first)
    chosen = selection(path, (0.03, 0.2))
    prediction = chosen.select(draw, 2)
    tally = chosen.tally(prediction)
    hits = draw(5, into=tally).hits

    assert prediction.tolist() == [[0, 5, 7]]
    assert hits.tolist() == [[3, 3, 5]]


def test_it_must_be_fitted_to_classes_first(path):
    certifier = plugin.HierarchicalRecipe(hierarchy=path, thresholds=(0.1,)).load()
    assert certifier.hierarchy is None
    with pytest.raises(ValueError, match="fitted to the segmenter's classes first"):
        certifier.certify(LabelDraw(np.zeros((110, 2, 2), int), classes=5))
    assert certifier.fitted(CLASSES).hierarchy == hierarchy(path, CLASSES)
    holm = plugin.HolmRecipe().load()
    assert fitted(holm, CLASSES) is holm
    assert hierarchy_of(holm) is None


def test_level_and_node_depend_on_the_selection_alone(path):
    rng = np.random.default_rng(3)
    size = (9, 11)
    selecting = rng.integers(0, 5, (10, *size))
    posteriors = rng.normal(size=(10, 5, *size)).astype(np.float32)
    certifier = (
        plugin.HierarchicalRecipe(hierarchy=path, thresholds=(0.03, 0.1), n=200).load().fitted(CLASSES)
    )
    made = [
        certifier.certify(
            LabelDraw(
                np.concatenate([selecting, rng.integers(0, 5, (200, *size))]), classes=5, scores=posteriors
            )
        )
        for _ in range(2)
    ]
    assert (made[0].prediction == made[1].prediction).all()
    assert (made[0].hits != made[1].hits).any()
    assert len(np.unique(made[0].prediction)) > 3


def test_a_group_that_contains_everything_is_certified_everywhere(path):
    rng = np.random.default_rng(0)
    certifier = plugin.HierarchicalRecipe(hierarchy=path, thresholds=(1.0, 1.0)).load().fitted(CLASSES)
    made = certifier.certify(LabelDraw(rng.integers(0, 5, (110, 4, 4)), classes=5))
    assert made.certified.all()
    assert (made.prediction == 7).all()
    assert (made.hits == 100).all()


@pytest.mark.parametrize("options", [{"alpha": 0.1}, {"test": "bonferroni", "unsure": "votes"}])
def test_it_keeps_the_promises_of_a_certifier(options):
    recipe = plugin.HierarchicalRecipe(**options)
    check_certifier(recipe.load(), recipe=recipe)


@pytest.mark.parametrize("test", ["holm", "bonferroni"])
def test_groups_at_exactly_tau_are_seldom_certified(path, test):
    """A car and a truck are equally probable, and together as probable as tau: no pixel may be certified."""
    alpha, tau, images, size = 0.1, 0.75, 400, (2, 4)
    certifier = (
        plugin.HierarchicalRecipe(
            hierarchy=path, thresholds=(-1.0, 1.0), unsure="votes", alpha=alpha, tau=tau, test=test
        )
        .load()
        .fitted(CLASSES)
    )
    rng = np.random.default_rng(11)
    failed = vehicles = 0
    for _ in range(images):
        labels = rng.choice(5, p=[0.25, tau / 2, tau / 2, 0, 0], size=(110, *size))
        made = certifier.certify(LabelDraw(labels, classes=5))
        vehicles += (made.prediction == 5).sum()
        failed += made.certified.any()
    assert vehicles > 0.9 * images * size[0] * size[1]
    # A share of at most alpha, which is 40 images; 58 are three standard deviations more.
    assert failed <= 58


class Unsure:
    """A segmenter of five classes: scores by the brightness of the three channels."""

    classes, digests = CLASSES, {}

    def segment(self, images):
        red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
        return 4 * torch.cat([red, green, green * 0.9 + 0.05, blue, blue * 0.9 + 0.02], dim=1)[..., ::2, ::2]


@pytest.mark.parametrize("batch", [3, 7])
def test_batch_size_does_not_change_a_certificate(path, batch):
    image = np.random.default_rng(5).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    model = BaseModel(CountingDenoiser(), Unsure(), Geometry(scale=1.0))
    certifier = (
        plugin.HierarchicalRecipe(hierarchy=path, thresholds=(0.05, 0.2), n=60, alpha=0.1, temperature=1.0)
        .load()
        .fitted(CLASSES)
    )
    one, several = (
        certifier.certify(Draw(model, image, "key", sigma=0.25, seed=0, batch_size=size))
        for size in (1, batch)
    )
    assert (one.prediction == several.prediction).all()
    assert (one.hits == several.hits).all()
    assert len(np.unique(one.prediction)) > 3


def certificate(path, **options):
    recipe = plugin.HierarchicalRecipe(hierarchy=path, thresholds=(0.0, 1.0), **options)
    certifier = recipe.load().fitted(CLASSES)
    labels = np.tile(np.array([[0, 1, 3]]), (110, 1, 1))
    made = certifier.certify(LabelDraw(labels, classes=5))
    described = plugins()["certifier"].describe(recipe)
    header = {
        "classes": list(certifier.hierarchy.names), "levels": [list(each) for each in certifier.hierarchy.levels],
        "samples": 110, "sigma": 0.25, "certifier": described, "counted": "node",
        "image": {"height": 1, "width": 3},
    }  # fmt: skip
    return dataclasses.replace(made, provenance=header), recipe


def test_verify_needs_no_hierarchy_file(path, tmp_path):
    made, recipe = certificate(path)
    (tmp_path / "own.yaml").unlink()
    recheck.verify(made, recipe.load())
    without = {key: value for key, value in made.provenance.items() if key != "levels"}
    with pytest.raises(smoothseg.VerificationError, match="counts no nodes, or has none and counts some"):
        recheck.verify(dataclasses.replace(made, provenance=without), recipe.load())
    wrong = made.provenance | {"levels": [[0, 1, 2, 3, 4], [5, 5, 5, 6, 6]]}
    with pytest.raises(smoothseg.VerificationError, match="its header: hierarchy: "):
        recheck.verify(dataclasses.replace(made, provenance=wrong), recipe.load())


def test_counts_of_nodes_are_decided_by_no_other_selection(path):
    made, recipe = certificate(path)
    stricter = dataclasses.replace(recipe, tau=0.9)
    again = recheck.recertify(made, stricter.load(), plugins()["certifier"].describe(stricter))
    assert again.radius > made.radius
    for other, said in (
        (plugin.HolmRecipe(), "counts by node, the certifier decides by pixel"),
        (dataclasses.replace(recipe, thresholds=(0.0, 0.5)), "the counts are of thresholds="),
        (dataclasses.replace(recipe, hierarchy="camvid"), "the counts are of hierarchy="),
    ):
        with pytest.raises(smoothseg.ConfigError, match=said):
            recheck.recertify(made, other.load(), plugins()["certifier"].describe(other))


def test_with_the_test_of_anytime_it_stops_and_goes_on(path):
    made = plugin.HierarchicalAnytimeRecipe(
        hierarchy=path,
        thresholds=(0.9,),
        temperature=1.0,
        unsure="votes",
        n0=10,
        max_n=200,
        block=20,
        alpha=0.05,
    )
    certifier = made.load().fitted(CLASSES)
    rng = np.random.default_rng(5)
    labels = rng.choice(5, size=(210, 3, 4), p=(0.01, 0.49, 0.48, 0.01, 0.01))  # a car or a truck
    labels[:, 0] = 0
    whole = certifier.certify(LabelDraw(labels, classes=5))
    assert (whole.prediction[0] == 0).all()
    assert set(whole.prediction[1:].ravel()) <= {1, 5}
    assert (whole.prediction[1:] == 5).any()
    assert whole.certified[whole.prediction == 5].all()
    hits = np.isin(labels[10:], (1, 2)).sum(axis=0)
    assert (whole.hits[whole.prediction == 5] == hits[whole.prediction == 5]).all()
    draw = LabelDraw(labels, classes=5)
    draw.stop_at = 71
    part = certifier.certify(draw)
    again = certifier.resume(LabelDraw(labels, classes=5, first=71), part)
    assert (again.hits == whole.hits).all()
    assert again.stopping == whole.stopping
