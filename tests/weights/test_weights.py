import dataclasses
import json
import pickle
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from smoothseg import weights
from smoothseg.components.discovery import KINDS
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, PluginError, UnknownNameError, WeightsError
from smoothseg.runs.plan import Plan
from smoothseg.weights import stored
from smoothseg.weights.catalogue import automatic, catalogue
from smoothseg.weights.sources import Source

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


@pytest.mark.parametrize("package", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_scores_beside_the_tensors_are_read_whichever_numpy_wrote_them(tmp_path, package):
    path = tmp_path / "w.pth"
    content = {"state_dict": module().state_dict(), "best": np.float64(0.8)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    own = np.float64(0).__reduce__()[0].__module__.encode()
    assert own in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(own, package))
    weights.load_state(module(), weights.load(str(path), package=PACKAGE))


class Malicious:
    def __reduce__(self):
        return (json.dumps, ({"pwned": True},))


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    torch.save({"w": Malicious()}, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"w\.pth needs more than tensors.*\(json\.dumps\).*arbitrary code"
    ):
        weights.load(str(tmp_path / "w.pth"), package=PACKAGE)
    (tmp_path / "p.pth").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(WeightsError):
        weights.load(str(tmp_path / "p.pth"), package=PACKAGE)


@pytest.mark.parametrize(
    "text", ["[1]", "{", "null", '{"format": 1}', '{"format": 1, "network": 3, "config": {}}']
)
def test_damage_in_what_is_stored_beside_the_tensors_is_named(tmp_path, text):
    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors", metadata={"smoothseg": text})
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        weights.load(str(tmp_path / "w.safetensors"), package=PACKAGE)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_with_changed_bytes_is_read_or_refused_and_nothing_else(tmp_path, zipped):
    torch.save(module().state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "w.pth").read_bytes()
    generator, messages = np.random.default_rng(1), []
    for _ in range(150):
        changed = bytearray(content)
        changed[generator.integers(len(content))] ^= int(generator.integers(1, 256))
        (tmp_path / "w.pth").write_bytes(bytes(changed))
        try:
            weights.load(str(tmp_path / "w.pth"), package=PACKAGE)
        except WeightsError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert not any("\n" in message for message in messages)


def test_a_place_that_cannot_be_written_is_an_error_of_the_system(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def refuse(*arguments, **options):
        raise SafetensorError("I/O error")

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    with pytest.raises(OSError, match="cannot be written"):
        saved(tmp_path / "w.safetensors")


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
    monkeypatch.setattr(stored, "_FORMAT", 99)
    saved(tmp_path / "w.safetensors")
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="weight format 99"):
        weights.load(str(tmp_path / "w.safetensors"), package=PACKAGE)


def test_packaged_weights_are_found_by_name():
    assert catalogue(PACKAGE)["streets"].path.name == "streets.safetensors"
    assert weights.load("streets", package=PACKAGE).network == "adm"
    assert weights.load("auto", package=PACKAGE).path == weights.load("streets", package=PACKAGE).path


def test_auto_is_the_catalogues_file_for_the_dataset():
    recipe = plugins()["segmenter"].recipe("hrnet")
    names = {
        dataset: weights.pinned(recipe, component="hrnet", dataset=dataset).weights
        for dataset in ("streets", "cityscapes", "pascal-context", "folder")
    }
    assert names == {
        "streets": "streets",
        "cityscapes": "cityscapes",
        "pascal-context": "pascal-context-noise",
        "folder": "streets",
    }
    own = dataclasses.replace(recipe, weights="own.pth")
    assert weights.pinned(own, component="hrnet", dataset="streets") is own


def test_weights_by_name_bring_their_options_and_refuse_others():
    official = plugins()["denoiser"].recipe("adm:weights=256-uncond")
    assert weights.pinned(official, component="adm").architecture == "256-uncond"
    small = plugins()["segmenter"].recipe("hrnet:weights=cityscapes,width=w32")
    with pytest.raises(ConfigError, match=r"weights 'cityscapes' of hrnet have width=w48, got width=w32"):
        weights.pinned(small, component="hrnet")
    with pytest.raises(ConfigError, match="have architecture=256-uncond, got architecture=512-uncond"):
        Plan.of({"denoiser": "adm:weights=256-uncond,architecture=512-uncond"})
    plan = Plan.of({"denoiser": "adm:weights=256-uncond"})
    assert plan.describe()["methods"][0]["denoiser"]["architecture"] == "256-uncond"
    assert Plan.of(plan.describe()) == plan


def test_auto_takes_the_first_file_whose_options_agree():
    recipe = plugins()["segmenter"].recipe("torchvision:model=fcn_resnet50")
    assert weights.pinned(recipe, component="torchvision", dataset="folder").weights == "fcn_resnet50"
    recipe = plugins()["segmenter"].recipe("torchvision")
    assert weights.pinned(recipe, component="torchvision", dataset="folder").weights == "deeplabv3_resnet50"
    wide = plugins()["segmenter"].recipe("hrnet:width=w32")
    with pytest.raises(ConfigError, match="no weights for dataset 'pascal-context' and these options"):
        weights.pinned(dataclasses.replace(wide), component="hrnet", dataset="pascal-context")


def test_a_plan_holds_the_names_of_its_weights_and_runs_again_from_them():
    plan = Plan.of({"dataset": "streets"})
    assert (plan.methods[0].denoiser.weights, plan.methods[0].segmenter.weights) == ("streets", "streets")
    assert plan.methods[0].name == "adm"
    assert Plan.of(plan.describe()) == plan


# ---- a package with a catalogue of its own


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write an importable package `own_plugin` with a catalogue; returns a function of the catalogue's content."""
    folder = tmp_path / "site" / "own_plugin"
    (folder / "weights").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    saved(folder / "weights" / "here.safetensors")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def write(entries):
        (folder / "weights" / "catalogue.yaml").write_text(yaml.safe_dump(entries))
        catalogue.cache_clear()
        return "own_plugin"

    yield write
    catalogue.cache_clear()
    sys.modules.pop("own_plugin", None)


STATED = {"licence": "MIT", "source": "made for a test"}


def test_a_file_without_an_entry_is_named_after_itself(package):
    name = package({"other": {"url": "https://host/other.pth", **STATED}})
    assert set(catalogue(name)) == {"here", "other"}
    assert weights.load("here", package=name).network == "toy"


def test_a_known_file_brings_the_options_it_does_not_say_of_itself(package, tmp_path):
    torch.save(module().state_dict(), tmp_path / "mine.pth")
    sha256 = weights.digest(tmp_path / "mine.pth")
    entry = {"url": "https://host/w.pth", "sha256": sha256[:12], "options": {"width": "w48"}, **STATED}
    name = package({"official": entry})
    assert weights.load(str(tmp_path / "mine.pth"), package=name).options == {"width": "w48"}
    torch.save({"another": torch.zeros(1)}, tmp_path / "mine.pth")
    assert weights.load(str(tmp_path / "mine.pth"), package=name).options == {}


def test_a_file_to_be_fetched_is_taken_from_the_cache_by_name_or_address(package, tmp_path):
    torch.save(module().state_dict(), tmp_path / "mine.pth")
    url = "https://weights.invalid/w.pth"
    name = package({"official": {"url": url, "options": {"width": "w48"}, "datasets": ["any"], **STATED}})
    target = Source.of(url).path
    target.parent.mkdir(parents=True)
    target.write_bytes((tmp_path / "mine.pth").read_bytes())
    for reference in ("official", "auto"):
        loaded = weights.load(reference, package=name)
        assert (loaded.path, loaded.options) == (target, {"width": "w48"})
        weights.load_state(module(), loaded)
    assert weights.load(url, package=name).digest == weights.digest(tmp_path / "mine.pth")
    target.write_bytes(b"changed")
    with pytest.raises(WeightsError, match="recorded when it was first there"):
        weights.load("official", package=name)


def test_hash_and_member_of_an_entry_are_taken_as_they_stand(package):
    entry = {"url": "http://host/m.tar", "member": "a+b&c.pth", "sha256": "01234567", "size": 5, **STATED}
    found = catalogue(package({"official": entry}))["official"].download
    assert (found.member, found.sha256, found.size, found.file) == ("a+b&c.pth", "01234567", 5, "a-b-c.pth")


def test_auto_of_a_package_with_two_components_is_the_one_that_fits(package):
    name = package(
        {
            "one": {"url": "https://host/1.pth", "component": "first", "datasets": ["any"], **STATED},
            "two": {"url": "https://host/2.pth", "component": "second", "datasets": ["any"], **STATED},
        }
    )
    assert weights.locate("auto", package=name, component="second")[1].name == "two"


def test_no_weights_for_a_dataset_is_an_error_that_says_what_there_is(package):
    name = package({"one": {"url": "https://host/1.pth", "datasets": ["streets"], **STATED}})
    with pytest.raises(
        ConfigError, match=r"own has no weights for dataset 'folder'.*: here, one\).*own:weights="
    ):
        automatic(name, component="own", dataset="folder")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "the entry: Input should be a dictionary"),
        ({"url": "https://host/w.pth", "source": "x"}, "licence: Field required"),
        ({"url": "https://host/w.pth", "hash": "0", **STATED}, "hash: Unexpected"),
        (
            {"url": "https://host/w.pth", "sha256": 12345678, **STATED},
            "sha256: Input should be a valid string",
        ),
        (
            {"url": "https://host/w.pth", "datasets": "cityscapes", **STATED},
            "datasets: Input should be a valid list",
        ),
        (
            {"url": "https://host/w.pth", "options": [1], **STATED},
            "options: Input should be a valid dictionary",
        ),
        ({"url": "https://host/w.pth", "size": "big", **STATED}, "size: Input should be a valid integer"),
        ({"url": "https://[h/w.pth", **STATED}, "is no address"),
        ({"url": "https://host/w.pth#sha256=01234567", **STATED}, "an address without # is expected"),
        ({"url": "ftp://host/w.pth", **STATED}, "not ftp://"),
        ({"url": "https://host/w.pth", "sha256": "xyz", **STATED}, "hexadecimal"),
        ({"file": "absent.safetensors", **STATED}, "does not exist"),
        (STATED, "needs a file or a url"),
    ],
)
def test_a_catalogue_that_is_not_as_it_should_be_blames_the_plugin(package, entry, message):
    name = package({"official": entry})
    with pytest.raises(PluginError, match=rf"own_plugin: weights 'official'.*{message}"):
        catalogue(name)


@pytest.mark.parametrize(
    "plugin", sorted({weights.package_of(e.recipe) for k in KINDS for e in plugins()[k]})
)
def test_what_comes_along_states_licence_and_source(plugin):
    for entry in catalogue(plugin).values():
        assert entry.licence != "not stated"
        assert entry.source
        if entry.path is None:
            assert entry.download.url.startswith(("https://", "hf://"))


def test_the_known_official_files_are_those_of_their_authors():
    adm = catalogue("smoothseg_adm")["256-uncond"]
    assert adm.download.size == 2211383297
    assert adm.download.sha256 == "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1"
    hrnet = catalogue("smoothseg_hrnet")["cityscapes"]
    assert hrnet.download.file.endswith(f"-{hrnet.download.sha256}.pth")
