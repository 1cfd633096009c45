"""Which weight files `dncnn` and `ffdnet` take, and what they say about the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from smoothseg import WeightsError, weights
from smoothseg_kair import DnCNNRecipe, FFDNetRecipe

RECIPES = {"kair": DnCNNRecipe, "salman": DnCNNRecipe, "ffdnet": FFDNetRecipe}
CHAINS = {"kair": "model", "salman": "dncnn", "ffdnet": "model"}


def published(form, *, depth=5, width=6, prefix=""):
    """A checkpoint with the keys and shapes of the published one, written down from its description."""
    generator = torch.Generator().manual_seed(depth)

    def drawn(*shape):
        return 0.2 * torch.randn(shape, generator=generator)

    first, last = (13, 12) if form == "ffdnet" else (3, 3)
    state = {}
    for i in range(depth):
        step = 2 * i if form != "salman" else (3 * i - 1 if i else 0)
        inputs, outputs = (first if i == 0 else width), (last if i == depth - 1 else width)
        key = f"{prefix}{CHAINS[form]}.{step}"
        state[f"{key}.weight"] = drawn(outputs, inputs, 3, 3)
        if form != "salman" or i == 0:
            state[f"{key}.bias"] = drawn(outputs)
        if form == "salman" and 0 < i < depth - 1:
            norm = f"{prefix}{CHAINS[form]}.{step + 1}"
            state |= {f"{norm}.weight": drawn(width), f"{norm}.bias": drawn(width)}
            state |= {f"{norm}.running_mean": drawn(width), f"{norm}.running_var": drawn(width) ** 2 + 0.5}
            state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    return state


def load(path, state, form):
    torch.save(state, path)
    return RECIPES[form](weights=str(path)).load("cpu")


def image():
    return 0.5 + 0.3 * torch.randn(1, 3, 7, 9, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("depth", [2, 3, 6])
@pytest.mark.parametrize("form", ["kair", "salman", "ffdnet"])
def test_a_published_file_shows_its_own_sizes(tmp_path, form, depth):
    component = load(tmp_path / "net.pth", published(form, depth=depth), form)
    assert component.digests == {"net.pth": weights.digest(tmp_path / "net.pth")}
    # the recipe's sizes are those to train: they do not matter here
    other = RECIPES[form](weights=str(tmp_path / "net.pth"), depth=9, width=3).load("cpu")
    assert torch.equal(component.denoise(image(), 0.2, seeds=[0]), other.denoise(image(), 0.2, seeds=[0]))


@pytest.mark.parametrize("form", ["kair", "salman", "ffdnet"])
def test_the_published_sizes_are_taken(tmp_path, form):
    depth, width = {"kair": (20, 64), "salman": (17, 64), "ffdnet": (12, 96)}[form]
    state = published(form, depth=depth, width=width)
    keys = {"kair": 40, "salman": 17 + 1 + 15 * 5, "ffdnet": 24}
    assert len(state) == keys[form]
    component = load(tmp_path / "net.pth", state, form)
    assert component.denoise(image(), 0.2, seeds=[0]).shape == image().shape


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_training_checkpoint_of_denoised_smoothing_is_taken_as_it_is(tmp_path, prefix):
    path = tmp_path / "best.pth.tar"
    state = published("salman", prefix=prefix)
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-5}]}
    wrapped = {"epoch": 5, "arch": "imagenet_dncnn", "state_dict": state, "optimizer": optimizer}
    component = load(path, wrapped | {"loss": np.float64(0.1)}, "salman")
    bare = load(tmp_path / "bare.pth", published("salman"), "salman")
    assert torch.equal(component.denoise(image(), 0.2, seeds=[0]), bare.denoise(image(), 0.2, seeds=[0]))


def test_safetensors_of_another_origin_are_taken(tmp_path):
    save_file(published("kair"), tmp_path / "net.safetensors")
    component = DnCNNRecipe(weights=str(tmp_path / "net.safetensors")).load("cpu")
    other = load(tmp_path / "net.pth", published("kair"), "kair")
    assert torch.equal(component.denoise(image(), 0.2, seeds=[0]), other.denoise(image(), 0.2, seeds=[0]))


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("dncnn", DnCNNRecipe(depth=4, width=6)),
        ("dncnn", DnCNNRecipe(depth=4, width=6, form="salman")),
        ("ffdnet", FFDNetRecipe(depth=4, width=6)),
    ],
)
def test_a_file_written_after_training_is_rebuilt_from_its_config(tmp_path, name, recipe):
    path, trained = tmp_path / "trained.safetensors", recipe.network(None)
    generator = torch.Generator().manual_seed(0)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    weights.save(path, trained.state_dict(), network=name, config=trained.config, half=False)
    component = type(recipe)(weights=str(path)).load("cpu")
    expected = trained.eval()(image(), torch.tensor([0.2])).clamp(0, 1)
    torch.testing.assert_close(component.denoise(image(), 0.2, seeds=[0]), expected, atol=1e-5, rtol=0)
    assert component.digests == {"trained.safetensors": weights.digest(path)}


@pytest.mark.parametrize(
    ("form", "prefix"),
    [("kair", ""), ("kair", "module."), ("salman", ""), ("salman", "module."), ("ffdnet", "")],
)
def test_keys_that_are_missing_unexpected_or_of_another_shape_are_named(tmp_path, form, prefix):
    chain = CHAINS[form]
    middle = f"{chain}.2"
    path = tmp_path / "net.pth"

    state = published(form, prefix=prefix)
    del state[f"{prefix}{middle}.weight"]
    with pytest.raises(WeightsError, match=rf"net\.pth .*1 missing \({middle}\.weight\)"):
        load(path, state, form)

    state = published(form, prefix=prefix) | {f"{prefix}{chain}.extra": torch.zeros(1)}
    with pytest.raises(WeightsError, match=rf"1 unexpected \({prefix}{chain}\.extra\)"):
        load(path, state, form)

    state = published(form, prefix=prefix)
    state[f"{prefix}{middle}.weight"] = state[f"{prefix}{middle}.weight"][:4]
    with pytest.raises(WeightsError, match=rf"{middle}\.weight \(4, 6, 3, 3\) instead of \(6, 6, 3, 3\)"):
        load(path, state, form)


def test_a_key_outside_the_prefix_is_not_taken_for_one_inside(tmp_path):
    state = published("salman", prefix="module.")
    state["dncnn.0.bias"] = state.pop("module.dncnn.0.bias")
    message = r"1 missing \(dncnn\.0\.bias\); 1 unexpected \(\(outside module\) dncnn\.0\.bias\)"
    with pytest.raises(WeightsError, match=message):
        load(tmp_path / "net.pth", state, "salman")


@pytest.mark.parametrize(
    ("held", "read", "message"),
    [
        ("ffdnet", "kair", r"model\.0\.weight \(6, 13, 3, 3\) instead of \(6, 3, 3, 3\)"),
        ("kair", "ffdnet", r"model\.0\.weight \(6, 3, 3, 3\) instead of \(6, 13, 3, 3\)"),
        ("salman", "ffdnet", r"holds no FFDNet: there is no model\.0\.weight among its \d+ keys \(dncnn\.0"),
    ],
)
def test_the_other_network_is_refused(tmp_path, held, read, message):
    with pytest.raises(WeightsError, match=message):
        load(tmp_path / "net.pth", published(held), read)


def test_a_network_for_grey_images_is_refused(tmp_path):
    state = published("kair")
    state["model.0.weight"], state["model.8.weight"] = (
        state["model.0.weight"][:, :1],
        state["model.8.weight"][:1],
    )
    state["model.8.bias"] = state["model.8.bias"][:1]
    with pytest.raises(WeightsError, match=r"3 of another shape \(model\.0\.weight \(6, 1, 3, 3\)"):
        load(tmp_path / "net.pth", state, "kair")


def test_batch_norms_that_kair_did_not_merge_are_refused(tmp_path):
    state = published("kair") | {"model.3.running_mean": torch.zeros(6)}
    with pytest.raises(WeightsError, match=r"1 unexpected \(model\.3\.running_mean\)"):
        load(tmp_path / "net.pth", state, "kair")


@pytest.mark.parametrize("recipe", [DnCNNRecipe, FFDNetRecipe])
def test_files_of_something_else_are_refused(tmp_path, recipe):
    torch.save({"conv1.weight": torch.zeros(2, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"there is no model\.0\.weight .*1 keys \(conv1\.weight\)"):
        recipe(weights=str(tmp_path / "other.pth")).load("cpu")
    torch.save({"model.0.weight": torch.zeros(2)}, tmp_path / "flat.pth")
    with pytest.raises(WeightsError, match=r"model\.0\.weight has shape \(2,\), not a convolution's"):
        recipe(weights=str(tmp_path / "flat.pth")).load("cpu")
    weights.save(tmp_path / "own.safetensors", {"a": torch.zeros(1)}, network="adm", config={})
    with pytest.raises(WeightsError, match=r"holds the network 'adm', expected '(dncnn|ffdnet)'"):
        recipe(weights=str(tmp_path / "own.safetensors")).load("cpu")


def test_a_damaged_own_file_is_refused_by_key(tmp_path):
    network = DnCNNRecipe(depth=3, width=4).network(None)
    state = dict(network.state_dict())
    del state["model.4.bias"]
    weights.save(tmp_path / "cut.safetensors", state, network="dncnn", config=network.config)
    with pytest.raises(WeightsError, match=r"1 missing \(model\.4\.bias\)"):
        DnCNNRecipe(weights=str(tmp_path / "cut.safetensors")).load("cpu")
