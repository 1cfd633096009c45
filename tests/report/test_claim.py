"""What does the page promise, for every kind of certifier, alone and beside others?

The words that are expected stand here in full, one by one.
"""

from __future__ import annotations

import dataclasses
import itertools
from decimal import Decimal

import pytest

from smoothseg.components.plugins import plugins
from smoothseg.report.claim import claim

BASE = {"n0": 10, "n": 100}


@dataclasses.dataclass(frozen=True)
class Nameless:
    """A certifier whose recipe has no alpha.

    It promises something.
    """

    n0: int = 10
    n: int = 100

    def load(self):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def nameless():
    registry = plugins()["certifier"]
    registry.register("nameless", Nameless, "tests")
    yield
    del registry._entries["nameless"]


EVERY = "every certified pixel"
CERTIFIERS = {
    "holm": ({"name": "holm", **BASE, "alpha": 0.001, "tau": 0.75, "taus": None}, "99.9 %", EVERY),
    "taus": ({"name": "holm", **BASE, "alpha": 0.05, "taus": [0.6, 0.9]}, "95 %", EVERY),
    "bonferroni": ({"name": "bonferroni", **BASE, "alpha": 0.001, "tau": 0.9}, "99.9 %", EVERY),
    "kfwer 1": ({"name": "kfwer", **BASE, "alpha": 0.001, "tau": 0.75, "k": 1}, "99.9 %", EVERY),
    "kfwer 2": (
        {"name": "kfwer", **BASE, "alpha": 0.001, "tau": 0.75, "k": 2},
        "99.9 %",
        "all but at most 1 certified pixel",
    ),
    "kfwer 5": (
        {"name": "kfwer", **BASE, "alpha": 0.05, "tau": 0.75, "k": 5},
        "95 %",
        "all but at most 4 certified pixels",
    ),
    "naive-pixel": ({"name": "naive-pixel", **BASE, "alpha": 0.001, "radius": "own"}, "99.9 %", EVERY),
    "naive-pattern": ({"name": "naive-pattern", **BASE, "alpha": 0.05}, "95 %", EVERY),
    "nameless": ({"name": "nameless", **BASE}, "1 − α", EVERY),
    "gone": ({"name": "gone", "alpha": 0.001}, None, None),
    "other version": ({"name": "holm", **BASE, "alpha": 0.05, "taken_away": 1}, None, None),
}
"""Certifiers as run.json describes them, how sure the promise is, and of which pixels; None where nobody can tell."""

TOGETHER = "all certified pixels of the image together"
SURE = "With probability at least 1 - alpha over the noise samples,"
PROMISES = {
    "holm": f"{SURE} {TOGETHER}",
    "bonferroni": f"{SURE} {TOGETHER}",
    "kfwer": f"{SURE} at most k - 1 of the certified pixels",
    "naive-pixel": f"{SURE} {TOGETHER}",
    "naive-pattern": f"{SURE} if the image is certified,",
    "nameless": "It promises something.",
}
ONLY_ONE = "α is the probability of an error in one image, not in all of them together."
NOBODY_KNOWS = "Whatever is promised of one image is not promised of all of them together."
ADDED_UP = {
    (0.001, 1): "α = 0.001 is the probability of an error in one image.",
    (
        0.001,
        300,
    ): "α = 0.001 is the probability of an error in one image. Over 300 images it may add up to 0.3.",
    (0.05, 1): "α = 0.05 is the probability of an error in one image.",
    (0.05, 300): "α = 0.05 is the probability of an error in one image. Over 300 images it may add up to 1.",
}
LATTICE, GAUSSIAN = "lattice-255-philox4x64", "philox-numpy-float32"
TERMS = ["The smoothed model", "l2", "Each image by itself", "Stable, not right", "Abstained"]


def sentence(name, own):
    """Return what is promised by one of `CERTIFIERS`, whose pixels have radii of their `own`."""
    described, sure, whom = CERTIFIERS[name]
    if sure is None:
        return (
            f"The certifier {described['name']} knows what it promises, and it is not installed here, or not with "
            "these options. This page cannot say what its certificates guarantee."
        )
    radius = "the pixel’s radius R" if own else "the radius R"
    return (
        f"With probability at least {sure} over the noise that was drawn, for each image by itself: however the image "
        f"is changed, as long as the change has an l2 norm of at most {radius}, the smoothed model gives {whom} the "
        "class that is shown here."
    )


def stated(names, owns, *, images=1, sigmas=(0.25,), noise=LATTICE):
    methods = [{"name": f"m{i}", "certifier": CERTIFIERS[name][0]} for i, name in enumerate(names)]
    identity = {"plan": {"methods": methods, "sigma": list(sigmas)}, "noise": noise}
    return claim(identity, images=images, own_radii={f"m{i}" for i, own in enumerate(owns) if own})


def check_statements(made, names, owns):
    """Assert that each method is promised what it should be, and that no method is named where all promise the same."""
    expected = [sentence(name, own) for name, own in zip(names, owns, strict=True)]
    if len(set(expected)) == 1:
        assert made.statements == (((), expected[0]),)
        return
    told = {method: text for methods, text in made.statements for method in methods}
    assert told == {f"m{i}": text for i, text in enumerate(expected)}
    assert len({text for _, text in made.statements}) == len(made.statements)


