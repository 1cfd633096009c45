import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from smoothseg import weights
from smoothseg.errors import UnknownNameError, WeightsError

PACKAGE = "smoothseg_adm"


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def saved(path, **changes):
    network = module()
    options = {
        "network": "toy",
        "config": {"width": 4},
        "classes": ("a", "b"),
        "card": {"steps": 3},
        **changes,
    }
    weights.save(path, network.state_dict(), **options)
    return network


def test_what_is_saved_is_loaded(tmp_path):
    network = saved(tmp_path / "w.safetensors", half=False)
    loaded = weights.load(str(tmp_path / "w.safetensors"), package=PACKAGE)
    assert (loaded.network, loaded.config, loaded.classes, loaded.card) == (
        "toy",
        {"width": 4},
        ("a", "b"),
        {"steps": 3},
    )
    other = module()
    nn.init.zeros_(other[0].weight)
    weights.load_state(other, loaded)
    for key, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_half_precision_rounds_floats_and_keeps_what_overflows_and_counts(tmp_path):
    state = {"w": torch.tensor([0.1, 1.0]), "big": torch.tensor([1e9]), "count": torch.tensor(7)}
    weights.save(tmp_path / "w.safetensors", state, network="toy", config={})
    loaded = weights.load(str(tmp_path / "w.safetensors"), package=PACKAGE).state
    assert loaded["w"].dtype == torch.float32
    assert torch.equal(loaded["w"], state["w"].half().float())
    assert torch.equal(loaded["big"], state["big"])
    assert torch.equal(loaded["count"], state["count"])


def test_the_digest_is_the_files_sha256(tmp_path):
    import hashlib

    saved(tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    loaded = weights.load(str(tmp_path / "w.safetensors"), package=PACKAGE)
    assert loaded.digest == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3, "best": np.float64(0.8)}]
)
def test_torch_files_are_read_also_as_training_checkpoints(tmp_path, wrap):
    torch.save(wrap(module().state_dict()), tmp_path / "w.pth")
    weights.load_state(module(), weights.load(str(tmp_path / "w.pth"), package=PACKAGE))


class Malicious:
    def __reduce__(self):
        return (json.dumps, ({"pwned": True},))


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    torch.save({"w": Malicious()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="arbitrary code"):
        weights.load(str(tmp_path / "w.pth"), package=PACKAGE)
    (tmp_path / "p.pth").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(WeightsError):
        weights.load(str(tmp_path / "p.pth"), package=PACKAGE)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04"])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        weights.load(str(tmp_path / name), package=PACKAGE)


def test_a_truncated_file_is_named(tmp_path):
    saved(tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(content[:-10])
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        weights.load(str(tmp_path / "w.safetensors"), package=PACKAGE)


def test_loading_is_strict_and_names_what_differs(tmp_path):
    state = module().state_dict()
    state["extra"] = state.pop("0.bias")
    state["1.weight"] = torch.zeros(5)
    loaded = weights.Weights(state, tmp_path / "w.pth", "0" * 64)
    with pytest.raises(WeightsError) as error:
        weights.load_state(module(), loaded)
    for part in ("1 missing (0.bias)", "1 unexpected (extra)", "1.weight (5,) instead of (4,)"):
        assert part in str(error.value)


def test_references_that_lead_nowhere(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        weights.load(str(tmp_path / "absent.pth"), package=PACKAGE)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'streets'"):
        weights.load("street", package=PACKAGE)


def test_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_FORMAT", 99)
    saved(tmp_path / "w.safetensors")
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="weight format 99"):
        weights.load(str(tmp_path / "w.safetensors"), package=PACKAGE)


def test_packaged_weights_are_found_by_name():
    assert "streets" in weights.packaged(PACKAGE)
    assert weights.load("streets", package=PACKAGE).network == "adm"
