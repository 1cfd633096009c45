import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from smoothseg.certificates import file, recheck
from smoothseg.certificates.certificate import Certificate, Verdict
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, DataError, NothingCertifiableError, PluginError, VerificationError

HITS = np.array([[100, 99, 60], [100, 98, 0]], dtype=np.int32)


def certifier(spec="holm:n=100"):
    return plugins()["certifier"].recipe(spec).load()


def example(spec="holm:n=100", **changes):
    verdict = certifier(spec).decide(HITS, 100, sigma=0.5)
    return Certificate(
        prediction=np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8),
        hits=HITS,
        trials=100,
        verdict=verdict,
        provenance={
            "sigma": 0.5,
            "certifier": {"name": spec.split(":")[0], "n0": 10, "n": 100},
            "image": {"height": 2, "width": 3},
            "samples": 110,
            "classes": ["a", "b", "c"],
        },
        **changes,
    )


def test_saving_and_loading_gives_the_same_certificate(tmp_path):
    first = example(clean=np.zeros((2, 3), dtype=np.uint8))
    file.save(first, tmp_path / "a" / "x.npz")
    second = file.load(tmp_path / "a" / "x.npz")
    for name in ("prediction", "hits", "certified", "clean"):
        assert (getattr(first, name) == getattr(second, name)).all()
    assert (second.trials, second.radius, second.provenance) == (100, first.radius, first.provenance)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.npz"]


def test_the_same_certificate_gives_the_same_bytes(tmp_path):
    for name in ("x", "y"):
        file.save(example(), tmp_path / name)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_wide_labels_and_many_trials_survive(tmp_path):
    wide = Certificate(
        prediction=np.full((1, 2), 300, dtype=np.uint16),
        hits=np.array([[70_000, 3]], dtype=np.int32),
        trials=70_001,
        verdict=Verdict(np.array([[True, False]]), float("nan"), np.array([[0.5, np.nan]], dtype=np.float32)),
        provenance={"sigma": 0.5, "certifier": {"name": "holm"}},
    )
    file.save(wide, tmp_path / "w.npz")
    again = file.load(tmp_path / "w.npz")
    assert again.prediction.tolist() == [[300, 300]]
    assert again.hits.tolist() == [[70_000, 3]]
    assert np.isnan(again.radius)
    np.testing.assert_array_equal(again.verdict.radii, wide.verdict.radii)


def test_verify_accepts_what_follows_from_the_counts():
    recheck.verify(example(), certifier())


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda v: dataclasses.replace(v, certified=~v.certified), "verdicts do not follow"),
        (lambda v: dataclasses.replace(v, radius=v.radius * 1.01), "radius is stored as"),
        (lambda v: dataclasses.replace(v, radii=np.ones((2, 3), dtype=np.float32)), "radius map"),
    ],
)
def test_verify_finds_a_forged_verdict(forge, message):
    forged = dataclasses.replace(example(), verdict=forge(example().verdict))
    with pytest.raises(VerificationError, match=message):
        recheck.verify(forged, certifier())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"certifier": {"name": "holm", "n": 90}}, "100 trials, the certifier says n=90"),
        ({"samples": 90}, "90 samples were drawn for 100 trials"),
        ({"samples": 100}, "100 samples were drawn for 100 trials, with n0=10 for the selection"),
        ({"samples": 500}, "500 samples were drawn"),
        (
            {"samples": 120, "certifier": {"name": "holm", "n": 100}},
            "120 samples were drawn for 100 trials, at most 110",
        ),
        ({"samples": None}, "header lacks samples"),
        ({"image": None}, "header lacks image"),
        ({"image": {"height": 4, "width": 6}}, "the arrays are 2 x 3, the image is 4 x 6"),
        ({"sigma": -0.5}, "sigma is -0.5"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"classes": ["a", "b"]}, "class above the 2"),
    ],
)
def test_verify_finds_a_header_that_contradicts_the_arrays(change, message):
    provenance = {
        key: value for key, value in {**example().provenance, **change}.items() if value is not None
    }
    forged = dataclasses.replace(example(), provenance=provenance)
    with pytest.raises(VerificationError, match=message):
        recheck.verify(forged, certifier())


