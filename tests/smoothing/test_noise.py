import numpy as np
import pytest
import torch
from scipy import stats

from smoothseg import networks
from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.runs import plan
from smoothseg.smoothing import kinds
from smoothseg.smoothing.noise import NoisyImage, unit

IMAGE = np.random.Generator(np.random.Philox(5)).integers(0, 256, (6, 9, 3), dtype=np.uint8)
KINDS = ["lattice", "gaussian"]
LEVELS = torch.from_numpy(IMAGE.transpose(2, 0, 1).copy())


def samples(indices, kind, image=IMAGE, key="a", seed=0, sigma=0.25):
    return NoisyImage(image, key, sigma=sigma, seed=seed, kind=kind).samples(indices)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_same_indices_give_identical_noise_at_any_batch_size(kind, size):
    whole = samples(range(21), kind)
    parts = torch.cat([samples(range(i, min(21, i + size)), kind) for i in range(0, 21, size)])
    assert torch.equal(whole, parts)
    assert torch.equal(samples([13, 2], kind), whole[[13, 2]])


@pytest.mark.parametrize("kind", KINDS)
def test_every_sample_is_a_fresh_draw(kind):
    drawn = samples(range(40), kind).flatten(1)
    for i in range(40):
        for j in range(i):
            # Two values of the lattice are equal by chance once in 226 times.
            assert (drawn[i] != drawn[j]).float().mean() > 0.96


@pytest.mark.parametrize("kind", KINDS)
def test_key_seed_and_purpose_change_the_noise(kind):
    assert not torch.equal(samples([0], kind), samples([0], kind, key="b"))
    assert not torch.equal(samples([0], kind), samples([0], kind, seed=1))
    assert networks.seeds(0, "a", [0], purpose="noise") != networks.seeds(0, "a", [0], purpose="denoiser")


def test_a_key_cannot_imitate_another_seed():
    assert networks.seeds(1, "2", [3], purpose="p") != networks.seeds(12, "", [3], purpose="p")


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_gaussian_with_the_given_sigma_around_the_image_and_unclipped(kind):
    image = np.full((60, 80, 3), 255, dtype=np.uint8)
    drawn = samples(range(4), kind, image, "k", seed=3, sigma=0.5)
    assert drawn.dtype == torch.float32
    assert drawn.shape == (4, 3, 60, 80)
    standard = ((drawn - 1) / 0.5).double().numpy()
    values = standard.ravel()[::7]
    if kind == "lattice":  # the test wants a continuous law: spread every value over its level
        values = values + np.random.default_rng(0).uniform(-0.5, 0.5, values.shape) / 127.5
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert standard.max() > 3
    assert abs(np.corrcoef(standard.reshape(4, -1))[np.triu_indices(4, 1)]).max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_noise_of_an_image_does_not_depend_on_its_pixels(kind):
    one = samples([4], kind, sigma=0.1) - LEVELS / 255
    black = samples([4], kind, np.zeros_like(IMAGE), sigma=0.1)
    assert torch.allclose(one, black, atol=1e-6)


def test_lattice_copies_are_integers_over_255_and_nothing_else():
    drawn = samples(range(3), "lattice")
    levels = (drawn * 255).round()
    assert torch.equal(unit(levels), drawn)
    assert torch.equal((samples(range(3), "lattice", np.zeros_like(IMAGE)) * 255).round() + LEVELS, levels)


def test_the_floats_of_equal_sums_are_equal():
    """What the base model sees is a function of image + k: it cannot tell how the sum came about."""
    seen = {}
    for level in (0, 1, 100, 255):
        image = np.full((40, 50, 3), level, dtype=np.uint8)
        drawn = samples(range(4), "lattice", image, key=str(level)).flatten()
        for integer, value in zip((drawn * 255).round().int().tolist(), drawn.tolist(), strict=True):
            assert seen.setdefault(integer, (level, value))[1] == value
    assert len({level for level, _ in seen.values()}) == 4  # sums of every image were met, and met again


