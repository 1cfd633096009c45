"""Is the page whole by itself, does it say what the run found, and can no name break out of it?"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

from smoothseg.certificates import file
from smoothseg.cli import cli
from smoothseg.components.plugins import plugins
from smoothseg.errors import DataError
from smoothseg.report import gallery as galleries
from smoothseg.report import previews
from smoothseg.report.charts import chart
from smoothseg.report.claim import claim, reach
from smoothseg.report.curves import Curve, curve
from smoothseg.report.html import page
from smoothseg.report.rows import rows
from smoothseg.testing import ThresholdSegmenter

VOID = {"meta", "link", "input", "br", "hr", "img"}
HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>')


class Outline(HTMLParser):
    """What a browser would see: tags, attributes, ids, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        if tag in self.stack:
            while self.stack.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.text += data

    @property
    def words(self):
        return " ".join(self.text.split())


def embedded(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def numbers(packed, shape):
    kind, _, content = packed.partition(":")
    plain = zlib.decompress(base64.b64decode(content))
    return np.frombuffer(plain, dtype=np.uint8 if kind == "1" else "<u2").reshape(shape)


def test_a_run_writes_its_page_and_the_command_writes_the_same_again(make):
    run = make()
    written = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    result = CliRunner().invoke(cli, ["report", str(run), "--html"])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(run / "report.html")
    assert (run / "report.html").read_bytes() == written


def test_the_page_says_the_claim_with_its_scope_and_radii_in_every_unit(make, down):
    said = Outline(page(make(certifier="holm:n0=4,n=60,alpha=0.01"))).words
    for part in (
        "probability at least 99 %",
        "the smoothed model gives every certified pixel the class that is shown here",
        "α = 0.01 is the probability of an error in one image. Over 3 images it may add up to 0.03.",
        "Nothing is claimed about pixels that abstain",
    ):
        assert part in said
    radius = 0.2 * 0.6744897501960817
    pixels = (14 * 18, 11 * 21)
    rms = [radius / math.sqrt(3 * each) for each in pixels]
    for value in (down(radius), down(255 * radius)):
        assert value in said
    assert f"{down(min(rms), 2)} to {down(max(rms), 2)}" in said
    assert down(255 * min(rms), 2) in said


def test_the_page_has_every_number_of_the_table_and_of_the_classes(make):
    run = make()
    said = Outline(page(run)).words
    for row in rows(run):
        assert row.method in said
        for value in (row.certified.accuracy, row.certified.mean_iou, row.certified.abstained):
            assert f"{100 * value:.1f}" in said
        for one in row.certified.per_class:
            shares = (one.certified_correct, one.certified_wrong, one.abstained)
            assert " · ".join(f"{100 * share:.1f}" for share in shares) in said


def test_nothing_of_the_page_is_anywhere_else(make):
    text = page(make())
    written = re.sub(
        r"(data:image/\w+;base64,|\"eN)[\w+/=]*", "", text
    )  # encoded bytes may look like anything
    assert not re.search(r"https?:|//[a-z]|@import|url\(", written)
    for tag, name, value in Outline(text).attributes:
        if name in ("src", "href", "xlink:href", "action", "srcset"):
            assert value.startswith(("data:", "#")), (tag, name, value)
    assert "default-src 'none'" in text


def test_the_page_holds_no_path_and_is_the_same_wherever_the_run_lies(make, album, tmp_path):
    run = make()
    text = page(run)
    assert str(tmp_path) not in text
    assert str(album) in (run / "run.json").read_text(encoding="utf-8")
    assert str(album) not in text
    shutil.copytree(run, tmp_path / "elsewhere" / "copy")
    assert page(tmp_path / "elsewhere" / "copy") == text


def test_every_id_is_there_once_and_labels_lead_to_one(make):
    outline = Outline(page(make()))
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for _, name, value in outline.attributes:
        if name in ("aria-labelledby", "aria-describedby"):
            assert set(value.split()) <= set(ids)
    assert outline.tags.count("h1") == outline.tags.count("main") == 1


def test_the_script_is_given_the_certificates_as_they_are(make):
    run = make()
    data = embedded(page(run))
    assert [image["key"] for image in data["images"]] == ["a", "b", "c"]
    assert data["sigmas"] == [0.2, 0.4]
    assert data["methods"][1]["name"] == "toy-blur"
    assert [name for name, _ in data["methods"][0]["classes"]] == ["dark", "bright"]
    image = data["images"][1]
    view = image["views"][1][0]
    made = file.load(run / "certificates/toy-blur/sigma-0.2/b.npz")
    shape = made.prediction.shape
    assert image["size"] == image["shown"] == list(shape) == [11, 21]
    assert (numbers(view["prediction"], shape) == made.prediction).all()
    assert (numbers(view["hits"], shape) == made.hits).all()
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(view["certified"])), dtype=np.uint8))
    assert (bits[: made.certified.size].reshape(shape) == made.certified).all()
    assert (numbers(image["labels"], shape) == previews.read_labels(run, "b")).all()
    assert view["trials"] == 60
    assert view["radius"] == made.radius
    assert view["correct"] + view["wrong"] + view["held_back"] == pytest.approx(1)
    assert all(source.startswith("data:image/jpeg;base64,") for source in image["noisy"])
    assert view["denoised"].startswith("data:image/jpeg;base64,")


