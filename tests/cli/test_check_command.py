"""`smoothseg check`: every promise by name, and each broken one explained."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from scipy import stats

from smoothseg import cli as command_line
from smoothseg.certificates.certificate import Certificate, Verdict
from smoothseg.components.discovery import KINDS
from smoothseg.components.plugins import plugins
from smoothseg.data import checks as core
from smoothseg.errors import PluginError
from smoothseg.smoothing.votes import Votes
from smoothseg.testing import (
    CountingDenoiser,
    ImageDataset,
    ThresholdSegmenter,
    check_certifier,
    check_dataset,
    check_segmenter,
    checks,
)


@pytest.fixture
def check(invoke):
    """Return a function that runs `smoothseg check WORDS`."""
    return functools.partial(invoke, "check")


def statuses(output):
    """Return the first word of the line of each check, by the check's name."""
    lines = [line for line in output.splitlines() if line[:1] not in ("", " ")]
    return {
        line[8:23].strip(): line[:8].strip() for line in lines if line.split()[0] in ("ok", "FAILED", "-")
    }


@pytest.fixture
def broken(monkeypatch):
    """Offer a component made on the spot under the name `broken`; returns a function (kind, component or error)."""

    def offer(kind, made):
        @dataclasses.dataclass(frozen=True)
        class Recipe:
            """A component of a test."""

            def load(self, device=None):
                if isinstance(made, Exception):
                    raise made
                return made

        registry = plugins()[kind]
        registry.register("broken", Recipe, "a-plugin (a-distribution 1.0)")
        registries.append(registry)

    registries = []
    yield offer
    for registry in registries:
        del registry._entries["broken"]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("denoiser", "toy-blur"),
        ("segmenter", "toy-threshold:threshold=0.25"),
        ("certifier", "holm"),
        ("certifier", "naive-pattern"),
        ("dataset", "streets:count=2,height=16,width=20"),
    ],
)
@pytest.mark.usefixtures("toys")
def test_what_keeps_its_promises_passes_every_check(check, kind, spec):
    result = check(kind, spec)
    assert result.exit_code == 0, result.output
    assert set(statuses(result.output).values()) == {"ok"}
    assert (
        f"{kind} {spec}: no broken promise found in {len(statuses(result.output))} checks." in result.output
    )


class Averaging(CountingDenoiser):
    """Breaks one promise: subtracts the mean of the whole batch."""

    def denoise(self, noisy, sigma, *, seeds):
        return noisy - noisy.mean()


class Cutting(CountingDenoiser):
    """Returns one column too few."""

    def denoise(self, noisy, sigma, *, seeds):
        return noisy[..., :-1]


class Raising(CountingDenoiser):
    """Cannot work on odd sizes."""

    def denoise(self, noisy, sigma, *, seeds):
        if noisy.shape[-1] % 2:
            raise RuntimeError("sides must be even\nsecond line")
        return noisy


def test_a_broken_promise_is_explained_and_the_others_are_checked(check, broken):
    broken("denoiser", Averaging())
    result = check("denoiser", "broken")
    assert result.exit_code == 1
    found = statuses(result.output)
    assert [name for name, status in found.items() if status == "FAILED"] == ["rows"]
    text = " ".join(result.output.split())
    assert "row 0 depends on the batch it is in (by up to 0" in text
    assert "Why it matters: The votes of an image are independent samples only if" in text
    assert "Error: 1 of 8 checks of denoiser broken failed" in text
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_behind_a_vital_check_nothing_is_checked(check, broken):
    broken("denoiser", Cutting())
    found = statuses(check("denoiser", "broken").output)
    assert found == {
        **dict.fromkeys(("protocol", "digests"), "ok"),
        "shape": "FAILED",
        **dict.fromkeys(("dtype", "device", "finite", "deterministic", "rows"), "-"),
    }


def test_what_a_component_raises_is_a_finding(check, broken):
    broken("denoiser", Raising())
    result = check("denoiser", "broken")
    assert result.exit_code == 1
    assert "it raised RuntimeError: sides must be even" in result.output
    assert "second line" not in result.output


