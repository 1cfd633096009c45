"""manifest.json: the sha256 of every file of a run, so that no file can change alone; and whose signature it has.

The manifest binds plan, images, certificates, ledger, tables and pictures to each other, since run.json holds the plan
and the digests of the images. Anybody can write it anew, so by itself it shows damage and carelessness. With a
signature it shows that the run is the one that the holder of a key made. It shows not that the maker was honest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothseg.errors import ConfigError, DataError, VerificationError
from smoothseg.files import parse_json, read_bytes, sha256_of, write_atomically
from smoothseg.runs import results

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    *("FILES", "NAME", "SIGNATURE", "changed", "check_signature", "differences", "sign", "signing_key"),
    *("update", "verifying_key", "write"),
]

NAME = "manifest.json"

SIGNATURE = "manifest.sig"
"""Name of the file with the signature: the 64 bytes of Ed25519 over the bytes of manifest.json."""

SCHEMA = 1
"""Version of the manifest's layout."""

LARGEST = 2**28
"""Bytes of the largest manifest that is read: some hundreds for each image and method."""

_FOLDERS = ("certificates", "pictures", "previews")
FILES = (
    *("run.json", "config.yaml", "ledger.jsonl", "legend.json", "report.html"),
    *("metrics.json", "metrics.csv", "per_class.csv", "table.md", "table.tex"),
)
"""What a run consists of. The log is no part of the result, and trackers have their own files."""


def write(directory: Path) -> None:
    """Write the manifest of all files of the run in `directory`.

    A signature of another manifest is removed: it would be one of something else.
    """
    _put(directory, {name: sha256_of(directory / name) for name in _present(directory)})


def update(directory: Path, names: Sequence[str]) -> None:
    """Write the digests of the files `names` anew, and leave those of all others as they are; nothing if none is there.

    A signature of another manifest is removed.
    """
    if (directory / NAME).exists():
        _put(directory, _read(directory) | {name: sha256_of(directory / name) for name in names})


def differences(directory: Path) -> Iterator[str]:
    """Yield each file that is not as the manifest says, was removed or was added; nothing if there is no manifest."""
    if not (directory / NAME).exists():
        if (directory / SIGNATURE).exists():
            yield f"{NAME}: is missing, and {SIGNATURE} is there"
        elif results.is_sealed(directory) and (directory / "metrics.json").exists():
            yield f"{NAME}: is missing, and the run has tables"  # both are written together
        return
    try:
        stated = _read(directory)
    except DataError as error:
        yield str(error)
        return
    present = _present(directory)
    for name in sorted({*stated, *present}):
        if name not in present:
            yield f"{name}: {NAME} has it, and it was removed"
        elif name not in stated:
            yield f"{name}: {NAME} does not have it"
        elif sha256_of(directory / name) != stated[name]:
            yield f"{name}: is not the file that {NAME} records"


def changed(directory: Path, folders: Sequence[str]) -> list[str]:
    """Return the files in `folders` of the run that are there and are not as the manifest says."""
    try:
        stated = _read(directory) if (directory / NAME).exists() else {}
    except DataError:
        return []
    return [
        name
        for name in _present(directory)
        if name.partition("/")[0] in folders
        and name in stated
        and sha256_of(directory / name) != stated[name]
    ]


def signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a PEM or OpenSSH file; `ConfigError` if it is no Ed25519 key, or has a password."""
    key = _key(path, private=True)  # first, because it says what is missing
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"key {path} is no Ed25519 key: `openssl genpkey -algorithm ed25519` makes one")
    return key


def sign(directory: Path, key: Ed25519PrivateKey) -> None:
    """Sign the manifest of the run in `directory`; raise `VerificationError` if the run is not as it says."""
    if not (directory / NAME).exists():
        raise DataError(f"{directory} has no {NAME}: finish the run with the command that made it")
    for fault in differences(directory):
        raise VerificationError(f"{directory}: {fault}: what is signed must be whole")
    write_atomically(directory / SIGNATURE, key.sign(read_bytes(directory / NAME, LARGEST)))


def check_signature(directory: Path, key: Path) -> None:
    """Raise `VerificationError` unless the owner of the public `key` signed the manifest of the run in `directory`.

    key: a PEM or OpenSSH file. Raises `ConfigError` if it is no Ed25519 key.
    """
    public = verifying_key(key)
    from cryptography.exceptions import InvalidSignature

    try:
        signature, manifest = (
            read_bytes(directory / name, most) for name, most in ((SIGNATURE, 2**10), (NAME, LARGEST))
        )
    except OSError:
        raise VerificationError(f"{directory}: is not signed") from None
    try:
        public.verify(signature, manifest)
    except InvalidSignature:
        raise VerificationError(f"{directory}: {SIGNATURE}: {key} did not sign this {NAME}") from None


def verifying_key(path: Path) -> Ed25519PublicKey:
    """Return the public key in a PEM or OpenSSH file; raise `ConfigError` if it is no Ed25519 key."""
    key = _key(path, private=False)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"key {path} is no Ed25519 key")
    return key


def _key(path: Path, *, private: bool) -> Any:
    """Return the key in a file of either format."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise ConfigError("signatures need the package cryptography: pip install 'smoothseg[sign]'") from None
    try:
        content = read_bytes(path, 2**16)
        if private:
            ssh = b"BEGIN OPENSSH" in content
            load = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
            return load(content, password=None)
        if content.startswith(b"ssh-"):
            return serialization.load_ssh_public_key(content)
        return serialization.load_pem_public_key(content)
    except OSError as error:
        raise ConfigError(f"key {path} cannot be read: {error}") from None
    except TypeError:
        raise ConfigError(f"key {path} has a password: `openssl pkey` writes it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        what = "private" if private else "public"
        raise ConfigError(f"key {path} is no {what} key in PEM or OpenSSH format") from None


def _present(directory: Path) -> list[str]:
    """Return the names of the files of the run that are there, within the directory."""
    found = [directory / name for name in FILES]
    for folder in _FOLDERS:
        found += (directory / folder).rglob("*")
    # Files left by a crash during a write have names that begin with a dot.
    return sorted(
        path.relative_to(directory).as_posix()
        for path in found
        if path.is_file() and not path.name.startswith(".")
    )


def _put(directory: Path, files: dict[str, str]) -> None:
    content = json.dumps({"schema": SCHEMA, "files": files}, indent=1, sort_keys=True).encode() + b"\n"
    path = directory / NAME
    if path.is_file() and read_bytes(path, LARGEST) == content:
        return
    (directory / SIGNATURE).unlink(missing_ok=True)
    write_atomically(path, content)


def _read(directory: Path) -> dict[str, str]:
    """Return the digest of each file, as the manifest says; raise `DataError` if it is not one."""
    try:
        stated = parse_json(read_bytes(directory / NAME, LARGEST))
        files = stated["files"]
        right = stated["schema"] == SCHEMA and all(isinstance(each, str) for each in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        right = False
    if not right:
        raise DataError(f"{NAME}: is not one that smoothseg writes")
    return dict(files)
