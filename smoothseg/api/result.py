"""The certified segmentation of one image, as a value that can be saved and shown."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from smoothseg.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    from smoothseg.certificates.certificate import Certificate

__all__ = ["Result"]


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """The certified segmentation of one image, with everything needed to show it.

    certificate: all counts and the provenance; `save` writes it. image: uint8 (H, W, 3). palette: one RGB colour
    (0..255) per class. labels: the ground truth (H, W), if there is one; `ignore` is the label that is no class.
    noisy, denoised: (h, w, 3) floats around [0, 1], the first noise sample and the denoiser's estimate of it.

    A notebook displays a result as a picture.
    """

    certificate: Certificate
    image: npt.NDArray[np.uint8]
    palette: tuple[tuple[int, int, int], ...]
    labels: npt.NDArray[np.uint8] | None
    ignore: int
    noisy: npt.NDArray[np.float32]
    denoised: npt.NDArray[np.float32]

    @property
    def prediction(self) -> npt.NDArray[np.uint8 | np.uint16]:
        """(H, W), the most frequent class index of every pixel, guaranteed only where `certified`."""
        return self.certificate.prediction

    @property
    def certified(self) -> npt.NDArray[np.bool_]:
        """(H, W), True where the pixel's class is guaranteed within `radius`; elsewhere the model abstains."""
        return self.certificate.certified

    @property
    def radius(self) -> float:
        """The l2 radius of the guarantee, for pixels in [0, 1]; NaN if there is none."""
        return self.certificate.radius

    @property
    def abstained(self) -> float:
        """The share of pixels without a guarantee, 0..1."""
        return self.certificate.abstained

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """(samples that test, certified share 0..1) after each block of samples, and of the certificate at the end.

        With a certifier that may stop at any time every point is guaranteed like the last; others have only that.
        """
        stopping, own = self.certificate.stopping, (self.certificate.trials, 1 - self.abstained)
        looks = () if stopping is None else stopping.looks
        return (*((look.trials, look.share) for look in looks if look.trials < own[0]), own)

    @property
    def stopped(self) -> str | None:
        """Why a certifier that may stop at any time stopped, in a word such as `max_n`; None for others."""
        stopping = self.certificate.stopping
        return None if stopping is None else stopping.reason

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise, for pixels in [0, 1]."""
        return float(self.certificate.provenance["sigma"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the indices."""
        return tuple(self.certificate.provenance["classes"])

    @property
    def key(self) -> str:
        """The image's name, which determines its noise."""
        return str(self.certificate.provenance["image"]["key"])

    def save(self, path: str | Path) -> Path:
        """Write the certificate to `path`, a `.npz` file that `smoothseg verify` rechecks, and return the path."""
        from smoothseg.certificates import file

        path = Path(path)
        if path.suffix != ".npz":
            raise ConfigError(f"a certificate is a .npz file, got {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save(self.certificate, path)
        return path

    def picture(self) -> Image.Image:
        """Return the image, its noisy copy, the denoiser's estimate, and the certified segmentation side by side."""
        from smoothseg.report import pictures

        view = pictures.View(
            prediction=self.prediction,
            certified=self.certified,
            sigma=self.sigma,
            radius=self.radius,
            noisy=self.noisy,
            denoised=self.denoised,
        )
        return pictures.panel(
            [view],
            key=self.key,
            method=str(self.certificate.provenance["method"]),
            classes=self.classes,
            palette=self.palette,
            ignore=self.ignore,
            image=self.image,
            labels=self.labels,
        )

    def __str__(self) -> str:
        from smoothseg.certificates.rounding import rounded_down
        from smoothseg.smoothing.kinds import name_of

        height, width = self.prediction.shape
        if math.isnan(self.radius):
            return f"{self.key}, {width}x{height}: nothing certified at sigma {self.sigma:g}"
        gaussian = (
            ", gaussian noise" if name_of(self.certificate.provenance.get("noise", "")) == "gaussian" else ""
        )
        return (
            f"{self.key}, {width}x{height}: {100 * (1 - self.abstained):.1f} % of the pixels certified within "
            f"l2 radius {rounded_down(self.radius)} (sigma {self.sigma:g}{gaussian}), "
            f"{100 * self.abstained:.1f} % abstain"
        )

    def __repr__(self) -> str:
        return f"<Result {self}>"

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        self.picture().save(buffer, "PNG", optimize=True)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        text = html.escape(str(self))
        return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