def test_a_missing_method_is_named(check, broken):
    broken("segmenter", object())
    result = check("segmenter", "broken")
    assert "object is no smoothseg.Segmenter: it lacks classes, digests, segment" in result.output


def test_a_component_that_cannot_be_loaded_is_an_error_with_its_owner(check, broken):
    broken("dataset", KeyError("root"))
    result = check("dataset", "broken")
    assert isinstance(result.exception, PluginError)
    assert str(result.exception) == (
        "dataset 'broken' of a-plugin (a-distribution 1.0) could not be loaded: KeyError: 'root'"
    )


def test_the_tolerance_is_the_users(check, broken):
    class Slightly(ThresholdSegmenter):
        def segment(self, images):
            return super().segment(images) + 1e-4 * len(images)

    broken("segmenter", Slightly())
    assert check("segmenter", "broken").exit_code == 1
    assert check("segmenter", "broken", "--tolerance", 0.001).exit_code == 0


def test_so_many_images_are_read_as_are_asked_for(check, broken):
    images = [np.zeros((4, 5, 3), dtype=np.uint8)] * 5
    labels = [np.zeros((4, 5), dtype=np.uint8)] * 4 + [np.full((4, 5), 7, dtype=np.uint8)]
    broken("dataset", ImageDataset(images, labels))
    assert check("dataset", "broken").exit_code == 0
    result = check("dataset", "broken", "--images", 5)
    assert result.exit_code == 1
    assert "image-4: label 7 at 20 pixels is neither one of the 2 classes nor 255" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["denoiser", "amd"], "unknown denoiser 'amd'"),
        (["denoiser", "adm:stepz=1"], "Did you mean 'steps'?"),
        (["denoiser", "adm", "--device", "tpu"], "device must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        (["segmenter", "hrnet:weights=absent.pth"], "absent.pth does not exist"),
        (["denoizer", "adm"], "denoizer"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["check", *arguments])
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert message in line


@pytest.mark.parametrize("arguments", [["denoiser", "amd"], ["segmenter", "hrnet:weights=street"]])
def test_an_unknown_name_is_told_before_torch_is_imported(arguments):
    code = (
        "import sys; from smoothseg.cli import main\n"
        f"try: main(['check', *{arguments}])\n"
        "except SystemExit as end: assert end.code == 2 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


# The checks of certifiers and datasets; those of denoisers and segmenters are tested in test_testing.py.


def certifier_with(**changes):
    """Return Holm's certifier with some of its methods replaced by functions of (original result, arguments)."""
    original = plugins()["certifier"].recipe("holm").load()

    class Changed:
        counted, samples, check = original.counted, original.samples, staticmethod(original.check)

        def certify(self, draw):
            made = original.certify(draw)
            return changes["certify"](made) if "certify" in changes else made

        def decide(self, hits, trials, *, sigma):
            made = original.decide(hits, trials, sigma=sigma)
            return changes["decide"](made) if "decide" in changes else made

    for name in ("counted", "samples"):
        if name in changes:
            setattr(Changed, name, changes[name])
    return Changed()


def everything(certificate):
    verdict = dataclasses.replace(certificate.verdict, certified=np.ones_like(certificate.certified))
    return dataclasses.replace(certificate, verdict=verdict)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counted": "votes"}, "counted is 'votes'"),
        ({"samples": 109}, "109"),
        ({"certify": lambda made: None}, "expected a Certificate, got NoneType"),
        (
            {"certify": lambda made: dataclasses.replace(made, prediction=made.prediction + 1)},
            "did not predict",
        ),
        ({"certify": lambda made: dataclasses.replace(made, hits=made.hits // 2)}, "hits: expected 100"),
        ({"certify": everything}, "labels were drawn uniformly: 15 of 15, expected 0"),
        ({"decide": lambda made: None}, "expected a Verdict, got NoneType"),
        (
            {"decide": lambda made: dataclasses.replace(made, certified=~made.certified)},
            "contradicts certify",
        ),
        ({"decide": lambda made: dataclasses.replace(made, radius=2 * made.radius)}, "another radius"),
    ],
)
def test_a_certifier_that_breaks_a_promise_is_found(changes, message):
    with pytest.raises((AssertionError, ValueError), match=message):
        check_certifier(certifier_with(**changes))


def test_the_certifier_that_these_break_keeps_its_promises():
    check_certifier(certifier_with())


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


class OneDraw:
    """The naive mistake: selects and tests on one draw."""

    counted, samples, n0 = "pixel", 100, 10
    honest = staticmethod(plugins()["certifier"].recipe("holm").load().decide)

    def check(self, pixels):
        pass

    def certify(self, draw):
        votes = draw(100)
        return self.made(votes.mode(), votes.hits(votes.mode()), 100, draw.sigma)

    def made(self, prediction, hits, trials, sigma):
        verdict = self.decide(hits, trials, sigma=sigma)
        return Certificate(prediction.astype(np.uint8), hits, trials, verdict)

    def decide(self, hits, trials, *, sigma):
        return self.honest(hits, trials, sigma=sigma)


class Decoy(OneDraw):
    """The same behind a first draw that nothing depends on."""

    samples = 110

    def certify(self, draw):
        draw(10)
        return super().certify(draw)


class Pooled(OneDraw):
    """Selects on one draw, and counts its votes again in the test; another draw hides it in the number of samples."""

    samples = 110

    def certify(self, draw):
        draw(10)
        first = draw(10)
        prediction = first.mode()
        hits = draw(90).hits(prediction) + first.hits(prediction)
        return self.made(prediction, hits, 100, draw.sigma)


class Pretends(Decoy):
    """Says that the trials select, and draws others beside them."""

    selects_from_trials = True


class Miscounted(OneDraw):
    """Says that the trials select, and tests the votes of the second class."""

    selects_from_trials = True

    def certify(self, draw):
        votes = draw(100)
        others = np.minimum(votes.mode() + 1, 3)
        unanimous = votes.hits(votes.mode()) == 100
        hits = np.where(unanimous, 100, votes.hits(others)).astype(np.int32)
        return self.made(votes.mode(), hits, 100, draw.sigma)


class Disjoint(OneDraw):
    """Selects on two draws of another size, and tests on two others: honest."""

    samples = 128

    def certify(self, draw):
        classes = len(draw(3).counts)
        votes = Votes(classes, draw.size, capacity=5)
        draw(5, into=votes)
        prediction = votes.mode()
        hits = draw(60).hits(prediction) + draw(60).hits(prediction)
        return self.made(prediction, hits, 120, draw.sigma)


class OneBatch(OneDraw):
    """Draws once, and keeps the samples apart within the draw: honest."""

    samples = 110

    def certify(self, draw):
        maps = []
        draw(110, into=types.SimpleNamespace(add=maps.append))
        labels = torch.cat(maps)
        prediction = labels[:10].mode(dim=0).values
        hits = (labels[10:] == prediction).sum(dim=0).int().numpy()
        return self.made(prediction.numpy(), hits, 100, draw.sigma)


class Majority(Disjoint):
    """Certifies every class with more than half of the votes, within 10 sigma."""

    factor = 10.0

    def decide(self, hits, trials, *, sigma):
        return Verdict(2 * hits > trials, self.factor * sigma)


class Modest(Majority):
    """The same within a radius that is small, but more than half of the votes tell."""

    factor = 0.25


class OwnMode(Disjoint):
    """Gives each pixel the radius of its share of votes, without a test."""

    def decide(self, hits, trials, *, sigma):
        share = np.minimum(hits / trials, 1 - 1e-3)
        radii = (sigma * stats.norm.ppf(share)).astype(np.float32)
        certified = hits > 0.9 * trials
        return Verdict(certified, float(radii[certified].min(initial=9)), np.where(certified, radii, np.nan))


class Generous(Disjoint):
    """States the largest radius of its pixels as the image's."""

    def decide(self, hits, trials, *, sigma):
        made = plugins()["certifier"].recipe("naive-pixel").load().decide(hits, trials, sigma=sigma)
        return dataclasses.replace(made, radius=float(np.nanmax(made.radii, initial=0)))


class Constant(Disjoint):
    """Has one radius for every noise, right at sigma 0.25."""

    def decide(self, hits, trials, *, sigma):
        return dataclasses.replace(self.honest(hits, trials, sigma=sigma), radius=0.16862)


class Target(Disjoint):
    """Tests one given radius at every noise, as far as it can: honest."""

    def decide(self, hits, trials, *, sigma):
        p = stats.binom.sf(hits - 1, trials, phi(0.1 / sigma))
        return Verdict(p <= 0.001 / hits.size, 0.1)


class Forgetful(Disjoint):
    """Decides rightly, but certifies with the radius of another noise."""

    def made(self, prediction, hits, trials, sigma):
        return super().made(prediction, hits, trials, 0.25)


class Unlimited(Disjoint):
    """Certifies without a radius."""

    def decide(self, hits, trials, *, sigma):
        return dataclasses.replace(super().decide(hits, trials, sigma=sigma), radius=math.nan)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (OneDraw, "disjoint", "all 100 samples that certify drew are stated as trials"),
        (Decoy, "disjoint", "a class seen in draw 2 alone was selected and has 100 hits, expected 0"),
        (Pooled, "disjoint", "a class seen in draw 2 alone was selected and has 10 hits, expected 0"),
        (Pretends, "disjoint", "selects_from_trials is true, but 100 of 110 samples are stated as trials"),
        (
            Miscounted,
            "disjoint",
            "the hits are not the votes that the predicted class has .*: 1\\d of 15 pixels",
        ),
        (
            Majority,
            "radius",
            "within 2.5 at sigma 0.25, which says that the class has a probability above 1;",
        ),
        (Modest, "radius", "probability above 0.5987; at that probability so many hits come up in 9"),
        (OwnMode, "radius", "hits are certified within"),
        (Generous, "radius", "the radius of the image, .* is above that of a certified pixel"),
        (Unlimited, "radius", "a certified pixel has the radius nan"),
        (Constant, "scales", "at sigma 0.05, which says that the class has a probability above 0.99"),
        (
            Forgetful,
            "scales",
            "certify at sigma 0.05: expected the radius 0.03372.* that decide gives .* got 0.168",
        ),
    ],
)
def test_a_certifier_that_claims_more_than_its_counts_show_is_found(kind, name, message):
    failures = {check.name: check.failure() for check in checks("certifier", kind())}
    assert re.search(message, failures.pop(name) or "")
    assert {other for other, failure in failures.items() if failure} <= {"scales", "errors"}


@pytest.mark.parametrize("kind", [Disjoint, OneBatch, Target])
def test_an_honest_certifier_is_free_to_draw_as_it_likes(kind):
    check_certifier(kind())


COMMON = ("holm", "bonferroni", "kfwer", "naive-pixel", "naive-pattern", "holm:taus=0.6,0.75,0.9")
"""Checked with another n0 in `tests/plugins/segcertify` each time."""


@pytest.mark.parametrize(
    "spec",
    [
        *(pytest.param(spec, marks=pytest.mark.slow) for spec in COMMON),
        *(
            pytest.param(f"naive-pixel:radius={radius}", marks=pytest.mark.slow)
            for radius in ("common", "fixed")
        ),
        *("kfwer:k=15,alpha=0.05", "holm:n0=1,n=2000,alpha=0.1,tau=0.5", "holm:n=20,tau=0.99"),
    ],
)
def test_no_certifier_that_comes_along_is_suspected(spec):
    assert [
        check.failure() for check in checks("certifier", plugins()["certifier"].recipe(spec).load())
    ] == 10 * [None]


class Drifting(ImageDataset):
    """Another image at every reading."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        self.images[index][0, 0, 0] += 1
        return dataclasses.replace(sample, image=sample.image.copy())


class Empty(ImageDataset):
    """One image without a pixel."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return dataclasses.replace(sample, image=sample.image[:0]) if index else sample


def dataset(labels=None, kind=ImageDataset, **options):
    images = [np.zeros((4, 5, 3), dtype=np.uint8), np.zeros((6, 3, 3), dtype=np.uint8)]
    return kind(images, labels or [None, np.zeros((6, 3), dtype=np.uint8)], **options)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (dataset(ignore=1), "ignore=1 must be no class index and at most 255"),
        (dataset(ignore=256), "ignore=256"),
        (
            dataset(labels=[None, np.zeros((6, 4), dtype=np.uint8)]),
            r"expected uint8 labels \(6, 3\), got uint8 \(6, 4\)",
        ),
        (
            dataset(labels=[None, np.full((6, 3), 9, dtype=np.uint8)]),
            "label 9 at 18 pixels is neither one of the 2 classes nor 255",
        ),
        (
            dataset(labels=[None, np.zeros((6, 3), dtype=np.int64)]),
            r"expected uint8 labels \(6, 3\), got int64",
        ),
        (dataset(kind=Drifting), "image-0: reading it twice gives two images"),
        (
            dataset(kind=type("Slash", (ImageDataset,), {"keys": ("a/b", "c")})),
            "dataset Slash: key 'a/b' is not fit for a file name",
        ),
        (dataset(kind=type("Hidden", (ImageDataset,), {"keys": (".a", "b")})), "key '.a' is not fit"),
        (dataset(kind=type("Above", (ImageDataset,), {"keys": ("a", "..")})), "key '..' is not fit"),
        (
            dataset(kind=type("Cases", (ImageDataset,), {"keys": ("a", "A")})),
            "'a' and 'A' name the same file",
        ),
        (dataset(kind=Empty), r"image-1: the image has no pixels"),
        (
            dataset(kind=type("Twice", (ImageDataset,), {"keys": ("a", "a")})),
            "keys 'a' and 'a' name the same file",
        ),
        (
            dataset(kind=type("Few", (ImageDataset,), {"keys": ("a",)})),
            "dataset Few has 2 samples and 1 keys",
        ),
        (dataset(kind=type("Grey", (ImageDataset,), {"palette": ()})), "0 colours for 2 classes"),
    ],
)
def test_a_dataset_that_breaks_a_promise_is_found(made, message):
    check_dataset(dataset())
    with pytest.raises(AssertionError, match=message):
        check_dataset(made)


