"""ADM against the published implementation's numbers; tolerances as in tests/golden/adm/README.md."""

from __future__ import annotations

import functools
import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from smoothseg import networks
from smoothseg_adm import ADMRecipe, checkpoint, denoiser, diffusion
from smoothseg_adm.architecture import PRESETS, Architecture
from smoothseg_adm.network import ADM
from smoothseg_adm.schedule import LINEAR

ROOT = Path(__file__).resolve().parents[3]
PACKAGED = ROOT / "tests/golden/adm"
SHARED = ROOT.parent / "shared/golden/adm"
NETWORKS = {"tiny-a": PACKAGED} | ({"tiny-b": SHARED} if SHARED.exists() else {})
ARCHITECTURES = {
    "tiny-a": Architecture(native=32, widths=(32, 64, 64), blocks=1, attention=(1, 2), head_width=16),
    "tiny-b": Architecture(
        native=64, widths=(32, 32, 64, 64, 128, 128), blocks=2, attention=(3, 4, 5), head_width=16
    ),
    "adm-256-uncond": PRESETS["256-uncond"],
}
RAW = 1e-4

pytestmark = pytest.mark.golden
each_network = pytest.mark.parametrize("name", sorted(NETWORKS))


def stored(name):
    """The state dict of a tiny network in the keys of guided-diffusion."""
    packed = NETWORKS[name] / f"{name}.state.safetensors.xz"
    if packed.exists():
        return {key: tensor.float() for key, tensor in load(lzma.decompress(packed.read_bytes())).items()}
    with np.load(NETWORKS[name] / f"{name}.state.npz") as arrays:
        state = {key: arrays[key] for key in arrays if "/" not in key}
        for key in (key for key in arrays if key.startswith("code/")):
            name = key.removeprefix("code/")
            state[name] = arrays[key].astype(np.float32) * arrays["scale/" + name]
    return {key: torch.from_numpy(np.asarray(value)) for key, value in state.items()}


@functools.cache
def tiny(name):
    """The network in eval mode and its golden arrays."""
    network = ADM(ARCHITECTURES[name])
    state = checkpoint.convert(stored(name), network.unet, ARCHITECTURES[name], origin=name)
    network.unet.load_state_dict(state, strict=True)
    with np.load(NETWORKS[name] / f"{name}.io.npz") as arrays:
        return network.eval().requires_grad_(False), {key: torch.from_numpy(arrays[key]) for key in arrays}


@functools.cache
def schedule():
    with np.load(PACKAGED / "schedule.npz") as arrays:
        return dict(arrays)


def output(network, scaled, timestep):
    return network.raw(scaled, torch.full((len(scaled),), float(timestep))).float()


def noisy_of(scaled, level):
    """The [0, 1] image that `diffusion.scale` takes to `scaled`."""
    return (scaled * math.sqrt(1 + level**2) + 1) / 2


def largest(values, expected):
    return float((values - expected).abs().max())


def test_schedule_is_the_linear_one():
    golden = schedule()
    np.testing.assert_allclose(LINEAR.alphas_cumprod, golden["alphas_cumprod"], rtol=1e-13)
    np.testing.assert_allclose(LINEAR.levels, golden["sigma_of_t"], rtol=1e-12)
    posterior = LINEAR.posterior(np.arange(1000))
    np.testing.assert_allclose(posterior.start, golden["posterior_mean_coef1"], rtol=1e-10)
    np.testing.assert_allclose(posterior.current, golden["posterior_mean_coef2"], rtol=1e-10)
    np.testing.assert_allclose(posterior.log_variance, golden["posterior_log_variance_clipped"], rtol=1e-10)
    np.testing.assert_allclose(posterior.log_beta, np.log(golden["betas"]), rtol=1e-10)


def test_direct_rule_is_the_first_timestep_whose_level_reaches_sigma_itself():
    golden = schedule()
    found = [LINEAR.timestep(2 * float(sigma), "direct") for sigma in golden["sigma"]]
    assert found == golden["direct_t_first_at_least"].tolist() == [73, 145, 259]