def test_the_seeds_of_a_denoiser_do_not_show_the_image():
    one, other = (NoisyImage(IMAGE, key, sigma=0.25, seed=3) for key in ("a", "b"))
    assert one.seeds(range(9)) == other.seeds(range(9))
    assert len(set(one.seeds(range(9)))) == 9
    assert one.seeds([4]) == [one.seeds(range(9))[4]]
    assert one.seeds([4]) != NoisyImage(IMAGE, "a", sigma=0.25, seed=4).seeds([4])
    assert one.seeds([4]) != networks.seeds(3, "a", [4], purpose="noise")


def test_the_seeds_of_earlier_runs_stay():
    made = NoisyImage(IMAGE, "a", sigma=0.25, seed=3, kind="gaussian")
    assert made.seeds(range(9)) == networks.seeds(3, "a", range(9), purpose="denoiser")


def test_a_copy_does_not_follow_the_caller_s_array():
    image = np.full((1, 1, 3), 7, dtype=np.uint8)
    copies = NoisyImage(image, "a", sigma=0.25, seed=0)
    before = copies.samples([0])
    image[:] = 200
    assert torch.equal(copies.samples([0]), before)
    assert (image == 200).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_numbers_make_no_copies(kind):
    assert samples([], kind).shape == (0, 3, 6, 9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [0.0, -0.25, float("nan"), float("inf")])
def test_a_sigma_that_is_none_is_refused(kind, sigma):
    with pytest.raises(ConfigError, match="sigma must be positive"):
        samples([0], kind, sigma=sigma)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torch_s_default_type_changes_nothing(kind, dtype):
    expected = samples([0], kind)
    torch.set_default_dtype(dtype)
    try:
        drawn = samples([0], kind)
    finally:
        torch.set_default_dtype(torch.float32)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, expected)


def test_lattice_noise_of_several_sigma_is_paired():
    less, more = (samples(range(3), "lattice", np.zeros_like(IMAGE), sigma=sigma) for sigma in (0.25, 0.5))
    assert (less * more >= 0).all()
    assert (less.abs() <= more.abs()).all()
    assert (more - 2 * less).abs().max() <= 1.5 / 255 + 1e-6


def test_gaussian_noise_of_several_sigma_is_the_same_scaled():
    less, more = (samples(range(3), "gaussian", np.zeros_like(IMAGE), sigma=sigma) for sigma in (0.25, 0.5))
    assert torch.equal(2 * less, more)


def test_gaussian_noise_is_that_of_earlier_versions():
    """Its numbers must never change: old runs are continued with it. These were made before there was another."""
    drawn = samples([0, 5], "gaussian")
    assert drawn.flatten()[[0, 1, 161, 162, 323]].tolist() == [
        *(-0.02930590510368347, 0.5677767992019653, 0.4632325768470764),
        *(0.09390774369239807, 0.6177865266799927),
    ]
    assert kinds.ALGORITHMS["gaussian"] == "philox-numpy-float32"


def test_lattice_noise_is_what_its_name_in_certificates_says():
    """Whoever changes these numbers changes the name of the algorithm, too."""
    drawn = NoisyImage(np.zeros((5, 7, 3), dtype=np.uint8), "a", sigma=0.25, seed=0).samples([0, 5])
    assert (drawn * 255).round().int().flatten()[[0, 1, 2, 104, 105, 106, 209]].tolist() == [
        72,
        101,
        52,
        -63,
        83,
        -66,
        -62,
    ]
    assert kinds.ALGORITHMS["lattice"] == "lattice-255-philox4x64"


def test_another_kind_is_refused():
    with pytest.raises(UnknownNameError, match=r"noise 'gausian'.*gaussian"):
        samples([0], "gausian")


def test_integers_are_divided_with_the_nearest_quotient():
    integers = torch.arange(-5000, 5000)
    expected = (np.arange(-5000, 5000, dtype=np.float64) / 255).astype(np.float32)
    np.testing.assert_array_equal(unit(integers).numpy(), expected)


def test_names_and_algorithms_belong_together():
    assert list(kinds.ALGORITHMS) == KINDS
    assert plan.DEFAULTS["noise"] == "lattice"
    for name, algorithm in kinds.ALGORITHMS.items():
        assert kinds.name_of(algorithm) == name
    assert kinds.name_of("dice") == "dice"
