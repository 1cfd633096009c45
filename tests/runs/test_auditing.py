"""Every way to change a run by hand that `smoothseg verify` finds: the run is accepted before, and the fault named."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from smoothseg.certificates import file
from smoothseg.report import checking, running
from smoothseg.runs import auditing, preparing, results
from smoothseg.runs.ledger import Ledger
from smoothseg.runs.plan import Plan

ONE = "certificates/identity/sigma-0.2/a.npz"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def run(toys, photos, tmp_path, place, monkeypatch):
    """Return the folder of a finished run of three labelled images, two methods and two sigma, with own radii.

    It is made once and copied. The root of its images is relative, so that each copy has its own.
    """
    monkeypatch.chdir(tmp_path)
    if not (place / "run").exists():
        _make(place / "run")
    shutil.copytree(place / "run", tmp_path / "run")
    return tmp_path / "run"


def _make(directory):
    plan = Plan.of(
        {
            "dataset": "folder:root=photos,images=images,labels=labels,classes=classes.txt",
            "denoiser": ["identity", "toy-blur"],
            "segmenter": "toy-threshold",
            "certifier": "holm:n0=4,n=60,alpha=0.05,taus=0.6,0.75",
            "sigma": [0.1, 0.2],
            "scale": 1.0,
            "device": "cpu",
        }
    )
    running.run(preparing.prepare(plan), directory, batch_size=16)


def faults(run, *, images=False):
    return [*auditing.audit(run, images=images), *checking.differences(run)]


def lines(run):
    return [dict(entry) for entry in Ledger(run / "ledger.jsonl")]


def write_lines(run, entries):
    """Write the ledger anew, each line with its digest, as a careful forger does."""
    (run / "ledger.jsonl").unlink()
    ledger = Ledger(run / "ledger.jsonl")
    for entry in entries:
        ledger.append(entry)


def change_line(run, change, path=ONE):
    entries = lines(run)
    for entry in entries:
        if entry["certificate"] == path:
            change(entry)
    write_lines(run, entries)


def change_certificate(run, change, *, record=True, path=ONE):
    """Change a certificate, and by `record` its hash in the ledger, as a careful forger does."""
    file.save(change(file.load(run / path)), run / path)
    if record:
        digest = hashlib.sha256((run / path).read_bytes()).hexdigest()
        change_line(run, lambda entry: entry.update(sha256=digest), path)


def header(**changes):
    return lambda made: dataclasses.replace(made, provenance={**made.provenance, **changes})


def test_an_honest_run_has_no_fault(run):
    assert faults(run) == []
    assert faults(run, images=True) == []


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        (header(sigma=0.4), "sigma is 0.4, run.json says 0.2"),
        (header(seed=7), "seed is 7"),
        (header(device="NVIDIA H100"), "device is 'NVIDIA H100', run.json says 'cpu'"),
        (header(weights={}), "weights is {}"),
        (header(noise="philox-numpy-float32"), "noise is 'philox-numpy-float32'"),
        (header(certifier={"name": "holm", "alpha": 0.5}), "certifier is {'alpha': 0.5, 'name': 'holm'}"),
        (header(method="toy-blur"), "method is 'toy-blur'"),
        (header(classes=["x", "y"]), "classes is ['x', 'y']"),
        (
            header(weights={"denoiser": {}, "segmenter": {"a": "b"}}),
            "weights is {'denoiser': {}, 'segmenter': {'a': 'b'}}",
        ),
        (header(threads=99), "threads is 99"),
        (header(versions={}), "versions.python is missing"),
        (
            lambda made: header(image={**made.provenance["image"], "sha256": "0" * 64})(made),
            "image.sha256 is '000",
        ),
        (
            lambda made: header(geometry={**made.provenance["geometry"], "scale": 0.5})(made),
            "geometry.scale is 0.5, run.json says 1.0",
        ),
    ],
)
def test_a_header_that_is_not_of_the_run_is_named(run, change, field, record):
    change_certificate(run, change, record=record)
    found = faults(run)
    assert any(fault.startswith(f"{ONE}: {field}") for fault in found)
    assert any("not the file that the ledger records" in fault for fault in found) != record


def test_the_certificate_of_another_image_is_named(run):
    shutil.copy(run / ONE.replace("a.npz", "c.npz"), run / ONE)
    change_certificate(run, lambda made: made)
    found = faults(run)
    assert f"{ONE}: image.key is 'c', run.json says 'a'" in found
    assert any(f"{ONE}: image.sha256" in fault for fault in found)


def test_certificates_that_were_dropped_are_missed(run):
    for path in run.glob("certificates/**/b.npz"):
        path.unlink()
    write_lines(run, [entry for entry in lines(run) if entry["key"] != "b"])
    (missing,) = [fault for fault in faults(run) if fault.startswith("run.json")]
    assert (
        "4 of its 12 certificates are missing, the first is certificates/identity/sigma-0.1/b.npz" in missing
    )


def test_certificates_that_were_put_in_are_named(run):
    shutil.copy(run / ONE, run / ONE.replace("a.npz", "z.npz"))
    write_lines(
        run, [*lines(run), {**lines(run)[0], "certificate": ONE.replace("a.npz", "z.npz"), "key": "z"}]
    )
    assert f"{ONE.replace('a.npz', 'z.npz')}: not a certificate of this run" in faults(run)
    assert any(
        "a line for certificates/identity/sigma-0.2/z.npz, which is not" in fault for fault in faults(run)
    )


def test_a_certificate_without_a_line_and_a_line_without_a_hash_are_named(run):
    write_lines(run, [entry for entry in lines(run) if entry["certificate"] != ONE])
    assert any(fault.startswith(f"ledger.jsonl: no line for {ONE}: ") for fault in faults(run))
    right = lines(run)
    for wrong in ({"key": "a"}, {**right[0], "certificate": [1]}, {**right[0], "sha256": None}):
        write_lines(run, [wrong, *right[1:]])
        assert any("ledger.jsonl: line 1 is damaged" in fault for fault in auditing.audit(run))
    outside = {**right[0], "certificate": "certificates/../../x.npz"}
    write_lines(run, [outside, *right[1:]])
    assert any("ledger.jsonl: line 1 is damaged" in fault for fault in auditing.audit(run))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda entry: entry.update(radius=9.9), "radius is 9.9"),
        (lambda entry: entry.update(sigma=0.4), "sigma is 0.4"),
        (lambda entry: entry.update(key="b"), "key is 'b'"),
        (lambda entry: entry["certified"].update(certified=252), "certified.certified is 252"),
        (lambda entry: entry["certified"].update(pixels=9999), "certified.pixels is 9999"),
        (
            lambda entry: entry["certified"].update(confusion=[[0, 0, 252]]),
            "certified.confusion, column 0 is 252",
        ),
        (lambda entry: entry["clean"].update(confusion=[[0, 0, 252]]), "clean.confusion, column 0 is 252"),
        (lambda entry: entry["certified"].update(confusion=[[0, 99, 1]]), "certified is"),
        (lambda entry: entry.update(by_radius=None), "by_radius is missing"),
        (lambda entry: entry.update(by_radius=[[9.9, 252, 252]]), "by_radius is [[9.9, 252]]"),
    ],
)
def test_a_line_that_does_not_follow_from_its_certificate_is_named(run, change, field):
    change_line(run, change)
    assert any(fault.startswith(f"ledger.jsonl: {ONE}: {field}") for fault in auditing.audit(run))


def test_counts_that_the_labels_do_not_give_are_found_with_the_images(run):
    def swapped(entry):
        """Make a pixel of each class a wrong one of the other: labels and certified classes keep their sums."""
        table = {(label, column): count for label, column, count in entry["certified"]["confusion"]}
        for label in (0, 1):
            table[label, label] -= 1
            table[label, 1 - label] = table.get((label, 1 - label), 0) + 1
        entry["certified"]["confusion"] = [[*place, count] for place, count in sorted(table.items())]

    change_line(run, swapped)
    assert list(auditing.audit(run)) == []
    (found,) = auditing.audit(run, images=True)
    assert found.startswith(f"ledger.jsonl: {ONE}: certified.confusion is")


def test_images_and_labels_that_changed_are_named(run, photos):
    labels = np.array(Image.open(photos / "labels" / "a.png"))
    labels[5, 5] ^= 1
    Image.fromarray(labels).save(photos / "labels" / "a.png")
    picture = np.array(Image.open(photos / "images" / "c.png"))
    picture[0, 0] ^= 1
    Image.fromarray(picture).save(photos / "images" / "c.png")
    found = list(auditing.audit(run, images=True))
    assert "run.json: images: a: the dataset's labels is another" in found
    assert "run.json: images: c: the dataset's image is another" in found
    assert list(auditing.audit(run)) == []


@pytest.mark.parametrize("name", ["metrics.json", "metrics.csv", "per_class.csv"])
def test_an_edited_table_is_named(run, name):
    text = (run / name).read_text()
    number = json.loads((run / "metrics.json").read_text())["rows"][0]["certified"]
    value = number["accuracy"] if name != "per_class.csv" else number["per_class"][0]["iou"]
    assert repr(value) in text
    (run / name).write_text(text.replace(repr(value), "0.123", 1))
    (found,) = faults(run)
    assert found.startswith(f"{name}: row 1: ")
    (run / name).write_text(text.splitlines()[0] + "\n" if name.endswith(".csv") else "{}")
    assert any(fault.startswith(f"{name}: ") for fault in faults(run))


def test_a_table_of_another_version_with_other_fields_is_no_fault(run):
    document = json.loads((run / "metrics.json").read_text())
    for row in document["rows"]:
        del row["noise"], row["tolerates"]
        row["segmenter"] = "in the words of a plugin that is not here"
    (run / "metrics.json").write_text(json.dumps(document))
    assert faults(run) == []


@pytest.mark.parametrize("name", ["metrics.json", "metrics.csv", "per_class.csv"])
def test_fields_and_tables_that_were_dropped_or_renamed_are_named(run, name):
    text = (run / name).read_text()
    for field in ("sigma", "radius"):
        (run / name).write_text(text.replace(field, field.upper()))
        found = faults(run)
        assert any(fault.startswith(f"{name}: row 1: {field} is not") for fault in found)
        assert any(fault.startswith(f"{name}: row 1: {field.upper()} is not") for fault in found)
    (run / name).unlink()
    assert faults(run) == [f"{name}: is missing"]


def test_a_line_that_stands_for_another_certificate_is_named(run):
    """Tables go by method, sigma and key, and would show this line in place of the honest one."""
    entries = lines(run)
    forged = {**next(entry for entry in entries if entry["certificate"] == ONE), "key": "b"}
    write_lines(run, [*entries, forged, *(entry for entry in entries if entry["certificate"] == ONE)])
    assert f"ledger.jsonl: {ONE}: key is 'b', the path says 'a'" in list(auditing.audit(run))


def test_counts_of_other_labels_are_named_without_the_images(run):
    def diagonal(entry):
        entry["certified"]["confusion"] = [[c, c, n] for _, c, n in entry["certified"]["confusion"] if c < 2]

    change_line(run, diagonal)
    assert any("a has other labels here than in another line" in fault for fault in auditing.audit(run))
    change_line(run, lambda entry: entry["certified"].update(confusion=None))
    assert any("certified.confusion: a has labels, or none" in fault for fault in auditing.audit(run))


def test_images_that_left_the_run_everywhere_are_missed_with_the_dataset(run):
    identity = results.read_identity(run)
    del identity["images"]["b"]
    results.write_identity(run, identity)
    for path in run.glob("certificates/**/b.npz"):
        path.unlink()
    write_lines(run, [entry for entry in lines(run) if entry["key"] != "b"])
    assert "run.json: images: not those that the plan takes of the dataset: b" in list(
        auditing.audit(run, images=True)
    )


def test_a_plan_of_another_noise_and_a_second_hand_certificate_are_named(run):
    change_certificate(run, header(recertified_from=[{"name": "holm"}]))
    identity = results.read_identity(run)
    identity["plan"]["noise"] = "gaussian"
    results.write_identity(run, identity)
    found = list(auditing.audit(run))
    assert any("noise is 'lattice-255-philox4x64', its plan says 'gaussian'" in fault for fault in found)
    assert any("recertified_from is [{'name': 'holm'}], run.json says" in fault for fault in found)


@pytest.mark.parametrize("field", ["plan", "weights", "classes", "noise", "versions", "images"])
def test_a_run_json_without_a_field_is_one_line(run, field):
    identity = results.read_identity(run)
    changed = [{**identity, field: value} for value in (None, 5, [], "x" if field != "noise" else 3)]
    for value in (*changed, {name: value for name, value in identity.items() if name != field}):
        results.write_identity(run, value)
        with pytest.raises(results.DamagedError, match="is not as smoothseg writes it"):
            list(auditing.audit(run))


def test_a_damaged_certificate_is_named_and_the_others_go_on(run):
    (run / ONE).write_bytes(b"nothing")
    change_line(run, lambda entry: entry.update(radius=9.9), ONE.replace("a.npz", "b.npz"))
    found = list(auditing.audit(run))
    assert any("a.npz: is not a readable certificate" in fault for fault in found)
    assert any("b.npz: radius is 9.9" in fault for fault in found)


def test_versions_weights_and_the_sigma_told_cannot_be_emptied(run):
    identity = results.read_identity(run)
    results.write_identity(run, {**identity, "versions": {}})
    found = list(auditing.audit(run))
    assert "run.json: versions: torch is missing" in found
    results.write_identity(run, {**identity, "weights": {slug: {} for slug in identity["weights"]}})
    assert any("weights is" in fault and "run.json says {}" in fault for fault in auditing.audit(run))
    results.write_identity(run, identity)
    for wrong in (9.0, 0.0, None):
        made = file.load(run / ONE)
        geometry = {**made.provenance["geometry"], "sigma_told": wrong}
        change_certificate(run, header(geometry=geometry))
        assert any(f"{ONE}: geometry.sigma_told is" in fault for fault in auditing.audit(run)), wrong


def test_an_image_that_is_said_to_be_unusable_and_is_not_is_found_with_the_dataset(run):
    identity = results.read_identity(run)
    moved = {key: value for key, value in identity["images"].items() if key != "b"}
    results.write_identity(run, {**identity, "images": moved, "skipped": {"b": "unreadable"}})
    assert "run.json: skipped: b: it can be used" in list(auditing.audit(run, images=True))


@pytest.mark.parametrize("gone", [("run.json", "ledger.jsonl", "manifest.json"), ("manifest.json",)])
def test_files_that_were_removed_do_not_make_the_others_right(run, invoke, gone):
    (run / "table.md").write_text("| 100 % |\n")
    for name in gone:
        (run / name).unlink()
    result = invoke("verify", run)
    assert result.exit_code == 1
    assert (
        "holds no run" if len(gone) > 1 else "manifest.json: is missing, and the run has tables"
    ) in result.stderr
