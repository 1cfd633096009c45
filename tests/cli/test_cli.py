import dataclasses
import functools
import importlib
import itertools
import json
import os
import subprocess
import sys
import types
from importlib import metadata

import numpy as np
import pytest
import torch
from PIL import Image

from smoothseg import cli as command_line
from smoothseg.certificates import file
from smoothseg.cli import cli
from smoothseg.components.plugin import PluginWarning
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, DataError
from smoothseg.report import running
from smoothseg.runs.ledger import Ledger

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def certify(invoke, photos):
    """Return a function (output, words) that certifies three labelled images at two noise levels.

    The words are further ones; without any, there are two methods.
    """
    dataset = f"folder:root={photos},images=images,labels=labels,classes=classes.txt"

    return functools.partial(_certify, invoke, dataset)


@pytest.fixture
def finished(invoke, album, once):
    """Return a function that copies what `certify` makes of two methods to a folder; it is made once."""
    dataset = f"folder:root={album},images=images,labels=labels,classes=classes.txt"
    return functools.partial(once, "cli", functools.partial(_certify, invoke, dataset))


def _certify(invoke, dataset, output, *words):
    return invoke(
        *("certify", "--dataset", dataset, "--segmenter", "toy-threshold", "--scale", 1),
        *("--certifier", "holm:n0=4,n=40,alpha=0.05", "--sigma", 0.2, "--sigma", 0.4),
        *("--device", "cpu", "--output", output),
        *(words or ("--denoiser", "identity", "--denoiser", "toy-blur")),
    )


def test_certify_prints_the_table_and_says_where_the_results_are(certify, tmp_path):
    result = certify(tmp_path / "run")
    assert result.exit_code == 0, result.output
    for part in ("identity", "toy-blur", "certificates", "pictures", "report.html", "12 certificates"):
        assert part in result.output
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "table"])
def test_standard_output_holds_the_result_alone(invoke, certify, tmp_path, form):
    result = certify(tmp_path / "run", "--denoiser", "identity", "--format", form)
    assert result.exit_code == 0, result.output
    again = invoke("report", tmp_path / "run", "--format", form)
    if form == "json":
        assert len(json.loads(result.stdout)["rows"]) == 2
    if form != "table":
        assert again.stdout == result.stdout


def test_a_config_is_overruled_by_the_command_line(invoke, photos, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        f"dataset: folder:root={photos},images=images\nsigma: 0.3\nscale: 1\ndevice: cpu\n"
        "certifier: holm:n0=4,n=40,alpha=0.05\nimages: 1\n"
        "methods:\n  - {name: One, denoiser: identity, segmenter: toy-threshold}\n"
    )
    result = invoke("certify", "--config", config, "--output", tmp_path / "run", "--format", "json")
    rows = json.loads(result.stdout)["rows"]
    assert [(row["method"], row["sigma"]) for row in rows] == [("One", 0.3)]
    more = ("--sigma", 0.1, "--denoiser", "toy-blur", "--segmenter", "toy-threshold")
    result = invoke("certify", "--config", config, "--output", tmp_path / "two", "--format", "json", *more)
    assert [(row["method"], row["sigma"]) for row in json.loads(result.stdout)["rows"]] == [("toy-blur", 0.1)]