@pytest.mark.parametrize(("name", "factor"), [("direct", 1), ("doubled", 2)])
@pytest.mark.parametrize(
    ("rule", "column"),
    [
        ("first-at-least", "t_first_at_least"),
        ("nearest", "t_nearest"),
        ("interpolated", "t_interpolated"),
    ],
)
def test_timesteps_of_the_usual_sigmas(name, factor, rule, column):
    golden = schedule()
    timesteps = [LINEAR.timestep(factor * sigma, rule) for sigma in golden["sigma"]]
    np.testing.assert_allclose(timesteps, golden[f"{name}_{column}"], rtol=1e-10)


@each_network
def test_scaled_input_is_the_forward_process(name):
    _, golden = tiny(name)
    for t, expected in zip(golden["t"], golden["x"], strict=True):
        level = float(LINEAR.levels[t])
        noisy = (golden["x0"] + 1) / 2 + level / 2 * golden["noise"]
        assert largest(diffusion.scale(noisy, level), expected) < 2e-6


@each_network
def test_network_output(name):
    network, golden = tiny(name)
    for t, scaled, expected in zip(golden["t"], golden["x"], golden["raw"], strict=True):
        assert largest(output(network, scaled, t), expected) < RAW


def test_network_output_with_a_timestep_a_row():
    network, golden = tiny("tiny-a")
    assert largest(network.raw(golden["x_mixed"], golden["t_mixed"]), golden["raw_mixed"]) < RAW
    assert largest(network.raw(golden["x_mixed"], golden["t_mixed"].float()), golden["raw_mixed"]) < RAW


@pytest.mark.parametrize("shape", ["rect", "rect2"])
def test_network_output_for_images_that_are_not_square(shape):
    network, golden = tiny("tiny-a")
    assert largest(network.raw(golden[f"x_{shape}"], golden[f"t_{shape}"]), golden[f"raw_{shape}"]) < RAW


@each_network
def test_clean_estimate(name):
    network, golden = tiny(name)
    for t, scaled, expected in zip(golden["t"], golden["x"], golden["pred_xstart"], strict=True):
        level = float(LINEAR.levels[t])
        estimate = diffusion.start(scaled, level, output(network, scaled, t))
        assert largest(estimate, expected) < 1e-4 * max(1, level)


def test_trainable_module_gives_the_unclipped_estimate():
    network, golden = tiny("tiny-a")
    for t, scaled, expected in zip(golden["t"], golden["x"], golden["pred_xstart_unclipped"], strict=True):
        level = float(LINEAR.levels[t])
        estimate = network(noisy_of(scaled, level), torch.full((len(scaled),), level / 2))
        assert largest(2 * estimate - 1, expected) < 2e-4 * max(1, level)


def test_mean_and_log_variance_of_the_ancestral_step():
    network, golden = tiny("tiny-a")
    posterior = LINEAR.posterior(np.arange(1000))
    for i, t in enumerate(golden["t"]):
        scaled = golden["x"][i]
        mean, log_variance = diffusion.moments(scaled, output(network, scaled, t), posterior, int(t))
        assert largest(mean, golden["mean"][i]) < 1e-5
        assert largest(log_variance, golden["log_variance"][i]) < 1e-4


@pytest.mark.skipif("tiny-b" not in NETWORKS, reason="needs the complete reference data")
def test_mean_and_log_variance_with_the_full_topology():
    network, golden = tiny("tiny-b")
    scaled = golden["x"][list(golden["t"]).index(258)]
    moments = diffusion.moments(
        scaled, output(network, scaled, 258), LINEAR.posterior(np.arange(1000)), index=258
    )
    assert largest(moments[0], golden["mean_t258"]) < 1e-5
    assert largest(moments[1], golden["log_variance_t258"]) < 1e-4


