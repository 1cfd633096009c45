"""The certifiers against the published implementation's output on the same samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

import smoothseg_segcertify as plugin
from smoothseg.testing import LabelDraw
from smoothseg_segcertify import statistics

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = [ROOT / "tests/golden/segcertify", ROOT.parent / "shared/golden/segcertify"]
CASES = {
    name: (folder, settings)
    for folder in reversed(FOLDERS)
    if folder.exists()
    for name, settings in json.loads((folder / "index.json").read_text())["cases"].items()
}
ABSTAIN = -1
SIGMA = 0.25

pytestmark = pytest.mark.golden


class Case:
    """Arrays and settings of one case."""

    def __init__(self, name):
        folder, settings = CASES[name]
        with np.load(folder / f"{name}.npz") as file:
            self.arrays = dict(file)
        self.n0, self.n = settings["n0"], settings["n"]
        self.alpha, self.tau = settings["alpha"], settings["tau"]
        self.pixels, self.classes = settings["K"], settings["num_classes"]

    def __getitem__(self, name):
        return self.arrays[name]

    def load(self, recipe, **options):
        return recipe(n0=self.n0, n=self.n, alpha=self.alpha, **options).load()

    def certify(self, recipe, **options):
        samples = self["samples"][:, None, :]
        return self.load(recipe, **options).certify(LabelDraw(samples, classes=self.classes, sigma=SIGMA))

    def decide(self, recipe, **options):
        """Return the verdict on the golden counts, and the classes with -1 at pixels that abstain."""
        verdict = self.load(recipe, **options).decide(self["count"][None], self.n, sigma=SIGMA)
        return verdict, np.where(verdict.certified[0], self["mode"], ABSTAIN)


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request):
    return Case(request.param)


def test_certificate_has_the_published_counts_and_classes(case):
    certificate = case.certify(plugin.HolmRecipe, tau=case.tau)

    np.testing.assert_array_equal(certificate.prediction[0], case["mode"])
    np.testing.assert_array_equal(certificate.hits[0], case["count"])
    np.testing.assert_array_equal(certificate.certified[0], case["cls_holm"] != ABSTAIN)
    assert certificate.trials == case.n
    assert certificate.radius == pytest.approx(float(case["radius"]), rel=0, abs=1e-9)


@pytest.mark.parametrize(
    ("recipe", "array"),
    [
        (plugin.HolmRecipe, "cls_holm"),
        (plugin.HolmRecipe, "cls_kfwer_k1"),
        (plugin.BonferroniRecipe, "cls_bonferroni"),
    ],
)
def test_corrections_match(case, recipe, array):
    verdict, classes = case.decide(recipe, tau=case.tau)

    np.testing.assert_array_equal(classes, case[array])
    assert verdict.radius == pytest.approx(float(case["radius"]), rel=0, abs=1e-9)


def test_p_values_match(case):
    p = statistics.p_values(case.n, case.tau)[case["count"]]

    np.testing.assert_allclose(p, case["pvalue"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("k", [1, 5])
def test_kfwer_matches_lehmann_and_romano(case, k):
    if k > case.pixels:
        pytest.skip("fewer pixels than k")
    _, classes = case.decide(plugin.KFWERRecipe, tau=case.tau, k=k)

    np.testing.assert_array_equal(classes, case[f"independent_cls_lehmann_romano_k{k}"])


def test_published_kfwer_thresholds_explain_the_published_classes(case):
    k = 5
    if k > case.pixels:
        pytest.skip("fewer pixels than k")
    hits = case["count"]

    def published(rank):
        return k * case.alpha / (case.pixels if rank < k else case.pixels - rank)

    least = statistics.step_down_threshold(
        statistics.histogram(hits, case.n), statistics.p_values(case.n, case.tau), published
    )

    np.testing.assert_array_equal(np.where(hits >= least, case["mode"], ABSTAIN), case["cls_kfwer_k5"])


def test_published_kfwer_certifies_pixels_that_the_proven_rule_refuses():
    case = Case("kfwer_gap")
    verdict, _ = case.decide(plugin.KFWERRecipe, tau=case.tau, k=5)
    published = case["cls_kfwer_k5"] != ABSTAIN

    assert (verdict.certified[0] <= published).all()
    assert verdict.certified.sum() < published.sum()


def test_naive_pixel_bounds_match(case):
    lower = statistics.lower_bounds(case.n, case.alpha / case.pixels)[case["count"]]

    np.testing.assert_allclose(lower, case["lower_naiveMulti"], rtol=0, atol=1e-9)


def test_naive_pixel_with_tau_matches(case):
    verdict, classes = case.decide(plugin.NaivePixelRecipe, radius="fixed", tau=case.tau)

    np.testing.assert_array_equal(classes, case["cls_naiveMulti_tau"])
    assert verdict.radius == pytest.approx(float(case["radius_naiveMulti_tau"]), rel=0, abs=1e-9)


def test_naive_pixel_with_one_radius_matches(case):
    verdict, classes = case.decide(plugin.NaivePixelRecipe, radius="common")

    np.testing.assert_array_equal(classes, case["cls_naiveMulti_none"])
    expected = float(case["radius_naiveMulti_none"])
    assert verdict.radius == pytest.approx(expected, rel=0, abs=1e-9, nan_ok=True)


def test_naive_pixel_with_own_radii_follows_from_the_bounds(case):
    verdict, _ = case.decide(plugin.NaivePixelRecipe)
    enough = case["lower_naiveMulti"] >= 0.5
    expected = np.where(enough, SIGMA * norm.ppf(case["lower_naiveMulti"]), np.nan)

    np.testing.assert_array_equal(verdict.certified[0], enough)
    np.testing.assert_allclose(verdict.radii[0], expected, rtol=2e-7, atol=1e-9)
    assert verdict.radius == pytest.approx(np.nanmin(expected), rel=2e-7)


def test_naive_pattern_matches(case):
    certificate = case.certify(plugin.NaivePatternRecipe)
    classes = np.where(certificate.certified[0], certificate.prediction[0].astype(int), ABSTAIN)

    np.testing.assert_array_equal(classes, case["cls_naiveCarthesian"])
    expected = float(case["radius_naiveCarthesian"])
    assert certificate.radius == pytest.approx(expected, rel=0, abs=1e-9, nan_ok=True)