def test_radii_of_single_pixels_are_never_shown_larger_than_they_are(make):
    run = make(certifier="naive-pixel:n0=4,n=60,alpha=0.05,radius=own", sigma=0.2, denoiser="identity")
    text = page(run)
    view = embedded(text)["images"][0]["views"][0][0]
    made = file.load(run / "certificates/identity/sigma-0.2/a.npz")
    levels = numbers(view["radii"], made.prediction.shape).astype(np.float64)
    shown = levels / 65534 * view["reaches"]
    sure = made.certified
    assert (levels[~sure] == 65535).all()
    assert (shown[sure] <= made.verdict.radii[sure] + 1e-9).all()
    assert (shown[sure] >= made.verdict.radii[sure] - 1e-4).all()
    assert "where pixels have radii of their own, the smallest" in Outline(text).words


class Hostile(ThresholdSegmenter):
    """A segmenter whose class names are written to break a page."""

    classes = HOSTILE


@dataclasses.dataclass(frozen=True)
class HostileRecipe:
    """A toy segmenter."""

    def load(self, device):
        return Hostile()


@pytest.fixture
def hostile(toys):
    registry = plugins()["segmenter"]
    registry.register("toy-hostile", HostileRecipe, "tests")
    yield
    del registry._entries["toy-hostile"]


def test_names_are_text_whatever_they_are(make, hostile, photos):
    (photos / "classes.txt").write_text("\n".join(HOSTILE) + "\n", encoding="utf-8")
    methods = [{"name": f"m {HOSTILE[0]} {HOSTILE[1]}", "denoiser": "identity", "segmenter": "toy-hostile"}]
    text = page(
        make(methods=methods, dataset=f"folder:root={photos},images=images,labels=labels,classes=classes.txt")
    )
    outline = Outline(text)
    assert outline.tags.count("script") == 2
    assert "img" not in outline.tags
    assert not any(name.startswith("on") for _, name, _ in outline.attributes)
    assert HOSTILE[0] in outline.text
    assert [name for name, _ in embedded(text)["methods"][0]["classes"]] == list(HOSTILE)


def test_an_old_run_without_previews_still_has_a_page(make):
    run = make()
    shutil.rmtree(run / "previews")
    (run / "legend.json").unlink()
    ledger = run / "ledger.jsonl"
    later = {"by_radius", "check", "samples"}
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    ledger.write_text(
        "".join(json.dumps({k: v for k, v in line.items() if k not in later}) + "\n" for line in lines)
    )
    image = embedded(page(run))["images"][0]
    assert image["image"] is None
    assert image["labels"] is None
    assert image["noisy"] == [None, None]
    assert image["views"][0][0]["prediction"]


def test_previews_that_are_gone_are_made_again_with_the_next_run(make):
    run = make()
    before = {path: path.read_bytes() for path in run.rglob("previews/**/*") if path.is_file()}
    assert len(before) == 3 * (2 + 2 + 2 * 2)
    shutil.rmtree(run / "previews" / "b")
    written = (run / "report.html").read_bytes()
    make()
    assert {path: path.read_bytes() for path in run.rglob("previews/**/*") if path.is_file()} == before
    assert (run / "report.html").read_bytes() == written


def test_a_run_without_labels_and_one_that_has_just_begun_have_pages(make, photos):
    said = Outline(page(make(dataset=f"folder:root={photos},images=images"))).words
    assert "Certified share of the pixels over radius" in said
    assert "By class" not in said
    run = make("begun")
    (run / "ledger.jsonl").write_bytes(b"")
    said = Outline(page(run)).words
    assert "No results yet." in said
    assert "unfinished" in said


