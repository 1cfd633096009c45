"""What the ADM denoiser promises, on networks that are small or known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import smoothseg
from smoothseg import networks
from smoothseg_adm import ADMRecipe, fit
from smoothseg_adm.architecture import Architecture
from smoothseg_adm.denoiser import ADMDenoiser
from smoothseg_adm.network import ADM
from smoothseg_adm.schedule import LINEAR, Schedule

RULES = ["interpolated", "nearest", "first-at-least", "direct"]
TINY = Architecture(
    native=16, widths=(8, 16), blocks=1, attention=(1,), head_width=8, groups=4, learned_variance=True
)


def seeded(architecture=TINY):
    """A network in which no parameter is zero."""
    torch.manual_seed(3)
    return ADM(architecture)


def adm(network=None, **options):
    return ADMDenoiser(network or seeded(), ADMRecipe(**options), digests={})


class Knowing(nn.Module):
    """Stands in for a U-Net: knows the clean image and so predicts the noise in its input exactly."""

    def __init__(self, clean, channels=3):
        super().__init__()
        self.register_parameter("dtype", nn.Parameter(torch.zeros(1)))
        self.clean, self.channels, self.timesteps, self.sizes = clean, channels, [], []

    def forward(self, scaled, timesteps, return_dict):
        assert not return_dict
        self.timesteps.append(timesteps.tolist())
        self.sizes.append(tuple(scaled.shape))
        level = torch.from_numpy(np.interp(timesteps.numpy(), np.arange(1000), LINEAR.levels)).float()
        level = level.view(-1, 1, 1, 1)
        exact = (scaled * (1 + level**2).sqrt() - (2 * self.clean - 1)) / level
        return (torch.cat([exact, torch.zeros_like(exact)], 1)[:, : self.channels],)


def knowing(clean, *, learned_variance=False, patch=1):
    network = ADM(Architecture(
        native=16, widths=(8, 16), blocks=1, attention=(1,), head_width=8, groups=4, learned_variance=learned_variance
    ))  # fmt: skip
    network.unet = Knowing(clean, network.architecture.outputs)
    return network


def noisy_images(count, height, width, sigma=0.3):
    torch.manual_seed(height * 1000 + width)
    return torch.rand(count, 3, height, width) + sigma * torch.randn(count, 3, height, width)


@pytest.mark.parametrize("learned_variance", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "options", [{}, {"steps": "multi", "respacing": 4}, {"steps": "multi", "respacing": 1}]
)
def test_exact_noise_prediction_gives_back_the_clean_image(rule, options, learned_variance):
    clean = 0.1 + 0.8 * torch.rand(1, 3, 6, 10, generator=torch.Generator().manual_seed(0))
    noisy = clean + 0.25 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    component = adm(knowing(clean, learned_variance=learned_variance), timestep=rule, **options)
    torch.testing.assert_close(component.denoise(noisy, 0.25, seeds=[5]), clean, atol=2e-5, rtol=0)


def test_exact_noise_prediction_along_the_full_chain_gives_back_the_clean_image():
    clean = 0.1 + 0.8 * torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    network = knowing(clean, learned_variance=True)
    result = adm(network, steps="multi", timestep="nearest").denoise(clean + 0.1, 0.25, seeds=[5])
    torch.testing.assert_close(result, clean, atol=2e-5, rtol=0)
    assert [t for (t,) in network.unet.timesteps] == list(range(143, -1, -1))


def test_estimate_is_clipped_to_the_range_of_images():
    clean = torch.tensor([-0.5, 0.5, 1.5]).view(1, 3, 1, 1).expand(1, 3, 2, 4)
    result = adm(knowing(clean)).denoise(clean.clone(), 0.2, seeds=[0])
    torch.testing.assert_close(result, clean.clamp(0, 1), atol=1e-5, rtol=0)


def test_trainable_module_does_not_clip():
    clean = torch.tensor([-0.5, 0.5, 1.5]).view(1, 3, 1, 1).expand(1, 3, 2, 4)
    result = knowing(clean)(clean + 0.3, torch.tensor([0.4]))
    torch.testing.assert_close(result, clean, atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "options",
    [{}, {"rows": 2}, {"steps": "multi", "respacing": 3}, {"fit": "tile", "tile": 8, "overlap": 2}],
    ids=["single", "rows-2", "multi", "tile"],
)
def test_rows_are_the_same_bits_in_any_batch(options, precision):
    component = adm(precision=precision, **options)
    noisy, seeds = noisy_images(7, 11, 18), [2**127 + i for i in range(7)]
    together = component.denoise(noisy, 0.3, seeds=seeds)
    for size in (1, 3):
        parts = [
            component.denoise(noisy[i : i + size], 0.3, seeds=seeds[i : i + size]) for i in range(0, 7, size)
        ]
        assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize(
    "fitted", [{"fit": "pad"}, {"fit": "resize"}, {"fit": "tile", "tile": 8, "overlap": 4}]
)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (9, 17), (16, 16), (31, 10)])
def test_any_height_and_width(size, fitted):
    noisy = noisy_images(2, *size)
    result = adm(**fitted).denoise(noisy, 0.3, seeds=[0, 1])
    assert result.shape == noisy.shape
    assert result.dtype == torch.float32
    assert 0 <= float(result.min()) <= float(result.max()) <= 1


def test_noisy_image_is_left_as_it_was():
    noisy = noisy_images(1, 8, 10)
    before = noisy.clone()
    adm(steps="multi", respacing=2).denoise(noisy, 0.3, seeds=[0])
    assert torch.equal(noisy, before)


def test_multi_step_is_a_function_of_the_rows_seed():
    component = adm(steps="multi", respacing=3)
    noisy = noisy_images(1, 6, 8).expand(3, -1, -1, -1)
    torch.manual_seed(0)
    first, again, other = component.denoise(noisy, 0.3, seeds=[8, 8, 9])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(1)
    assert torch.equal(component.denoise(noisy[:1], 0.3, seeds=[9])[0], other)


def test_each_step_of_a_chain_has_noise_of_its_own(monkeypatch):
    used = []
    monkeypatch.setattr(
        "smoothseg_adm.denoiser.networks.standard_normal",
        lambda seeds, shape, device: used.extend(seeds) or torch.zeros(len(seeds), *shape),
    )
    adm(steps="multi", respacing=5).denoise(noisy_images(2, 4, 6), 0.3, seeds=[1, 2])
    assert len(used) == len(set(used)) == 2 * 4
    assert not set(used) & {1, 2}


def test_single_step_draws_nothing():
    noisy = noisy_images(1, 6, 8)
    assert torch.equal(adm().denoise(noisy, 0.3, seeds=[1]), adm().denoise(noisy, 0.3, seeds=[2]))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("interpolated", 144.153387), ("nearest", 144), ("first-at-least", 145), ("direct", 73)],
)
def test_network_is_told_the_timestep_of_its_rule(rule, expected):
    network = knowing(torch.full((1, 3, 2, 2), 0.5))
    adm(network, timestep=rule).denoise(torch.rand(1, 3, 2, 2), 0.25, seeds=[0])
    assert network.unet.timesteps[0] == pytest.approx([expected], abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_noise_without_strength_gives_the_image_itself(rule):
    image = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(4))
    result = adm(timestep=rule).denoise(image, 0.0, seeds=[0])
    assert float((result - image).abs().max()) < (1e-6 if rule == "interpolated" else 0.05)


def test_noise_beyond_the_schedule_is_refused():
    with pytest.raises(smoothseg.ConfigError, match=r"sigma 80 is outside .*: 0 to 78\."):
        adm().denoise(torch.rand(1, 3, 4, 4), 80.0, seeds=[0])


def test_seeds_must_be_one_a_row():
    with pytest.raises(ValueError, match="expected 2 seeds, one a row, got 1"):
        adm().denoise(torch.rand(2, 3, 4, 4), 0.1, seeds=[0])


def test_resize_denoises_at_the_native_size_with_the_noise_that_is_left():
    network = knowing(torch.full((1, 3, 16, 16), 0.25))
    noisy = noisy_images(1, 32, 48)
    result = adm(network, fit="resize").denoise(noisy, 0.3, seeds=[0])
    assert network.unet.sizes == [(1, 3, 16, 16)]
    left = networks.sigma_left(0.3, (32, 48), (16, 16))
    assert left < 0.15
    expected = LINEAR.timestep(2 * left, "interpolated")
    assert network.unet.timesteps[0] == pytest.approx([expected], abs=1e-4)
    torch.testing.assert_close(result, torch.full_like(noisy, 0.25), atol=1e-5, rtol=0)


def test_bare_bilinear_resizing_reaches_the_network_with_its_own_noise_level():
    network = knowing(torch.full((1, 3, 16, 16), 0.25))
    adm(network, fit="resize", antialias=False).denoise(noisy_images(1, 32, 44), 0.3, seeds=[0])
    left = networks.sigma_left(0.3, (32, 44), (16, 16), antialias=False)
    assert left > networks.sigma_left(0.3, (32, 44), (16, 16)) + 0.02
    assert network.unet.timesteps[0] == pytest.approx([LINEAR.timestep(2 * left, "interpolated")], abs=1e-4)


def test_antialiasing_decides_which_pixels_the_network_sees():
    seen = []
    for antialias in (True, False):
        component = adm(fit="resize", antialias=antialias)
        component._network.raw = lambda scaled, t: seen.append(scaled) or torch.zeros_like(scaled)
        component.denoise(noisy_images(1, 48, 80), 0.3, seeds=[0])
    averaged, bare = ((images * 0.5).std() for images in seen)
    assert float(bare) > 1.3 * float(averaged)


def test_published_rule_takes_sigma_as_it_is_even_after_resizing():
    network = knowing(torch.full((1, 3, 16, 16), 0.5))
    adm(network, fit="resize", antialias=False, timestep="direct").denoise(
        noisy_images(1, 32, 48), 0.5, seeds=[0]
    )
    assert network.unet.timesteps[0] == [145]


# ---- chains


@pytest.mark.parametrize(
    ("first", "calls", "expected"),
    [
        (4, None, [0, 1, 2, 3, 4]),
        (4, 9, [0, 1, 2, 3, 4]),
        (144, 4, [0, 48, 96, 144]),
        (258, 1, [258]),
        (0, 5, [0]),
        (5, 5, [0, 1, 2, 4, 5]),
    ],
)
def test_chain_keeps_both_ends_and_as_many_timesteps_as_asked(first, calls, expected):
    assert LINEAR.chain(first, calls).tolist() == expected


def test_spaced_posterior_is_the_conditional_gaussian():
    """x_s and x_t given x_0 are jointly normal; conditioning on x_t gives the moments in closed form."""
    kept = np.array([3, 40, 41, 260, 999])
    posterior = LINEAR.posterior(kept)
    for i in range(1, len(kept)):
        a_s, a_t = LINEAR.alphas_cumprod[kept[i - 1]], LINEAR.alphas_cumprod[kept[i]]
        covariance = math.sqrt(a_t / a_s) * (1 - a_s)
        slope = covariance / (1 - a_t)
        assert posterior.current[i] == pytest.approx(slope, rel=1e-9)
        assert posterior.start[i] == pytest.approx(math.sqrt(a_s) - slope * math.sqrt(a_t), rel=1e-9)
        if (
            i > 1
        ):  # the step from kept[1] leads to the last but one; its variance is shown for the last step, too
            assert math.exp(posterior.log_variance[i]) == pytest.approx(
                1 - a_s - covariance * slope, rel=1e-8
            )
    assert posterior.start[0] == pytest.approx(1)
    assert posterior.current[0] == pytest.approx(0)


def test_fixed_variance_chain_has_the_statistics_of_the_posterior():
    """One step of many pixels at once, from x_t with x_0 = 0 known: mean `current * x_t`, the posterior's variance."""
    posterior = LINEAR.posterior(np.array([100, 300]))
    network = knowing(torch.full((1, 3, 1, 1), 0.5))
    level = float(LINEAR.levels[300])

    from smoothseg_adm import diffusion

    scaled = torch.full((1, 3, 100, 100), 0.7)
    output = network.raw(scaled, torch.tensor([300.0]))
    mean, log_variance = diffusion.moments(scaled, output, posterior, 1)
    drawn = mean + (log_variance / 2).exp() * networks.standard_normal([1], (3, 100, 100))
    assert level > 1
    assert float(drawn.mean()) == pytest.approx(0.7 * posterior.current[1], abs=0.02)
    assert float(drawn.var()) == pytest.approx(math.exp(posterior.log_variance[1]), rel=0.05)


