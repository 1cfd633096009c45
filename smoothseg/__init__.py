"""smoothseg: certified semantic segmentation by randomized smoothing.

This module is the plugin author's vocabulary, and the short way from Python: `certify`. It imports no torch.
"""

from __future__ import annotations

from smoothseg.api import Result, certify, dataset, segmenter
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
from smoothseg.hookspecs import Register, hookimpl
from smoothseg.protocols import (
    PROTOCOL_VERSION,
    Certifier,
    Convertible,
    Dataset,
    Denoiser,
    Sample,
    Segmenter,
    Trainable,
    option,
)

__version__ = "0.1.0"

__all__ = [
    "PROTOCOL_VERSION",
    "Certifier",
    "ConfigError",
    "Convertible",
    "DataError",
    "Dataset",
    "Denoiser",
    "IncompleteError",
    "NothingCertifiableError",
    "PluginError",
    "Register",
    "Result",
    "RunMismatchError",
    "Sample",
    "Segmenter",
    "SmoothsegError",
    "Trainable",
    "UnknownNameError",
    "UserError",
    "VerificationError",
    "WeightsError",
    "certify",
    "dataset",
    "hookimpl",
    "option",
    "segmenter",
]