def test_a_damaged_certificate_is_left_out_and_a_folder_without_a_run_is_refused(make, tmp_path):
    run = make()
    (run / "certificates/identity/sigma-0.2/a.npz").write_bytes(b"damaged")
    views = embedded(page(run))["images"][0]["views"]
    assert views[0][0] is None
    assert views[0][1] is not None
    with pytest.raises(DataError, match="holds no run"):
        page(tmp_path)


def test_the_page_is_made_without_torch(make):
    run = make()
    code = (
        "import sys; from pathlib import Path; from smoothseg.report.html import page; page(Path(sys.argv[1])); "
        "heavy = {'torch', 'matplotlib', 'scipy.stats'} & set(sys.modules); assert not heavy, heavy"
    )
    # The toy components are not registered in there: a plugin that is gone is no obstacle.
    subprocess.run([sys.executable, "-c", code, str(run)], check=True)


def entry(correct, wrong, abstained, *, radius=0.1, by_radius=None):
    pixels = correct + wrong + abstained
    confusion = [[0, 0, correct], [0, 1, wrong], [0, 2, abstained]]
    counts = {
        "classes": 2,
        "pixels": pixels,
        "certified": correct + wrong,
        "confusion": [each for each in confusion if each[2]],
    }
    return {"certified": counts, "radius": radius, "by_radius": by_radius}


def test_a_curve_falls_at_the_radii_of_images_and_of_pixels():
    made = curve("m", 0.2, [entry(6, 1, 3), entry(2, 0, 8, radius=0.3), entry(0, 0, 10, radius=None)])
    assert made.labelled
    assert made.steps == ((0.1, 8 / 30), (0.3, 2 / 30))
    own = [entry(5, 1, 4, radius=0.1, by_radius=[[0.1, 2, 1], [0.2, 3, 3], [0.4, 1, 1]])]
    assert curve("m", 0.2, own).steps == ((0.1, 0.5), (0.2, 0.4), (0.4, 0.1))
    unlabelled = entry(6, 1, 3)
    unlabelled["certified"]["confusion"] = None
    assert curve("m", 0.2, [unlabelled]) == Curve("m", 0.2, ((0.1, 0.7),), labelled=False)


def test_a_chart_stands_in_its_frame_and_needs_something_certified():
    curves = [
        Curve("one", 0.5, ((0.34, 0.4),), True),
        Curve("one", 0.25, ((0.17, 0.8),), True),
        Curve("two", 0.25, ((0.17, 0.9),), True),
    ]
    made = chart(curves)
    assert made is not None
    assert [line.method for line in made.lines] == ["one", "two"]
    first, second = made.lines[0].points
    assert first.x < second.x
    assert first.y < second.y
    assert made.lines[0].through.startswith(f"M{first.x} {first.y}")
    assert made.lines[1].through == ""
    assert [mark.text for mark in made.marks] == ["σ 0.25", "σ 0.5"]
    stairs = chart([Curve("one", 0.25, ((0.1, 0.8), (0.2, 0.5)), True)])
    assert stairs is not None
    assert stairs.lines[0].through == ""
    assert stairs.lines[0].steps[0].count("H") == 2
    for tick in (*made.radius, *made.levels, *made.marks):
        assert made.left <= tick.at <= made.right
    assert chart([Curve("one", 0.25, (), True)]) is None


def identity(*certifiers):
    methods = [{"name": f"m{i}", "certifier": certifier} for i, certifier in enumerate(certifiers)]
    return {"plan": {"methods": methods, "sigma": [0.25]}, "noise": "lattice-255-philox4x64"}


HOLM = {"name": "holm", "alpha": 0.001, "n": 100}
LOOSE = {"name": "kfwer", "alpha": 0.001, "k": 5}
STRICT = {"name": "kfwer", "alpha": 0.001, "k": 1}
GONE = {"name": "gone", "alpha": 0.001}


def test_the_claim_allows_what_the_certifier_allows():
    made = claim(identity(HOLM), images=100, own_radii=())
    ((whose, sentence),) = made.statements
    assert whose == ()
    assert "99.9 %" in sentence
    assert "the smoothed model gives every certified pixel the class" in sentence
    assert "it may add up to 0.1" in dict(made.scope)["Each image by itself"]
    assert "Each setting by itself" not in dict(made.scope)
    assert "1 - alpha" in dict(made.promises)["holm"]
    ((_, loose),) = claim(identity({**LOOSE, "alpha": 0.01}), images=1, own_radii={"m0"}).statements
    assert "99 %" in loose
    assert "all but at most 4 certified pixels" in loose
    assert "the pixel’s radius R" in loose
    ((_, one),) = claim(identity({**LOOSE, "k": 2}), images=1, own_radii=()).statements
    assert "all but at most 1 certified pixel the class" in one
    unknown = claim(identity(GONE), images=2, own_radii=())
    ((_, sentence),) = unknown.statements
    assert (
        "The certifier gone knows what it promises, and it is not installed here, or not with these options."
        in sentence
    )
    assert "With probability" not in sentence
    assert unknown.promises == ()
    ((_, changed),) = claim(identity({**HOLM, "taken_away": 1}), images=2, own_radii=()).statements
    assert "cannot say what its certificates guarantee" in changed


