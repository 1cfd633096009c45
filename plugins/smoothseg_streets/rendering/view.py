"""Where a point in metres falls on the samples of an image."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from smoothseg_streets.scene import Camera, Floats

__all__ = ["FARTHEST", "NEAREST", "SAMPLES", "View"]

SAMPLES: Final = 2
"""Samples of a pixel along each side."""

NEAREST: Final = 0.4
"""Metres in front of the camera where the picture begins."""

FARTHEST: Final = 600.0
"""Metres beyond which the ground counts as that far away."""


@dataclasses.dataclass(frozen=True)
class View:
    """The camera at one size, counted in samples.

    frame: width of the smallest 4:3 frame that covers the image; eye: metres above the road; focal: focal length.
    directions: x over z of each column; horizon: row of the horizon in each column, `slope` rows a column.
    """

    height: int
    width: int
    frame: float
    eye: float
    focal: float
    slope: float
    directions: Floats
    horizon: Floats

    @classmethod
    def of(cls, camera: Camera, *, height: int, width: int) -> View:
        """Return the view of a camera on an image of so many samples."""
        frame = max(width, height * 4.0 / 3.0)
        columns = np.arange(width, dtype=np.float32) + np.float32(0.5 - width / 2)
        focal = camera.focal * frame
        horizon = height / 2 - 0.5 + camera.horizon * frame * 0.75 + camera.roll * columns
        directions = columns / np.float32(focal)
        return cls(height, width, frame, camera.height, focal, camera.roll, directions, horizon)

    def project(self, points: Floats) -> Floats:
        """Return the (n, 2) columns and rows of (n, 3) points ahead of the camera."""
        scale = self.focal / points[:, 2]
        flat = np.empty((len(points), 2), dtype=np.float32)
        np.multiply(points[:, 0], scale, out=flat[:, 0])
        flat[:, 0] += self.width / 2 - 0.5
        flat[:, 1] = (self.eye - points[:, 1]) * scale + flat[:, 0] * self.slope + float(self.horizon[0])
        return flat
