"""What the stored counts decide, once more: `verify` compares verdicts, `recertify` decides under another setting."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.certifier import Certifier
from smoothseg.errors import ConfigError, VerificationError

__all__ = ["recertify", "verify"]


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
    settings tried share one alpha between them. Raises `ConfigError` if the setting needs samples other
    than those drawn, or counts something else, and `NothingCertifiableError` if it could never certify anything.
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
