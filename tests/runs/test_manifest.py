"""The manifest of a run and its signature: no file changes alone, and nobody signs for another."""

import json
import shutil
import subprocess
import sys

import pytest

from smoothseg.errors import ConfigError, DataError, VerificationError
from smoothseg.report import running
from smoothseg.runs import manifest, preparing
from smoothseg.runs.plan import Plan

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa


def make(photos, directory):
    plan = Plan.of(
        {
            "dataset": f"folder:root={photos},images=images,labels=labels,classes=classes.txt",
            "denoiser": "identity",
            "segmenter": "toy-threshold",
            "certifier": "holm:n0=4,n=40,alpha=0.05",
            "scale": 1.0,
            "device": "cpu",
        }
    )
    running.run(preparing.prepare(plan), directory, batch_size=16)


@pytest.fixture
def run(toys, album, once, tmp_path):
    """Return a finished run of `album`, made once and copied."""
    once("manifest", lambda folder: make(album, folder), tmp_path / "run")
    return tmp_path / "run"


FORMATS = {
    "pem": (
        (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8),
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ),
    "ssh": (
        (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH),
        (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
    ),
}


def keys(folder, name="key", form="pem", private=None, password=None):
    """Write a pair of keys and return the two paths."""
    private = ed25519.Ed25519PrivateKey.generate() if private is None else private
    hidden, shown = FORMATS[form]
    how = (
        serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    )
    paths = folder / f"{name}.pem", folder / f"{name}.pub"
    paths[0].write_bytes(private.private_bytes(*hidden, how))
    paths[1].write_bytes(private.public_key().public_bytes(*shown))
    return paths


def test_every_file_of_a_run_is_in_its_manifest_except_the_log(run):
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    stated = json.loads((run / "manifest.json").read_text())["files"]
    assert files - set(stated) == {"log.txt", "manifest.json", ".lock"}
    assert set(stated) <= files
    assert list(manifest.differences(run)) == []


def everything(run):
    return sorted(
        path.relative_to(run).as_posix()
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("log.txt", ".lock")
    )


def test_every_change_of_every_file_is_named(run, invoke):
    for name in everything(run):
        content = (run / name).read_bytes()
        for change in (
            content[:-1] + bytes([content[-1] ^ 1]),
            content + b"\n",
            content[: len(content) // 2],
        ):
            (run / name).write_bytes(change)
            found = list(manifest.differences(run))
            if (
                name == "manifest.json" and not found
            ):  # white space alone changes no digest, but the signature
                assert change == content + b"\n"
                continue
            assert any(name in fault for fault in found), name
        (run / name).unlink()
        if name != "manifest.json":
            assert f"{name}: manifest.json has it, and it was removed" in list(manifest.differences(run))
        (run / name).write_bytes(content)
    assert invoke("verify", run).exit_code == 0
    (run / "table.md").write_text("| 100 % |\n")
    (run / "pictures" / "identity" / "z.png").write_bytes(b"")
    result = invoke("verify", run)
    assert result.exit_code == 1
    assert "table.md: is not the file that manifest.json records" in result.stderr
    assert "pictures/identity/z.png: manifest.json does not have it" in result.stderr


def test_the_page_may_be_written_again_and_nothing_else_is_taken_in(run, invoke):
    before = (run / "manifest.json").read_bytes()
    assert invoke("report", run, "--html").exit_code == 0
    assert (run / "manifest.json").read_bytes() == before
    (run / "report.html").write_text("<p>old</p>")
    (run / "table.md").write_text("| 100 % |\n")
    invoke("report", run, "--html")
    assert list(manifest.differences(run)) == ["table.md: is not the file that manifest.json records"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_signed_run_is_its_signers_and_nobody_elses(run, invoke, tmp_path, form):
    private, public = keys(tmp_path, form=form)
    _, other = keys(tmp_path, "other", form)
    assert "is not signed" in invoke("verify", run, "--key", public).stderr
    assert invoke("report", run, "--sign", private).exit_code == 0
    assert invoke("verify", run, "--key", public).exit_code == 0
    assert "it is signed; --key PUBLIC_KEY checks by whom" in invoke("verify", run).stderr
    wrong = invoke("verify", run, "--key", other)
    assert wrong.exit_code == 1
    assert "other.pub did not sign this manifest.json" in wrong.stderr
    # A forger who makes everything agree again has no key for it.
    (run / "table.md").write_text("| 100 % |\n")
    signature = (run / "manifest.sig").read_bytes()
    manifest.write(run)
    (run / "manifest.sig").write_bytes(signature)
    assert invoke("verify", run).exit_code == 0
    assert "did not sign this manifest.json" in invoke("verify", run, "--key", public).stderr


def test_a_run_can_be_signed_as_it_ends(toys, photos, certify, invoke, tmp_path):
    private, public = keys(tmp_path)
    assert certify("--output", tmp_path / "run", "--sign", private).exit_code == 0
    assert invoke("verify", tmp_path / "run", "--key", public).exit_code == 0
    signature = (tmp_path / "run" / "manifest.sig").read_bytes()
    assert certify("--output", tmp_path / "run").exit_code == 0  # nothing is left to do
    assert (tmp_path / "run" / "manifest.sig").read_bytes() == signature
    next((tmp_path / "run").rglob("*.npz")).unlink()
    assert certify("--output", tmp_path / "run").exit_code == 0  # the ledger has another time now
    assert not (tmp_path / "run" / "manifest.sig").exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_alone_makes_keys_and_checks_the_signature(run, invoke, tmp_path):
    def openssl(*words):
        return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, cwd=tmp_path)

    assert openssl("genpkey", "-algorithm", "ed25519", "-out", "key.pem").returncode == 0
    assert openssl("pkey", "-in", "key.pem", "-pubout", "-out", "key.pub").returncode == 0
    assert invoke("report", run, "--sign", tmp_path / "key.pem").exit_code == 0
    assert invoke("verify", run, "--key", tmp_path / "key.pub").exit_code == 0
    checked = openssl(
        *("pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin", "-in", run / "manifest.json"),
        *("-sigfile", run / "manifest.sig"),
    )
    assert "Signature Verified Successfully" in checked.stdout


def test_what_is_not_whole_is_not_signed(run, tmp_path):
    private, _ = keys(tmp_path)
    (run / "table.md").write_text("| 100 % |\n")
    with pytest.raises(
        VerificationError, match=r"table\.md: is not the file .*: what is signed must be whole"
    ):
        manifest.sign(run, manifest.signing_key(private))
    (run / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        manifest.sign(run, manifest.signing_key(private))


def test_what_is_no_key_is_one_line_before_anything_runs(toys, certify, tmp_path):
    private, public = keys(tmp_path)
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for path, message in (
        (public, "is no private key in PEM or OpenSSH format"),
        (keys(tmp_path, "rsa", private=rsa_key)[0], "is no Ed25519 key"),
        (keys(tmp_path, "locked", password=b"secret")[0], "has a password"),
    ):
        error = certify("--output", tmp_path / "run", "--sign", path).exception
        assert isinstance(error, ConfigError)
        assert message in str(error)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="is no public key"):
        manifest.check_signature(tmp_path, private)
    with pytest.raises(ConfigError, match="is no Ed25519 key"):
        manifest.check_signature(tmp_path, keys(tmp_path, "rsa2", private=rsa_key)[1])


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 2, "files": {}}', '{"schema": 1, "files": {"a": 1}}', "[" * 99999]
)
def test_a_manifest_that_is_none_is_one_line(run, content):
    (run / "manifest.json").write_text(content)
    assert list(manifest.differences(run)) == ["manifest.json: is not one that smoothseg writes"]


def test_a_run_from_before_there_were_manifests_is_verified_and_says_so(run, invoke):
    (run / "manifest.json").unlink()
    identity = json.loads((run / "run.json").read_text())
    del identity["check"]  # nor were there digests
    (run / "run.json").write_text(json.dumps(identity))
    result = invoke("verify", run)
    assert result.exit_code == 0
    assert "it has no manifest.json: table.md, table.tex, page and pictures are not compared" in result.stderr
    (run / "manifest.sig").write_bytes(b"x")
    assert "manifest.json: is missing, and manifest.sig is there" in invoke("verify", run).stderr


def test_without_the_package_for_signatures_one_line_says_what_to_install(run, invoke, tmp_path, monkeypatch):
    private, public = keys(tmp_path)
    for name in [each for each in sys.modules if each.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for words in (("report", run, "--sign", private), ("verify", run, "--key", public)):
        result = invoke(*words)
        assert "pip install 'smoothseg[sign]'" in str(result.exception) + result.stderr