@pytest.mark.parametrize("order", [(LOOSE, STRICT), (STRICT, LOOSE)])
def test_variants_of_one_certifier_promise_each_for_themselves(order):
    made = claim(identity(*order, GONE), images=1, own_radii=())
    assert [whose for whose, _ in made.statements] == [("m0",), ("m1",), ("m2",)]
    for certifier, (_, sentence) in zip(order, made.statements, strict=False):
        assert ("all but at most 4 certified pixels" in sentence) == (certifier["k"] == 5)
        assert ("gives every certified pixel" in sentence) == (certifier["k"] == 1)
    assert "not installed" in made.statements[2][1]
    assert "Each setting by itself" in dict(made.scope)


def test_methods_with_the_same_promise_are_stated_once():
    made = claim(identity(HOLM, STRICT, {**HOLM, "alpha": 0.01}), images=1, own_radii=())
    assert [whose for whose, _ in made.statements] == [("m0", "m1"), ("m2",)]
    alike = claim(identity(HOLM, STRICT), images=1, own_radii={"m0", "m1"}).statements
    assert [whose for whose, _ in alike] == [()]
    apart = claim(identity(HOLM, HOLM), images=1, own_radii={"m1"}).statements
    assert ["the pixel’s radius" in sentence for _, sentence in apart] == [False, True]


def test_the_page_states_the_promise_of_each_method(make):
    certifiers = ["kfwer:n0=4,n=60,alpha=0.05,k=5", "kfwer:n0=4,n=60,alpha=0.05,k=1"]
    run = make(certifier=certifiers, denoiser="identity", sigma=0.2)
    said = Outline(page(run)).words
    names = [row.method for row in rows(run)]
    assert re.search(
        rf"{re.escape(names[0])}: With probability at least 95 % .{{,300}}all but at most 4 certified", said
    )
    assert re.search(
        rf"{re.escape(names[1])}: With probability at least 95 % .{{,300}}gives every certified pixel", said
    )
    assert f"Up to 4 certified pixels of an image may be wrong: {names[0]}." in said


def test_a_run_with_gaussian_noise_says_what_is_wrong_with_it():
    term = "Gaussian noise in floating point"
    sound, gaussian = (
        dict(claim({**identity(HOLM), "noise": noise}, images=1, own_radii=()).scope)
        for noise in ("lattice-255-philox4x64", "philox-numpy-float32")
    )
    assert term not in sound
    assert "shows the clean image" in gaussian[term]


def test_radii_are_told_apart_by_method_only_where_they_differ():
    lines = {
        ("a", 0.2): [entry(1, 0, 11, radius=0.13)],
        ("b", 0.2): [entry(1, 0, 11, radius=0.13)],
        ("c", 0.2): [entry(1, 0, 11, radius=0.2), entry(1, 0, 11, radius=0.1), entry(0, 0, 12, radius=None)],
    }
    made = reach(lines)
    assert [(each.radius, each.methods) for each in made] == [(0.1, ("c",)), (0.13, ("a", "b"))]
    assert made[1].levels == pytest.approx(255 * 0.13)
    assert made[1].rms == pytest.approx((0.13 / 6, 0.13 / 6))


def test_many_images_are_shown_by_the_worst_and_by_a_spread():
    keys = [f"{i:03}" for i in range(100)]
    entries = {("m", 0.2): {key: entry(100 - i, i, 0) for i, key in enumerate(keys)}}
    chosen = galleries.chosen(keys, entries, 10)
    assert chosen[1::2] == ["099", "098", "097", "096", "095"]
    assert len(set(chosen)) == 10
    rest = [int(key) for key in chosen[::2]]
    assert rest == sorted(rest)
    assert rest[0] < 15
    assert rest[-1] > 80
    assert sorted(galleries.chosen(keys[:9], entries, 10)) == keys[:9]


def test_images_that_do_not_fit_are_counted(make, monkeypatch):
    run = make()
    monkeypatch.setattr(galleries, "BUDGET", 10)
    text = page(run)
    assert len(embedded(text)["images"]) == 1
    assert "1 of 3 images" in Outline(text).words
