"""The hierarchical certifier against the published implementation's output on the same samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

import smoothseg_segcertify as plugin
from smoothseg.certificates import counts, metrics
from smoothseg.testing import LabelDraw
from smoothseg_segcertify.hierarchies import hierarchy

FOLDER = Path(__file__).resolve().parents[3] / "tests/golden/adaptive"
INDEX = json.loads((FOLDER / "index.json").read_text())
ABSTAIN, IGNORE = INDEX["abstain"], INDEX["ignore"]
CLASSES = INDEX["n_classes"]

pytestmark = pytest.mark.golden


class Case:
    """Arrays and settings of one case."""

    def __init__(self, name):
        settings = INDEX["cases"][name]
        with np.load(FOLDER / f"{name}.npz") as file:
            self.arrays = dict(file)
        self.size = settings["h"], settings["w"]
        self.options = {key: settings[key] for key in ("n0", "n", "alpha", "tau")}
        self.sets = settings["f"]
        self.flat = settings["segcertify"]["n"]

    def __getitem__(self, name):
        return self.arrays[name]

    @property
    def labels(self):
        return self["label"].reshape(self.size)

    def draw(self):
        samples = self["samples"].reshape(-1, *self.size)
        scores = self["first_n0_logits"].reshape(-1, CLASSES, *self.size)
        return LabelDraw(samples, classes=CLASSES, scores=scores)

    def certifier(self, thresholds, **options):
        # The scores of the golden data are divided by the temperature already.
        given = {"thresholds": tuple(thresholds), "temperature": 1.0, "test": "bonferroni"} | self.options
        return plugin.HierarchicalRecipe(**(given | options)).load().fitted(None)

    def scores(self, certificate, found):
        counted = counts.update(
            certificate.prediction, certificate.certified, self.labels,
            classes=len(found.names), ignore=IGNORE, leaves=CLASSES,
        )  # fmt: skip
        return metrics.compute([counted], found.names, found)


def shown(certificate):
    return np.where(certificate.certified, certificate.prediction, ABSTAIN).ravel()


@pytest.fixture(scope="module", params=sorted(INDEX["cases"]))
def case(request):
    return Case(request.param)


@pytest.fixture(params=("cityscapes", "acdc", "all_levels", "gap", "no_level0"))
def thresholds(request):
    return request.param


def test_the_packaged_hierarchy_is_the_published_one():
    golden = json.loads((FOLDER / "cityscapes_hierarchy.json").read_text())
    found = hierarchy("cityscapes")

    assert [list(level) for level in found.levels] == golden["levels"]
    assert list(found.names) == [node["name"] for node in golden["nodes"]]
    for node, row in zip(golden["nodes"], found.members, strict=True):
        assert np.flatnonzero(row).tolist() == node["leaves"]


def test_levels_and_certified_nodes_match(case, thresholds):
    settings = case.sets[thresholds]
    certifier = case.certifier(settings["f"])
    levels = certifier.selection.levels(case["diff"].reshape(case.size))
    certificate = certifier.certify(case.draw())

    np.testing.assert_array_equal(levels.ravel(), case[f"{thresholds}__level"])
    assert np.bincount(levels.ravel(), minlength=4).tolist() == settings["level_hist"]
    np.testing.assert_array_equal(shown(certificate), case[f"{thresholds}__cls_intended_trials_n"])


def test_differences_of_the_mean_posteriors_match(case):
    from smoothseg_segcertify import hierarchies

    tally = hierarchies._Scored(CLASSES, 1.0)
    case.draw()(case.options["n0"], into=tally)

    np.testing.assert_allclose(tally.difference().ravel(), case["diff"], rtol=0, atol=2e-6)


def test_labels_map_to_the_nodes_of_their_level(case, thresholds):
    found = hierarchy("cityscapes")
    level, labels = case[f"{thresholds}__level"], case["label"]
    known = labels != IGNORE
    mapped = np.array(found.levels)[level[known], labels[known]]

    np.testing.assert_array_equal(mapped, case[f"{thresholds}__gt_intended"][known])


def test_information_gain_and_abstention_match(case, thresholds):
    settings = case.sets[thresholds]
    certifier = case.certifier(settings["f"])
    scores = case.scores(certifier.certify(case.draw()), certifier.hierarchy)
    expected = settings["results"]["intended_trials_n"]
    by_class = [each.abstained for each in scores.per_class[:CLASSES] if each.pixels]

    assert scores.labelled_pixels == expected["num_pixels"]
    assert scores.information_gain == pytest.approx(expected["CIG"], rel=0, abs=1e-9)
    assert scores.class_information_gain == pytest.approx(expected["cCIG"], rel=0, abs=1e-9)
    assert scores.abstained_of_labelled == pytest.approx(expected["abstain"], rel=0, abs=1e-9)
    assert np.mean(by_class) == pytest.approx(expected["cabstain"], rel=0, abs=1e-9)


@pytest.mark.parametrize("thresholds", [(), (-1.0, -1.0, -1.0)])
def test_without_thresholds_it_is_the_flat_certifier(case, thresholds):
    certifier = case.certifier(thresholds)
    certificate = certifier.certify(case.draw())
    flat = plugin.BonferroniRecipe(**case.options).load().certify(case.draw())
    scores = case.scores(certificate, certifier.hierarchy)

    np.testing.assert_array_equal(shown(certificate), case["segcertify__trials_n"])
    np.testing.assert_array_equal(certificate.hits, flat.hits)
    assert scores.information_gain == scores.accuracy == pytest.approx(case.flat["CIG"], rel=0, abs=1e-9)
    assert scores.class_information_gain == pytest.approx(case.flat["cCIG"], rel=0, abs=1e-9)


def test_published_classes_follow_from_the_wrong_number_of_trials(case, thresholds):
    certifier = case.certifier(case.sets[thresholds]["f"])
    certificate = certifier.certify(case.draw())
    n0, n, alpha, tau = (case.options[name] for name in ("n0", "n", "alpha", "tau"))
    hits = certificate.hits.ravel()
    level = alpha / hits.size
    published = binom.sf(hits - 1, n - n0, tau) <= level
    wrong = published & ~(binom.sf(hits - 1, n, tau) <= level)

    expected = case[f"{thresholds}__cls_intended_trials_n_minus_n0"]
    np.testing.assert_array_equal(np.where(published, certificate.prediction.ravel(), ABSTAIN), expected)
    # What the published code certifies beyond the test has a p-value far above its level.
    assert wrong.sum() > 0
    assert binom.sf(hits[wrong] - 1, n, tau).max() > 10 * level


def test_holm_certifies_all_that_bonferroni_does(case, thresholds):
    few, many = (
        case.certifier(case.sets[thresholds]["f"], test=test).certify(case.draw())
        for test in ("bonferroni", "holm")
    )
    np.testing.assert_array_equal(few.prediction, many.prediction)
    assert (few.certified <= many.certified).all()
