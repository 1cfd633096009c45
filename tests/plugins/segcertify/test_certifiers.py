"""What the certifiers draw, promise, refuse and store."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import beta, norm

import smoothseg
import smoothseg_segcertify as plugin
from smoothseg.certificates import file, recheck
from smoothseg.components.registry import Registry, settings
from smoothseg.smoothing.votes import Votes
from smoothseg.testing import LabelDraw, check_certifier

RECIPES = {
    "anytime": plugin.AnytimeRecipe,
    "holm": plugin.HolmRecipe,
    "bonferroni": plugin.BonferroniRecipe,
    "kfwer": plugin.KFWERRecipe,
    "naive-pixel": plugin.NaivePixelRecipe,
    "naive-pattern": plugin.NaivePatternRecipe,
}
VARIANTS = [
    *((recipe, {}) for recipe in RECIPES.values() if recipe is not plugin.AnytimeRecipe),
    (plugin.HolmRecipe, {"taus": (0.6, 0.7)}),
    (plugin.NaivePixelRecipe, {"radius": "common"}),
    (plugin.NaivePixelRecipe, {"radius": "fixed", "tau": 0.6}),
]
SHAPE = (5, 7)


def mixed_labels(samples, seed=0):
    """Return labels (samples, 5, 7) of 4 classes, from certain pixels on the left to random ones on the right."""
    rng = np.random.default_rng(seed)
    usual = rng.integers(0, 4, SHAPE)
    wrong = rng.random((samples, *SHAPE)) < np.array([0, 0, 0.01, 0.02, 0.1, 0.3, 0.7])
    return np.where(wrong, rng.integers(0, 4, (samples, *SHAPE)), usual).astype(np.uint8)


@pytest.fixture
def registry():
    registry = Registry("certifier")
    plugin.register_certifiers(lambda name, recipe: registry.register(name, recipe, "smoothseg_segcertify"))
    return registry


def test_all_are_registered_with_a_summary_and_help(registry):
    known = RECIPES | {
        "hierarchical": plugin.HierarchicalRecipe,
        "hierarchical-anytime": plugin.HierarchicalAnytimeRecipe,
    }
    assert {entry.name: entry.recipe for entry in registry} == known
    for entry in registry:
        assert entry.summary.endswith(".")
        assert all(field.help for field in entry.fields)


def test_options_come_from_text(registry):
    assert registry.recipe("holm:n=200,tau=0.9") == plugin.HolmRecipe(n=200, tau=0.9)
    assert registry.recipe("kfwer:k=7").k == 7
    several = registry.recipe("holm:taus=0.6,0.75,0.9,n=200")
    assert (several.taus, several.n) == ((0.6, 0.75, 0.9), 200)
    assert registry.recipe("holm:taus=0.8").taus == (0.8,)
    assert settings("holm", registry.describe(several), {}).startswith(
        "holm:n0=10,n=200,alpha=0.001,tau=0.75,taus=0.6,0.75"
    )
    assert registry.recipe("naive-pixel:radius=common").radius == "common"
    with pytest.raises(smoothseg.ConfigError, match="radius=largest"):
        registry.recipe("naive-pixel:radius=largest")


def test_defaults_are_the_papers():
    assert dataclasses.asdict(plugin.HolmRecipe()) == {
        "n0": 10, "n": 100, "alpha": 0.001, "tau": 0.75, "taus": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n0", -1),
        ("n", 0),
        ("n", -3),
        ("alpha", 0.0),
        ("alpha", 1e-31),
        ("alpha", 1.0),
        ("alpha", float("nan")),
        ("tau", 0.499),
        ("tau", 1.0),
        ("tau", float("nan")),
        ("k", 0),
    ],
)
def test_options_out_of_range_are_refused(option, value):
    for recipe in RECIPES.values():
        if option in {field.name for field in dataclasses.fields(recipe)}:
            with pytest.raises(smoothseg.ConfigError, match=f"option {option} must .*, got {value}"):
                recipe(**{option: value}).load()


def test_importing_the_plugin_imports_neither_torch_nor_scipy():
    check = "import sys, smoothseg_segcertify; print([m for m in ('torch', 'scipy') if m in sys.modules])"

    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(("recipe", "options"), VARIANTS)
def test_components_satisfy_the_protocol(recipe, options):
    certifier = recipe(n0=7, **options).load()

    assert isinstance(certifier, smoothseg.Certifier)
    assert certifier.samples == 107
    check_certifier(certifier)


@pytest.mark.parametrize(("recipe", "options"), [v for v in VARIANTS if "taus" not in v[1]])
def test_check_passes_exactly_from_the_n_at_which_all_hits_certify(recipe, options):
    pixels = SHAPE[0] * SHAPE[1]
    able = []
    for n in range(1, 60):
        certifier = recipe(n=n, alpha=0.01, **options).load()
        hits = np.full(SHAPE, n, dtype=np.int32)
        certifies = bool(certifier.decide(hits, n, sigma=0.25).certified.any())
        try:
            certifier.check(pixels)
        except smoothseg.NothingCertifiableError:
            assert not certifies, n
        else:
            assert certifies, n
            able.append(n)
    assert able == list(range(able[0], 60))
    with pytest.raises(smoothseg.NothingCertifiableError, match=f"smallest n that can is {able[0]}$"):
        recipe(n=able[0] - 1, alpha=0.01, **options).load().check(pixels)


@pytest.mark.parametrize(("tau", "n"), [(0.75, 75), (0.85, 133), (0.95, 419), (0.99, 2136)])
def test_check_of_holm_at_cityscapes_size(tau, n):
    plugin.HolmRecipe(n=n, tau=tau).load().check(1024 * 2048)
    with pytest.raises(smoothseg.NothingCertifiableError, match=f"n={n - 1} .* 2097152 .* {n}$"):
        plugin.HolmRecipe(n=n - 1, tau=tau).load().check(1024 * 2048)


def test_first_holm_step_at_cityscapes_size_takes_98_of_100_hits():
    certifier = plugin.HolmRecipe().load()
    hits = np.zeros((1024, 2048), dtype=np.int32)
    hits[:, 0] = 97
    assert not certifier.decide(hits, 100, sigma=0.25).certified.any()
    hits[3, 5] = 98
    assert certifier.decide(hits, 100, sigma=0.25).certified.sum() == 1


def test_k_beyond_the_pixels_is_refused():
    with pytest.raises(smoothseg.ConfigError, match="k=5 exceeds the 3 pixels"):
        plugin.KFWERRecipe().load().check(3)


@pytest.mark.parametrize(("recipe", "options"), VARIANTS)
def test_certificate_survives_storage_and_verification(recipe, options, tmp_path):
    certifier = recipe(n0=8, n=90, **options).load()
    labels = mixed_labels(98)
    if recipe is plugin.NaivePatternRecipe:
        labels[:] = labels[0]
    certificate = certifier.certify(LabelDraw(labels, classes=4, sigma=0.5))
    height, width = certificate.prediction.shape
    provenance = {
        **{"sigma": 0.5, "certifier": {}, "counted": certifier.counted, "samples": certifier.samples},
        **{"image": {"height": height, "width": width}, "classes": ["a", "b", "c", "d"]},
    }
    certificate = dataclasses.replace(certificate, provenance=provenance)
    file.save(certificate, tmp_path / "one.npz")
    loaded = file.load(tmp_path / "one.npz")

    recheck.verify(loaded, certifier)
    np.testing.assert_array_equal(loaded.certified, certificate.certified)
    assert loaded.prediction.dtype == certificate.prediction.dtype == np.uint8
    assert loaded.trials == 90


def test_selection_and_estimation_use_disjoint_samples():
    labels = np.zeros((50, 2, 3), dtype=np.uint8)
    labels[:10] = 1
    draw = LabelDraw(labels, classes=2)
    certificate = plugin.HolmRecipe(n0=10, n=40).load().certify(draw)

    assert (certificate.prediction == 1).all()
    assert (certificate.hits == 0).all()
    assert not certificate.certified.any()
    assert draw.drawn == 50


def test_first_votes_are_freed_before_the_second_draw(monkeypatch):
    alive = []
    create, drop = Votes.__init__, lambda self: alive.remove(id(self))

    def count(self, *arguments, **options):
        create(self, *arguments, **options)
        alive.append(id(self))
        assert len(alive) == 1

    monkeypatch.setattr(Votes, "__init__", count)
    monkeypatch.setattr(Votes, "__del__", drop, raising=False)
    plugin.HolmRecipe(n0=8, n=90).load().certify(LabelDraw(mixed_labels(98), classes=4))

    assert not alive


def test_holm_certifies_what_bonferroni_does_and_kfwer_what_holm_does():
    certified = [
        recipe(n0=8, n=200, alpha=0.05).load().certify(LabelDraw(mixed_labels(208), classes=4)).certified
        for recipe in (plugin.BonferroniRecipe, plugin.HolmRecipe, plugin.KFWERRecipe)
    ]

    assert 0 < certified[0].sum() < certified[0].size
    assert (certified[0] <= certified[1]).all()
    assert (certified[1] <= certified[2]).all()


def test_own_radii_grow_with_hits_and_are_never_overstated():
    hits = np.array([[100, 99, 95], [90, 60, 0]], dtype=np.int32)
    verdict = plugin.NaivePixelRecipe().load().decide(hits, 100, sigma=0.5)

    exact = 0.5 * norm.ppf(beta.ppf(0.001 / 6, hits, 101 - hits))
    np.testing.assert_array_equal(verdict.certified, [[True, True, True], [True, False, False]])
    assert (np.diff(verdict.radii.ravel()[:4]) < 0).all()
    assert (verdict.radii[verdict.certified].astype(np.float64) <= exact[verdict.certified]).all()
    np.testing.assert_allclose(verdict.radii[verdict.certified], exact[verdict.certified], rtol=1e-6)
    assert np.isnan(verdict.radii[~verdict.certified]).all()
    assert verdict.radius == verdict.radii[1, 0]


def test_one_hopeless_pixel_makes_the_common_radius_abstain_everywhere():
    hits = np.full((2, 3), 100, dtype=np.int32)
    certifier = plugin.NaivePixelRecipe(radius="common").load()
    assert certifier.decide(hits, 100, sigma=0.5).certified.all()
    hits[1, 1] = 55
    verdict = certifier.decide(hits, 100, sigma=0.5)

    assert not verdict.certified.any()
    assert np.isnan(verdict.radius)


def test_fixed_radius_of_the_naive_baseline_is_bonferroni():
    hits = np.arange(101, dtype=np.int32).reshape(1, 101)
    naive = plugin.NaivePixelRecipe(radius="fixed", tau=0.6).load().decide(hits, 100, sigma=0.25)
    bonferroni = plugin.BonferroniRecipe(tau=0.6).load().decide(hits, 100, sigma=0.25)

    np.testing.assert_array_equal(naive.certified, bonferroni.certified)
    assert naive.radius == bonferroni.radius


def test_pattern_baseline_abstains_where_pixels_agree_but_never_all_at_once():
    # Each sample differs from the usual map in one pixel, so every pixel is right 34 times of 35.
    labels = np.zeros((110, 35), dtype=np.uint8)
    labels[np.arange(110), np.arange(110) % 35] = 1
    labels = labels.reshape(110, *SHAPE)
    pattern = plugin.NaivePatternRecipe().load().certify(LabelDraw(labels, classes=2))
    pixels = plugin.HolmRecipe(tau=0.6).load().certify(LabelDraw(labels, classes=2))

    assert not pattern.certified.any()
    assert np.isnan(pattern.radius)
    assert pixels.certified.all()


def test_pattern_baseline_refuses_counts_made_pixel_by_pixel():
    with pytest.raises(smoothseg.DataError, match=r"same hits everywhere, got 3 to 9"):
        plugin.NaivePatternRecipe().load().decide(np.array([[9, 3]]), 10, sigma=0.25)


def test_more_than_256_classes_are_kept():
    labels = np.full((60, 2, 3), 299, dtype=np.int16)
    for recipe in (plugin.HolmRecipe, plugin.NaivePatternRecipe):
        certificate = recipe(n0=10, n=50).load().certify(LabelDraw(labels, classes=300))
        assert certificate.prediction.dtype == np.uint16
        assert (certificate.prediction == 299).all()
        assert certificate.certified.all()


def test_deciding_uses_the_trials_of_the_counts_not_the_recipe():
    hits = np.full((2, 3), 40, dtype=np.int32)
    certifier = plugin.HolmRecipe(n=100).load()

    assert certifier.decide(hits, 40, sigma=0.25).certified.all()
    assert not certifier.decide(hits, 100, sigma=0.25).certified.any()


def test_several_tau_give_each_pixel_the_radius_of_the_largest_it_passes():
    hits = np.array([[100, 99, 95], [92, 75, 0]], dtype=np.int32)
    certifier = plugin.HolmRecipe(taus=(0.9, 0.6, 0.75)).load()
    verdict = certifier.decide(hits, 100, sigma=0.5)
    expected = 0.5 * norm.ppf([[0.9, 0.75, 0.75], [0.75, np.nan, np.nan]])

    np.testing.assert_allclose(verdict.radii, expected, rtol=1e-6)
    assert (verdict.radii[verdict.certified].astype(np.float64) <= expected[verdict.certified]).all()
    np.testing.assert_array_equal(verdict.certified, ~np.isnan(expected))
    assert verdict.radius == pytest.approx(0.5 * norm.ppf(0.6))


@pytest.mark.parametrize("taus", [(0.6, 0.6), (0.4, 0.7), ()])
def test_several_tau_must_be_different_and_in_range(taus):
    with pytest.raises(smoothseg.ConfigError, match=r"option taus? must"):
        plugin.HolmRecipe(taus=taus).load()


def test_a_tau_that_can_never_be_passed_is_named():
    certifier = plugin.HolmRecipe(taus=(0.75, 0.99)).load()
    with pytest.raises(smoothseg.NothingCertifiableError, match=r"tau=0\.99.*smallest n that can is 1888"):
        certifier.check(480 * 360)
