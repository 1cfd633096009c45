"""Base models built to break the guarantee through floating-point numbers (Voracek and Hein, ICLR 2023).

Each has a pair of images closer to each other than the radius. Certificates that give them different classes contradict
each other. `gaussian` noise makes such certificates; `lattice` noise cannot.
"""

from types import MappingProxyType

import numpy as np
import pytest
import torch

import smoothseg
from smoothseg.testing import ThresholdSegmenter

pytestmark = [
    pytest.mark.filterwarnings("ignore:gaussian noise is rounded"),
    pytest.mark.filterwarnings("ignore:sigma 1e-09 is"),
]

SIGMA = 0.25
SIDE = 24
BLACK, GREY = (np.full((SIDE, SIDE, 3), level, dtype=np.uint8) for level in (0, 1))
PHOTO = np.random.Generator(np.random.Philox(7)).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
BRIGHTER = PHOTO + np.uint8(1)


class Attacker:
    """A base model that gives every pixel the answer to one question about the noisy image."""

    classes = ("no", "yes")
    digests = MappingProxyType({})

    def segment(self, images):
        answers = torch.tensor([self.asked(image) for image in images], dtype=torch.float32)
        scores = torch.stack([1 - answers, answers], dim=1)
        return scores[..., None, None].expand(-1, -1, *images.shape[-2:])


class OffTheGrid(Attacker):
    """Is there a value near 0 that is no multiple of 2^-32?

    The sum of 1/255 and noise is one: the sum is rounded to the grid that floats have at 1/255. Noise alone has finer
    values near 0.
    """

    def asked(self, image):
        near = image[image.abs() < 2**-8].double() * 2**32
        return bool((near != near.round()).any())


class CameFrom(Attacker):
    """Can every value be the float nearest to the sum of this image's value and some float?

    That is so for all noisy copies of the image. Of the copies of any other image a few values in a hundred are out of
    reach, wherever the grid of the floats changes.
    """

    def __init__(self, image):
        self.image = torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255

    def asked(self, image):
        return bool(((image - self.image) + self.image == image).all())


def certificates(images, segmenter, noise, **options):
    options = {"sigma": SIGMA, "scale": 1.0, "denoiser": None, **options}
    return [smoothseg.certify(image, segmenter=segmenter, noise=noise, **options) for image in images]


def contradict(first, second, images):
    """Tell whether two certificates claim different classes for a pixel at points closer than their radii."""
    apart = np.linalg.norm((images[0].astype(float) - images[1].astype(float)) / 255)
    both = first.certified & second.certified
    differ = both & (first.prediction != second.prediction)
    return bool(differ.any()) and apart < min(first.radius, second.radius)


ATTACKS = [
    pytest.param((BLACK, GREY), OffTheGrid(), id="off the grid"),
    pytest.param((PHOTO, BRIGHTER), CameFrom(PHOTO), id="came from"),
]


@pytest.mark.parametrize(("images", "segmenter"), ATTACKS)
def test_gaussian_noise_certifies_contradictions(images, segmenter):
    first, second = certificates(images, segmenter, "gaussian")

    assert first.certified.all()
    assert second.certified.all()
    assert contradict(first, second, images)


@pytest.mark.parametrize(("images", "segmenter"), ATTACKS)
def test_lattice_noise_certifies_none(images, segmenter):
    first, second = certificates(images, segmenter, "lattice")

    assert not contradict(first, second, images)


class ToldBySeeds:
    """A denoiser that knows an image by the seeds it receives with it, and shows it as white; all others as black."""

    digests = MappingProxyType({})

    def __init__(self, image, noise):
        self.known, self.learning = set(), True
        certificates([image], ThresholdSegmenter(), noise, denoiser=self)
        self.learning = False

    def denoise(self, noisy, sigma, *, seeds):
        if self.learning:
            self.known |= set(seeds)
        return torch.tensor([float(seed in self.known) for seed in seeds]).view(-1, 1, 1, 1).expand_as(noisy)


@pytest.mark.parametrize(("noise", "broken"), [("gaussian", True), ("lattice", False)])
def test_seeds_of_lattice_noise_do_not_tell_a_denoiser_which_image_it_sees(noise, broken):
    images = BLACK, GREY
    made = certificates(images, ThresholdSegmenter(), noise, denoiser=ToldBySeeds(BLACK, noise))

    assert contradict(*made, images) == broken


@pytest.mark.parametrize("images", [(BLACK, GREY), (PHOTO, BRIGHTER)], ids=["black", "photo"])
def test_the_best_question_about_lattice_noise_is_not_certified_on_both_sides(images):
    """The likelihood ratio separates the two images best of all, and sees no more than the theorem allows."""
    towards = torch.from_numpy(
        ((images[1].astype(float) - images[0]) / 255).transpose(2, 0, 1).copy()
    ).float()
    middle = torch.from_numpy(((images[1].astype(float) + images[0]) / 510).transpose(2, 0, 1).copy()).float()

    class Likelier(Attacker):
        def asked(self, image):
            return bool(((image - middle) * towards).sum() > 0)

    first, second = certificates(images, Likelier(), "lattice")

    # P(right) = Phi(0.163 / 2 / 0.25) = 0.63 on both sides: below tau, as it must be.
    assert not first.certified.any()
    assert not second.certified.any()


def test_a_threshold_at_the_pixel_s_own_value_is_no_gap_for_small_sigma():
    """Real noise, however small, would pass the threshold half of the time; noise that rounding removes never does.

    With `lattice` the rounding is a part of the base model, which therefore has one class here, with certainty.
    """
    image = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)

    class OwnValue(ThresholdSegmenter):
        def segment(self, images):
            return super().segment(images - torch.tensor(128.0).div(255) + 0.5)

    gap = certificates([image], OwnValue(), "gaussian", sigma=1e-9)[0]
    sound = certificates([image], OwnValue(), "lattice", sigma=1e-9)[0]
    level = certificates([image], OwnValue(), "lattice", sigma=1 / 255)[0]

    assert gap.certified.all()  # although the probability is 1/2
    assert sound.certified.all()  # of a base model whose probability is 1
    assert (sound.prediction == 0).all()
    # With noise of a level, P(k <= 0) = Phi(1/2) = 0.69 is below tau: at most an alpha of images has any pixel.
    assert not level.certified.any()