def test_the_same_command_resumes_in_the_same_directory(invoke, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ("certify", "--dataset", f"folder:root={photos},images=images", "--segmenter", "toy-threshold")
    options = ("--denoiser", "identity", "--certifier", "holm:n0=4,n=40,alpha=0.05", "--device", "cpu")
    for _ in range(2):
        assert invoke(*command, *options).exit_code == 0
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_verify_accepts_a_run_and_finds_a_forged_file(invoke, finished, tmp_path):

    finished(tmp_path / "run")
    result = invoke("verify", tmp_path / "run")
    assert result.exit_code == 0
    assert "12 certificates verified" in result.output
    path = tmp_path / "run/certificates/identity/sigma-0.2/a.npz"
    honest = file.load(path)
    honest.verdict.certified[:] = True
    file.save(honest, path)
    result = invoke("verify", tmp_path / "run")
    assert result.exit_code == 1
    assert "a.npz" in result.output


def test_recertify_changes_the_decision_and_keeps_the_counts(invoke, finished, tmp_path):
    finished(tmp_path / "run")
    result = invoke(
        "recertify",
        tmp_path / "run",
        "--certifier",
        "holm:n=40,tau=0.6,alpha=0.05",
        "--output",
        tmp_path / "new",
    )
    assert result.exit_code == 0, result.output
    assert "12 certificates" in result.output
    assert invoke("verify", tmp_path / "new").exit_code == 0


def test_recertify_takes_n_from_the_counts_and_refuses_another(invoke, finished, tmp_path):
    finished(tmp_path / "run")
    result = invoke(
        "recertify", tmp_path / "run", "--certifier", "holm:tau=0.8,alpha=0.05", "--output", tmp_path / "a"
    )
    assert result.exit_code == 0, result.output
    result = invoke("recertify", tmp_path / "run", "--certifier", "holm:n=100", "--output", tmp_path / "b")
    assert "the counts are of n=40, the certifier has n=100" in str(result.exception)
    assert not (tmp_path / "b").exists()


def test_recertify_writes_over_nothing(invoke, finished, tmp_path):
    finished(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.npz")}
    same = invoke(
        "recertify", tmp_path / "run", "--certifier", "holm:tau=0.8,alpha=0.05", "--output", tmp_path / "run"
    )
    assert "would be written over" in str(same.exception)
    paths = (tmp_path / "run", tmp_path / "run")
    twice = invoke(
        "recertify", *paths, "--certifier", "holm:tau=0.8,alpha=0.05", "--output", tmp_path / "new"
    )
    assert "would be written over" in str(twice.exception)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.npz")}


def test_verify_and_bounds_say_what_is_wrong_with_gaussian_noise(invoke, certify, photos, tmp_path):
    labelled = f"folder:root={photos},images=images,labels=labels,classes=classes.txt"
    for noise in ("lattice", "gaussian"):
        made = invoke(
            *(
                "certify",
                "--dataset",
                labelled,
                "--denoiser",
                "identity",
                "--segmenter",
                "toy-threshold",
                "--scale",
                1,
            ),
            *("--certifier", "holm:n0=4,n=40,alpha=0.05", "--noise", noise, "--output", tmp_path / noise),
        )
        assert made.exit_code == 0, made.output
        for command in ("verify", "bounds"):
            result = invoke(command, tmp_path / noise)
            assert result.exit_code == 0, result.output
            said = " ".join((result.stdout + result.stderr).split())
            assert ("gaussian noise is rounded in a way that shows the clean image" in said) == (
                noise == "gaussian"
            )


def test_verify_says_that_a_setting_was_chosen_after_the_fact(invoke, certify, tmp_path):
    certify(tmp_path / "run", "--denoiser", "identity")
    assert "after the fact" not in invoke("verify", tmp_path / "run").stderr
    for source, target, certifier in (
        ("run", "one", "bonferroni:alpha=0.05"),
        ("one", "two", "holm:alpha=0.03"),
    ):
        made = invoke("recertify", tmp_path / source, "--certifier", certifier, "--output", tmp_path / target)
        assert made.exit_code == 0, made.output
    result = invoke("verify", tmp_path / "two")
    assert result.exit_code == 0, result.output
    assert "note: 6 certificates decided after the fact, by recertify" in " ".join(result.stderr.split())
    stored = file.load(next((tmp_path / "two").rglob("*.npz"))).provenance["recertified_from"]
    assert [each["name"] for each in stored] == ["holm", "bonferroni"]


def test_verify_finds_a_file_that_is_not_the_ledgers(invoke, finished, tmp_path):
    finished(tmp_path / "run")
    folder = tmp_path / "run/certificates/identity"
    (folder / "sigma-0.2/a.npz").write_bytes((folder / "sigma-0.4/a.npz").read_bytes())
    (folder / "sigma-0.4/b.npz").unlink()
    result = invoke("verify", tmp_path / "run")
    assert result.exit_code == 1
    assert result.output.count("not the file that the ledger records") == 1
    assert "certificates/identity/sigma-0.4/b.npz: the ledger has it, and it was removed" in result.output
    (tmp_path / "run" / "run.json").unlink()
    alone = invoke("verify", tmp_path / "run")
    assert alone.exit_code == 1
    assert "holds no run (no run.json)" in alone.stderr


def test_one_bad_file_or_run_does_not_hide_the_others(invoke, certify, tmp_path):
    certify(tmp_path / "runs" / "one")
    certify(tmp_path / "runs" / "two")
    certificates = tmp_path / "runs" / "two" / "certificates" / "identity"
    (certificates / "sigma-0.2/a.npz").write_bytes(b"nothing")
    made = file.load(certificates / "sigma-0.4/b.npz")
    odd = {**made.provenance, "certifier": {"name": "holm", "alpha": 2.0}}
    file.save(dataclasses.replace(made, provenance=odd), certificates / "sigma-0.4/b.npz")
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "run.json").write_text('{"schema": 7}')
    result = invoke("verify", tmp_path / "runs")
    assert result.exit_code == 1
    for part in (
        "two/certificates/identity/sigma-0.2/a.npz: is not a readable certificate",
        "two/certificates/identity/sigma-0.4/b.npz: certifier option alpha must be between 0 and 1, got 2.0",
        "other has another run schema",
        "two: certificates/identity/sigma-0.4/b.npz: not the file that the ledger records",
    ):
        assert part in result.stderr
    assert "/one" not in result.stderr


def test_images_without_a_run_are_refused(invoke, finished, tmp_path):
    finished(tmp_path / "run")
    one = next((tmp_path / "run").rglob("*.npz"))
    assert "--images is about a run: there is none in what was given" in str(
        invoke("verify", one, "--images").exception
    )


def test_verify_finds_what_contradicts_the_run_and_with_images_the_labels(invoke, certify, photos, tmp_path):
    certify(tmp_path / "run")
    assert (
        "agrees with run.json, ledger and tables (json, csv), images and labels"
        in invoke("verify", tmp_path / "run", "--images").stdout
    )
    ledger = tmp_path / "run" / "ledger.jsonl"
    lines = [dict(entry) for entry in Ledger(ledger)]
    lines[0]["radius"] = 9.1
    ledger.unlink()
    for line in lines:
        Ledger(ledger).append(line)
    (tmp_path / "run" / "metrics.csv").write_text("method,accuracy\n")
    labels = np.array(Image.open(photos / "labels" / "a.png"))
    labels[5, 5] ^= 1
    Image.fromarray(labels).save(photos / "labels" / "a.png")
    result = invoke("verify", tmp_path / "run")
    assert result.exit_code == 1
    assert "ledger.jsonl: certificates/identity/sigma-0.2/a.npz: radius is 9.1" in result.stderr
    assert "metrics.csv: it has 0 rows, the ledger gives 4" in result.stderr
    assert "labels" not in result.stderr
    assert (
        "run.json: images: a: the dataset's labels is another"
        in invoke("verify", tmp_path / "run", "--images").stderr
    )


def test_a_certifier_on_the_command_line_wins_over_the_methods_of_a_config(invoke, finished, tmp_path):
    finished(tmp_path / "run")
    more = (
        "--certifier",
        "bonferroni:n0=4,n=40,alpha=0.05",
        "--output",
        tmp_path / "new",
        "--format",
        "json",
    )
    result = invoke("certify", "--config", tmp_path / "run" / "config.yaml", *more)
    assert result.exit_code == 0, result.output
    assert {row["certifier"].split(":")[0] for row in json.loads(result.stdout)["rows"]} == {"bonferroni"}
    two = ("--certifier", "holm", "--certifier", "bonferroni")
    result = invoke("certify", "--config", tmp_path / "run" / "config.yaml", *two)
    assert "give one --certifier for all" in str(result.exception)


def test_components_lists_every_option_with_its_help(invoke):
    result = invoke("components")
    assert result.exit_code == 0
    for part in ("adm", "hrnet", "holm", "streets", "steps=single", "tau=0.75"):
        assert part in result.output
    assert "hrnet" not in invoke("components", "certifier").output
    assert "Did you mean 'holm'" in str(invoke("components", "hlm").exception)


def test_plugins_says_who_brings_what(invoke):
    import smoothseg

    result = invoke("plugins")
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines() if line[0] != " "}
    assert rows["plugin"] == ["distribution", "version", "offers"]
    assert rows["smoothseg_adm"] == ["smoothseg", smoothseg.__version__, "denoiser", "adm"]
    assert rows["smoothseg_kair"][2:] == ["denoisers", "dncnn,", "ffdnet"]
    assert "BROKEN" not in result.output


