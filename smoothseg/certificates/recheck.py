"""What the stored counts decide, once more: `verify` compares verdicts, `recertify` decides under another setting."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.certifier import Certifier, Sequential, selects_from_trials
from smoothseg.certificates.hierarchy import from_header
from smoothseg.errors import ConfigError, DataError, VerificationError
from smoothseg.files import plain

__all__ = ["SELECTING", "history", "recertify", "verify"]

SELECTING = ("n0", "n", "hierarchy", "thresholds", "temperature", "unsure")
"""Options of a certifier that decide what is counted: other ones need other samples, or another selection."""


def verify(certificate: Certificate, certifier: Certifier) -> None:
    """Decide again from the stored counts; raise `VerificationError` if anything differs from what is stored.

    certifier: the one that `provenance` describes. Size, trials, samples, sigma and classes must agree with it too.
    """
    try:
        _check_header(certificate, certifier)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise VerificationError(
            f"its header is not one that smoothseg writes ({type(error).__name__}: {error})"
        ) from None
    _check_counted(certificate, certifier)
    if (fault := _selected_otherwise(certificate, certifier)) is not None:
        raise VerificationError(fault)
    _check_stopping(certificate, certifier)
    again = certifier.decide(certificate.hits, certificate.trials, sigma=certificate.provenance["sigma"])
    differ = int((again.certified != certificate.certified).sum())
    if differ:
        raise VerificationError(
            f"{differ} of {certificate.certified.size} verdicts do not follow from the counts"
        )
    # With a radius for each pixel, the smallest one was once stored in 32 bits, too.
    if not _follows(certificate.radius, again.radius, below=1e-9 if again.radii is None else 1.2e-7):
        raise VerificationError(
            f"the radius is stored as {certificate.radius}, the counts give {again.radius}"
        )
    stored, radii = certificate.verdict.radii, again.radii
    if (stored is None) != (radii is None) or (
        stored is not None
        and radii is not None
        and not _follows(stored, radii, below=1.2e-7 if stored.dtype == np.float32 else 1e-9)
    ):
        raise VerificationError("the radius map does not follow from the counts")


def _follows(stored: npt.ArrayLike, again: npt.ArrayLike, *, below: float) -> bool:
    """Tell whether stored radii are those decided `again`: below by so much of them at most, and never above.

    Above by 1e-13 of them: radii were once not rounded down, and so may lie above by the rounding of a product.
    """
    there, here = np.asarray(stored, dtype=np.float64), np.asarray(again, dtype=np.float64)
    close = (there <= here * (1 + 1e-13)) & (there >= here * (1 - below))
    return bool((close | (np.isnan(there) & np.isnan(here))).all())


def _check_header(certificate: Certificate, certifier: Certifier) -> None:
    """Raise `VerificationError` if the header contradicts the arrays or the certifier."""
    header, shape = certificate.provenance, certificate.prediction.shape
    for name in ("image", "samples", "classes"):
        if name not in header:
            raise VerificationError(f"the header lacks {name}")
    if type(header["samples"]) is not int or not isinstance(header["classes"], list | tuple):
        raise VerificationError("its header is not one that smoothseg writes (samples or classes)")
    stated = header["image"].get("height"), header["image"].get("width")
    if stated != shape:
        raise VerificationError(
            f"the arrays are {' x '.join(map(str, shape))}, the image is {' x '.join(map(str, stated))}"
        )
    if not 0 < header["sigma"] < math.inf:
        raise VerificationError(f"sigma is {header['sigma']}")
    trials, drawn, described = certificate.trials, header["samples"], header["certifier"]
    if described.get("n", trials) != trials:
        raise VerificationError(f"there are {trials} trials, the certifier says n={described['n']}")
    if "n0" in described and drawn != described["n0"] + trials:
        raise VerificationError(
            f"{drawn} samples were drawn for {trials} trials, with n0={described['n0']} for the selection"
        )
    if not trials <= drawn <= certifier.samples:
        raise VerificationError(
            f"{drawn} samples were drawn for {trials} trials, at most {certifier.samples}"
        )
    if int(certificate.prediction.max(initial=0)) >= len(header["classes"]):
        raise VerificationError(f"the prediction has a class above the {len(header['classes'])} it names")
    try:
        hierarchy = from_header(header["classes"], header.get("levels"))
    except DataError as error:
        raise VerificationError(f"its header: {error}") from None
    if (hierarchy is None) == (header.get("counted") == "node"):
        raise VerificationError("the header has levels and counts no nodes, or has none and counts some")


def _check_stopping(certificate: Certificate, certifier: Certifier) -> None:
    """Raise `VerificationError` if what the certificate says of its end contradicts its counts or the certifier."""
    stopping = certificate.stopping
    if stopping is None:
        if isinstance(certifier, Sequential) and not history(certificate):
            raise VerificationError(
                "it does not say why it stopped, though its certifier may stop at any time"
            )
        return
    if not isinstance(certifier, Sequential):
        raise VerificationError(
            f"it stopped because of {stopping.reason}, and its certifier decides once, after all samples"
        )
    if not stopping.looks:
        return
    last = stopping.looks[-1]
    if last.trials > certificate.trials:
        raise VerificationError(f"it looked at {last.trials} trials, and there are {certificate.trials}")
    certified = int(certificate.certified.sum())
    if last.trials == certificate.trials and last.certified != certified:
        raise VerificationError(
            f"its last look has {last.certified} certified pixels, the certificate {certified} after as many trials"
        )


def _check_counted(certificate: Certificate, certifier: Certifier) -> None:
    counted = certificate.provenance.get("counted", "pixel")
    if counted != certifier.counted:
        raise ConfigError(
            f"the certificate counts by {counted}, the certifier decides by {certifier.counted}"
        )


def _selected_otherwise(certificate: Certificate, certifier: Certifier) -> str | None:
    """Return what is wrong if `certifier` takes the classes to be selected from other samples than they were."""
    same = certificate.provenance.get("samples") == certificate.trials
    if same == selects_from_trials(certifier):
        return None
    if same:
        return "the trials are all samples, so that they select the classes; the certifier tests on other samples"
    return "the classes were selected from other samples than the trials; the certifier selects from them"


def _check_numbers(certificate: Certificate, certifier: Certifier, described: Mapping[str, Any]) -> None:
    """Raise `ConfigError` unless the certifier may have as many trials and samples as the certificate has."""
    trials, drawn = certificate.trials, certificate.provenance.get("samples", 0)
    if described.get("n", trials) != trials:
        raise ConfigError(f"the counts are of {trials} trials, the certifier has n={described['n']}")
    if drawn > certifier.samples:
        raise ConfigError(f"the counts are of {drawn} samples, the certifier has at most {certifier.samples}")


def history(certificate: Certificate) -> list[Mapping[str, Any]]:
    """Return the certifiers that decided the counts before the present one, the first one first; else nothing."""
    before = certificate.provenance.get("recertified_from", [])
    if isinstance(before, Mapping):  # once only the last one was kept
        return [before]
    return [each for each in before if isinstance(each, Mapping)] if isinstance(before, list) else []


def recertify(certificate: Certificate, certifier: Certifier, described: Mapping[str, Any]) -> Certificate:
    """Return the certificate that `certifier` (described by `described`) decides from the same counts.

    The header keeps every certifier that decided before, see `history`.

    It is as valid as the first one only if the new setting was chosen without looking at the counts, or if the
    settings tried share one alpha between them. Raises `ConfigError` if the setting needs samples other
    than those drawn, or counts something else, and `NothingCertifiableError` if it could never certify anything.
    """
    before = certificate.provenance["certifier"]
    for name in SELECTING:
        if name in described and name in before and plain(described[name]) != plain(before[name]):
            raise ConfigError(
                f"the counts are of {name}={before[name]}, the certifier has {name}={described[name]}"
            )
    _check_counted(certificate, certifier)
    if (fault := _selected_otherwise(certificate, certifier)) is not None:
        raise ConfigError(fault)
    if certificate.stopping is not None and not isinstance(certifier, Sequential):
        raise ConfigError(
            f"the samples ended by what they showed ({certificate.stopping.reason}): a certifier that decides once, "
            "after a number of samples that was chosen beforehand, cannot decide from them"
        )
    _check_numbers(certificate, certifier, described)
    certifier.check(certificate.hits.size)
    verdict = certifier.decide(certificate.hits, certificate.trials, sigma=certificate.provenance["sigma"])
    provenance = {
        **certificate.provenance,
        "certifier": dict(described),
        "recertified_from": [*history(certificate), before],
    }
    # What was certified on the way was so by the certifier before.
    stopping = certificate.stopping and dataclasses.replace(certificate.stopping, looks=())
    return dataclasses.replace(certificate, verdict=verdict, provenance=provenance, stopping=stopping)
