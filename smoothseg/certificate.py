"""The result for one image: arrays and provenance in one file from which anyone recomputes every verdict."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smoothseg.errors import ConfigError, DataError, PluginError, VerificationError
from smoothseg.files import write_atomically

if TYPE_CHECKING:
    from smoothseg.protocols import Certifier

__all__ = ["SCHEMA", "Certificate", "Verdict", "load", "recertify", "save", "verify"]

_DAMAGED = (
    *(OSError, KeyError, ValueError, TypeError, EOFError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, PluginError),
)
"""What reading a damaged archive was seen to raise."""

SCHEMA = 1
"""Version of the file layout; `load` refuses any other."""


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """What a certifier decides from the counts.

    certified: bool (H, W). radius: the l2 radius, in [0, 1] pixel units, within which all certified pixels
    together keep their class; NaN if there is none. radii: float32 (H, W), where every pixel has a radius of
    its own (then `radius` is the smallest of the certified ones), else None.
    """

    certified: npt.NDArray[np.bool_]
    radius: float
    radii: npt.NDArray[np.float32] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """The certified segmentation of one image.

    prediction: (H, W) uint8, or uint16 above 256 classes; the selected class at every pixel, certified or not.
    hits: (H, W) int32, how often it was seen in `trials` samples independent of the selection.
    verdict: which pixels are certified and the radius; all others abstain.
    clean: (H, W), the base model's labels of the clean image without denoiser, for comparison; or None.
    provenance: JSON values: everything that is needed to make the certificate again.
    """

    prediction: npt.NDArray[np.uint8 | np.uint16]
    hits: npt.NDArray[np.int32]
    trials: int
    verdict: Verdict
    clean: npt.NDArray[np.uint8 | np.uint16] | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.prediction.shape
        for name, array in (
            ("hits", self.hits),
            ("certified", self.verdict.certified),
            ("radii", self.verdict.radii),
            ("clean", self.clean),
        ):
            if array is not None and array.shape != shape:
                raise PluginError(f"certificate: {name} has shape {array.shape}, prediction {shape}")
        if self.hits.size and (int(self.hits.min()) < 0 or int(self.hits.max()) > self.trials):
            raise PluginError(f"certificate: hits must lie in 0..{self.trials}")

    @property
    def certified(self) -> npt.NDArray[np.bool_]:
        """(H, W), True where the pixel's class is guaranteed."""
        return self.verdict.certified

    @property
    def radius(self) -> float:
        """The l2 radius of the guarantee in [0, 1] pixel units; NaN if there is none."""
        return self.verdict.radius

    @property
    def abstained(self) -> float:
        """The share of pixels without a guarantee."""
        return 1.0 - float(self.certified.mean())


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
        arrays["radii"] = certificate.verdict.radii.astype(np.float32)
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


def verify(certificate: Certificate, certifier: Certifier) -> None:
    """Decide again from the stored counts; raise `VerificationError` if anything differs from what is stored.

    certifier: the one that `provenance` describes. Trials, samples and classes must agree with it too.
    """
    stated = certificate.provenance["certifier"].get("n", certificate.trials)
    if stated != certificate.trials:
        raise VerificationError(f"there are {certificate.trials} trials, the certifier says n={stated}")
    drawn = certificate.provenance.get("samples", certificate.trials)
    if not certificate.trials <= drawn <= certifier.samples:
        raise VerificationError(
            f"{drawn} samples were drawn for {certificate.trials} trials, at most {certifier.samples}"
        )
    classes = certificate.provenance.get("classes")
    if classes is not None and int(certificate.prediction.max(initial=0)) >= len(classes):
        raise VerificationError(f"the prediction has a class above the {len(classes)} it names")
    _check_counted(certificate, certifier)
    again = certifier.decide(certificate.hits, certificate.trials, sigma=certificate.provenance["sigma"])
    differ = int((again.certified != certificate.certified).sum())
    if differ:
        raise VerificationError(
            f"{differ} of {certificate.certified.size} verdicts do not follow from the counts"
        )
    if not np.isclose(again.radius, certificate.radius, rtol=1e-9, atol=0, equal_nan=True):
        raise VerificationError(
            f"the radius is stored as {certificate.radius}, the counts give {again.radius}"
        )
    stored, radii = certificate.verdict.radii, again.radii
    if (stored is None) != (radii is None) or (
        stored is not None and radii is not None and not np.allclose(stored, radii, rtol=1e-6, equal_nan=True)
    ):
        raise VerificationError("the radius map does not follow from the counts")


def _check_counted(certificate: Certificate, certifier: Certifier) -> None:
    counted = certificate.provenance.get("counted", "pixel")
    if counted != certifier.counted:
        raise ConfigError(
            f"the certificate counts by {counted}, the certifier decides by {certifier.counted}"
        )


def recertify(certificate: Certificate, certifier: Certifier, described: Mapping[str, Any]) -> Certificate:
    """Return the certificate that `certifier` (described by `described`) decides from the same counts.

    It is as valid as the first one only if the new setting was chosen without looking at the counts, or if the
    settings tried share one alpha between them. Raises `ConfigError` if the setting needs other samples than
    were drawn, or counts something else, and `NothingCertifiableError` if it could never certify anything.
    """
    before = certificate.provenance["certifier"]
    for name in ("n0", "n"):
        if name in described and name in before and described[name] != before[name]:
            raise ConfigError(
                f"the counts are of {name}={before[name]}, the certifier has {name}={described[name]}"
            )
    _check_counted(certificate, certifier)
    certifier.check(certificate.hits.size)
    verdict = certifier.decide(certificate.hits, certificate.trials, sigma=certificate.provenance["sigma"])
    provenance = {
        **certificate.provenance,
        "certifier": dict(described),
        "recertified_from": before,
    }
    return dataclasses.replace(certificate, verdict=verdict, provenance=provenance)
