"""The unit of every report: the scores of one method at one sigma."""

from __future__ import annotations

import dataclasses

from smoothseg.metrics import Scores

__all__ = ["Row"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One method at one sigma over one dataset."""

    method: str
    """The name that tables show."""

    denoiser: str
    segmenter: str
    certifier: str

    sigma: float
    """Standard deviation of the noise, in [0, 1] pixel units."""

    radius: float | None
    """The l2 radius of the guarantee in [0, 1] pixel units; None or NaN if there is none."""

    scale: float
    """Size of what the base model sees / size of the image."""

    images: int
    """Images the scores are made of; fewer than the dataset's while a run is unfinished."""

    certified: Scores | None
    """Scores of the certified segmentations; None if there are none yet."""

    clean: Scores | None = None
    """Scores of the base model's plain prediction on clean images, without noise and denoiser."""

    seconds: float | None = None
    """Measured seconds an image. No two runs measure the same: files leave it out unless asked."""
