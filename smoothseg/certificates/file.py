"""How a certificate is stored: one file, arrays and provenance together; the same certificate gives the same bytes."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.certificate import Certificate, Verdict
from smoothseg.errors import DataError, PluginError
from smoothseg.files import write_atomically

__all__ = ["SCHEMA", "load", "save"]

_DAMAGED = (
    *(OSError, KeyError, ValueError, TypeError, EOFError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, PluginError),
)
"""What reading a damaged archive was seen to raise."""

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
    arrays["header"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> Certificate:
    """Read a certificate written by `save`; raise `DataError` if the file is not one."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            if not (isinstance(header, dict) and header.pop("schema", None) == SCHEMA):
                raise DataError(f"{path} has another certificate schema; this version reads {SCHEMA}")
            if not {"sigma", "certifier"} <= set(header):
                raise DataError(f"{path} is no certificate of a run: its header lacks sigma or certifier")
            return Certificate(
                prediction=file["prediction"],
                hits=file["hits"].astype(np.int32),
                trials=int(file["trials"]),
                verdict=Verdict(
                    certified=file["certified"],
                    radius=float(file["radius"]),
                    radii=file["radii"] if "radii" in file else None,
                ),
                clean=file["clean"] if "clean" in file else None,
                provenance=header,
            )
    except FileNotFoundError:
        raise DataError(f"certificate {path} does not exist") from None
    except _DAMAGED as error:
        raise DataError(f"{path} is not a readable certificate: {error}") from None
