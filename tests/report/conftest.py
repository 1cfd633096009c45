"""A small finished run, as `smoothseg report` finds it, and rows as a table shows them."""

from __future__ import annotations

import math

import pytest

from smoothseg.certificates.metrics import ClassScores, Scores
from smoothseg.report import Row, running
from smoothseg.runs import preparing
from smoothseg.runs.plan import Plan

SIGMAS = (0.25, 0.5, 1.0)
RADII = {sigma: round(0.6744897501960817 * sigma, 12) for sigma in (0.1, 0.12, 0.2, 0.3, *SIGMAS)}


@pytest.fixture
def make(toys, album, once, tmp_path):
    """Return a function that makes a run of the three photos, with options that differ, and returns its folder.

    The run without other options is made once and copied. Where the folder is there, the run in it goes on.
    """

    def run(name="run", **changes):
        options = {
            "dataset": f"folder:root={album},images=images,labels=labels,classes=classes.txt",
            "denoiser": ["identity", "toy-blur"],
            "segmenter": "toy-threshold",
            "certifier": "holm:n0=4,n=60,alpha=0.05",
            "sigma": [0.2, 0.4],
            "scale": 1.0,
            "device": "cpu",
            **changes,
        }

        def made(folder):
            running.run(preparing.prepare(Plan.of(options)), folder, batch_size=16)

        folder = tmp_path / name
        if changes or folder.exists():
            made(folder)
        else:
            once("report", made, folder)
        return folder

    return run


def _scores(accuracy: float, mean_iou: float, abstained: float) -> Scores:
    return Scores(
        images=100,
        labelled_pixels=2000,
        accuracy=accuracy,
        mean_iou=mean_iou,
        abstained=abstained,
        abstained_of_labelled=abstained / 3,
        accuracy_of_certified=math.sqrt(accuracy),
        mean_iou_of_occurring=mean_iou / 2,
        per_class=(
            ClassScores("road", 1500, mean_iou / 3, 0.5, 0.25, 0.25),
            ClassScores("sky, high", 500, 0.0, 0.0, 1.0, 0.0),
            ClassScores("car", 0, 0.0, None, None, None),
        ),
    )


_CLEAN = _scores(0.9412, 0.6789, 0.0)


def _row(method: str, sigma: float, certified: Scores | None, **changes) -> Row:
    settings = {
        "method": method,
        "denoiser": "adm",
        "segmenter": "hrnet",
        "certifier": "holm",
        "tolerates": 0,
        "sigma": sigma,
        "noise": "lattice",
        "radius": RADII[sigma],
        "scale": 1.0,
        "images": 100,
        "certified": certified,
        "clean": _CLEAN,
        "seconds": 92.6912,
    }
    return Row(**{**settings, **changes})


def _grid(*, methods: int = 2, sigmas: tuple[float, ...] = SIGMAS) -> list[Row]:
    """Rows whose certified scores differ from place to place; the first method is the best everywhere."""
    return [
        _row(
            f"method {m}",
            sigma,
            _scores(0.88 - 0.081 * m - 0.0173 * s, 0.59 - 0.067 * m - 0.0131 * s, 0.11 + s / 50 + m / 250),
        )
        for m in range(methods)
        for s, sigma in enumerate(sigmas)
    ]


@pytest.fixture
def scores():
    """Return a function that makes scores from accuracy, mean IoU and abstention."""
    return _scores


@pytest.fixture
def row():
    """Return a function that makes the row of a method at a sigma."""
    return _row


@pytest.fixture
def grid():
    """Return a function that makes a row each method and sigma."""
    return _grid