def test_timesteps_of_a_schedule_of_three():
    schedule = Schedule(np.array([0.5, 0.2, 0.1]))  # levels 1, 2, 3
    assert schedule.levels == pytest.approx([1, 2, 3])
    assert [schedule.timestep(level, "interpolated") for level in (0, 1, 1.25, 3)] == pytest.approx(
        [0, 0, 0.25, 2]
    )
    assert [schedule.timestep(level, "nearest") for level in (0, 1.4, 1.6, 3)] == [0, 0, 1, 2]
    assert [schedule.timestep(level, "first-at-least") for level in (0, 1, 1.1, 2.0, 3)] == [0, 0, 1, 1, 2]


# ---- fitting


@pytest.mark.parametrize("size", [(5, 9), (8, 8), (9, 30), (23, 17)])
@pytest.mark.parametrize("overlap", [0, 3, 4])
def test_tiles_of_a_pointwise_network_blend_to_the_whole(size, overlap):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    shapes = []

    def pointwise(images):
        shapes.append(tuple(images.shape[-2:]))
        return images.sin()

    blended = fit.tiles(pointwise, image, tile=8, overlap=overlap, multiple=4)
    torch.testing.assert_close(blended, image.sin(), atol=1e-6, rtol=0)
    assert max(max(shape) for shape in shapes) <= 8


