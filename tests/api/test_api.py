"""`smoothseg.certify`: what it takes, what it gives, and that it is the command line's result."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import smoothseg
from smoothseg import ConfigError, DataError, NothingCertifiableError, PluginError, Sample, networks
from smoothseg.certificates import file
from smoothseg.certificates.certificate import Verdict
from smoothseg.data.keys import key_of
from smoothseg.report import running
from smoothseg.runs import preparing
from smoothseg.runs.plan import Plan
from smoothseg.smoothing.kinds import ALGORITHMS
from smoothseg.testing import CountingDenoiser, ThresholdSegmenter, check_segmenter

CERTIFIER = "holm:n0=4,n=60,tau=0.75,alpha=0.01"
QUICK = {"denoiser": None, "certifier": CERTIFIER, "scale": 1.0, "device": "cpu"}


@pytest.fixture
def image():
    """An image whose left half is dark and whose right half is bright, but for one undecided column."""
    pixels = np.zeros((6, 10, 3), np.uint8)
    pixels[:, 5:] = 255
    pixels[:, 4] = 128
    return pixels


class Bright(nn.Module):
    """Two classes from the mean of the channels, every fourth pixel, behind a weight."""

    def __init__(self, kind="tensor", stride=1):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(4.0))
        self.dropout = nn.Dropout(0.9)
        self.kind, self.stride = kind, stride

    def forward(self, images):
        assert images.shape[-1] % self.stride == 0
        bright = self.dropout(self.weight * images.mean(dim=1, keepdim=True))[
            :, :, :: self.stride, :: self.stride
        ]
        scores = torch.cat([-bright, bright], dim=1)
        if self.kind == "out":
            return {"out": scores, "aux": scores}
        if self.kind == "logits":
            return type("Output", (), {"logits": scores})()
        return scores if self.kind == "tensor" else [scores]


def test_a_known_model_gets_the_certificate_it_deserves(image):
    result = smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), sigma=0.25, **QUICK)
    assert result.prediction.shape == result.certified.shape == (6, 10)
    assert result.certified[:, [0, 1, 2, 3, 5, 6, 7, 8, 9]].all()  # 2 sigma from the threshold
    assert not result.certified[:, 4].any()
    assert (result.prediction[:, 5:] == 1).all()
    assert (result.prediction[:, :4] == 0).all()
    assert result.radius == pytest.approx(0.25 * 0.6744897501960817)
    assert result.abstained == pytest.approx(0.1)
    assert (result.sigma, result.classes) == (0.25, ("dark", "bright"))
    assert "90.0 % of the pixels certified within l2 radius 0.168 (sigma 0.25)" in str(result)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_the_same_call_gives_the_same_counts_at_any_batch_size(image, batch_size):
    one = smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), **QUICK)
    other = smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), batch_size=batch_size, **QUICK)
    assert (one.certificate.hits == other.certificate.hits).all()
    assert (one.certificate.hits[:, 4] < 60).any()
    seeded = smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), seed=1, **QUICK)
    assert (one.certificate.hits != seeded.certificate.hits).any()


def test_every_form_of_an_image_is_the_same_image(image, tmp_path):
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    forms = [image, Image.fromarray(image), tensor, tensor.float() / 255, image / 255]
    results = smoothseg.certify(forms, segmenter=ThresholdSegmenter(0.5), **QUICK)
    assert len({result.key for result in results}) == 1
    for result in results:
        assert (result.image == image).all()
        assert (result.certificate.hits == results[0].certificate.hits).all()
    Image.fromarray(image).save(tmp_path / "my photo.png")
    (read,) = smoothseg.certify([tmp_path / "my photo.png"], segmenter=ThresholdSegmenter(0.5), **QUICK)
    assert (read.key, (read.image == image).all()) == (key_of(Path("my photo.png")), True)


ALL_LEVELS = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)


@pytest.mark.parametrize(
    "divided",
    [
        ALL_LEVELS / 255,
        ALL_LEVELS.astype(np.float32) / np.float32(255),
        ALL_LEVELS.astype(np.float32) * np.float32(1 / 255),
        (ALL_LEVELS.astype(np.float32) / np.float32(255)).astype(np.float64),
    ],
    ids=["float64", "float32", "float32 by the reciprocal", "float32 in float64"],
)
def test_floats_that_are_levels_over_255_are_those_levels(divided):
    result = smoothseg.certify(divided, segmenter=ThresholdSegmenter(0.5), **QUICK)
    np.testing.assert_array_equal(result.image, ALL_LEVELS)


@pytest.mark.parametrize("off", [0.0002, 0.015, 0.4, -0.0002, -0.4])
def test_floats_beside_the_levels_are_refused_with_their_distance(off):
    """Rounding 0.015 of a level everywhere moves an image of 1024 x 2048 by 0.148, nearly the radius at sigma 0.25."""
    for place in ((3, 7, 1), (0, 0, 0), (15, 15, 2)):  # in the middle, at 0 and at 255
        given = ALL_LEVELS / 255
        given[place] += off / 255
        with pytest.raises(
            DataError, match=f"8-bit levels divided by 255, got some {abs(off):g} of a level off"
        ):
            smoothseg.certify(given, segmenter=ThresholdSegmenter(0.5), **QUICK)


@pytest.mark.parametrize("off", [0.00005, -0.00005])
def test_floats_a_little_off_are_taken_at_both_ends(off):
    result = smoothseg.certify((ALL_LEVELS + off) / 255, segmenter=ThresholdSegmenter(0.5), **QUICK)
    np.testing.assert_array_equal(result.image, ALL_LEVELS)


def test_bfloat16_is_too_coarse_for_levels():
    tensor = torch.from_numpy(ALL_LEVELS / 255).permute(2, 0, 1).to(torch.bfloat16)
    with pytest.raises(DataError, match=r"some 0\.\d+ of a level off"):
        smoothseg.certify(tensor, segmenter=ThresholdSegmenter(0.5), **QUICK)


def test_half_precision_is_too_coarse_for_levels():
    with pytest.raises(DataError, match=r"some 0\.06\d* of a level off"):
        smoothseg.certify((ALL_LEVELS / 255).astype(np.float16), segmenter=ThresholdSegmenter(0.5), **QUICK)


@pytest.mark.parametrize("noise", ["lattice", "gaussian"])
def test_the_kind_of_noise_stands_in_the_certificate(image, noise):
    context = (
        pytest.warns(UserWarning, match="can be false") if noise == "gaussian" else contextlib.nullcontext()
    )
    with context:
        result = smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), noise=noise, **QUICK)
    assert result.certificate.provenance["noise"] == ALGORITHMS[noise]
    assert result.certified.any()


def test_a_sigma_below_half_a_level_is_remarked(image):
    with pytest.warns(UserWarning, match=r"sigma 0\.001 is 0\.26 of a level"):
        smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), **{**QUICK, "sigma": 0.001})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((6, 10), np.uint8), r"expected shape \(H, W, 3\), got \(6, 10\)"),
        (np.zeros((6, 10, 4), np.uint8), r"expected shape"),
        (np.zeros((0, 10, 3), np.uint8), r"expected shape"),
        (np.zeros((6, 10, 3), np.int64), "got int64"),
        (np.full((6, 10, 3), 0.5), "8-bit levels divided by 255"),
        (np.full((6, 10, 3), 1.5), r"floats in 0..1, got 1.5..1.5"),
        (np.full((6, 10, 3), np.nan), r"floats in 0..1"),
        (torch.zeros(6, 10, 3), r"tensor \(3, H, W\), got \(6, 10, 3\)"),
        (Image.new("L", (10, 6)), "mode L"),
        ([], "no images to certify"),
        (object(), "got object"),
        (["missing.png"], "missing.png"),
    ],
)
def test_what_is_no_image_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        smoothseg.certify(given, segmenter=ThresholdSegmenter(0.5), **QUICK)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"denoiser": "amd"}, ConfigError, "Did you mean 'adm'"),
        (
            {"segmenter": 3},
            ConfigError,
            "smoothseg.Segmenter; int has no classes and no digests and no segment",
        ),
        ({"segmenter": None}, ConfigError, "segmenter must be a name.*NoneType"),
        (
            {"denoiser": nn.Identity()},
            ConfigError,
            "smoothseg.Denoiser; Identity has no denoise and no digests",
        ),
        ({"certifier": object()}, ConfigError, "certifier must be given by name"),
        ({"certifier": "holm:n=5"}, NothingCertifiableError, "n"),
        ({"sigma": -1}, ConfigError, "sigma must be positive"),
        ({"sigma": [0.1, 0.2]}, ConfigError, "sigma must be one number"),
        ({"scale": 9.0}, ConfigError, "scale"),
        ({"batch_size": 0}, ConfigError, "batch_size"),
        ({"device": "gpu"}, ConfigError, "device"),
    ],
)
def test_a_wrong_option_is_refused_before_any_network_runs(image, options, error, message):
    def never(*_):
        raise AssertionError("a network ran")

    segmenter = ThresholdSegmenter(0.5)
    given = {"segmenter": segmenter, **QUICK, **options}
    with pytest.raises(error, match=message):
        smoothseg.certify(image, progress=never, **given)


@pytest.mark.parametrize("kind", ["tensor", "out", "logits"])
def test_a_module_of_ones_own_is_a_segmenter(image, kind):
    module = Bright(kind)
    wrapped = smoothseg.segmenter(module, classes=["dark", "bright"], mean=0.5, std=(0.5, 0.5, 0.25))
    assert not module.training
    check_segmenter(wrapped)
    result = smoothseg.certify(image, segmenter=wrapped, **QUICK)
    plain = smoothseg.certify(image, segmenter=module, **QUICK)
    assert result.classes == ("dark", "bright")
    assert plain.classes == ("class 0", "class 1")
    assert result.certified[:, 6:].all()
    assert (plain.prediction[:, 0] != result.prediction[:, 0]).any()  # without its mean all is bright
    told = result.certificate.provenance
    assert told["segmenter"]["name"].endswith("Bright")
    assert told["segmenter"]["std"] == [0.5, 0.5, 0.25]
    assert list(told["weights"]["segmenter"]) == ["Bright.state"]


def test_the_digest_is_that_of_the_tensors_that_the_module_holds_now():
    module = Bright()
    module.register_buffer("mask", torch.ones(2), persistent=False)
    module.scale = torch.ones(())
    wrapped = smoothseg.segmenter(module, classes=2)
    seen = {wrapped.digests["Bright.state"]}
    with torch.no_grad():
        for tensor in (module.weight, module.mask, module.scale):
            tensor += 1
            seen.add(wrapped.digests["Bright.state"])
    assert len(seen) == 4


def test_a_network_that_changes_while_it_is_certified_gives_no_result(image):
    class Learning(Bright):
        def forward(self, images):
            self.weight.data += 0.1
            return super().forward(images)

    with pytest.raises(PluginError, match="weights of the segmenter changed"):
        smoothseg.certify(image, segmenter=smoothseg.segmenter(Learning(), classes=2, mean=0.5), **QUICK)


def test_a_module_is_certified_in_eval_mode_whatever_was_done_to_it(image):
    module = Bright()
    wrapped = smoothseg.segmenter(module, classes=2, mean=0.5)
    one = smoothseg.certify(image, segmenter=wrapped, **QUICK)
    module.train()
    assert (
        smoothseg.certify(image, segmenter=wrapped, **QUICK).certificate.hits == one.certificate.hits
    ).all()

    class Dropping(nn.Module):
        digests = {}  # noqa: RUF012

        def denoise(self, noisy, sigma, *, seeds):
            return nn.functional.dropout(noisy, 0.9, self.training)

    options = {**QUICK, "denoiser": Dropping().train(), "segmenter": ThresholdSegmenter(0.5)}
    plain = smoothseg.certify(image, **{**options, "denoiser": None})
    assert (smoothseg.certify(image, **options).certificate.hits == plain.certificate.hits).all()


def test_a_module_that_wants_certain_sides_sees_padded_images():
    wrapped = smoothseg.segmenter(Bright(stride=4), classes=2, mean=0.5, multiple=4)
    check_segmenter(wrapped)
    images = torch.rand(2, 3, 10, 14)
    assert wrapped.segment(images).shape == (2, 2, 3, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": []}, "at least one"),
        ({"classes": 0}, "at least one"),
        ({"classes": "road"}, "different names"),
        ({"classes": ["a", "a"]}, "different names"),
        ({"classes": 2, "std": 0}, "std must be positive"),
        ({"classes": 2, "mean": (0.1, 0.2)}, "mean must be one number or three"),
        ({"classes": 2, "multiple": 0}, "multiple"),
    ],
)
def test_a_segmenter_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        smoothseg.segmenter(Bright(), **options)


def test_a_module_that_returns_something_else_is_blamed(image):
    with pytest.raises(PluginError, match="Bright returned list"):
        smoothseg.certify(image, segmenter=Bright("list"), **QUICK)
    with pytest.raises(ConfigError, match="torch module, got str"):
        smoothseg.segmenter("hrnet", classes=2)


def test_a_dataset_gives_what_the_command_line_gives(tmp_path, monkeypatch):
    spec = "streets:count=2,height=24,width=32"
    listed = smoothseg.certify(
        smoothseg.dataset(spec),
        denoiser="identity",
        segmenter="hrnet",
        certifier=CERTIFIER,
        sigma=0.1,
        device="cpu",
    )
    plan = Plan.of(
        {"dataset": spec, "denoiser": "identity", "certifier": CERTIFIER, "sigma": [0.1], "device": "cpu"}
    )
    running.run(preparing.prepare(plan), tmp_path / "run")
    assert [result.key for result in listed] == sorted(result.key for result in listed)
    for result in listed:
        (path,) = (tmp_path / "run").rglob(f"{result.key}.npz")
        theirs = file.load(path)
        assert (theirs.hits == result.certificate.hits).all()
        assert (theirs.certified == result.certified).all()
        assert result.certificate.provenance == theirs.provenance
        assert result.labels is not None


def test_a_dataset_of_other_classes_is_refused():
    with pytest.raises(
        ConfigError, match=r"the segmenter knows the classes dark, bright \(2\), the dataset has sky"
    ):
        smoothseg.certify(
            smoothseg.dataset("streets:count=1,height=24,width=32"),
            segmenter=ThresholdSegmenter(0.5),
            **QUICK,
        )


def test_the_samples_of_a_list_keep_their_keys_and_labels(image):
    labels = np.where(image[..., 0] > 100, 1, 0).astype(np.uint8)
    labels[0] = 9
    options = {"segmenter": ThresholdSegmenter(0.5), **QUICK}
    (result,) = smoothseg.certify([Sample("corner", image, labels)], ignore=9, **options)
    assert (result.key, (result.labels == labels).all()) == ("corner", True)
    assert result.picture().width > 100
    with pytest.raises(DataError, match="label 9 at 10 pixels is neither one of the 2 classes nor 255"):
        smoothseg.certify(Sample("corner", image, labels), **options)


@pytest.mark.parametrize("key", ["", "a b", "../evil", ".a"])
def test_a_key_that_is_no_file_name_is_refused(image, key):
    with pytest.raises(DataError, match="not fit for a file name"):
        smoothseg.certify([Sample(key, image)], segmenter=ThresholdSegmenter(0.5), **QUICK)


def test_two_images_of_one_key_are_refused_and_one_image_twice_is_not(image, tmp_path):
    for folder, pixels in (("a", image), ("b", 255 - image)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "x.png")
    options = {"segmenter": ThresholdSegmenter(0.5), **QUICK}
    with pytest.raises(DataError, match="two images have the key 'x'"):
        smoothseg.certify([tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"], **options)
    one, other = smoothseg.certify([image, image], **options)
    assert (one.certificate.hits == other.certificate.hits).all()


def test_a_dataset_that_is_given_as_a_path_is_told_how():
    with pytest.raises(DataError, match=r"no such file; a dataset is smoothseg.dataset\('streets:count=1'\)"):
        smoothseg.certify("streets:count=1", segmenter=ThresholdSegmenter(0.5), **QUICK)


def test_a_saved_result_is_verified_by_the_command_line(invoke, image, tmp_path):
    result = smoothseg.certify(image, segmenter=smoothseg.segmenter(Bright(), classes=2, mean=0.5), **QUICK)
    path = result.save(tmp_path / "deep" / "x.npz")
    told = invoke("verify", path)
    assert told.exit_code == 0, told.output
    assert "1 certificate verified" in told.output
    assert (file.load(path).certified == result.certified).all()
    with pytest.raises(ConfigError, match=r"\.npz"):
        result.save(tmp_path / "x.json")


class Forgetful(nn.Module):
    """Labels as `Bright` does, until it has been called so often."""

    def __init__(self, calls):
        super().__init__()
        self.network, self.left = Bright(), calls

    def forward(self, images):
        self.left -= 1
        return self.network(images) * (1 if self.left >= 0 else -1)


class AlwaysDropping(Bright):
    """Drops values at random also when it does not train."""

    def forward(self, images):
        return super().forward(nn.functional.dropout(images, 0.5, training=True))


@pytest.mark.parametrize(
    "segmenter", [AlwaysDropping(), Forgetful(50)], ids=["dropout", "another answer later"]
)
def test_a_network_that_is_no_function_of_the_image_is_refused(image, segmenter):
    own = smoothseg.segmenter(segmenter, classes=2)
    message = rf"the segmenter \S*{type(segmenter).__name__} gave one noisy image of \S+ another answer after"
    with pytest.raises(PluginError, match=message):
        smoothseg.certify(image, segmenter=own, **QUICK)


def test_a_denoiser_that_is_no_function_of_the_image_is_refused(image):
    class Tiring(CountingDenoiser):
        def denoise(self, noisy, sigma, *, seeds):
            return super().denoise(noisy, sigma, seeds=seeds) - 0.1 * (len(self.sigmas) > 30)

    options = {**QUICK, "denoiser": Tiring()}
    with pytest.raises(
        PluginError, match=r"the denoiser \S*Tiring gave one noisy image of \S+ another answer"
    ):
        smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), **options)


def test_a_denoiser_of_ones_own_is_told_the_noise_that_is_left(image):
    denoiser = CountingDenoiser()
    smoothseg.certify(
        image, denoiser=denoiser, segmenter=ThresholdSegmenter(0.5), certifier=CERTIFIER, sigma=0.2, scale=0.5,
        device="cpu",
    )  # fmt: skip
    assert (
        len(denoiser.sigmas) == 64 + 3
    )  # every sample, and the first once before, once after and once for the picture
    assert set(denoiser.sigmas) == {networks.sigma_left(0.2, (6, 10), (3, 5))}


def test_progress_counts_every_noise_sample(image):
    seen = []
    smoothseg.certify(
        [image, image], segmenter=ThresholdSegmenter(0.5), progress=lambda *told: seen.append(told), **QUICK
    )
    assert {total for _, total in seen} == {128}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {0, 64, 128} <= {done for done, _ in seen}


def test_a_bar_is_shown_where_it_is_asked_for(image, capsys):
    smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), progress=True, **QUICK)
    assert "certifying  64/64" in capsys.readouterr().err


def test_a_notebook_shows_the_picture(image):
    page = smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), **QUICK)._repr_html_()
    assert re.search(r'<img alt="image-[0-9a-f]+, 10x6: 90.0 % of', page)
    assert "data:image/png;base64,iVBOR" in page


def test_a_result_without_a_guarantee_says_so(image):
    result = smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), **QUICK)
    nothing = Verdict(certified=np.zeros_like(result.certified), radius=float("nan"))
    certificate = dataclasses.replace(result.certificate, verdict=nothing)
    assert "nothing certified" in str(dataclasses.replace(result, certificate=certificate))


ANYTIME = "anytime:n0=4,max_n=60,block=10,alpha=0.01"


def anytime(images, certifier=ANYTIME, **options):
    return smoothseg.certify(
        images, segmenter=ThresholdSegmenter(0.5), **{**QUICK, "certifier": certifier}, **options
    )


def test_a_certifier_that_may_stop_gives_a_curve_and_its_reason(image):
    result = anytime(image)
    assert result.stopped == "max_n"
    assert [trials for trials, _ in result.curve] == [10, 20, 30, 40, 50, 60]
    assert result.curve[-1] == (60, pytest.approx(0.9, abs=0.02))
    assert result.curve[0][1] == 0.0
    holm = smoothseg.certify(image, segmenter=ThresholdSegmenter(0.5), **QUICK)
    assert holm.stopped is None
    assert holm.curve == ((60, pytest.approx(0.9)),)


def test_who_looks_on_may_stop_an_image_and_go_on_later(image):
    looks = []

    def looked(look):
        looks.append(look)
        return look.share > 0.5

    part = anytime([image, np.ascontiguousarray(image[:, ::-1])], looked=looked, batch_size=3)
    assert [each.stopped for each in part] == ["asked", "asked"]
    assert all(isinstance(look, smoothseg.Look) for look in looks)
    # The first look at which so many pixels can pass.
    assert [each.certificate.trials for each in part] == [50, 50]
    whole = anytime([image, np.ascontiguousarray(image[:, ::-1])])
    again = anytime([image, np.ascontiguousarray(image[:, ::-1])], extend=part)
    for one, other in zip(again, whole, strict=True):
        assert one.certificate.stopping == other.certificate.stopping
        assert one.certificate.provenance == other.certificate.provenance
        assert (one.certificate.hits == other.certificate.hits).all()


def test_what_cannot_go_on_is_refused(image):
    part = anytime(image)
    with pytest.raises(ConfigError, match=r"cannot go on: sigma is 0.25 there and 0.5 here"):
        anytime(image, sigma=0.5, extend=part)
    with pytest.raises(ConfigError, match="has 64 samples already, more than the 44 of these rules"):
        anytime(image, "anytime:n0=4,max_n=40,block=10,alpha=0.01", extend=part)
    with pytest.raises(ConfigError, match="holm decides once"):
        anytime(image, CERTIFIER, extend=part)
    with pytest.raises(ConfigError, match="a list of 1 results"):
        anytime([image], extend=part)
    with pytest.raises(ConfigError, match="the result of the image"):
        anytime(image, extend=[part])
    with pytest.raises(ConfigError, match=r"cannot go on: image is"):
        anytime(image // 2, extend=part)
