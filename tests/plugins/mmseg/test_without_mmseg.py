"""What `mmseg` says where mmsegmentation, or a part of it, is not installed."""

from __future__ import annotations

import sys
import types

import pytest
import torch

import smoothseg_mmseg
from smoothseg import ConfigError, WeightsError, weights
from smoothseg_mmseg import MMSegRecipe, checkpoint, fit, placeholder
from smoothseg_mmseg.fit import Fit


def test_the_plugin_offers_mmseg():
    offered = {}
    smoothseg_mmseg.register_segmenters(offered.__setitem__)
    assert offered == {"mmseg": MMSegRecipe}


def test_the_help_warns_of_code():
    field = MMSegRecipe.__dataclass_fields__["config"]
    assert "only ones you trust" in field.metadata["help"]


def test_a_missing_config_is_asked_for():
    with pytest.raises(ConfigError, match=r"needs config=\.\.\."):
        MMSegRecipe().load("cpu")


def test_a_missing_library_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmcv", None)
    with pytest.raises(ConfigError, match=r"needs mmsegmentation: pip install 'smoothseg\[mmseg\]'"):
        MMSegRecipe(config="a.py", weights="a.pth").load("cpu")


def test_operations_can_be_looked_up_and_say_their_name_when_called(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmcv._ext", None)
    placeholder.install()
    operations = sys.modules["mmcv._ext"]
    assert callable(operations.nms)
    with pytest.raises(ConfigError, match=r"compiled operation 'nms', which mmcv-lite lacks"):
        operations.nms(torch.zeros(1), threshold=0.5)
    assert not hasattr(operations, "__path__")


def test_operations_that_are_installed_are_left_alone(monkeypatch):
    real = types.ModuleType("mmcv._ext")
    monkeypatch.setitem(sys.modules, "mmcv._ext", real)
    placeholder.install()
    assert sys.modules["mmcv._ext"] is real


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        (Fit(), (5, 7), (5, 7)),
        (Fit(least=(4, 9)), (5, 7), (5, 9)),
        (Fit(least=(4, 9)), (1, 20), (4, 20)),
        (Fit(multiple=4), (5, 8), (8, 8)),
    ],
)
def test_images_are_reflected_until_they_fit(fit, size, expected):
    images = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(1))
    padded = fit.pad(images)
    assert padded.shape[-2:] == expected
    assert torch.equal(padded[..., : size[0], : size[1]], images)
    if expected[1] > size[1]:
        assert torch.equal(padded[..., : size[0], size[1]], images[..., size[1] - 2])


@pytest.mark.parametrize(
    ("takes", "window", "expected"),
    [
        (lambda height, width: True, None, Fit()),
        (lambda height, width: min(height, width) >= 29, None, Fit(least=(32, 32))),
        (lambda height, width: height % 16 == width % 16 == 0, None, Fit(multiple=32)),
        (lambda height, width: min(height, width) >= 392, None, Fit(least=(512, 512))),
        (lambda height, width: (height, width) == (40, 60), (40, 60), Fit(least=(40, 60))),
    ],
)
def test_the_fit_that_changes_least_is_found(takes, window, expected):
    def run(fit, height, width):
        assert takes(*fit.pad(torch.zeros(1, 3, height, width)).shape[-2:]), "size"

    assert fit.found(run, window=window) == expected


def test_a_network_that_takes_no_size_is_refused_with_its_first_reason():
    def run(fit, height, width):
        raise ValueError(f"no {height}x{width} with {fit.multiple}\nand more")

    with pytest.raises(ConfigError, match=r"could not be run: ValueError: no 1x1 with 1$"):
        fit.found(run, window=None)


def test_memory_that_runs_out_is_no_reason_to_try_another_size():
    def run(fit, height, width):
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        fit.found(run, window=None)


class Command:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (self.path,)


def test_a_checkpoint_that_asks_for_code_is_refused_and_nothing_runs(tmp_path):
    torch.save(
        {"state_dict": {"a": torch.ones(1)}, "x": Command(str(tmp_path / "made"))}, tmp_path / "bad.pth"
    )
    with pytest.raises(WeightsError, match=r"bad\.pth needs more than tensors.*refused"):
        checkpoint.read(str(tmp_path / "bad.pth"))
    assert not (tmp_path / "made").exists()


class Reached:
    def __reduce__(self):
        return getattr, ("text", "missing")


def test_getattr_in_a_checkpoint_reaches_nothing(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Reached()}, tmp_path / "plain.pth")
    with pytest.raises(WeightsError, match="refused"):
        weights.load(str(tmp_path / "plain.pth"), package="smoothseg_mmseg")
    assert set(checkpoint.read(str(tmp_path / "plain.pth")).state) == {"a"}


def test_a_checkpoint_of_another_plugins_network_is_refused(tmp_path):
    weights.save(tmp_path / "other.safetensors", {"a": torch.ones(1)}, network="hrnet", config={})
    with pytest.raises(WeightsError, match=r"holds the network 'hrnet', expected a checkpoint of mmseg"):
        checkpoint.read(str(tmp_path / "other.safetensors"))
