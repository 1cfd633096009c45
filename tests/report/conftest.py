"""A small finished run, as `smoothseg report` finds it."""

from __future__ import annotations

import pytest

from smoothseg.report import running
from smoothseg.runs import preparing
from smoothseg.runs.plan import Plan


@pytest.fixture
def make(toys, photos, tmp_path):
    """Return a function that makes a run of the three photos, with options that differ, and returns its folder."""

    def run(name="run", **changes):
        options = {
            "dataset": f"folder:root={photos},images=images,labels=labels,classes=classes.txt",
            "denoiser": ["identity", "toy-blur"],
            "segmenter": "toy-threshold",
            "certifier": "holm:n0=4,n=60,alpha=0.05",
            "sigma": [0.2, 0.4],
            "scale": 1.0,
            "device": "cpu",
            **changes,
        }
        running.run(preparing.prepare(Plan.of(options)), tmp_path / name, batch_size=16)
        return tmp_path / name

    return run
