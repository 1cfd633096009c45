"""That the checks for plugins find what they are there to find."""

from __future__ import annotations

import pytest
import torch

from smoothseg import networks
from smoothseg.testing import CountingDenoiser, ThresholdSegmenter, check_denoiser, check_segmenter


class Denoiser:
    """A denoiser whose one method is given."""

    digests = {}  # noqa: RUF012

    def __init__(self, denoise):
        self._denoise = denoise

    def denoise(self, noisy, sigma, *, seeds):
        return self._denoise(noisy, seeds)


class Segmenter:
    """A segmenter whose one method is given."""

    digests = {}  # noqa: RUF012
    classes = ("dark", "bright")

    def __init__(self, segment):
        self.segment = segment


def test_what_keeps_its_promises_passes():
    check_denoiser(CountingDenoiser())
    check_segmenter(ThresholdSegmenter())
    check_denoiser(Denoiser(lambda noisy, seeds: noisy + networks.standard_normal(seeds, noisy.shape[1:])))


state = {"calls": 0}


def drifting(noisy, seeds):
    state["calls"] += 1
    return noisy + state["calls"]


@pytest.mark.parametrize(
    ("denoise", "message"),
    [
        (lambda noisy, seeds: noisy[..., :-1], "expected shape"),
        (lambda noisy, seeds: noisy.double(), "expected float32, got torch.float64"),
        (lambda noisy, seeds: noisy.to("meta"), "meta|finite"),
        (lambda noisy, seeds: noisy - noisy.mean(), "row 0 depends on the batch"),
        (lambda noisy, seeds: noisy + sum(seeds) % 7, "depends on the batch"),
        (drifting, "the same input gave another result"),
        (lambda noisy, seeds: noisy / 0, "not finite"),
    ],
)
def test_a_denoiser_that_breaks_a_promise_is_found(denoise, message):
    with pytest.raises((AssertionError, NotImplementedError, RuntimeError), match=message):
        check_denoiser(Denoiser(denoise))


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (lambda images: images, r"\(B, C\) = \(3, 2\), got \(3, 3\)"),
        (lambda images: images[:, :2].mean((2, 3)), "expected scores"),
        (lambda images: (images[:, :2] * 255).int(), "floating point|not finite"),
        (lambda images: images[:, :2] - images.mean(), "row 0 depends on the batch"),
    ],
)
def test_a_segmenter_that_breaks_a_promise_is_found(segment, message):
    with pytest.raises(AssertionError, match=message):
        check_segmenter(Segmenter(segment))


@pytest.mark.parametrize("classes", [(), ("dark", "dark")])
def test_class_names_that_are_none_or_repeated_are_found(classes):
    component = Segmenter(lambda images: images[:, :2])
    component.classes = classes
    with pytest.raises(AssertionError, match="classes"):
        check_segmenter(component)


def test_a_digest_that_is_none_and_a_missing_method_are_found():
    component = CountingDenoiser()
    with pytest.raises(AssertionError, match=r"CountingDenoiser is no smoothseg\.Segmenter"):
        check_segmenter(component)
    broken = Denoiser(lambda noisy, seeds: noisy)
    broken.digests = {"w.pth": "abc"}
    with pytest.raises(AssertionError, match=r"digest of w\.pth"):
        check_denoiser(broken)


def test_the_tensors_are_put_on_the_device():
    seen = []

    def segment(images):
        seen.append(images.device.type)
        return torch.zeros(len(images), 2, 3, 4)

    with pytest.raises(AssertionError, match="expected meta, got cpu"):
        check_segmenter(Segmenter(segment), device="meta")
    assert set(seen) == {"meta"}