@pytest.mark.parametrize(
    "names", [(".a", "b"), ("a", ".."), ("a", "A"), ("a", "a/b"), ("a-1.b_c", "_"), ("é", "b")]
)
def test_the_keys_that_pass_are_those_that_a_run_takes(names):
    made = dataset(kind=type("Named", (ImageDataset,), {"keys": names}))
    try:
        core.check_dataset(made)
        expected = None
    except PluginError as refused:
        expected = str(refused)
    (check,) = [check for check in checks("dataset", made) if check.name == "keys"]
    assert check.failure() == expected


def test_class_names_are_a_tuple_of_names():
    class Listed(ThresholdSegmenter):
        classes = ["dark", "bright"]  # noqa: RUF012

    with pytest.raises(AssertionError, match="expected a tuple of names"):
        check_segmenter(Listed())


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_name_of_its_own_a_promise_and_a_reason(kind):
    made = {
        "denoiser": CountingDenoiser(),
        "segmenter": ThresholdSegmenter(),
        "certifier": plugins()["certifier"].recipe("holm").load(),
        "dataset": dataset(),
    }[kind]
    every = checks(kind, made, device=torch.device("cpu"))
    assert len({check.name for check in every}) == len(every) >= 6
    for check in every:
        assert len(check.name) < 15
        assert len(check.promise) <= 80 - 23
        assert check.why.endswith(".")
        assert check.failure() is None


def test_there_are_no_checks_of_what_is_no_kind():
    with pytest.raises(ValueError, match="expected a kind of component, got 'network'"):
        checks("network", None)
