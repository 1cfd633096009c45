"""`smoothseg check`: every promise by name, and each broken one explained."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from smoothseg import cli as command_line
from smoothseg.cli import cli
from smoothseg.errors import PluginError
from smoothseg.plugins import KINDS, plugins
from smoothseg.testing import (
    CountingDenoiser,
    ImageDataset,
    ThresholdSegmenter,
    check_certifier,
    check_dataset,
    check_segmenter,
    checks,
)


def invoke(*arguments):
    return CliRunner().invoke(cli, ["check", *map(str, arguments)])


def statuses(output):
    """Return the first word of the line of each check, by the check's name."""
    lines = [line for line in output.splitlines() if line[:1] not in ("", " ")]
    return {
        line[8:23].strip(): line[:8].strip() for line in lines if line.split()[0] in ("ok", "FAILED", "-")
    }


@pytest.fixture
def broken(monkeypatch):
    """Offer a component made on the spot under the name `broken`; returns a function (kind, component or error)."""

    def offer(kind, made):
        @dataclasses.dataclass(frozen=True)
        class Recipe:
            """A component of a test."""

            def load(self, device=None):
                if isinstance(made, Exception):
                    raise made
                return made

        registry = plugins()[kind]
        registry.register("broken", Recipe, "a-plugin (a-distribution 1.0)")
        registries.append(registry)

    registries = []
    yield offer
    for registry in registries:
        del registry._entries["broken"]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("denoiser", "toy-blur"),
        ("segmenter", "toy-threshold:threshold=0.25"),
        ("certifier", "holm"),
        ("certifier", "naive-pattern"),
        ("dataset", "streets:count=2,height=16,width=20"),
    ],
)
@pytest.mark.usefixtures("toys")
def test_what_keeps_its_promises_passes_every_check(kind, spec):
    result = invoke(kind, spec)
    assert result.exit_code == 0, result.output
    assert set(statuses(result.output).values()) == {"ok"}
    assert f"{kind} {spec} keeps its promises" in result.output


class Averaging(CountingDenoiser):
    """Breaks one promise: subtracts the mean of the whole batch."""

    def denoise(self, noisy, sigma, *, seeds):
        return noisy - noisy.mean()


class Cutting(CountingDenoiser):
    """Returns one column too few."""

    def denoise(self, noisy, sigma, *, seeds):
        return noisy[..., :-1]


class Raising(CountingDenoiser):
    """Cannot work on odd sizes."""

    def denoise(self, noisy, sigma, *, seeds):
        if noisy.shape[-1] % 2:
            raise RuntimeError("sides must be even\nsecond line")
        return noisy


def test_a_broken_promise_is_explained_and_the_others_are_checked(broken):
    broken("denoiser", Averaging())
    result = invoke("denoiser", "broken")
    assert result.exit_code == 1
    found = statuses(result.output)
    assert [name for name, status in found.items() if status == "FAILED"] == ["rows"]
    text = " ".join(result.output.split())
    assert "row 0 depends on the batch it is in (by up to 0" in text
    assert "Why it matters: The votes of an image are independent samples only if" in text
    assert "Error: 1 of 8 checks of denoiser broken failed" in text
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_behind_a_vital_check_nothing_is_checked(broken):
    broken("denoiser", Cutting())
    found = statuses(invoke("denoiser", "broken").output)
    assert found == {
        **dict.fromkeys(("protocol", "digests"), "ok"),
        "shape": "FAILED",
        **dict.fromkeys(("dtype", "device", "finite", "deterministic", "rows"), "-"),
    }


def test_what_a_component_raises_is_a_finding(broken):
    broken("denoiser", Raising())
    result = invoke("denoiser", "broken")
    assert result.exit_code == 1
    assert "it raised RuntimeError: sides must be even" in result.output
    assert "second line" not in result.output


def test_a_missing_method_is_named(broken):
    broken("segmenter", object())
    result = invoke("segmenter", "broken")
    assert "object is no smoothseg.Segmenter: it lacks classes, digests, segment" in result.output


def test_a_component_that_cannot_be_loaded_is_an_error_with_its_owner(broken):
    broken("dataset", KeyError("root"))
    result = invoke("dataset", "broken")
    assert isinstance(result.exception, PluginError)
    assert str(result.exception) == (
        "dataset 'broken' of a-plugin (a-distribution 1.0) could not be loaded: KeyError: 'root'"
    )


def test_the_tolerance_is_the_users(broken):
    class Slightly(ThresholdSegmenter):
        def segment(self, images):
            return super().segment(images) + 1e-4 * len(images)

    broken("segmenter", Slightly())
    assert invoke("segmenter", "broken").exit_code == 1
    assert invoke("segmenter", "broken", "--tolerance", 0.001).exit_code == 0