@pytest.fixture
def odd_plugins(monkeypatch):
    """Installed are a plugin with a long name and a long complaint, one that is off, and one that works."""
    from smoothseg.components import plugins

    class Point:
        def __init__(self, name, result):
            self.name, self.value, self._result = name, name, result
            self.dist = types.SimpleNamespace(name="a-distribution-of-others", version="2026.11.25")

        def load(self):
            if isinstance(self._result, Exception):
                raise self._result
            return self._result

    points = [
        Point(
            "broken_plugin_with_a_long_name", ImportError("No module named 'something.rather_long_to_read'")
        ),
        Point("off", ImportError("never imported")),
        Point("whole", importlib.import_module("smoothseg_kair")),
    ]
    with pytest.warns(PluginWarning):
        found = plugins.load(points, disabled=["off"])
    monkeypatch.setattr(plugins, "plugins", lambda **_: found)


@pytest.mark.usefixtures("odd_plugins")
def test_plugins_says_why_one_is_broken_within_80_columns(invoke):
    output = invoke("plugins").output
    assert all(len(line) <= 80 for line in output.splitlines())
    assert "…" not in output
    head = output.splitlines()[0]
    starts = [head.index(column) for column in ("plugin", "distribution", "version", "offers")]
    columns = [
        "".join("".join(line[start:end].split()) for line in output.splitlines()[1:])
        for start, end in itertools.pairwise([*starts, None])
    ]
    assert columns[0] == "broken_plugin_with_a_long_nameoffwhole"
    assert columns[1] == 3 * "a-distribution-of-others"
    assert columns[2] == 3 * "2026.11.25"
    assert columns[3].startswith("BROKEN:ImportError:Nomodulenamed'something.rather_long_to_read'switchedoff")
    assert columns[3].endswith("denoisersdncnn,ffdnet")


