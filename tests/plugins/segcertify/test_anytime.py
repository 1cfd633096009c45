"""The certifier that may stop at any time: its rules, going on, and that it is right whenever it stops."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import smoothseg
from smoothseg.certificates import recheck
from smoothseg.components.plugins import plugins
from smoothseg.testing import LabelDraw
from smoothseg.testing.moments import ever_wrong
from smoothseg_segcertify import eprocesses
from smoothseg_segcertify.selecting import MostFrequent


def load(spec: str) -> Any:
    return plugins()["certifier"].recipe(spec).load()


def votes(samples: int, *, size: tuple[int, int] = (8, 10), seed: int = 0) -> npt.NDArray[np.int64]:
    """Return label maps of two classes; class 1 has a probability from 0.5 to 1, growing from pixel to pixel."""
    sure = np.linspace(0.5, 1.0, size[0] * size[1]).reshape(size)
    return (np.random.Generator(np.random.Philox(seed)).random((samples, *size)) < sure).astype(np.int64)


def certified(spec: str, labels: npt.NDArray[np.int64]) -> smoothseg.Certificate:
    made: smoothseg.Certificate = load(spec).certify(LabelDraw(labels, classes=2))
    return made


def test_it_stops_after_max_n_and_says_so() -> None:
    made = certified("anytime:max_n=310,block=50", votes(320))
    assert made.trials == 310
    assert made.stopping is not None
    assert made.stopping.reason == "max_n"
    assert [look.trials for look in made.stopping.looks] == [50, 100, 150, 200, 250, 300]


def test_the_looks_are_what_the_counts_decide_at_that_moment() -> None:
    labels = votes(510)
    certifier = load("anytime:max_n=500,block=50,hopeless=0.001")
    made = certifier.certify(LabelDraw(labels, classes=2))
    prediction = (labels[:10].mean(axis=0) > 0.5).astype(np.int64)
    assert (made.prediction == prediction).all()
    for look in made.stopping.looks:
        hits = (labels[10 : 10 + look.trials] == prediction).sum(axis=0).astype(np.int32)
        assert look.certified == certifier.decide(hits, look.trials, sigma=0.25).certified.sum()
        assert look.hopeless == eprocesses.hopeless(look.trials, 0.75, 0.001)[hits].sum()
    assert made.stopping.looks[-1].certified > 0
    assert made.stopping.looks[-1].hopeless > 0


def test_a_share_stops_at_the_first_look_that_has_it() -> None:
    made = certified("anytime:block=20,share=0.3", votes(1010))
    assert made.stopping is not None
    assert made.stopping.reason == "share"
    *before, last = made.stopping.looks
    assert last.share >= 0.3
    assert all(look.share < 0.3 for look in before)
    assert made.trials == last.trials < 1000


def test_a_small_gain_stops_but_not_before_that_share_is_certified() -> None:
    made = certified("anytime:block=20,gain=0.02", votes(1010))
    assert made.stopping is not None
    assert made.stopping.reason == "gain"
    looks = made.stopping.looks
    assert looks[0].certified == 0
    gains = [b.share - a.share for a, b in itertools.pairwise(looks) if a.share >= 0.02]
    assert gains[-1] < 0.02
    assert all(gain >= 0.02 for gain in gains[:-1])


def test_it_stops_when_nearly_all_pixels_are_certified_or_hopeless() -> None:
    labels = votes(4010)
    labels[:, :4] = (np.random.default_rng(0).random((4010, 4, 10)) < 0.3).astype(int)  # class 0, at 0.7
    labels[:, 4:] = 1
    made = certified("anytime:block=100,max_n=4000,hopeless=0.1", labels)
    assert made.stopping is not None
    assert made.stopping.reason == "hopeless"
    last, before = made.stopping.looks[-1], made.stopping.looks[-2]
    assert last.certified == 40
    assert last.certified + (last.hopeless or 0) >= 72
    assert before.certified + (before.hopeless or 0) < 72


def test_hopeless_with_several_tau_waits_until_every_tau_is_settled() -> None:
    labels = np.ones((2010, 4, 4), np.int64)
    labels[:, 0] = np.random.default_rng(1).random((2010, 4)) < 0.8  # passes 0.6, never 0.9
    one = certified("anytime:block=25,max_n=2000,hopeless=0.01,tau=0.6", labels)
    two = certified("anytime:block=25,max_n=2000,hopeless=0.01,taus=0.6,0.9", labels)
    assert one.stopping is not None
    assert two.stopping is not None
    assert one.stopping.reason == two.stopping.reason == "hopeless"
    radii = two.verdict.radii
    assert radii is not None
    assert (radii[0] < radii[1]).all()
    assert two.certified.all()


def test_minutes_stop_an_image_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr("smoothseg_segcertify.anytime.time.monotonic", lambda: float(next(clock)))
    made = certified("anytime:block=25,minutes=0.5", votes(1010))
    assert made.stopping is not None
    assert made.stopping.reason == "minutes"
    assert [look.trials for look in made.stopping.looks] == [25, 50, 75]  # 10 s, 20 s, 30 s


def test_the_verdict_follows_from_the_counts_whatever_stopped_it() -> None:
    for spec in (
        "anytime:max_n=300",
        "anytime:gain=0.05",
        "anytime:share=0.2",
        "anytime:taus=0.6,0.75,max_n=200",
    ):
        made = certified(spec, votes(1010))
        again = load(spec).decide(made.hits, made.trials, sigma=0.25)
        assert (again.certified == made.certified).all(), spec
        assert again.radius == made.radius, spec


@pytest.mark.parametrize("asked", [1, 24, 25, 26, 137, 299])
def test_asked_to_stop_it_certifies_what_was_drawn_and_goes_on_to_the_same_certificate(asked: int) -> None:
    labels = votes(310)
    certifier = load("anytime:max_n=300,hopeless=0.01")
    whole = certifier.certify(LabelDraw(labels, classes=2))
    draw = LabelDraw(labels, classes=2)
    draw.stop_at = 10 + asked
    part = certifier.certify(draw)
    assert part.trials == asked
    assert part.stopping.reason == "interrupted"
    assert (part.hits == (labels[10 : 10 + asked] == part.prediction).sum(axis=0)).all()
    assert part.stopping.looks == tuple(look for look in whole.stopping.looks if look.trials <= asked)
    again = certifier.resume(LabelDraw(labels, classes=2, first=draw.drawn), part)
    assert (again.hits == whole.hits).all()
    assert again.stopping == whole.stopping
    assert (again.certified == whole.certified).all()


def test_other_rules_take_a_finished_certificate_further() -> None:
    labels = votes(1010)
    first = certified("anytime:max_n=130", labels)
    more = load("anytime:max_n=1000,gain=0.005").resume(LabelDraw(labels, classes=2, first=140), first)
    whole = certified("anytime:max_n=1000,gain=0.005", labels)
    assert more.stopping == whole.stopping
    assert (more.hits == whole.hits).all()
    with pytest.raises(smoothseg.ConfigError, match="there are 130 samples already"):
        load("anytime:max_n=100").resume(LabelDraw(labels, classes=2, first=140), first)


def test_rules_that_are_met_already_draw_nothing() -> None:
    labels = votes(1010)
    first = certified("anytime:max_n=200", labels)
    draw = LabelDraw(labels, classes=2, first=210)
    more = load("anytime:share=0.05").resume(draw, first)
    assert draw.drawn == 210
    assert more.trials == 200
    assert more.stopping.reason == "share"


def test_it_certifies_nearly_what_holm_does_with_the_same_samples() -> None:
    labels = votes(1010, size=(40, 50))
    for n in (100, 300, 1000):
        ours, holms = (certified(spec, labels).certified for spec in (f"anytime:max_n={n}", f"holm:n={n}"))
        assert not (ours & ~holms).any()
        assert 0.8 * holms.sum() < ours.sum() <= holms.sum()


def test_k_tolerates_wrong_pixels_and_certifies_more() -> None:
    recipe = plugins()["certifier"].recipe("anytime:k=5")
    assert recipe.tolerates == 4
    assert recipe.load().tolerates == 4
    labels = votes(210, size=(20, 30))
    one, five = (certified(f"anytime:max_n=200,k={k}", labels).certified for k in (1, 5))
    assert five.sum() > one.sum()
    assert not (one & ~five).any()


def test_the_fewest_samples_are_never_undercut() -> None:
    for spec in ("anytime:gain=0.5", "anytime:share=0.001", "anytime:hopeless=0.9", "anytime:max_n=200"):
        certifier = load(spec)
        for labels in (np.ones((1010, 1, 1), np.int64), np.zeros((1010, 3, 3), np.int64), votes(1010)):
            draw = LabelDraw(labels, classes=2)
            certifier.certify(draw)
            assert certifier.fewest <= draw.drawn <= certifier.samples, spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("anytime:max_n=0", "max_n must be at least 1"),
        ("anytime:n0=0", "n0 must be at least 1"),
        ("anytime:block=0", "block must be at least 1"),
        ("anytime:k=0", "k must be at least 1"),
        ("anytime:k=2,taus=0.6,0.75", "k and taus exclude each other"),
        ("anytime:tau=0.6,taus=0.6,0.75", "tau and taus exclude each other"),
        ("anytime:gain=0", "gain must be a share between 0 and 1"),
        ("anytime:share=1", "share must be a share between 0 and 1"),
        ("anytime:hopeless=-0.1", "hopeless must be a share between 0 and 1"),
        ("anytime:minutes=0", "minutes must be positive"),
        ("anytime:minutes=nan", "minutes must be positive"),
        ("anytime:alpha=0", "alpha must be between 0 and 1"),
        ("anytime:tau=0.4", "tau must be at least 0.5"),
    ],
)
def test_options_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(smoothseg.ConfigError, match=message):
        load(spec)


def test_a_max_n_that_can_certify_nothing_is_refused_with_the_least_that_can() -> None:
    with pytest.raises(smoothseg.NothingCertifiableError, match="smallest max_n that can is 71"):
        load("anytime:max_n=70").check(360 * 480)
    load("anytime:max_n=71").check(360 * 480)
    with pytest.raises(smoothseg.ConfigError, match="k=9 exceeds the 4 pixels"):
        load("anytime:k=9").check(4)


@pytest.mark.parametrize(
    ("alpha", "moments"),
    [(0.05, 300), *(pytest.param(alpha, 2000, marks=pytest.mark.slow) for alpha in (0.05, 0.001))],
)
def test_whoever_stops_at_the_worst_moment_is_still_held_to_alpha_and_with_holm_is_not(
    alpha: float, moments: int
) -> None:
    """Exact: the chance that a pixel of probability tau is certified at one of the first trials at least."""
    ours, holms = (
        ever_wrong(load(spec), moments, doubtful=1, certain=0, allowed=0)
        for spec in (f"anytime:max_n=2000,alpha={alpha}", f"holm:alpha={alpha}")
    )
    assert 0.5 * alpha < ours <= alpha
    assert holms > 4 * alpha


def stopped_at_the_worst_moment(
    certifier: Any, hits: npt.NDArray[np.int32], *, wrong: int = 1
) -> npt.NDArray[np.bool_]:
    """Return which images (images, trials, pixels) ever have `wrong` pixels certified."""
    ever = np.zeros(len(hits), dtype=bool)
    for trials in range(1, hits.shape[1] + 1):
        now = hits[:, trials - 1]
        best = np.sort(now, axis=1)[:, -wrong]
        for image in np.flatnonzero(~ever & (best > 0.75 * trials)):
            made = certifier.decide(now[image][None], trials, sigma=0.25).certified
            ever[image] = np.count_nonzero(made) >= wrong
    return ever


def adversary(kind: str, images: int, trials: int, pixels: int) -> npt.NDArray[np.int32]:
    """Return hits (images, trials, pixels) so far, of classes of probability 0.75 at every pixel."""
    generator = np.random.Generator(np.random.Philox(key=[3, len(kind)]))
    shape = (images, trials, 1 if kind == "identical" else pixels)
    shown = generator.random(shape) < 0.75
    if kind == "correlated":  # half of the samples show all pixels by one coin
        together = generator.random((images, trials, 1)) < 0.5
        shown = np.where(together, generator.random((images, trials, 1)) < 0.75, shown)
    hits: npt.NDArray[np.int32] = (
        np.broadcast_to(shown, (images, trials, pixels)).cumsum(axis=1).astype(np.int32)
    )
    return hits


@pytest.mark.parametrize("kind", ["independent", "identical", "correlated"])
def test_an_adversary_who_watches_errs_in_at_most_alpha_of_all_images(kind: str) -> None:
    images, alpha = 200, 0.1
    hits = adversary(kind, images, 120, 4)
    failed = int(stopped_at_the_worst_moment(load(f"anytime:alpha={alpha}"), hits).sum())
    assert failed <= alpha * images + 3 * (alpha * images) ** 0.5
    if kind == "identical":
        watched = int(stopped_at_the_worst_moment(load(f"holm:alpha={alpha}"), hits).sum())
        assert watched >= failed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["independent", "identical", "correlated"])
@pytest.mark.parametrize(("spec", "wrong"), [("", 1), (",k=3", 3), (",taus=0.75,0.9", 1)])
def test_an_adversary_with_2000_looks_errs_in_at_most_alpha_of_all_images(
    kind: str, spec: str, wrong: int
) -> None:
    images, alpha = 1000, 0.1
    failed = int(
        stopped_at_the_worst_moment(
            load(f"anytime:alpha={alpha}{spec}"), adversary(kind, images, 2000, 8), wrong=wrong
        ).sum()
    )
    assert failed <= alpha * images + 3 * (alpha * images) ** 0.5


@pytest.mark.slow
def test_holm_looked_at_2000_times_errs_far_too_often() -> None:
    hits = adversary("independent", 300, 2000, 8)
    failed = int(stopped_at_the_worst_moment(load("holm:alpha=0.1"), hits).sum())
    assert failed > 2 * 0.1 * 300


def test_certificates_go_through_a_file_and_back(tmp_path: Any) -> None:
    from smoothseg.certificates.file import load as read
    from smoothseg.certificates.file import save

    made = certified("anytime:gain=0.02,hopeless=0.01", votes(1010))
    made = dataclasses.replace(made, provenance={"sigma": 0.25, "certifier": {"name": "anytime"}})
    save(made, tmp_path / "one.npz")
    again = read(tmp_path / "one.npz")
    assert again.stopping == made.stopping
    save(again, tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def headed(spec: str, labels: npt.NDArray[np.int64]) -> smoothseg.Certificate:
    """Return a certificate with the header that rechecking reads."""
    made = certified(spec, labels)
    height, width = made.prediction.shape
    header = {
        "sigma": 0.25,
        "certifier": plugins()["certifier"].describe(plugins()["certifier"].recipe(spec)),
        "counted": "pixel",
        "samples": made.trials + 10,
        "image": {"height": height, "width": width},
        "classes": ["a", "b"],
    }
    return dataclasses.replace(made, provenance=header)


def recertified(made: smoothseg.Certificate, spec: str) -> smoothseg.Certificate:
    recipe = plugins()["certifier"].recipe(spec)
    return recheck.recertify(made, recipe.load(), plugins()["certifier"].describe(recipe))


def test_samples_that_ended_by_what_they_showed_are_not_for_a_test_of_fixed_n() -> None:
    stopped = headed("anytime:gain=0.02", votes(1010))
    with pytest.raises(smoothseg.ConfigError, match=r"ended by what they showed \(gain\)"):
        recertified(stopped, f"holm:n={stopped.trials}")
    other = recertified(stopped, "anytime:tau=0.6")
    recheck.verify(other, load("anytime:tau=0.6"))
    assert other.stopping == smoothseg.Stopping("gain", ())
    fixed = recertified(headed("holm:n=200", votes(210)), "anytime")
    recheck.verify(fixed, load("anytime"))
    assert fixed.stopping is None


def test_verify_finds_an_end_that_the_counts_contradict() -> None:
    made = headed("anytime:max_n=200", votes(210))
    recheck.verify(made, load("anytime:max_n=200"))
    looks = made.stopping.looks
    for stopping, message in (
        (None, "does not say why it stopped"),
        (smoothseg.Stopping("gain", (dataclasses.replace(looks[-1], trials=250),)), "looked at 250 trials"),
        (
            smoothseg.Stopping("gain", (dataclasses.replace(looks[-1], certified=0),)),
            "last look has 0 certified",
        ),
    ):
        with pytest.raises(smoothseg.VerificationError, match=message):
            recheck.verify(dataclasses.replace(made, stopping=stopping), load("anytime:max_n=200"))
    holm = headed("holm:n=200", votes(210))
    with pytest.raises(smoothseg.VerificationError, match="decides once"):
        recheck.verify(dataclasses.replace(holm, stopping=made.stopping), load("holm:n=200"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_a_tally_that_goes_on_counts_beyond_the_range_of_the_labels(dtype: torch.dtype) -> None:
    prediction = np.array([[0, 1, 2]])
    tally = MostFrequent().tally(prediction)
    tally.begin(np.array([[595, 40_000, 7]], np.int32), 70_000)
    tally.add(torch.tensor([[[0, 1, 1]], [[0, 0, 2]]], dtype=dtype))
    assert tally.hits.tolist() == [[597, 40_001, 8]]
    assert tally.trials == 70_002


def test_hard_images_are_not_given_up_by_gain_before_anything_is_certified() -> None:
    labels = (np.random.default_rng(0).random((1010, 24, 32)) < 0.85).astype(np.int64)
    made = certified("anytime:gain=0.002", labels)
    assert 1 - made.abstained > 0.5


def test_numbers_that_do_not_fit_the_counts_are_not_written() -> None:
    counts = headed("holm:n=200", votes(210))
    with pytest.raises(smoothseg.ConfigError, match="of 210 samples, the certifier has at most 110"):
        recertified(counts, "anytime:max_n=100")
    with pytest.raises(smoothseg.ConfigError, match=r"counts are of n=200, the certifier has n=100"):
        recertified(counts, "holm:n=100")


@pytest.mark.parametrize(
    "value",
    [
        5,
        [],
        {},
        {"reason": "", "looks": []},
        {"reason": "a\nb", "looks": []},
        {"reason": "x" * 65, "looks": []},
        {"reason": "gain"},
        {"reason": "gain", "looks": {}},
        {"reason": "gain", "looks": [[1, 2]]},
        {"reason": "gain", "looks": [[0, 0, 0]]},
        {"reason": "gain", "looks": [[10, 0, 0], [10, 0, 0]]},
        {"reason": "gain", "looks": [[10, 81, 0]]},
        {"reason": "gain", "looks": [[10, -1, 0]]},
        {"reason": "gain", "looks": [[10, 1, "many"]]},
        {"reason": "gain", "looks": [[10, True, 0]]},
        {"reason": "gain", "looks": [[10, 1.5, 0]]},
    ],
)
def test_an_end_that_is_none_is_no_certificate(value: object, tmp_path: Any) -> None:
    from smoothseg.certificates.file import load as read
    from smoothseg.certificates.file import save

    with pytest.raises(smoothseg.DataError):
        smoothseg.Stopping.from_json(value, pixels=80)
    made = headed("anytime:max_n=200", votes(210))
    header = {**made.provenance, "stopping": value}
    save(dataclasses.replace(made, provenance=header, stopping=None), tmp_path / "one.npz")
    with pytest.raises(smoothseg.DataError):
        read(tmp_path / "one.npz")
