"""Which weight files the ADM denoiser takes, and what it says about the others."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

import smoothseg
from smoothseg import weights
from smoothseg.testing import recipe
from smoothseg_adm import ADMRecipe, checkpoint
from smoothseg_adm.architecture import PRESETS, Architecture, named
from smoothseg_adm.network import ADM

SIZES = {"native": 16, "widths": (8, 16), "blocks": 1, "attention": (1,), "head_width": 8, "groups": 4}
TINY = Architecture(**SIZES)


def backwards(architecture, network):
    """The state of `network` in the keys of guided-diffusion, by the table read the other way."""
    ours = network.unet.state_dict()
    state, parts = {}, {}
    for key, source in checkpoint.table(architecture).items():
        if source.part is None:
            tensor = ours[key]
            attention = ".proj_out." in source.key and tensor.ndim == 2
            state[source.key] = (tensor[..., None] if attention else tensor).clone()
        else:
            parts.setdefault(source.key, {})[source.part] = ours[key]
    for key, qkv in parts.items():
        heads = [torch.stack([qkv[p].unflatten(0, (-1, architecture.head_width))[h] for p in range(3)])
                 for h in range(qkv[0].shape[0] // architecture.head_width)]  # fmt: skip
        joined = torch.cat([head.flatten(0, 1) for head in heads])
        state[key] = joined[..., None] if joined.ndim == 2 else joined
    return state


@pytest.fixture
def network():
    torch.manual_seed(2)
    return ADM(TINY)


@pytest.fixture
def architecture_file(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY.config()))
    return str(path)


def test_file_written_after_training_is_rebuilt_from_its_config(tmp_path):
    path = tmp_path / "trained.safetensors"
    trained = ADM(
        Architecture(**SIZES, resample="convolution", patch=2, learned_variance=False, embedding=12)
    )
    weights.save(path, trained.state_dict(), network="adm", config=trained.config, half=False)
    component = ADMRecipe(weights=str(path)).load("cpu")
    noisy = torch.rand(1, 3, 7, 10)
    expected = trained(noisy, torch.tensor([0.2])).clamp(0, 1)
    torch.testing.assert_close(component.denoise(noisy, 0.2, seeds=[0]), expected, atol=1e-5, rtol=0)
    assert component.digests == {"trained.safetensors": weights.digest(path)}


@pytest.mark.parametrize("resample", ["residual", "convolution"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_guided_diffusion_file_is_converted(tmp_path, suffix, resample):
    architecture = Architecture(**SIZES, resample=resample)
    source = ADM(architecture)
    state = backwards(architecture, source)
    path, sizes = tmp_path / f"foreign{suffix}", tmp_path / "sizes.json"
    sizes.write_text(json.dumps(architecture.config()))
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    noisy = torch.rand(1, 3, 6, 10)
    component = ADMRecipe(weights=str(path), architecture=str(sizes)).load("cpu")
    assert component.digests == {path.name: weights.digest(path), "sizes.json": weights.digest(sizes)}
    expected = source(noisy, torch.tensor([0.2])).clamp(0, 1)
    torch.testing.assert_close(component.denoise(noisy, 0.2, seeds=[0]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_table_names_every_tensor_of_every_preset(preset):
    with torch.device("meta"):
        keys = list(ADM(PRESETS[preset]).unet.state_dict())
    assert sorted(checkpoint.table(PRESETS[preset])) == sorted(keys)


def test_published_512_checkpoint_has_its_known_size():
    """The paper's 559 M of the class-conditional network, less its table of 1000 x 1024 class embeddings."""
    with torch.device("meta"):
        network = ADM(PRESETS["512-uncond"])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert round((count + 1000 * 1024) / 1e6) == 559


def convert(state, network):
    return checkpoint.convert(state, network.unet, TINY, origin="file.pt")


def test_missing_tensor_is_named(network):
    state = backwards(TINY, network)
    del state["middle_block.1.qkv.bias"]
    with pytest.raises(smoothseg.WeightsError, match=r"file.pt .*: 1 missing \(middle_block.1.qkv.bias\)"):
        convert(state, network)


