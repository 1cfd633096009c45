import numpy as np
import pytest
import torch
from scipy import stats

from smoothseg import networks
from smoothseg.smoothing import noise

IMAGE = np.random.Generator(np.random.Philox(5)).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def samples(indices, key="a", seed=0, sigma=0.25):
    return noise.batch(IMAGE, key, indices, sigma=sigma, seed=seed)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_same_indices_give_identical_noise_at_any_batch_size(size):
    whole = samples(range(21))
    parts = torch.cat([samples(range(i, min(21, i + size))) for i in range(0, 21, size)])
    assert torch.equal(whole, parts)


def test_every_sample_is_a_fresh_draw():
    drawn = samples(range(40)).flatten(1)
    for i in range(40):
        for j in range(i):
            assert (drawn[i] != drawn[j]).float().mean() > 0.99


def test_key_seed_and_purpose_change_the_noise():
    assert not torch.equal(samples([0]), samples([0], key="b"))
    assert not torch.equal(samples([0]), samples([0], seed=1))
    assert networks.seeds(0, "a", [0], purpose="noise") != networks.seeds(0, "a", [0], purpose="denoiser")


def test_a_key_cannot_imitate_another_seed():
    assert networks.seeds(1, "2", [3], purpose="p") != networks.seeds(12, "", [3], purpose="p")


def test_noise_is_gaussian_with_the_given_sigma_around_the_image_and_unclipped():
    image = np.full((60, 80, 3), 255, dtype=np.uint8)
    drawn = noise.batch(image, "k", range(4), sigma=0.5, seed=3)
    assert drawn.dtype == torch.float32
    assert drawn.shape == (4, 3, 60, 80)
    standard = ((drawn - 1) / 0.5).double().numpy()
    assert stats.kstest(standard.ravel()[::7], "norm").pvalue > 1e-3
    assert standard.max() > 3
    assert abs(np.corrcoef(standard.reshape(4, -1))[np.triu_indices(4, 1)]).max() < 0.05


def test_noise_of_an_image_does_not_depend_on_its_pixels():
    one = noise.batch(IMAGE, "a", [4], sigma=0.1, seed=0) - torch.from_numpy(IMAGE.transpose(2, 0, 1)) / 255
    black = noise.batch(np.zeros_like(IMAGE), "a", [4], sigma=0.1, seed=0)
    assert torch.allclose(one, black, atol=1e-6)
