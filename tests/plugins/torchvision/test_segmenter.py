"""Torchvision's networks as segmenters: what they score, which files they take and how they refuse the others."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional
from torchvision.models import get_model_weights

from smoothseg import ConfigError, WeightsError, networks, weights
from smoothseg.testing import check_segmenter
from smoothseg.weights.catalogue import automatic, catalogue
from smoothseg_torchvision import Model, TorchvisionRecipe, segmenter
from smoothseg_torchvision.segmenter import TorchvisionSegmenter, network, voc_classes

CLASSES = ("sky", "road", "car")
LRASPP, DEEPLAB, FCN = "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"


def randomised(model, count=3, auxiliary=False):
    """The network in eval mode; its batch norms have seen something, so that scores differ between pixels."""
    torch.manual_seed(7)
    module = network(model, count, auxiliary=auxiliary)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.running_mean, std=0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module.eval()


@pytest.fixture(scope="module")
def states():
    """The state dict of a network, built once each: `states(model, auxiliary)`."""
    made = {}

    def of(model, auxiliary=False):
        if (model, auxiliary) not in made:
            made[model, auxiliary] = randomised(model, auxiliary=auxiliary).state_dict()
        return made[model, auxiliary]

    return of


@pytest.fixture
def recipe(tmp_path):
    """`recipe(model, state)`: for a checkpoint with that content and the names of three classes."""
    names = tmp_path / "classes.txt"
    names.write_text("\n".join(CLASSES) + "\n", encoding="utf-8")

    def made(model, state, **options):
        path = tmp_path / "checkpoint.pth"
        torch.save(state, path)
        return TorchvisionRecipe(model=model, weights=str(path), **{"classes": str(names), **options})

    return made


def component(model, precision="float32"):
    return TorchvisionSegmenter(
        randomised(model), classes=CLASSES, digests={}, precision=precision, device="cpu"
    )


def noisy(batch, height, width):
    return 0.5 + 0.4 * torch.randn((batch, 3, height, width), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", [LRASPP, DEEPLAB])
def test_the_segmenter_keeps_its_protocols_promises(model, precision):
    check_segmenter(component(model, precision))


@pytest.mark.parametrize(
    ("model", "auxiliary", "stride"), [(LRASPP, False, 8), (DEEPLAB, True, 16), (FCN, True, 8)]
)
def test_upsampled_scores_are_those_of_torchvisions_own_forward(
    model, auxiliary, stride, states, recipe, tmp_path
):
    images = noisy(2, 51, 70)
    state = states(model, auxiliary)
    loaded = recipe(model, state).load("cpu")
    assert loaded.classes == CLASSES
    assert loaded.digests == {
        name: weights.digest(tmp_path / name) for name in ("checkpoint.pth", "classes.txt")
    }
    scores = loaded.segment(images)
    assert scores.shape == (2, 3, -(-51 // stride), -(-70 // stride))

    whole = network(model, 3, auxiliary=auxiliary)
    whole.load_state_dict(state, strict=True)
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (networks.IMAGENET_MEAN, networks.IMAGENET_STD)
    )
    with torch.no_grad():
        expected = whole.eval()((images - mean) / std)["out"]
    upsampled = functional.interpolate(scores, size=(51, 70), mode="bilinear", align_corners=False)
    # Float32 rounds by at most 4e-6 of the largest score, whatever vector instructions the processor has.
    torch.testing.assert_close(upsampled, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
    assert expected.std(dim=(2, 3)).min() > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (101, 5), (33, 47)])
@pytest.mark.parametrize("model", [LRASPP, DEEPLAB])
def test_any_height_and_width_is_scored(model, size):
    scores = component(model).segment(noisy(1, *size))
    assert scores.shape[:2] == (1, 3)
    assert torch.isfinite(scores).all()


def test_half_the_precision_changes_scores_little():
    images = noisy(1, 64, 96)
    full, half = component(LRASPP).segment(images), component(LRASPP, "bfloat16").segment(images)
    assert full.dtype == half.dtype == torch.float32
    assert 0 < (full - half).std() < 0.05 * full.std()


def test_a_safetensors_file_and_a_training_checkpoint_load_alike(states, recipe, tmp_path):
    images, state = noisy(1, 32, 40), states(LRASPP)
    plain = recipe(LRASPP, state).load("cpu").segment(images)
    training = {"model": state, "epoch": 29, "lr_scheduler": {"last_epoch": 5}}
    assert torch.equal(recipe(LRASPP, training).load("cpu").segment(images), plain)
    save_file(state, tmp_path / "own.safetensors")
    own = TorchvisionRecipe(
        model=LRASPP, weights=str(tmp_path / "own.safetensors"), classes=str(tmp_path / "classes.txt")
    )
    assert torch.equal(own.load("cpu").segment(images), plain)


def test_wrong_keys_and_shapes_are_refused_by_name(states, recipe):
    state = states(LRASPP)
    key = "classifier.cbr.0.weight"
    for change, message in (
        ({key: None}, rf"1 missing \({key}\), as model={LRASPP}"),
        ({"head.weight": torch.ones(2)}, r"1 unexpected \(head\.weight\)"),
        (
            {key: torch.ones(128, 7, 1, 1)},
            rf"{key} \(128, 7, 1, 1\) instead of \(128, 960, 1, 1\)",
        ),
        (
            {"classifier.low_classifier.weight": torch.tensor(1.0)},
            r"of another shape \(classifier\.low_classifier\.weight \(\) instead of",
        ),
        ({"classifier.low_classifier.weight": None}, r"no classifier\.low_classifier\.weight among"),
    ):
        changed = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
        with pytest.raises(WeightsError, match=message):
            recipe(LRASPP, changed).load("cpu")


def test_an_auxiliary_classifier_is_all_there_or_not_at_all(states, recipe):
    state = states(DEEPLAB, True)
    some = {key: tensor for key, tensor in state.items() if key != "aux_classifier.1.running_mean"}
    with pytest.raises(WeightsError, match=r"1 missing \(aux_classifier\.1\.running_mean\)"):
        recipe(DEEPLAB, some).load("cpu")
    stray = {**states(LRASPP), "aux_classifier.4.weight": torch.ones(3, 8, 1, 1)}
    with pytest.raises(WeightsError, match=r"1 unexpected \(aux_classifier\.4\.weight\)"):
        recipe(LRASPP, stray).load("cpu")


@pytest.mark.parametrize(("given", "own"), [(DEEPLAB, LRASPP), (FCN, DEEPLAB)])
def test_another_models_file_is_refused_with_the_model_that_fits(given, own, states, recipe):
    with pytest.raises(WeightsError, match=f"the file is a {own}: give model={own}"):
        recipe(given, states(own)).load("cpu")


def test_twenty_one_classes_are_vocs_and_others_need_names(tmp_path, states, recipe):
    path = tmp_path / "voc.safetensors"
    save_file(network(LRASPP, 21, auxiliary=False).state_dict(), path)
    classes = TorchvisionRecipe(model=LRASPP, weights=str(path)).load("cpu").classes
    assert (len(classes), classes[0], classes[15]) == (21, "__background__", "person")
    with pytest.raises(ConfigError, match=r"scores 3 classes and does not name them.*classes=FILE"):
        recipe(LRASPP, states(LRASPP), classes=None).load("cpu")
    (tmp_path / "classes.txt").write_text("sky\nroad\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="names 2 classes, but the checkpoint scores 3"):
        recipe(LRASPP, states(LRASPP)).load("cpu")


def test_a_file_of_another_plugin_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    weights.save(path, {"a": torch.ones(1)}, network="hrnet", config={}, classes=CLASSES)
    with pytest.raises(WeightsError, match="holds the network 'hrnet', expected a checkpoint of torchvision"):
        TorchvisionRecipe(weights=str(path)).load("cpu")


def test_published_weights_of_another_model_than_the_recipes_are_refused(monkeypatch, tmp_path):
    with pytest.raises(
        ConfigError, match=f"weights '{FCN}' of torchvision have model={FCN}, got model={DEEPLAB}"
    ):
        TorchvisionRecipe(model=DEEPLAB, weights=FCN).load("cpu")
    # a file by path that the catalogue knows by its hash
    published = weights.Weights({}, tmp_path / "x.pth", "0" * 64, options={"model": FCN})
    monkeypatch.setattr(segmenter, "load_weights", lambda *_, **__: published)
    with pytest.raises(ConfigError, match=f"give model={FCN}, or weights={DEEPLAB} for"):
        TorchvisionRecipe(model=DEEPLAB, weights=str(tmp_path / "x.pth")).load("cpu")


def test_the_catalogue_has_what_the_installed_torchvision_publishes():
    entries = catalogue("smoothseg_torchvision")
    assert set(entries) == set(get_args(Model))
    for model, entry in entries.items():
        best = get_model_weights(model).DEFAULT
        assert entry.download is not None
        assert entry.download.url == best.url
        assert best.url.endswith(f"-{entry.download.sha256}.pth")
        assert entry.options == {"model": model}
        preset = best.transforms()
        assert (tuple(preset.mean), tuple(preset.std)) == (networks.IMAGENET_MEAN, networks.IMAGENET_STD)
        assert len(voc_classes(model)) == 21


def test_auto_is_the_default_model_for_any_dataset():
    for dataset in ("cityscapes", None):
        assert automatic("smoothseg_torchvision", component="torchvision", dataset=dataset).name == (
            TorchvisionRecipe().model
        )


@pytest.mark.parametrize("model", get_args(Model))
def test_every_model_has_the_published_number_of_parameters(model):
    with torch.device("meta"):
        module = network(model, 21, auxiliary=not model.startswith("lraspp"))
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == get_model_weights(model).DEFAULT.meta["num_params"]


def test_the_plugin_offers_torchvision():
    import smoothseg_torchvision

    offered = {}
    smoothseg_torchvision.register_segmenters(offered.__setitem__)
    assert offered == {"torchvision": TorchvisionRecipe}