@pytest.mark.parametrize(
    "change",
    [
        {"image": 5},
        {"sigma": "x"},
        {"sigma": [1]},
        {"classes": 5},
        {"classes": "abc"},
        {"samples": 110.0},
        {"certifier": {"name": "holm", "n0": "10", "n": 100}},
    ],
)
def test_an_odd_header_is_one_line(change):
    forged = dataclasses.replace(example(), provenance={**example().provenance, **change})
    with pytest.raises(VerificationError):
        recheck.verify(forged, certifier())


@pytest.mark.parametrize("odd", [5, "x", [5]])
def test_an_odd_history_is_none(odd):
    assert recheck.history(dataclasses.replace(example(), provenance={"recertified_from": odd})) == []


def test_a_cropped_certificate_is_found():
    """Fewer pixels would pass more easily: the family is every pixel of the image."""
    whole = example()
    verdict = certifier().decide(HITS[:1], 100, sigma=0.5)
    cropped = dataclasses.replace(whole, prediction=whole.prediction[:1], hits=HITS[:1], verdict=verdict)
    with pytest.raises(VerificationError, match="the arrays are 1 x 3, the image is 2 x 3"):
        recheck.verify(cropped, certifier())


def with_radii(spec, change):
    first = example(spec)
    verdict = dataclasses.replace(
        first.verdict,
        radius=change(first.radius),
        radii=None if first.verdict.radii is None else change(first.verdict.radii),
    )
    return dataclasses.replace(first, verdict=verdict)


@pytest.mark.parametrize("spec", ["holm:n=100", "holm:n=100,taus=0.6,0.75", "naive-pixel:n=100"])
def test_radii_may_be_understated_by_rounding_and_never_overstated(spec):
    for factor in (1 + 1e-7, 1 + 9e-7, 1.01, 1 - 1e-5):
        with pytest.raises(VerificationError, match="radius"):
            recheck.verify(with_radii(spec, lambda radius, factor=factor: radius * factor), certifier(spec))
    recheck.verify(with_radii(spec, lambda radius: radius), certifier(spec))


@pytest.mark.parametrize("spec", ["holm:n=100,taus=0.6,0.75", "naive-pixel:n=100"])
def test_a_radius_map_of_an_earlier_version_in_32_bits_is_verified(spec):
    def single(radius):
        if np.ndim(radius) == 0:
            return radius
        nearest = radius.astype(np.float32)
        return np.where(nearest > radius, np.nextafter(nearest, np.float32(-1)), nearest)

    recheck.verify(with_radii(spec, single), certifier(spec))


def test_no_certified_pixel_has_less_than_the_radius_of_the_image():
    for spec in ("holm:n=100,taus=0.6,0.75", "naive-pixel:n=100"):
        made = example(spec)
        assert made.certified.any()
        assert (made.verdict.radii[made.certified] >= made.radius).all()
    assert made.verdict.radii[made.certified].min() == made.radius


def test_recertify_keeps_the_whole_history():
    first = example()
    second = recheck.recertify(first, certifier("bonferroni:tau=0.9"), {"name": "bonferroni", "tau": 0.9})
    third = recheck.recertify(second, certifier("holm:tau=0.6"), {"name": "holm", "tau": 0.6})
    assert recheck.history(first) == []
    assert recheck.history(third) == [first.provenance["certifier"], {"name": "bonferroni", "tau": 0.9}]
    old = dataclasses.replace(first, provenance={**first.provenance, "recertified_from": {"name": "kfwer"}})
    assert recheck.history(old) == [{"name": "kfwer"}]


def test_recertify_refuses_other_samples_and_other_counts():
    with pytest.raises(ConfigError, match="the counts are of n=100, the certifier has n=50"):
        recheck.recertify(example(), certifier("holm:n=50"), {"name": "holm", "n": 50})
    with pytest.raises(ConfigError, match="counts by pixel, the certifier decides by pattern"):
        recheck.recertify(example(), certifier("naive-pattern"), {"name": "naive-pattern"})
    with pytest.raises(NothingCertifiableError):
        recheck.recertify(example(), certifier("holm:tau=0.99"), {"name": "holm"})


def of_one_draw(spec="holm:n0=0,n=100", **changes):
    """Return a certificate whose 100 trials are all samples."""
    verdict = certifier(spec).decide(HITS, 100, sigma=0.5)
    header = {"certifier": {"name": "holm", "n0": 0, "n": 100}, "samples": 100, **changes}
    return dataclasses.replace(example(), verdict=verdict, provenance={**example().provenance, **header})