def test_tiles_that_disagree_blend_without_a_step():
    """A network that answers with the number of its call: the blend must climb smoothly across the overlap."""
    calls = iter(range(100))

    def numbered(images):
        return torch.full_like(images, float(next(calls)))

    blended = fit.tiles(numbered, torch.zeros(1, 1, 8, 28), tile=16, overlap=4, multiple=4)[0, 0, 0]
    assert float(blended[0]) == 0
    assert float(blended[-1]) == 1
    assert float(blended.diff().abs().max()) <= 1 / 4 + 1e-6
    assert float(blended.diff().min()) >= 0


def test_neighbouring_tiles_share_the_overlap():
    windows = []

    def watched(images):
        windows.append((int(images[0, 0, 0, 0]), images.shape[-1]))
        return images

    fit.tiles(watched, torch.arange(100.0).expand(1, 1, 8, 100), tile=32, overlap=8, multiple=4)
    starts = [start for start, _ in windows]
    assert starts[0] == 0
    assert starts[-1] == 100 - 32
    assert all(width == 32 for _, width in windows)
    assert max(np.diff(starts)) <= 32 - 8


def test_tiled_local_network_agrees_with_the_whole_image():
    """Without attention or normalisation beyond a tile nothing differs but near a tile's own border."""
    convolution = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect").requires_grad_(False)
    image = torch.rand(1, 3, 8, 40, generator=torch.Generator().manual_seed(0))
    blended = fit.tiles(convolution, image, tile=16, overlap=8, multiple=4)
    assert float((blended - convolution(image)).abs().mean()) < 0.01
    torch.testing.assert_close(blended[..., :8], convolution(image)[..., :8])