def test_unexpected_tensor_is_named(network):
    state = backwards(TINY, network) | {"label_emb.weight": torch.zeros(3, 2)}
    with pytest.raises(smoothseg.WeightsError, match=r"1 unexpected \(label_emb.weight\)"):
        convert(state, network)


def test_tensor_of_another_shape_is_named(network):
    state = backwards(TINY, network)
    state["out.2.weight"] = state["out.2.weight"][:3]
    with pytest.raises(
        smoothseg.WeightsError, match=r"shape \(out.2.weight \(3, 8, 3, 3\) instead of \(6, 8, 3, 3\)\)"
    ):
        convert(state, network)


def test_wrapped_keys_are_refused_not_stripped(network):
    state = {f"module.{key}": tensor for key, tensor in backwards(TINY, network).items()}
    with pytest.raises(smoothseg.WeightsError, match=rf"{len(state)} missing \(input_blocks"):
        convert(state, network)


def test_conversion_works_without_data():
    with torch.device("meta"):
        network = ADM(TINY)
        converted = convert(backwards(TINY, network), network)
    assert all(tensor.is_meta for tensor in converted.values())
    assert {key: tensor.shape for key, tensor in converted.items()} == {
        key: tensor.shape for key, tensor in network.unet.state_dict().items()
    }


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    weights.save(path, {"a": torch.zeros(1)}, network="dncnn", config={})
    with pytest.raises(smoothseg.WeightsError, match="holds the network 'dncnn', expected 'adm'"):
        ADMRecipe(weights=str(path)).load("cpu")


def test_damaged_own_file_is_refused_by_key(tmp_path, network):
    path = tmp_path / "cut.safetensors"
    state = network.state_dict()
    del state["unet.conv_out.bias"]
    weights.save(path, state, network="adm", config=network.config)
    with pytest.raises(smoothseg.WeightsError, match=r"1 missing \(unet.conv_out.bias\)"):
        ADMRecipe(weights=str(path)).load("cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 3}, "unknown or missing keys: depth"),
        ({"native": None}, "native=None"),
        ({"resample": "sideways"}, "resample=sideways"),
    ],
)
def test_config_that_does_not_fit_is_refused_by_key(change, message):
    with pytest.raises(smoothseg.WeightsError, match=message):
        Architecture.from_config(TINY.config() | change, origin="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 3}, "groups=3 must divide"),
        ({"attention": (2,)}, "must name levels 0 to 1"),
        ({"head_width": 5}, "head_width=5 must divide the width 16"),
        ({"native": 15}, "native=15 must be a multiple of 2"),
        ({"blocks": 0}, "at least 1"),
        ({"embedding": 7}, "embedding=7 must be even"),
    ],
)
def test_impossible_architecture_is_refused(change, message):
    with pytest.raises(smoothseg.ConfigError, match=message):
        Architecture(**(SIZES | change))


def test_architecture_survives_json():
    for architecture in (*PRESETS.values(), TINY):
        config = json.loads(json.dumps(architecture.config()))
        assert Architecture.from_config(config, origin="x") == architecture


def test_architecture_is_a_preset_or_a_json_file(architecture_file, tmp_path):
    assert named("256-uncond") is PRESETS["256-uncond"]
    assert named(architecture_file) == TINY
    with pytest.raises(smoothseg.UnknownNameError, match="Did you mean 'small'"):
        named("smal")
    with pytest.raises(smoothseg.ConfigError, match=r"missing\.json cannot be read"):
        named(str(tmp_path / "missing.json"))
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(smoothseg.ConfigError, match="must hold a JSON object"):
        named(str(tmp_path / "list.json"))


def test_small_preset_is_small():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in ADM(PRESETS["small"]).parameters())
    assert count == 4_562_028


def test_adm_is_registered_with_its_options():
    made = recipe("denoiser", "adm:steps=multi,respacing=10,weights=a.pt,architecture=256-uncond")
    assert made == ADMRecipe(steps="multi", respacing=10, weights="a.pt", architecture="256-uncond")
    assert all(field.metadata["help"] for field in dataclasses.fields(ADMRecipe))
