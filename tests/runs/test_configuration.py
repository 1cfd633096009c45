"""One file for everything that `smoothseg certify` takes: what it decides, how it is printed, and its schema."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from smoothseg.cli import cli
from smoothseg.components.discovery import KINDS
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.files import read_yaml, yaml_of
from smoothseg.runs import schema
from smoothseg.runs.configuration import KEYS, Running, configure, describe, output
from smoothseg.runs.options import HELP
from smoothseg_training.configuration import DenoiserTraining, SegmenterTraining
from smoothseg_training.configuration import Running as TrainingRunning

ROOT = Path(__file__).resolve().parents[2]
BASE = {"dataset": "streets:count=1,height=48,width=64", "denoiser": "identity"}


def taus(file, **given):
    plan, _ = configure({**BASE, **file}, given)
    return [(method.certifier.tau, method.certifier.taus) for method in plan.methods]


def test_every_option_of_certify_is_a_key_of_the_file():
    options = {option.name for option in cli.commands["certify"].params} - {
        "config",
        "extend",
        "print_config",
        "dry_run",
    }
    assert options <= set(KEYS)
    assert set(KEYS) - options == {"methods"}


def test_no_option_of_certify_has_a_default_that_would_silence_the_file():
    with cli.commands["certify"].make_context("certify", []) as context:
        assert {value for value in context.params.values() if value not in ((), False)} == {None}


def test_a_file_holds_how_to_run_and_the_command_line_wins():
    file = {
        **BASE,
        "output": "there",
        "batch-size": 4,
        "threads": 1,
        "format": "csv",
        "skip_bad": True,
        "fresh": True,
    }
    _, how = configure(file)
    assert how == Running(
        output=Path("there"), batch_size=4, threads=1, format="csv", skip_bad=True, fresh=True
    )
    _, how = configure(file, {"batch_size": 2, "fresh": False, "format": "json"})
    assert (how.batch_size, how.fresh, how.format, how.skip_bad) == (2, False, "json", True)


@pytest.mark.parametrize(
    ("file", "given", "expected"),
    [
        ({"tau": 0.6}, {}, [(0.6, None)]),
        ({"tau": [0.6, 0.7]}, {}, [(0.75, (0.6, 0.7))]),
        ({"tau": "0.6,0.7"}, {"tau": "0.8"}, [(0.8, None)]),
        ({"tau": 0.6, "certifier": "holm:tau=0.9"}, {}, [(0.6, None)]),
        ({"tau": 0.6}, {"certifier": ["holm:tau=0.9", "holm:n=200"]}, [(0.9, None), (0.6, None)]),
        ({"certifier": "holm:taus=0.6,0.7"}, {"tau": "0.8"}, [(0.8, None)]),
        ({"tau": None}, {}, [(0.75, None)]),
    ],
)
def test_tau_of_the_command_line_wins_over_the_files_and_that_over_nothing_said(file, given, expected):
    assert taus(file, **given) == expected


def test_tau_of_a_file_goes_to_its_methods():
    file = {"tau": 0.6, "methods": [{"name": "a"}, {"name": "b", "certifier": "holm:n=200"}]}
    assert taus(file) == [(0.6, None)] * 2


METHODS = [
    {"name": "one", "denoiser": "adm", "segmenter": "vit-adapter", "certifier": "bonferroni:n=200"},
    {"name": "two", "segmenter": {"name": "vit-adapter"}, "certifier": {"name": "bonferroni", "n": 200}},
]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"denoiser": ["dncnn", "adm"]}, {("dncnn", "vit-adapter", 200), ("adm", "vit-adapter", 200)}),
        ({"denoiser": ["dncnn"], "certifier": ["holm"]}, {("dncnn", "vit-adapter", 100)}),
        ({"denoiser": ["dncnn"], "segmenter": ["hrnet"]}, {("dncnn", "hrnet", 200)}),
        ({"denoiser": ["dncnn"], "tau": "0.9"}, {("dncnn", "vit-adapter", 200)}),
    ],
)
def test_a_component_given_leaves_what_the_methods_of_the_file_share(given, expected):
    file = {"dataset": "streets:count=1", "methods": METHODS, "tau": 0.6}
    plan, _ = configure(file, given)
    registries = plugins()
    assert {
        (
            registries["denoiser"].name_of(method.denoiser),
            registries["segmenter"].name_of(method.segmenter),
            method.certifier.n,
        )
        for method in plan.methods
    } == expected
    assert {method.certifier.tau for method in plan.methods} == {float(given.get("tau", 0.6))}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"segmenter": ["hrnet"]}, "different denoisers and certifiers: give --denoiser and --certifier too"),
        ({"segmenter": ["hrnet"], "certifier": ["holm"]}, "different denoisers: give --denoiser too"),
        ({"denoiser": ["adm"]}, "different certifiers: give --certifier too"),
    ],
)
def test_a_component_given_is_refused_where_the_methods_of_the_file_differ(given, message):
    methods = [*METHODS[:1], {**METHODS[1], "denoiser": "identity", "certifier": "bonferroni:n=300"}]
    with pytest.raises(ConfigError) as caught:
        configure({"dataset": "streets:count=1", "methods": methods}, given)
    assert str(caught.value) == f"the methods of --config have {message}"


def test_a_printed_configuration_keeps_its_segmenter_beside_another_denoiser(invoke, tmp_path):
    printed = invoke("certify", "--segmenter", "vit-adapter", "--certifier", "naive-pixel", "--print-config")
    (tmp_path / "c.yaml").write_text(printed.stdout, encoding="utf-8")
    again = invoke("certify", "--config", tmp_path / "c.yaml", "--denoiser", "dncnn", "--print-config")
    (before,), (after,) = (yaml.safe_load(each.stdout)["methods"] for each in (printed, again))
    assert after["denoiser"]["name"] == "dncnn"
    assert (after["segmenter"], after["certifier"]) == (before["segmenter"], before["certifier"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seed: 1\nimages: 3\n'seed': 2\n", "configuration FILE, line 3: 'seed' is given twice"),
        ("dataset: {name: folder,\n root: a, root: b}", "configuration FILE, line 2: 'root' is given twice"),
        ("batch-size: 3\nbatch_size: 4", "'batch_size' is given twice, with hyphens and with underscores"),
    ],
)
def test_a_key_that_is_given_twice_is_refused_in_one_line(invoke, tmp_path, content, message):
    path = tmp_path / "c.yaml"
    path.write_text(content, encoding="utf-8")
    for command in (("certify",), ("train", "segmenter")):
        result = invoke(*command, "--config", path)
        assert isinstance(result.exception, ConfigError)
        assert str(result.exception) == message.replace("FILE", str(path))


def test_keys_that_are_merged_may_be_given_anew(tmp_path):
    content = "a:\n  first: &first {<<: {k: 0}, k: 1, l: 2}\nb: {<<: *first, k: 3}\n"
    (tmp_path / "c.yaml").write_text(content, encoding="utf-8")
    assert read_yaml(tmp_path / "c.yaml") == {"a": {"first": {"k": 1, "l": 2}}, "b": {"k": 3, "l": 2}}


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"bach_size": 2}, UnknownNameError, "unknown option 'bach_size'.*Did you mean 'batch_size'"),
        ({"skipbad": True}, UnknownNameError, "Did you mean 'skip_bad'"),
        ({"batch_size": 0}, ConfigError, "batch_size must be at least 1, got 0"),
        ({"batch_size": "many"}, ConfigError, "batch_size 'many': "),
        ({"threads": 0}, ConfigError, "threads must be at least 1, got 0"),
        ({"format": "html"}, ConfigError, "format 'html': .*'latex'"),
        ({"fresh": "perhaps"}, ConfigError, "fresh 'perhaps': "),
    ],
)
def test_a_file_that_asks_for_what_there_is_not_is_refused_in_one_line(values, error, message):
    with pytest.raises(error, match=message) as caught:
        configure({**BASE, **values})
    assert "\n" not in str(caught.value)


def test_what_is_described_is_configured_again(tmp_path):
    file = {**BASE, "sigma": [0.1, 0.2], "tau": [0.6, 0.7], "batch_size": 3, "output": "out"}
    plan, how = configure(file)
    path = tmp_path / "c.yaml"
    path.write_text(yaml_of(describe(plan, how)), encoding="utf-8")
    assert configure(read_yaml(path)) == (plan, how)
    assert set(read_yaml(path)) == set(KEYS) - {
        "denoiser",
        "segmenter",
        "certifier",
        "tau",
        "stop",
        "fresh",
        "retry_failed",
        "sign",
    }


def test_the_default_output_and_fresh_are_not_described():
    plan, how = configure({**BASE, "fresh": True})
    assert how.fresh
    assert not {"output", "fresh"} & set(describe(plan, how))
    assert re.fullmatch(r"streets-[0-9a-f]{8}", output(plan, how).name)
    assert output(plan, how, name="photos").name == output(plan, how).name.replace("streets", "photos")
    other, how = configure({**BASE, "seed": 1})
    assert output(other, how) != output(plan, how)
    assert output(*configure({**BASE, "output": "there"})) == Path("there")


def test_a_run_from_before_lattice_noise_is_found_in_its_default_output():
    plan, how = configure({**BASE, "noise": "gaussian"})
    described = plan.describe()
    del described["noise"]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:8]
    assert output(plan, how).name == f"streets-{digest}"
    assert output(*configure(BASE)) != output(plan, how)


def test_a_complete_file_from_before_lattice_noise_means_gaussian():
    plan, how = configure({**BASE, "noise": "gaussian", "threads": 1})
    file = describe(plan, how)
    assert configure(file)[0] == plan
    del file["noise"]
    assert configure(file)[0] == plan
    assert configure(file, {"noise": "lattice"})[0].noise == "lattice"
    for key in ("seed", "every", "methods", "threads", "skip_bad"):
        assert (
            configure({name: value for name, value in file.items() if name != key} | BASE)[0].noise
            == "lattice"
        )


@pytest.mark.parametrize("path", [None, ROOT / "examples" / "demo.yaml"])
def test_a_printed_configuration_is_the_same_run(invoke, path, tmp_path):
    first = () if path is None else ("--config", path)
    printed = invoke("certify", *first, "--tau", "0.6,0.7", "--batch-size", 2, "--print-config")
    assert printed.exit_code == 0, printed.output
    file = tmp_path / "printed.yaml"
    file.write_text(printed.stdout, encoding="utf-8")
    assert invoke("certify", "--config", file, "--print-config").stdout == printed.stdout
    assert "output" not in yaml.safe_load(printed.stdout)


def test_the_trackers_of_a_file_can_be_left_out(invoke, tmp_path):
    (tmp_path / "c.yaml").write_text("track: [wandb, mlflow]\n", encoding="utf-8")

    def tracked(*more):
        result = invoke("certify", "--config", tmp_path / "c.yaml", "--print-config", *more)
        return yaml.safe_load(result.stdout)["track"] if result.exit_code == 0 else str(result.exception)

    assert tracked() == ["wandb", "mlflow"]
    assert tracked("--track", "none") == []
    assert tracked("--track", "tensorboard") == ["tensorboard"]
    assert tracked("--track", "none", "--track", "wandb").startswith("--track none means no tracker")


def test_printing_the_configuration_needs_no_torch_and_leaves_nothing_behind(tmp_path):
    code = (
        "import sys; from smoothseg.cli import main\n"
        "try: main(['certify', '--print-config', '--output', 'out'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert yaml.safe_load(done.stdout)["output"] == "out"
    assert list(tmp_path.iterdir()) == []


def digests(directory):
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in ("ledger.jsonl", "log.txt", "manifest.json")
    }


@pytest.mark.usefixtures("toys")
def test_the_config_of_a_run_makes_it_again_byte_for_byte(invoke, photos, tmp_path):
    before = torch.get_num_threads()
    (photos / "images" / "broken.png").write_bytes(b"not an image")
    dataset = f"folder:root={photos},images=images"
    common = (
        "--segmenter",
        "toy-threshold",
        "--denoiser",
        "toy-blur",
        "--scale",
        1,
        "--device",
        "cpu",
        "--skip-bad",
    )
    common += ("--certifier", "holm:n0=4,n=40,alpha=0.05", "--sigma", 0.2, "--tau", "0.6,0.7", "--seed", 3)
    try:
        torch.set_num_threads(2)
        first = invoke("certify", "--dataset", dataset, *common, "--threads", 1, "--output", tmp_path / "a")
        assert first.exit_code == 0, first.output
        torch.set_num_threads(2)
        config = tmp_path / "a" / "config.yaml"
        again = invoke("certify", "--config", config, "--batch-size", 7, "--output", tmp_path / "b")
        assert again.exit_code == 0, again.output
    finally:
        torch.set_num_threads(before)
    made = digests(tmp_path / "a")
    assert sum(name.endswith(".npz") for name in made) == 3
    assert made == digests(tmp_path / "b")


# The schema


def references(node):
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


@pytest.mark.parametrize("name", schema.names())
def test_a_schema_has_every_key_and_every_component_with_its_options(invoke, name):
    made = json.loads(invoke("schema", name).stdout)
    kind = {"train-segmenter": SegmenterTraining, "train-denoiser": DenoiserTraining}.get(name)
    expected = (
        set(KEYS)
        if kind is None
        else {field.name for one in (kind, TrainingRunning) for field in dataclasses.fields(one)}
    )
    assert set(made["properties"]) == expected
    assert made["additionalProperties"] is False
    for kind in KINDS:
        _, *mappings = made["definitions"][kind]["anyOf"]
        found = {each["properties"]["name"]["const"]: set(each["properties"]) - {"name"} for each in mappings}
        assert found == {entry.name: {field.name for field in entry.fields} for entry in plugins()[kind]}
    assert set(references(made)) <= {f"#/definitions/{kind}" for kind in KINDS}


def test_a_schema_describes_every_key():
    for name in schema.names():
        for key, content in schema.schema(name)["properties"].items():
            assert content.get("description"), f"{name}: {key}"


def test_help_and_schema_say_the_same_of_every_key():
    assert set(HELP) == set(KEYS)
    options = {option.name: option.help for option in cli.commands["certify"].params}
    for key, content in schema.schema("certify")["properties"].items():
        assert content["description"] == HELP[key]
        if key != "methods":
            assert options[key].lower().startswith(HELP[key].lower() + ".")


def test_an_unknown_schema_is_told_with_the_nearest(invoke):
    result = invoke("schema", "train-denoizer")
    assert "Did you mean 'train-denoiser'?" in str(result.exception)


def validator(name):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (extra dev)")
    made = schema.schema(name)
    jsonschema.Draft7Validator.check_schema(made)
    return jsonschema.Draft7Validator(made)


def reader(path):
    if path.parent.name != "train":
        return "certify"
    return "train-segmenter" if "segmenter" in read_yaml(path) else "train-denoiser"


EXAMPLES = [ROOT / "examples" / "demo.yaml", *sorted((ROOT / "examples" / "train").glob("*.yaml"))]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_schema_accepts_the_examples_and_no_misspelt_key(path):
    check = validator(reader(path))
    values = read_yaml(path)
    assert [error.message for error in check.iter_errors(values)] == []
    key = next(iter(values))
    assert not check.is_valid({**values, key + "x": values[key]})


@pytest.mark.parametrize(
    "change",
    [
        {"denoiser": "amd"},
        {"denoiser": {"name": "adm", "step": "multi"}},
        {"denoiser": {"name": "adm", "steps": "many"}},
        {"sigma": 0},
        {"methods": [{"denoiser": "adm"}]},
        {"batch_size": 0},
        {"tau": 0.3},
        {"format": "html"},
    ],
)
def test_the_schema_refuses_what_certify_refuses(change):
    check = validator("certify")
    assert check.is_valid(BASE)
    assert not check.is_valid({**BASE, **change})


def test_the_schema_accepts_what_is_printed(invoke):
    printed = invoke("certify", "--denoiser", "adm", "--denoiser", "identity", "--print-config").stdout
    assert [error.message for error in validator("certify").iter_errors(yaml.safe_load(printed))] == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_printed_configuration_can_be_read_however_a_shell_wrote_it(invoke, tmp_path, encoding):
    printed = invoke("certify", "--dataset", "folder:root=Fotos/Zürich", "--print-config").stdout
    assert printed.isascii()
    (tmp_path / "c.yaml").write_bytes(printed.encode(encoding))
    assert read_yaml(tmp_path / "c.yaml")["dataset"]["root"] == "Fotos/Zürich"


def test_bytes_that_are_no_text_are_told_in_one_line(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"sigma: \xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"c\.yaml: ") as caught:
        read_yaml(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)