def test_so_many_images_are_read_as_are_asked_for(broken):
    images = [np.zeros((4, 5, 3), dtype=np.uint8)] * 5
    labels = [np.zeros((4, 5), dtype=np.uint8)] * 4 + [np.full((4, 5), 7, dtype=np.uint8)]
    broken("dataset", ImageDataset(images, labels))
    assert invoke("dataset", "broken").exit_code == 0
    result = invoke("dataset", "broken", "--images", 5)
    assert result.exit_code == 1
    assert "image-4: a label is neither a class nor ignore: 7" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["denoiser", "amd"], "unknown denoiser 'amd'"),
        (["denoiser", "adm:stepz=1"], "Did you mean 'steps'?"),
        (["denoiser", "adm", "--device", "tpu"], "device must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        (["segmenter", "hrnet:weights=absent.pth"], "absent.pth does not exist"),
        (["denoizer", "adm"], "denoizer"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["check", *arguments])
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert message in line


@pytest.mark.parametrize("arguments", [["denoiser", "amd"], ["segmenter", "hrnet:weights=street"]])
def test_an_unknown_name_is_told_before_torch_is_imported(arguments):
    code = (
        "import sys; from smoothseg.cli import main\n"
        f"try: main(['check', *{arguments}])\n"
        "except SystemExit as end: assert end.code == 2 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


# The checks of certifiers and datasets; those of denoisers and segmenters are tested in test_testing.py.


def certifier_with(**changes):
    """Return Holm's certifier with some of its methods replaced by functions of (original result, arguments)."""
    original = plugins()["certifier"].recipe("holm").load()

    class Changed:
        counted, samples, check = original.counted, original.samples, staticmethod(original.check)

        def certify(self, draw):
            made = original.certify(draw)
            return changes["certify"](made) if "certify" in changes else made

        def decide(self, hits, trials, *, sigma):
            made = original.decide(hits, trials, sigma=sigma)
            return changes["decide"](made) if "decide" in changes else made

    for name in ("counted", "samples"):
        if name in changes:
            setattr(Changed, name, changes[name])
    return Changed()


def everything(certificate):
    verdict = dataclasses.replace(certificate.verdict, certified=np.ones_like(certificate.certified))
    return dataclasses.replace(certificate, verdict=verdict)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counted": "votes"}, "counted is 'votes'"),
        ({"samples": 109}, "109"),
        ({"certify": lambda made: None}, "expected a Certificate, got NoneType"),
        (
            {"certify": lambda made: dataclasses.replace(made, prediction=made.prediction + 1)},
            "did not predict",
        ),
        ({"certify": lambda made: dataclasses.replace(made, hits=made.hits // 2)}, "hits: expected 100"),
        ({"certify": everything}, "labels were drawn uniformly: 15 of 15, expected 0"),
        ({"decide": lambda made: None}, "expected a Verdict, got NoneType"),
        (
            {"decide": lambda made: dataclasses.replace(made, certified=~made.certified)},
            "contradicts certify",
        ),
        ({"decide": lambda made: dataclasses.replace(made, radius=2 * made.radius)}, "another radius"),
    ],
)
def test_a_certifier_that_breaks_a_promise_is_found(changes, message):
    check_certifier(certifier_with())
    with pytest.raises((AssertionError, ValueError), match=message):
        check_certifier(certifier_with(**changes))


class Drifting(ImageDataset):
    """Another image at every reading."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        self.images[index][0, 0, 0] += 1
        return dataclasses.replace(sample, image=sample.image.copy())


def dataset(labels=None, kind=ImageDataset, **options):
    images = [np.zeros((4, 5, 3), dtype=np.uint8), np.zeros((6, 3, 3), dtype=np.uint8)]
    return kind(images, labels or [None, np.zeros((6, 3), dtype=np.uint8)], **options)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (dataset(ignore=1), "ignore must be no class index and at most 255, got 1 with 2 classes"),
        (dataset(ignore=256), "got 256"),
        (dataset(labels=[None, np.zeros((6, 4), dtype=np.uint8)]), r"differ in size: \(6, 4\), \(6, 3\)"),
        (dataset(labels=[None, np.full((6, 3), 9, dtype=np.uint8)]), "neither a class nor ignore: 9"),
        (dataset(labels=[None, np.zeros((6, 3), dtype=np.int64)]), "expected uint8 labels, got int64"),
        (dataset(kind=Drifting), "image-0: reading it twice gives two images"),
        (
            dataset(kind=type("Slash", (ImageDataset,), {"keys": ("a/b", "c")})),
            "a key is not fit for a file name: 'a/b'",
        ),
        (dataset(kind=type("Twice", (ImageDataset,), {"keys": ("a", "a")})), "a key occurs twice"),
        (dataset(kind=type("Few", (ImageDataset,), {"keys": ("a",)})), "1 keys, 2 samples"),
        (dataset(kind=type("Grey", (ImageDataset,), {"palette": ()})), "0 colours, 2 classes"),
    ],
)
def test_a_dataset_that_breaks_a_promise_is_found(made, message):
    check_dataset(dataset())
    with pytest.raises(AssertionError, match=message):
        check_dataset(made)


def test_class_names_are_a_tuple_of_names():
    class Listed(ThresholdSegmenter):
        classes = ["dark", "bright"]  # noqa: RUF012

    with pytest.raises(AssertionError, match="expected a tuple of names"):
        check_segmenter(Listed())


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_name_of_its_own_a_promise_and_a_reason(kind):
    made = {
        "denoiser": CountingDenoiser(),
        "segmenter": ThresholdSegmenter(),
        "certifier": plugins()["certifier"].recipe("holm").load(),
        "dataset": dataset(),
    }[kind]
    every = checks(kind, made, device=torch.device("cpu"))
    assert len({check.name for check in every}) == len(every) >= 6
    for check in every:
        assert len(check.name) < 15
        assert len(check.promise) <= 80 - 23
        assert check.why.endswith(".")
        assert check.failure() is None


def test_there_are_no_checks_of_what_is_no_kind():
    with pytest.raises(ValueError, match="expected a kind of component, got 'network'"):
        checks("network", None)
