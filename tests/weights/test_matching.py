"""Which weight files a network takes, and what is said of the others."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from smoothseg import WeightsError, weights
from smoothseg.weights import Weights


def of(state, **stored):
    return Weights(state, Path("folder/net.pth"), "1" * 64, **stored)


def test_digests_are_those_of_the_weights_and_of_the_files_read_beside_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    names = tmp_path / "classes.txt"
    names.write_text("sky\n")
    assert weights.digests(of({})) == {"net.pth": "1" * 64}
    assert weights.digests(of({}), None, "~/classes.txt") == {
        "net.pth": "1" * 64,
        "classes.txt": weights.digest(names),
    }


def test_a_file_must_name_as_many_classes_as_its_network_scores():
    named = of({}, classes=("sky", "road"))
    weights.check_class_count(named, 2)
    with pytest.raises(WeightsError, match=r"net\.pth scores 3 classes but names 2$"):
        weights.check_class_count(named, 3)


def test_the_scored_classes_are_the_rows_of_the_last_layer():
    checkpoint = of({f"layer{i}": torch.zeros(i + 1, 4) for i in range(5)})
    assert weights.scored_classes(checkpoint, "layer2", what="network") == 3
    assert weights.scored_classes(of({"last": torch.tensor(0.0)}), "last", what="network") == 1
    said = r"net\.pth holds no network: there is no head among 5 keys \(layer0, layer1, layer2, \.\.\.\)$"
    with pytest.raises(WeightsError, match=said):
        weights.scored_classes(checkpoint, "head", what="network")


def test_a_file_fits_the_module_that_has_its_keys_and_shapes():
    state = nn.Linear(3, 2).state_dict()
    with torch.device("meta"):
        module, other = nn.Linear(3, 2), nn.Linear(3, 4)
    assert weights.fits(module, of(state))
    assert not weights.fits(other, of(state))
    assert not weights.fits(module, of({"weight": state["weight"]}))
    assert not weights.fits(module, dataclasses.replace(of(state), state={**state, "more": state["bias"]}))
