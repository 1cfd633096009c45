"""From a device name to a torch device with the same arithmetic in every run."""

from __future__ import annotations

import torch

from smoothseg.errors import ConfigError

__all__ = ["describe", "device"]


def device(name: str) -> torch.device:
    """Return the device `name`: `auto` (CUDA if available, else the CPU), `cpu`, `cuda` or `cuda:1`.

    On CUDA, TF32 and autotuning are switched off, so that results do not depend on which kernel was fastest. Raises
    `ConfigError` if the device is unknown or absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got '{name}'") from None
    if chosen.type not in ("cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got '{name}'")
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(
                f"device '{name}' was asked for, but torch {torch.__version__} finds no CUDA device"
            )
        if chosen.index is not None and chosen.index >= torch.cuda.device_count():
            raise ConfigError(f"device '{name}' was asked for, but there are {torch.cuda.device_count()}")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    return chosen


def describe(chosen: torch.device) -> str:
    """Return the kind of device for provenance: `cpu`, or the name of the graphics card."""
    return torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type
