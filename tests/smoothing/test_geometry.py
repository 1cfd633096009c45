import pytest
import torch
import torch.nn.functional as F

from smoothseg import networks
from smoothseg.errors import ConfigError
from smoothseg.smoothing import geometry
from smoothseg.smoothing.geometry import Geometry

SIZES = [
    ((36, 48), (18, 24)),
    ((36, 48), (9, 30)),
    ((25, 31), (40, 62)),
    ((30, 30), (45, 15)),
    ((37, 23), (19, 23)),
]


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("size", "resized"), SIZES)
def test_sigma_left_is_what_simulation_measures(size, resized, antialias):
    generator = torch.Generator().manual_seed(1)
    white = 0.3 * torch.randn(600, 3, *size, generator=generator)
    measured = float(networks.resize(white, resized, antialias=antialias).square().mean().sqrt())
    assert networks.sigma_left(0.3, size, resized, antialias=antialias) == pytest.approx(measured, rel=0.01)


def test_halving_by_a_mean_of_two_by_two_halves_sigma():
    assert networks.sigma_left(0.5, (8, 12), (4, 6), antialias=False) == pytest.approx(0.25)


def test_same_size_leaves_image_and_sigma_alone():
    image = torch.rand(1, 3, 5, 7)
    assert networks.resize(image, (5, 7)) is image
    assert networks.sigma_left(0.4, (5, 7), (5, 7)) == 0.4


def test_denoiser_is_told_the_sigma_left_or_the_papers():
    aware, paper = Geometry(0.5), Geometry(0.5, convention="paper")
    assert aware.sigma_told(0.25, 360, 480) == pytest.approx(
        networks.sigma_left(0.25, (360, 480), (180, 240), antialias=True)
    )
    assert aware.sigma_told(0.25, 360, 480) < 0.11
    assert paper.sigma_told(0.25, 360, 480) == 0.25
    assert Geometry(0.5, denoise_at="full").sigma_told(0.25, 360, 480) == 0.25


def test_sizes_follow_the_scale_and_never_vanish():
    assert Geometry(0.25).size(1024, 2048) == (256, 512)
    assert Geometry(0.25).size(1, 3) == (1, 1)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), 5.0])
def test_impossible_scales_are_refused(scale):
    with pytest.raises(ConfigError, match="scale"):
        Geometry(scale)


@pytest.mark.parametrize(
    ("h", "w", "size"), [(4, 6, (16, 25)), (5, 7, (5, 7)), (9, 13, (7, 40)), (1, 1, (3, 4))]
)
@pytest.mark.parametrize("band_bytes", [1, 1000, 16 * 2**20])
def test_labels_are_the_argmax_of_bilinearly_upsampled_scores(h, w, size, band_bytes, monkeypatch):
    monkeypatch.setattr(geometry, "_BAND_BYTES", band_bytes)
    scores = torch.randn(2, 5, h, w, generator=torch.Generator().manual_seed(h))
    upsampled = F.interpolate(scores.double(), size=size, mode="bilinear", align_corners=False)
    top = upsampled.topk(2, dim=1).values
    clear = (top[:, 0] - top[:, 1]) > 1e-5
    result = geometry.labels(scores, size)
    assert result.dtype == torch.uint8
    assert torch.equal(result.long()[clear], upsampled.argmax(1)[clear])
    assert clear.float().mean() > 0.99


def test_ties_go_to_the_lowest_class():
    scores = torch.tensor([1.0, 3.0, 3.0, 2.0]).view(1, 4, 1, 1).expand(1, 4, 2, 3)
    assert (geometry.labels(scores, (4, 6)) == 1).all()


def test_more_than_256_classes_get_wider_labels():
    scores = torch.zeros(1, 300, 2, 2)
    scores[:, 299] = 1
    assert (geometry.labels(scores, (3, 3)) == 299).all()
