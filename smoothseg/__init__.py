"""smoothseg: certified semantic segmentation by randomized smoothing.

This module has the names that plugin authors need, and `certify` for use from Python. It does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smoothseg.api import Result, certify, dataset, segmenter
from smoothseg.certificates.certifier import Certifier, Draw, Sequential, Tally, Votes
from smoothseg.errors import (
    ConfigError,
    DataError,
    IncompleteError,
    NothingCertifiableError,
    PluginError,
    RunMismatchError,
    SmoothsegError,
    UnknownNameError,
    UserError,
    VerificationError,
    WeightsError,
)
from smoothseg.hookspecs import Register, RegisterFunction, hookimpl
from smoothseg.protocols import (
    PROTOCOL_VERSION,
    Dataset,
    Denoiser,
    Sample,
    Segmenter,
    Tracker,
    Trainable,
    option,
)

if TYPE_CHECKING:
    from smoothseg.certificates.certificate import Certificate, Verdict
    from smoothseg.certificates.hierarchy import Hierarchy
    from smoothseg.certificates.stopping import Look, Stopping
    from smoothseg.weights import Convertible

__version__ = "0.1.0"

__all__ = [
    "PROTOCOL_VERSION",
    "Certificate",
    "Certifier",
    "ConfigError",
    "Convertible",
    "DataError",
    "Dataset",
    "Denoiser",
    "Draw",
    "Hierarchy",
    "IncompleteError",
    "Look",
    "NothingCertifiableError",
    "PluginError",
    "Register",
    "RegisterFunction",
    "Result",
    "RunMismatchError",
    "Sample",
    "Segmenter",
    "Sequential",
    "SmoothsegError",
    "Stopping",
    "Tally",
    "Tracker",
    "Trainable",
    "UnknownNameError",
    "UserError",
    "Verdict",
    "VerificationError",
    "Votes",
    "WeightsError",
    "certify",
    "dataset",
    "hookimpl",
    "option",
    "segmenter",
]


def __getattr__(name: str) -> Any:
    """Import on first use what needs numpy or a catalogue, so that `import smoothseg` stays fast."""
    if name in ("Certificate", "Verdict"):
        from smoothseg.certificates import certificate

        return getattr(certificate, name)
    if name in ("Look", "Stopping"):
        from smoothseg.certificates import stopping

        return getattr(stopping, name)
    if name == "Hierarchy":
        from smoothseg.certificates.hierarchy import Hierarchy

        return Hierarchy
    if name == "Convertible":
        from smoothseg.weights import Convertible

        return Convertible
    raise AttributeError(f"module 'smoothseg' has no attribute {name!r}")
