"""`smoothseg weights`: what it prints, fetches, checks and writes."""

import hashlib

import pytest
import torch

from smoothseg import ConfigError, PluginError, UnknownNameError, WeightsError, weights
from smoothseg.components.plugin import PluginWarning
from smoothseg.components.plugins import plugins
from smoothseg.terminal.progress import downloading
from smoothseg.weights.sources import Source

URL = "https://weights.invalid/w.bin"


@pytest.fixture
def run(invoke, monkeypatch):
    """Run `smoothseg weights ARGUMENTS` and return what it prints."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        done = invoke("weights", *arguments, standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return done.output

    return run


def put(content):
    """Lay a file into the cache as if it had been fetched from `URL`."""
    path = Source.of(URL).path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_the_list_tells_what_comes_along_and_what_is_to_be_fetched(run):
    lines = {line.split()[0]: line for line in run("list").splitlines() if line.startswith("  ")}
    assert "comes along" in lines["streets"]
    assert "to be fetched, 2,211 MB" in lines["256-uncond"]
    assert "auto for cityscapes, pascal-context" in lines["256-uncond"]


def test_the_list_of_a_component_tells_source_licence_and_address(run):
    text = run("list", "adm")
    assert "hrnet" not in text
    for part in ("Dhariwal and Nichol", "licence: MIT", "https://openaipublic", "sha256 a37c32fffd316cd4"):
        assert part in text


def test_a_component_without_weights_is_not_listed(run):
    with pytest.raises(UnknownNameError, match="unknown component with weights 'identity'"):
        run("list", "identity")


def test_fetch_tells_where_the_file_is_and_its_hash(run):
    path = put(b"content")
    text = run("fetch", URL, "adm:weights=streets")
    assert str(path) in text
    assert hashlib.sha256(b"content").hexdigest() in text
    assert "here already" in text


def test_fetch_understands_every_argument_before_it_fetches(run, monkeypatch):
    monkeypatch.setattr("smoothseg.weights.downloads.fetch", lambda *a, **k: pytest.fail("fetched"))
    with pytest.raises(UnknownNameError, match=r"'hrnett'.*Did you mean 'hrnet'"):
        run("fetch", URL, "hrnett:weights=cityscapes")


@pytest.mark.parametrize("spec", ["identity", "mmseg:config=x", "transformers:model=owner/name"])
def test_a_component_without_weights_to_fetch_says_so(run, spec):
    with pytest.raises(ConfigError, match=rf"'{spec}' names no weights to fetch"):
        run("fetch", spec)


def test_options_that_are_not_those_of_the_weights_are_refused(run):
    with pytest.raises(ConfigError, match="have width=w48, got width=w32"):
        run("fetch", "hrnet:weights=cityscapes,width=w32")


def test_a_broken_catalogue_does_not_hide_the_others(run, monkeypatch):
    import smoothseg.weights.catalogue

    read = smoothseg.weights.catalogue.catalogue

    def broken(package):
        if package == "smoothseg_kair":
            raise PluginError("smoothseg_kair: weights 'x': licence: Field required")
        return read(package)

    monkeypatch.setattr(smoothseg.weights.catalogue, "catalogue", broken)
    with pytest.warns(PluginWarning, match="licence: Field required"):
        text = run("list")
    assert "256-uncond" in text
    assert "dncnn" not in text


def test_a_download_in_a_log_is_told_in_lines(capsys):
    with downloading() as progress:
        progress("w.pth", 0, 3_000_000)
        progress("w.pth", 3_000_000, 3_000_000)
    assert capsys.readouterr().err == "fetching w.pth  3 of 3 MB\n"


def test_fetch_without_a_network_says_what_to_do(run, monkeypatch):
    monkeypatch.setenv("SMOOTHSEG_OFFLINE", "1")
    with pytest.raises(
        WeightsError, match=r"256x256_diffusion_uncond\.pt is not here.*https://openaipublic.*put it"
    ):
        run("fetch", "adm:weights=256-uncond")


def test_check_loads_strictly_and_tells_classes_and_hashes(run, tmp_path):
    text = run("check", "hrnet", "adm:weights=streets")
    assert "11 classes: sky, building" in text
    assert "streets.safetensors  sha256 " in text
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no HRNetV2 segmenter"):
        run("check", f"hrnet:weights={tmp_path / 'w.pth'}")


def test_check_compares_the_cache_with_its_records(run, cache):
    assert run("check") == f"nothing in the cache ({cache})\n"
    path = put(b"content")
    run("fetch", URL)
    assert run("check") == f"ok  {path}\n"
    path.write_bytes(b"changed")
    with pytest.raises(WeightsError, match="1 of 1 files in the cache are not known"):
        run("check")


@pytest.mark.parametrize(("component", "kind"), [("adm", "denoiser"), ("hrnet", "segmenter")])
def test_convert_writes_a_file_that_needs_no_options_and_computes_the_same(run, component, kind, tmp_path):
    output = tmp_path / "own.safetensors"
    assert str(output) in run("convert", component, output)
    registry = plugins()[kind]
    before = registry.recipe(component).load("cpu")
    after = registry.recipe(f"{component}:weights={output}").load("cpu")
    images = torch.rand(1, 3, 32, 48)
    if kind == "denoiser":
        results = [each.denoise(images, 0.25, seeds=[1]) for each in (before, after)]
    else:
        results = [each.segment(images) for each in (before, after)]
        assert after.classes == before.classes
    assert torch.equal(*results)
    assert weights.load(str(output), package="smoothseg_adm").card


def test_convert_refuses_to_write_over_a_file_or_another_format(run, tmp_path):
    (tmp_path / "own.safetensors").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="exists already"):
        run("convert", "hrnet", tmp_path / "own.safetensors")
    with pytest.raises(ConfigError, match=r"must end in \.safetensors"):
        run("convert", "hrnet", tmp_path / "own.pth")
    with pytest.raises(ConfigError, match="'identity' writes no weight files of its own"):
        run("convert", "identity", tmp_path / "new.safetensors")


def test_convert_can_halve_the_size(run, tmp_path):
    run("convert", "hrnet", tmp_path / "whole.safetensors")
    run("convert", "--half", "hrnet", tmp_path / "half.safetensors")
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert 1.9 < sizes[1] / sizes[0] < 2.1