def test_all_samples_are_trials_where_they_select():
    recheck.verify(of_one_draw(), certifier("holm:n0=0,n=100"))
    again = recheck.recertify(
        of_one_draw(), certifier("bonferroni:n0=0,n=100,tau=0.6"), {"name": "bonferroni", "n0": 0, "n": 100}
    )
    assert (
        again.certified == certifier("bonferroni:n0=0,n=100,tau=0.6").decide(HITS, 100, sigma=0.5).certified
    ).all()
    bare = {"name": "mine"}
    for made, spec, message in (
        (
            example(),
            "holm:n0=0,n=100",
            "selected from other samples than the trials; the certifier selects from them",
        ),
        (
            of_one_draw(),
            "holm",
            "the trials are all samples, so that they select the classes; the certifier tests on",
        ),
    ):
        with pytest.raises(ConfigError, match=r"the counts are of n0=(10|0), the certifier has n0=(0|10)"):
            recheck.recertify(made, certifier(spec), {"name": "holm", "n0": certifier(spec).n0, "n": 100})
        # A certifier need not have an option n0.
        with pytest.raises(ConfigError, match=message):
            recheck.recertify(made, certifier(spec), bare)
    # Nor has it to be that of the header.
    forged = of_one_draw(certifier=bare)
    with pytest.raises(VerificationError, match="the trials are all samples"):
        recheck.verify(forged, certifier("holm"))
    with pytest.raises(VerificationError, match="100 samples were drawn for 100 trials, with n0=10"):
        recheck.verify(of_one_draw(certifier={"name": "holm", "n0": 10, "n": 100}), certifier("holm"))
    with pytest.raises(VerificationError, match="110 samples were drawn for 100 trials, with n0=0"):
        recheck.verify(of_one_draw(samples=110), certifier("holm:n0=0,n=100"))


@pytest.mark.parametrize("step", [3, 17])
def test_no_flipped_bit_escapes_as_a_traceback_or_changes_what_is_read(tmp_path, step):
    file.save(example(), tmp_path / "x.npz")
    content = (tmp_path / "x.npz").read_bytes()
    for position in range(0, 8 * len(content), step * 8 + 1):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        (tmp_path / "y.npz").write_bytes(bytes(damaged))
        with contextlib.suppress(DataError):
            again = file.load(tmp_path / "y.npz")
            assert (again.hits == HITS).all()
            assert (again.certified == example().certified).all()


def test_recertify_equals_deciding_afresh_and_says_where_it_comes_from():
    stricter = recheck.recertify(example(), certifier("bonferroni:tau=0.9"), {"name": "bonferroni"})
    expected = certifier("bonferroni:tau=0.9").decide(HITS, 100, sigma=0.5)
    assert (stricter.certified == expected.certified).all()
    assert stricter.radius == expected.radius
    assert recheck.history(stricter) == [example().provenance["certifier"]]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"plain text"])
def test_what_is_no_certificate_is_named(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npz is not a readable certificate"):
        file.load(tmp_path / "bad.npz")


def test_a_truncated_certificate_is_named(tmp_path):
    file.save(example(), tmp_path / "x.npz")
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"x\.npz"):
        file.load(tmp_path / "x.npz")


def test_another_schema_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "SCHEMA", 0)
    file.save(example(), tmp_path / "x.npz")
    monkeypatch.undo()
    with pytest.raises(DataError, match="another certificate schema"):
        file.load(tmp_path / "x.npz")


def test_arrays_that_do_not_fit_together_are_refused():
    with pytest.raises(PluginError, match="hits has shape"):
        dataclasses.replace(example(), hits=HITS[:1])
    with pytest.raises(PluginError, match=r"hits must lie in 0\.\.99"):
        dataclasses.replace(example(), trials=99)


@pytest.mark.parametrize("name", ["schema-1", "schema-1-own-radii", "schema-1-several-tau"])
def test_a_certificate_written_by_an_earlier_version_is_verified(name):
    """What smoothseg 0.1.0 wrote before its modules moved, and before lattice noise; see the README beside it."""
    made = file.load(Path(__file__).resolve().parents[1] / "golden" / "certificates" / f"{name}.npz")
    certifier = plugins()["certifier"].recipe(made.provenance["certifier"]).load()
    recheck.verify(made, certifier)
    assert made.certified.any()
    assert not made.certified.all()
    saved = dataclasses.replace(made, hits=np.where(made.certified, 0, made.hits))
    with pytest.raises(VerificationError):
        recheck.verify(saved, certifier)