@pytest.mark.usefixtures("odd_plugins")
def test_plugins_as_json_has_the_same(invoke):
    broken, off, whole = json.loads(invoke("plugins", "--format", "json").stdout)
    assert broken["error"] == "ImportError: No module named 'something.rather_long_to_read'"
    assert (off["disabled"], off["error"], off["offers"]) == (True, None, {})
    assert (whole["distribution"], whole["version"]) == ("a-distribution-of-others", "2026.11.25")
    assert whole["offers"] == {"denoiser": ["dncnn", "ffdnet"]}


@pytest.mark.parametrize("command", [(), *((name,) for name in sorted(cli.list_commands(None)))])
def test_every_command_has_help(invoke, command):
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["certify", "--denoiser", "amd"], 2, "unknown denoiser 'amd'"),
        (["certify", "--dataset", "camvid:root=nowhere"], 2, "nowhere"),
        (["certify", "--sigma", "-1"], 2, "sigma must be positive"),
        (["certify", "--certifier", "holm:n=20"], 2, "the smallest n that can is"),
        (["certify", "--output", "file/run"], 2, "is a file, not a folder"),
        (
            ["certify", "--segmenter", "hrnet:weights=absent.safetensors"],
            2,
            "absent.safetensors does not exist",
        ),
        (["report", "."], 2, "holds no run"),
    ],
)
def test_errors_are_one_line_and_name_the_mistake(arguments, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    assert stopped.value.code == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize("error", [OSError("No space left on device"), MemoryError()])
def test_failures_of_the_machine_are_one_line_too(error, photos, tmp_path, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(running, "run", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        command_line.main(
            ["certify", "--dataset", "streets:count=1,height=32,width=32", "--denoiser", "identity"]
        )
    assert stopped.value.code == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert lines == [f"Error: {str(error) or 'out of memory'}"]


def test_help_imports_neither_torch_nor_pydantic_nor_numpy():
    code = (
        "import sys; from smoothseg.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def front_page(invoke):
    """Return a function (output, words) that runs the command of the front page and returns its row.

    It is `smoothseg certify --denoiser adm --segmenter vit-adapter`; the words are further ones.
    """

    def run(output, *words):
        command = ("certify", "--denoiser", "adm", "--segmenter", "vit-adapter")
        result = invoke(*command, "--output", output, "--format", "json", *words)
        assert result.exit_code == 0, result.output
        (row,) = json.loads(result.stdout)["rows"]
        return row

    return run


def test_adm_and_vit_adapter_certify_a_street_scene_with_what_comes_along(invoke, front_page, tmp_path):
    row = front_page(
        tmp_path / "run", "--dataset", "streets:count=1,height=128,width=176", "--certifier", "holm:n0=4,n=62"
    )
    assert row["certified"]["accuracy"] > 0.5
    done = invoke("verify", tmp_path / "run")
    assert "1 certificate verified" in done.output
    assert (tmp_path / "run/certificates/adm/sigma-0.25").is_dir()


@pytest.mark.slow
def test_the_literal_command_of_the_front_page_runs(invoke, front_page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = front_page(tmp_path / "run")
    assert row["sigma"] == 0.25
    assert row["certified"]["accuracy"] > 0.6
    assert "4 certificates verified" in invoke("verify", tmp_path / "run").output


def test_an_interrupted_run_says_that_it_goes_on(certify, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run", interrupted)
    result = certify(tmp_path / "run")
    assert result.exit_code == 130
    assert "interrupted; the same command goes on from here" in result.output
    assert "Aborted" not in result.output


def test_threads_are_those_asked_for_and_recorded(certify, tmp_path):
    before = torch.get_num_threads()
    try:
        certify(tmp_path / "run", "--denoiser", "identity", "--threads", 1)
        assert json.loads((tmp_path / "run/run.json").read_text())["threads"] == 1
    finally:
        torch.set_num_threads(before)


def test_a_misspelt_weight_name_is_told_before_torch_is_imported():
    code = (
        "import sys; from smoothseg.cli import main\n"
        "try: main(['certify', '--segmenter', 'hrnet:weights=street'])\n"
        "except SystemExit as end: assert end.code == 2 and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Did you mean 'streets'?" in done.stderr


def test_tau_is_an_option_of_the_certifier_and_several_give_a_radius_map(invoke, certify, tmp_path):
    more = ("--denoiser", "identity", "--tau")
    one = certify(tmp_path / "one", *more, "0.6")
    several = certify(tmp_path / "several", *more, "0.55,0.7")
    assert one.exit_code == several.exit_code == 0, several.stderr
    config = (tmp_path / "one" / "config.yaml").read_text()
    assert "tau: 0.6" in config
    assert "n: 40" in config
    made = next((tmp_path / "several").rglob("a.npz"))
    loaded = file.load(made)
    assert loaded.provenance["certifier"]["taus"] == [0.55, 0.7]
    assert len(set(loaded.verdict.radii[loaded.certified])) == 2
    assert invoke("verify", tmp_path / "several").exit_code == 0
    wrong = certify(tmp_path / "wrong", *more, "0.3")
    assert "tau must be at least 0.5" in str(wrong.exception)


def test_tau_goes_to_the_certifier_of_each_method_of_a_file(invoke, certify, photos, tmp_path):
    certify(tmp_path / "run", "--denoiser", "identity")
    again = invoke(
        "certify", "--config", tmp_path / "run" / "config.yaml", "--tau", "0.8", "--output", tmp_path / "out"
    )
    assert again.exit_code == 0, again.stderr
    text = (tmp_path / "out" / "config.yaml").read_text()
    assert "tau: 0.8" in text
    assert "n: 40" in text
    assert "alpha: 0.05" in text
    dataset = f"folder:root={photos},images=images,labels=labels,classes=classes.txt"
    more = ("--dataset", dataset, "--segmenter", "toy-threshold", "--scale", 1, "--device", "cpu")
    more += (
        "--certifier",
        "holm:n0=4,n=40,alpha=0.05,taus=0.55,0.6",
        "--denoiser",
        "identity",
        "--sigma",
        0.2,
    )
    assert invoke("certify", *more, "--tau", "0.7", "--output", tmp_path / "one").exit_code == 0
    text = (tmp_path / "one" / "config.yaml").read_text()
    assert "taus: null" in text
    assert "tau: 0.7" in text


def test_what_is_hardly_meant_is_remarked(invoke, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("smoothseg.machine.resources.load", lambda: 7.5)
    monkeypatch.setattr("smoothseg.machine.resources.cores", lambda: 2)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    result = invoke(
        *("certify", "--dataset", f"folder:root={photos / 'images'}", "--denoiser", "identity"),
        *(
            "--segmenter",
            "toy-threshold",
            "--certifier",
            "holm:n=60",
            "--sigma",
            5,
            "--sigma",
            0.001,
            "--noise",
            "gaussian",
            "--dry-run",
        ),
    )
    assert result.exit_code == 0, result.output
    assert "the cores are busy (load 7.5 on 2)" in result.stderr
    said = " ".join(result.stderr.split())
    assert (
        "note: sigma 5 is 5 times the whole range of a pixel, 0..1: if 5 of 255 levels are meant, give 0.020"
        in said
    )
    assert "of a level of 8 bits" not in said  # gaussian noise is not rounded to levels
    assert "note: gaussian noise is rounded in a way that shows the clean image" in said


def test_a_sigma_below_half_a_level_is_remarked(certify, tmp_path):
    result = certify(tmp_path / "run", "--denoiser", "identity", "--sigma", 0.001)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "note: sigma 0.001 is 0.26 of a level of 8 bits: 95 % of the noise is rounded away" in said


def test_the_configuration_of_a_run_from_before_lattice_noise_says_which_noise_it_means(
    certify, invoke, tmp_path
):
    certify(tmp_path / "run", "--denoiser", "identity", "--noise", "gaussian")
    config = tmp_path / "config.yaml"
    config.write_text((tmp_path / "run" / "config.yaml").read_text().replace("noise: gaussian\n", ""))
    old = invoke("certify", "--config", config, "--output", tmp_path / "again")
    assert old.exit_code == 0, old.output
    assert "is of a run that knew gaussian noise alone; --noise lattice takes the other" in " ".join(
        old.stderr.split()
    )
    for path in (tmp_path / "run").rglob("*.npz"):
        assert (tmp_path / "again" / path.relative_to(tmp_path / "run")).read_bytes() == path.read_bytes()
    new = invoke("certify", "--config", config, "--noise", "lattice", "--output", tmp_path / "lattice")
    assert "gaussian" not in new.stderr


def test_a_sigma_in_levels_is_refused_with_the_one_that_is_meant(invoke):
    result = invoke("certify", "--sigma", 64)
    assert result.exit_code == 1
    assert str(result.exception) == (
        "sigma must be at most 32 for lattice noise; sigma 64 is 64 times the whole range of a pixel, 0..1: "
        "if 64 of 255 levels are meant, give 0.251"
    )


def test_a_folder_that_is_given_as_a_dataset_is_told_how(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "b.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="a folder of that name: folder:root=photos"):
        plugins()["dataset"].recipe("photos")
    with pytest.raises(DataError, match=r"b\.png is a file"):
        plugins()["dataset"].recipe("folder:root=photos/b.png").load()


def test_verify_and_recertify_need_no_torch_and_no_plugin_but_the_certifiers(toys, certify, tmp_path):
    made = certify(tmp_path / "run")
    assert made.exit_code == 0, made.output
    others = sorted(
        {point.name for point in metadata.entry_points(group="smoothseg")} - {"smoothseg_segcertify"}
    )
    code = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'torchvision', 'timm', 'diffusers'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, No())\n"
        "from smoothseg.cli import main\n"
        "main(sys.argv[1:])\n"
    )

    def run(*words):
        environment = {**os.environ, "SMOOTHSEG_DISABLE": ",".join(others)}
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, env=environment
        )

    done = run("verify", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "12 certificates verified" in done.stdout
    again = run(
        "recertify", tmp_path / "run", "--certifier", "holm:tau=0.6,alpha=0.05", "--output", tmp_path / "x"
    )
    assert again.returncode == 0, again.stderr
    assert run("report", tmp_path / "run").returncode == 0