@each_network
@pytest.mark.parametrize("calls", [5, 6])
def test_chain_with_the_recorded_noise(name, calls):
    network, golden = tiny(name)
    seen = []

    def at(scaled, timestep):
        seen.append(timestep)
        return output(network, scaled, timestep)

    posterior = LINEAR.posterior(LINEAR.chain(calls - 1, None))
    final = diffusion.ancestral(at, golden["chain_x_start"], posterior, lambda t: golden["chain_noise"][t])
    assert seen == golden[f"chain{calls}_t"].tolist()
    assert largest(final, golden[f"chain{calls}_final"]) < 1e-5


def test_every_sample_of_the_chain():
    network, golden = tiny("tiny-a")
    posterior = LINEAR.posterior(np.arange(5))
    scaled = golden["chain_x_start"]
    for timestep, expected in zip(golden["chain5_t"].tolist(), golden["chain5_samples"], strict=True):
        mean, log_variance = diffusion.moments(scaled, output(network, scaled, timestep), posterior, timestep)
        scaled = mean + (log_variance / 2).exp() * golden["chain_noise"][timestep] if timestep else mean
        assert largest(scaled, expected) < 1e-5


@each_network
@pytest.mark.parametrize("rule", ["interpolated", "nearest", "first-at-least"])
def test_single_step_denoiser_gives_the_clean_estimate(name, rule):
    network, golden = tiny(name)
    component = denoiser.ADMDenoiser(network, ADMRecipe(timestep=rule), digests={})
    for i, t in enumerate(golden["t"]):
        if t == 999:
            continue
        level = float(LINEAR.levels[t])
        seeds = range(len(golden["x"][i]))
        estimate = component.denoise(noisy_of(golden["x"][i], level), level / 2, seeds=seeds)
        assert largest(2 * estimate - 1, golden["pred_xstart"][i]) < 2e-4 * max(1, level)


@each_network
def test_multi_step_denoiser_calls_from_the_timestep_before_the_noise_level(name, monkeypatch):
    network, golden = tiny(name)
    seeds = range(len(golden["chain_x_start"]))
    rows = {
        networks.seeds(seed, "adm", [t], purpose="ancestral")[0]: golden["chain_noise"][t, seed]
        for seed in seeds
        for t in range(5)
    }

    def recorded(seeds, shape, *, device):
        assert shape == tuple(golden["chain_x_start"].shape[1:])
        return torch.stack([rows[seed] for seed in seeds])

    monkeypatch.setattr(denoiser.networks, "standard_normal", recorded)
    level = float(LINEAR.levels[5])
    component = denoiser.ADMDenoiser(network, ADMRecipe(steps="multi"), digests={})
    final = component.denoise(noisy_of(golden["chain_x_start"], level), level / 2, seeds=seeds)
    assert largest(2 * final - 1, golden["chain5_final"].clamp(-1, 1)) < 1e-5


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_architecture_is_the_one_of_the_reference(name):
    golden = json.loads((PACKAGED / "configs.json").read_text())[name]["unet2d"]
    own = ARCHITECTURES[name].unet2d()
    defaults = {"dropout": 0.0, "center_input_sample": False, "time_embedding_type": "positional"}
    for key, value in golden.items():
        expected = tuple(value) if isinstance(value, list) else value
        assert own.get(key, defaults.get(key, 1)) == expected, key


def test_published_checkpoint_fits_tensor_by_tensor():
    manifest = json.loads((PACKAGED / "adm-256-uncond.manifest.json").read_text())
    with torch.device("meta"):
        network = ADM(PRESETS["256-uncond"])
        state = {key: torch.empty(shape) for key, shape in manifest["tensors"].items()}
    assert len(state) == manifest["num_tensors"] == 566
    converted = checkpoint.convert(state, network.unet, PRESETS["256-uncond"], origin=manifest["file"])
    network.unet.load_state_dict(converted, strict=True, assign=True)
    assert sum(tensor.numel() for tensor in converted.values()) == 552_814_086
    assert sum(parameter.numel() for parameter in network.parameters()) == 552_814_086
