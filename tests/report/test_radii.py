"""Is any printed radius, in any unit and any place, above the one that is guaranteed?

The radii are the hardest to write: floats just below, at and just above numbers of few figures, in each unit.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import math
import re
import shutil
import subprocess
import types
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from smoothseg.certificates import file
from smoothseg.certificates.certificate import Certificate, Verdict
from smoothseg.certificates.rounding import over_root, rounded_down, scaled
from smoothseg.components.plugins import plugins
from smoothseg.report import figure, gallery
from smoothseg.report import html as pages
from smoothseg.report.charts import chart
from smoothseg.report.claim import reach
from smoothseg.report.curves import Curve
from smoothseg.report.formats import FORMATS
from smoothseg.report.pictures import View, _heading
from smoothseg.report.rows import rows as rows_of

command = importlib.import_module(
    "smoothseg.cli.bounds"
)  # `smoothseg.cli.bounds` is also the name of the command
PIXELS = (14 * 18, 11 * 21)
"""The largest and the smallest image of the runs here."""


def around(value):
    """Return `value` and the floats next to it."""
    return [math.nextafter(value, 0), value, math.nextafter(value, math.inf)]


AWKWARD = sorted(
    {
        radius
        for figures in (1, 10, 29, 57, 100, 168, 255, 411, 674, 999)
        for power in (1e-4, 1e-3, 1e-2)
        for factor in (1, 1 / 255, math.sqrt(3 * PIXELS[0]), math.sqrt(3 * PIXELS[1]) / 255)
        for radius in around(figures * power * factor)
    }
)


def is_at_most(text, square, *, factor=1, pixels=None):
    """Tell whether the float that `text` reads as is at most factor * root(square), or that over root(3 pixels)."""
    return Fraction(float(text)) ** 2 * (3 * pixels if pixels else 1) <= factor**2 * square


def is_close(text, value, figures):
    return float(text) <= value * (1 + 1e-12) and float(text) >= value * (1 - 2 * 10.0 ** (1 - figures))


def ledger_line(radius, pixels):
    counts = {"pixels": pixels, "certified": pixels, "classes": 2, "confusion": None}
    return {"radius": radius, "certified": counts}


@pytest.mark.parametrize("factor", [2, 255])
def test_products_are_rounded_down_and_by_no_more_than_a_step(factor):
    for radius in AWKWARD:
        found = scaled(radius, factor)
        assert Fraction(found) <= factor * Fraction(radius) < Fraction(math.nextafter(found, math.inf))
    assert math.isnan(scaled(math.nan, factor))
    assert scaled(0.0, factor) == 0.0


@pytest.mark.parametrize("square", [1, 3, 105, 3 * 1024 * 2048])
def test_quotients_by_a_root_are_rounded_down_and_by_no_more_than_a_step(square):
    for radius in AWKWARD:
        found = over_root(radius, square)
        above = math.nextafter(found, math.inf)
        assert Fraction(found) ** 2 * square <= Fraction(radius) ** 2 < Fraction(above) ** 2 * square
    assert math.isnan(over_root(math.nan, square))
    assert over_root(0.0, square) == 0.0


def test_the_page_s_table_of_radii_is_below_the_exact_ones_in_every_unit():
    for radius in AWKWARD:
        entries = {("a", 0.25): [ledger_line(radius, each) for each in PIXELS]}
        (found,) = reach(entries)
        square = Fraction(radius) ** 2
        assert is_at_most(pages._figures(found.radius), square)
        assert is_at_most(pages._figures(found.levels), square, factor=255)
        for values, factor in ((found.rms, 1), (found.rms_levels, 255)):
            assert values[0] <= values[1]
            for value, pixels in zip(values, PIXELS, strict=True):
                text = pages._between((value, value))
                assert is_at_most(text, square, factor=factor, pixels=pixels), (radius, text, pixels)
                assert is_close(text, factor * radius / math.sqrt(3 * pixels), 2)


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_tables_for_reading_print_no_radius_above(form, row, scores):
    for radius in AWKWARD:
        for other in (radius, 2 * radius):  # one radius a sigma, and a column of radii
            text = FORMATS[form](
                [row(f"m{i}", 0.25, scores(0.5, 0.4, 0.3), radius=r) for i, r in enumerate((radius, other))]
            )
            shown = rounded_down(radius)
            assert Fraction(float(shown)) <= Fraction(radius)
            assert re.search(rf"(?<![\d.]){re.escape(shown)}(?![\d.])", text), (shown, text)


def test_tables_for_computing_hold_the_radius_itself(row, scores):
    given = [row(f"m{i}", 0.25, scores(0.5, 0.4, 0.3), radius=radius) for i, radius in enumerate(AWKWARD)]
    records = csv.DictReader(FORMATS["csv"](given).splitlines())
    assert [float(record["radius"]) for record in records] == AWKWARD
    assert [each["radius"] for each in json.loads(FORMATS["json"](given))["rows"]] == AWKWARD


def test_the_chart_says_no_radius_above():
    for radius in AWKWARD:
        drawn = chart([Curve("a", 0.25, ((radius, 0.5),), labelled=True)])
        for text in (drawn.description, *(point.text for point in drawn.lines[0].points)):
            assert Fraction(float(text.split()[-1])) <= Fraction(radius)


@pytest.mark.parametrize("radius", AWKWARD[::7])
def test_pictures_figures_and_results_say_no_radius_above(radius, tmp_path):
    shape = (2, 3)
    made = Certificate(
        np.zeros(shape, np.uint8), np.full(shape, 9, np.int32), 9, Verdict(np.ones(shape, bool), radius)
    )
    view = View(prediction=made.prediction, certified=made.certified, sigma=0.25, radius=radius)
    entry = {"sigma": 0.25, "certificate": "certificates/a/sigma-0.25/x.npz", "method": "a"}
    strip = figure._strip(tmp_path, "x", entry, made, None, [(0, 0, 0)], None, alone=True)
    for said in (strip.label, _heading(view), f"R {command._radius(radius)}"):
        number = re.search(r"(?:R|radius) ([\d.]+)", said)[1]
        assert Fraction(float(number)) <= Fraction(radius)
        assert is_close(number, radius, 3)


def test_radii_of_single_pixels_are_packed_below_what_they_are(monkeypatch):
    generator = np.random.default_rng(2)
    for furthest in (0.1, 0.3, 0.7, 1.1, 0.6744897501960817):
        # Multiples of a share of the largest are where a floating-point quotient may come out one too high.
        shares = generator.integers(1, 65535, (40, 50)) / 65534
        radii = np.minimum(np.nextafter(shares * furthest, 0), furthest)
        radii[0, 0] = furthest
        certified = np.ones(radii.shape, bool)
        made = Certificate(
            certified.astype(np.uint8), certified.astype(np.int32), 1, Verdict(certified, radii.min(), radii)
        )
        packed = []
        monkeypatch.setattr(gallery, "_numbers", packed.append)
        gallery._radii(made, furthest)
        read = packed[0] / 65534 * furthest  # as the page does
        assert (read <= radii).all()
        assert (read > radii - 1.01 * furthest / 65534).all()


SCRIPT = (Path(pages.__file__).parent / "page" / "report.js").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_of_the_page_writes_no_radius_above():
    functions = re.search(r"  // Three significant figures.*?(?=\n  // Colours)", SCRIPT, re.S)[0]
    code = f"{functions}\nconst r = {json.dumps(AWKWARD)};\n"
    code += "console.log(JSON.stringify(r.map((x) => [figures(x), figures(levels(x))])));"
    printed = subprocess.run(["node", "-e", code], check=True, capture_output=True, text=True).stdout
    for radius, (own, levels) in zip(AWKWARD, json.loads(printed), strict=True):
        assert is_at_most(own, Fraction(radius) ** 2)
        assert is_at_most(levels, Fraction(radius) ** 2, factor=255), (radius, levels)
        assert is_close(own, radius, 3)
        assert is_close(levels, 255 * radius, 3)
    assert "255 * " not in SCRIPT.replace(functions, "")
    assert " * 255" not in SCRIPT.replace(functions, "")


RADII = {0.21: math.nextafter(0.439, 0), 0.33: math.nextafter(57.3 / 255, 0), 0.71: 0.9996}


@dataclasses.dataclass(frozen=True)
class Awkward:
    """Certifies with a radius that is hard to write."""

    n0: int = 2
    n: int = 6

    counted = "pixel"

    @property
    def samples(self):
        return self.n0 + self.n

    def load(self):
        return self

    def check(self, pixels):
        pass

    def certify(self, draw):
        prediction = draw(self.n0).mode()
        hits = draw(self.n).hits(prediction)
        return Certificate(
            prediction.astype(np.uint8), hits, self.n, self.decide(hits, self.n, sigma=draw.sigma)
        )

    def decide(self, hits, trials, *, sigma):
        return Verdict(hits == trials, RADII[sigma])


@pytest.fixture
def awkward():
    registry = plugins()["certifier"]
    registry.register("awkward", Awkward, "tests")
    yield
    del registry._entries["awkward"]


@pytest.mark.usefixtures("awkward")
def test_nothing_that_a_run_writes_or_a_command_prints_states_a_larger_radius(make, invoke, tmp_path):
    run = make(certifier="awkward", denoiser=["identity"], sigma=list(RADII))
    printed = {
        path.name: path.read_text(encoding="utf-8")
        for path in run.rglob("*.*")
        if path.suffix in {".md", ".tex", ".log"}
    }
    printed["report.html"] = re.sub(r"<(script|style).*?</\1>", "", pages.page(run), flags=re.S)
    for words in (
        ["bounds", run],
        *(["report", run, "--format", form] for form in ("table", "markdown", "latex")),
    ):
        printed[" ".join(map(str, words))] = invoke(*words).stdout
    printed["recertify"] = invoke(
        "recertify", run, "--certifier", "awkward", "--output", tmp_path / "again"
    ).stdout
    svg = tmp_path / "figure.svg"
    assert invoke("figure", run, "--image", "a", "--output", svg).exit_code == 0
    printed["figure"] = "\n".join(re.findall(r"<!-- (.*?) -->", svg.read_text(encoding="utf-8")))
    found = dict.fromkeys(printed, 0)
    for place, text in printed.items():
        for number in map(Decimal, re.findall(r"(?<![\w.#-])\d+\.\d+(?![\w.])", text)):
            for radius in RADII.values():
                for factor in (1, 255):
                    for pixels in (None, PIXELS[1]):  # the smaller image has the larger RMS
                        exact = factor * radius / (math.sqrt(3 * pixels) if pixels else 1)
                        if 0.99 < float(number) / exact < 1.006:
                            found[place] += 1
                            assert is_at_most(
                                str(number), Fraction(radius) ** 2, factor=factor, pixels=pixels
                            ), (place, number)
    assert all(found.values()), found
    ledger = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    assert (
        {each["radius"] for each in ledger} == set(RADII.values()) == {each.radius for each in rows_of(run)}
    )
    for path in (run / "certificates").rglob("*.npz"):
        assert file.load(path).radius in RADII.values()


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.7, "70.0"),
        (0.29, "29.0"),
        (0.07, "7.0"),
        (math.nextafter(0.7, 0), "69.9"),
        (0.4999999999999, "49.9"),
        (1 - 1e-13, "99.9"),
        (1.0, "100.0"),
        (0.0, "0.0"),
        (1e-9, "0.0"),
        (2 / 3, "66.6"),
        (0.99996, "99.9"),
        (None, "–"),
    ],
)
def test_bounds_in_percent_are_never_above(share, text):
    assert command._least(share) == text


def test_shares_that_abstain_are_never_below():
    for pixels in (*range(1, 40), 252, 10_000_019, 2**21):
        for abstained in {0, 1, pixels // 3, pixels // 2, pixels - 1, pixels}:
            whole = types.SimpleNamespace(abstained=abstained, pixels=pixels)
            shown = Decimal(command._abstained(whole))
            exact = Fraction(100 * abstained, pixels)
            assert exact <= Fraction(shown) < exact + Fraction(1, 10)
