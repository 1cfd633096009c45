"""Does the benchmark of power measure what it says?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from scipy import stats

ROOT = Path(__file__).resolve().parents[2]


def test_the_measured_shares_are_those_of_the_binomial_distribution(tmp_path):
    height, width, n = 60, 100, 90
    words = [
        "--height",
        height,
        "--width",
        width,
        "--images",
        4,
        "--n",
        n,
        "--at",
        n,
        "--probabilities",
        0.95,
    ]
    words += ["--certifiers", "bonferroni", "holm", "naive-pixel", "--picture", tmp_path / "power.png"]
    words += ["--json", tmp_path / "power.json"]
    command = [sys.executable, "-m", "benchmarks.power", *map(str, words)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "| `holm` |" in printed
    assert (tmp_path / "power.png").read_bytes().startswith(b"\x89PNG")
    points = json.loads((tmp_path / "power.json").read_text(encoding="utf-8"))["points"]
    assert len(points) == 6
    shares = {(point["certifier"], point["probability"]): point["doubtful"] for point in points}
    for probability in (0.9, 0.95):
        passing = [
            hits for hits in range(n + 1) if stats.binom.sf(hits - 1, n, 0.75) <= 0.001 / (height * width)
        ]
        expected = stats.binom.sf(passing[0] - 1, n, probability)
        deviation = (expected * (1 - expected) / (4 * 0.1 * height * width)) ** 0.5
        assert abs(shares["bonferroni", probability] - expected) < 5 * deviation
        assert shares["naive-pixel", probability] == shares["bonferroni", probability]
        assert shares["holm", probability] >= shares["bonferroni", probability]
