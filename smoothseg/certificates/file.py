"""How a certificate is stored: one file, arrays and provenance together; the same certificate gives the same bytes.

What a file claims of its arrays is compared with its size and with `MOST_PIXELS` before any of them is unpacked, and
pickled objects are never read.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.certificate import Certificate, Verdict
from smoothseg.certificates.stopping import Stopping
from smoothseg.errors import DataError
from smoothseg.files import opened, parse_json, write_atomically

__all__ = ["MOST_PIXELS", "SCHEMA", "load", "save"]

MOST_PIXELS = 2**27
"""The largest certificate that is read, in pixels; larger images are not read either."""

_LARGEST_HEADER = 2**22
"""Bytes of the longest provenance that is read."""

_KINDS = {
    "prediction": ("u1", "u2"),
    "certified": ("b1",),
    "hits": ("u1", "u2", "i4"),
    "radii": ("f4", "f8"),
    "clean": ("u1", "u2"),
    "trials": ("i8",),
    "radius": ("f8",),
    "header": ("u1",),
}
"""How the numbers of each array may be stored."""

SCHEMA = 1
"""Version of the file layout; `load` refuses any other."""


def save(certificate: Certificate, path: Path) -> None:
    """Write `certificate` to `path` (.npz), atomically; the same certificate gives the same bytes."""
    classes = 1 + int(certificate.prediction.max(initial=0))
    small = np.uint8 if classes <= 256 else np.uint16
    hits = np.uint8 if certificate.trials < 2**8 else np.uint16 if certificate.trials < 2**16 else np.int32
    arrays: dict[str, npt.NDArray[Any]] = {
        "prediction": certificate.prediction.astype(small),
        "certified": certificate.certified,
        "hits": certificate.hits.astype(hits),
        "trials": np.int64(certificate.trials),  # type: ignore[dict-item]
        "radius": np.float64(certificate.radius),  # type: ignore[dict-item]
    }
    if certificate.verdict.radii is not None:
        arrays["radii"] = certificate.verdict.radii
    if certificate.clean is not None:
        arrays["clean"] = certificate.clean
    header = {"schema": SCHEMA, **certificate.provenance}
    if certificate.stopping is not None:
        header["stopping"] = certificate.stopping.to_json()
    arrays["header"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> Certificate:
    """Read a certificate written by `save`; raise `DataError` if the file is not one."""
    try:
        with opened(path) as stream, zipfile.ZipFile(stream) as archive:
            return _read(archive, path)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"certificate {path} does not exist") from None
    except (
        Exception
    ) as error:  # what a damaged archive makes its reader do is not for zipfile or numpy to foresee
        raise DataError(f"{path} is not a readable certificate: {error}") from None


def _read(archive: zipfile.ZipFile, path: Path) -> Certificate:
    names = {name.removesuffix(".npy") for name in archive.namelist()}
    header = parse_json(_array(archive, "header", shape=None).tobytes())
    if not (isinstance(header, dict) and header.pop("schema", None) == SCHEMA):
        raise DataError(f"{path} has another certificate schema; this version reads {SCHEMA}")
    stopping = header.pop("stopping", None)
    if not {"sigma", "certifier"} <= set(header):
        raise DataError(f"{path} is no certificate of a run: its header lacks sigma or certifier")
    shape = _claimed(archive, "prediction")[0]
    if len(shape) != 2 or not 0 < math.prod(shape) <= MOST_PIXELS:
        raise DataError(f"{path}: expected a map of 1 to {MOST_PIXELS} pixels, got the shape {shape}")
    return Certificate(
        prediction=_array(archive, "prediction", shape),
        hits=_array(archive, "hits", shape).astype(np.int32),
        trials=int(_array(archive, "trials", ())),
        verdict=Verdict(
            certified=_array(archive, "certified", shape),
            radius=float(_array(archive, "radius", ())),
            radii=_array(archive, "radii", shape) if "radii" in names else None,
        ),
        clean=_array(archive, "clean", shape) if "clean" in names else None,
        provenance=header,
        stopping=None if stopping is None else Stopping.from_json(stopping, pixels=math.prod(shape)),
    )


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...] | None) -> npt.NDArray[Any]:
    """Return an array of the archive; raise `ValueError` if its header claims another `shape`, or what is not there.

    shape: None for a row of any length up to `_LARGEST_HEADER`.
    """
    claimed, dtype, size = _claimed(archive, name)
    if dtype.str[1:] not in _KINDS[name]:
        raise ValueError(f"{name} is of the type {dtype}, expected {' or '.join(_KINDS[name])}")
    if shape is None:
        shape = (min(claimed[0] if len(claimed) == 1 else 0, _LARGEST_HEADER),)
    if claimed != shape:
        raise ValueError(f"{name} has the shape {claimed}, expected {shape}")
    if math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name} claims {math.prod(shape)} numbers of the type {dtype} in {size} bytes")
    with archive.open(f"{name}.npy") as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _claimed(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape and type that the header of an array claims, and the bytes behind the header."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is of another version than 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return shape, dtype, entry.file_size - file.tell()