# ---- training


def test_untrained_network_starts_from_the_noisy_image():
    network = ADMRecipe(architecture="small").network(None)
    noisy = noisy_images(2, 17, 33)
    torch.testing.assert_close(network(noisy, torch.tensor([0.1, 0.6])), noisy)


def test_untrained_network_learns_in_every_parameter():
    network = seeded(Architecture(
        native=16, widths=(8, 16), blocks=1, attention=(1,), head_width=8, groups=4, resample="convolution",
        patch=2, learned_variance=False,
    ))  # fmt: skip
    loss = network(noisy_images(2, 8, 12), torch.tensor([0.1, 0.6])).square().mean()
    loss.backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in network.parameters())


def test_sigma_of_each_row_is_its_own():
    network = seeded()
    noisy, sigma = noisy_images(3, 8, 10), torch.tensor([0.05, 0.3, 0.9])
    together = network(noisy, sigma)
    for i in range(3):
        alone = network(noisy[i : i + 1], sigma[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(together[0], network(noisy[:1], torch.tensor([0.9]))[0], atol=1e-3)


def test_denoiser_is_the_trained_module_clipped():
    network = seeded()
    noisy = noisy_images(2, 9, 14)
    with torch.no_grad():
        expected = network(noisy, torch.tensor([0.3, 0.3])).clamp(0, 1)
    torch.testing.assert_close(adm(network).denoise(noisy, 0.3, seeds=[0, 1]), expected, atol=1e-5, rtol=0)


def test_module_runs_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        result = seeded()(noisy_images(1, 8, 8), torch.tensor([0.3]))
    assert result.dtype == torch.float32


# ---- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"respacing": 5}, "respacing=5 needs steps=multi"),
        ({"steps": "multi", "respacing": 0}, "respacing=0 needs steps=multi and at least 1"),
        ({"tile": 64, "overlap": 40}, "overlap=40 must be between 0 and half of tile=64"),
        ({"rows": 0}, "rows=0 must be at least 1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(smoothseg.ConfigError, match=message):
        ADMRecipe(**options)


def test_tile_must_fit_the_network():
    with pytest.raises(smoothseg.ConfigError, match="tile=17 must be a multiple of 2"):
        adm(fit="tile", tile=17, overlap=4)