@pytest.mark.parametrize("noise", [LATTICE, GAUSSIAN])
@pytest.mark.parametrize("name", CERTIFIERS)
def test_one_method_promises_this(name, noise):
    for own, images, sigmas in itertools.product((False, True), (1, 300), ((0.25,), (0.25, 0.5))):
        made = stated([name], [own], images=images, sigmas=sigmas, noise=noise)
        check_statements(made, [name], [own])
        scope = dict(made.scope)
        terms = list(TERMS)
        if len(sigmas) > 1:
            terms.insert(3, "Each setting by itself")
            assert scope["Each setting by itself"] == (
                "Every method and σ has an α of its own. Picking the best of them afterwards is not covered."
            )
        if noise == GAUSSIAN:
            terms.insert(0, "Gaussian noise in floating point")
            assert "A network that makes use of it is certified falsely" in scope[terms[0]]
        assert [term for term, _ in made.scope] == terms
        described, sure, _ = CERTIFIERS[name]
        if sure is None:
            assert scope["Each image by itself"] == NOBODY_KNOWS
        elif "alpha" in described:
            assert scope["Each image by itself"] == ADDED_UP[described["alpha"], images]
        else:
            assert scope["Each image by itself"] == ONLY_ONE
        own_words = PROMISES.get(described["name"])
        assert [name for name, _ in made.promises] == ([described["name"]] if own_words else [])
        assert all(text.startswith(own_words) for _, text in made.promises)


@pytest.mark.parametrize("first", CERTIFIERS)
def test_two_methods_promise_each_for_itself(first):
    for second, own, other in itertools.product(CERTIFIERS, (False, True), (False, True)):
        names, owns = [first, second], [own, other]
        made = stated(names, owns, images=300)
        check_statements(made, names, owns)
        scope = dict(made.scope)
        assert "Each setting by itself" in scope
        alphas = {CERTIFIERS[name][0].get("alpha") for name in names}
        known = [CERTIFIERS[name][1] is not None for name in names]
        if not any(known):
            expected = NOBODY_KNOWS
        elif all(known) and len(alphas) == 1 and None not in alphas:
            expected = ADDED_UP[alphas.pop(), 300]
        else:
            expected = ONLY_ONE
        assert scope["Each image by itself"] == expected, names
        named = dict.fromkeys(CERTIFIERS[name][0]["name"] for name in names)
        assert [name for name, _ in made.promises] == [name for name in named if name in PROMISES]


def test_methods_that_promise_the_same_share_a_sentence_among_others():
    names = ["holm", "kfwer 5", "bonferroni", "kfwer 1", "naive-pixel", "gone"]
    made = stated(names, [False, False, False, False, True, False])
    assert [methods for methods, _ in made.statements] == [("m0", "m2", "m3"), ("m1",), ("m4",), ("m5",)]


@pytest.mark.parametrize(
    ("alpha", "sure"),
    [
        (0.001, "99.9 %"),
        (0.1, "90 %"),
        (0.07, "93 %"),
        (0.5, "50 %"),
        (1 / 3, "66.66666666 %"),
        (0.001 / 3, "99.96666666 %"),
        (0.123456789, "87.6543211 %"),
        (1e-9, "99.9999999 %"),
        (1.25e-9, "99.99999987 %"),
        (1e-10, "1 − 1e-10"),
        (1.234562e-10, "1 − 1.234562e-10"),
        (1e-30, "1 − 1e-30"),
        (0.9999, "0.01 %"),
    ],
)
def test_a_promise_is_never_said_to_be_surer_than_it_is(alpha, sure):
    described = {"name": "holm", **BASE, "alpha": alpha, "tau": 0.75}
    identity = {
        "plan": {"methods": [{"name": "m", "certifier": described}], "sigma": [0.25]},
        "noise": LATTICE,
    }
    ((_, text),) = claim(identity, images=1, own_radii=()).statements
    assert text.startswith(f"With probability at least {sure} over")
    if sure.endswith("%"):
        assert Decimal(sure.split()[0]) <= 100 * (1 - Decimal(repr(alpha)))


@pytest.mark.parametrize(
    ("alpha", "images", "text"),
    [
        (0.001, 0, "α = 0.001 is the probability of an error in one image."),
        (
            0.07,
            3,
            "α = 0.07 is the probability of an error in one image. Over 3 images it may add up to 0.21.",
        ),
        (0.0011, 1001, "Over 1001 images it may add up to 1."),
        (0.001, 333, "Over 333 images it may add up to 0.333."),
        (
            0.000123,
            101,
            "Over 101 images it may add up to 0.0125.",
        ),
        (
            0.001 / 3,
            100,
            "0.000333334 is the probability of an error in one image. Over 100 images it may add up to 0.0334.",
        ),
        (
            1e-10,
            21,
            "α = 1e-10 is the probability of an error in one image. Over 21 images it may add up to 2.1e-09.",
        ),
    ],
)
def test_what_alphas_add_up_to_is_never_said_to_be_less_than_it_is(alpha, images, text):
    described = {"name": "holm", **BASE, "alpha": alpha, "tau": 0.75}
    identity = {
        "plan": {"methods": [{"name": "m", "certifier": described}], "sigma": [0.25]},
        "noise": LATTICE,
    }
    assert dict(claim(identity, images=images, own_radii=()).scope)["Each image by itself"].endswith(text)
