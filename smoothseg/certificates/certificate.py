"""The result for one image: what was counted at every pixel, what follows from it, and where it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from smoothseg.certificates.stopping import Stopping
from smoothseg.errors import PluginError

__all__ = ["Certificate", "Verdict"]


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """What a certifier decides from the counts.

    certified: bool (H, W). radius: the l2 radius, in [0, 1] pixel units, within which all certified pixels
    together keep their class; NaN if there is none. radii: floats (H, W), where every pixel has a radius of
    its own, NaN where it abstains (then `radius` is the smallest of the certified ones, or less), else None.
    """

    certified: npt.NDArray[np.bool_]
    radius: float
    radii: npt.NDArray[np.floating[Any]] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """The certified segmentation of one image.

    prediction: (H, W) uint8, or uint16 above 256 classes; the selected class at every pixel, certified or not.
    hits: (H, W) int32, how often that class was seen in `trials` samples, which are independent of the selection unless
    the certifier says that it selects from them.
    verdict: which pixels are certified and the radius; all others abstain.
    stopping: why there are not more trials, from a certifier that may stop at any time; else None.
    clean: (H, W), the base model's labels of the clean image without denoiser, for comparison; or None.
    provenance: JSON values with everything that is needed to make the certificate again.
    """

    prediction: npt.NDArray[np.uint8 | np.uint16]
    hits: npt.NDArray[np.int32]
    trials: int
    verdict: Verdict
    clean: npt.NDArray[np.uint8 | np.uint16] | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stopping: Stopping | None = None

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
