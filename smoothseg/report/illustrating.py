"""How the pictures and previews of a run are drawn, image by image, while it goes on."""

from __future__ import annotations

import io
import math
from pathlib import Path

from smoothseg.certificates.file import load
from smoothseg.certificates.hierarchy import leaf_count
from smoothseg.files import write_atomically
from smoothseg.protocols import Sample
from smoothseg.report import pictures, previews
from smoothseg.report.colours import colours_of
from smoothseg.runs.listener import Illustrator
from smoothseg.runs.plan import Method
from smoothseg.runs.preparing import Prepared

__all__ = ["Pictures", "most_bytes"]


def most_bytes(size: tuple[int, int]) -> int:
    """Return the most bytes that the pictures of one certificate take, for an image of `size` (H, W)."""
    # Noisy, denoised, certified, and the row that they are compared with, before compression.
    return 3 * 5 * math.prod(pictures.extent_of(size))


class Pictures(Illustrator):
    """Draws into the directory of a run; what is already there stays."""

    def __init__(self, prepared: Prepared, directory: Path) -> None:
        self._prepared = prepared
        self._directory = directory

    def begin(self) -> None:
        """Write the colours of the classes, which the previews need."""
        dataset = self._prepared.dataset
        named = bool(dataset.classes)
        previews.write_legend(
            self._directory, dataset.palette if named else None, dataset.ignore if named else None
        )

    def missing(self, key: str) -> list[Method]:
        """Return the methods that still lack the picture or a preview of image `key`."""
        plan, labels = self._prepared.plan, self._prepared.images[key]["labels"]
        return [
            method
            for method in plan.methods
            if not self._path(key, method).exists()
            or not previews.complete(
                self._directory, key, method.slug, plan.sigma, labelled=labels is not None
            )
        ]

    def draw(self, sample: Sample, method: Method) -> None:
        """Draw the certificates of one image and method, a row for each sigma, with the first noise sample of each.

        The previews for the report are kept first: where there is a picture, there are previews.
        """
        prepared, directory, dataset = self._prepared, self._directory, self._prepared.dataset
        pipeline, ignore = prepared.pipeline(method), prepared.ignore(method)
        classes, hierarchy = pipeline.names, prepared.hierarchy(method)
        colours = colours_of(classes, hierarchy, dataset.palette if dataset.classes else None)
        leaves = colours[: leaf_count(classes, hierarchy)]
        previews.save_image(directory, sample.key, sample.image, sample.labels, leaves, ignore)
        views = []
        for job in prepared.jobs_of(sample.key):
            if job.method is not method:
                continue
            made = load(directory / job.path)
            seen, estimate = pipeline.first(sample, sigma=job.sigma)
            view = pictures.View(
                prediction=made.prediction,
                certified=made.certified,
                sigma=job.sigma,
                radius=made.radius,
                noisy=seen,
                denoised=estimate,
            )
            previews.save_view(directory, sample.key, method.slug, job.sigma, seen, estimate)
            views.append(view)
        drawn = pictures.panel(
            views,
            key=sample.key,
            method=method.name,
            classes=classes,
            palette=colours,
            ignore=ignore,
            image=sample.image,
            labels=sample.labels,
            clean=made.clean,
        )
        buffer = io.BytesIO()
        drawn.save(buffer, "PNG")
        write_atomically(self._path(sample.key, method), buffer.getvalue())

    def forget(self, key: str, method: Method) -> None:
        """Remove the picture of the image `key`: one of its certificates becomes another."""
        self._path(key, method).unlink(missing_ok=True)

    def _path(self, key: str, method: Method) -> Path:
        return self._directory / "pictures" / method.slug / f"{key}.png"
