"""The command line, toy components under names of their own, and small images, for tests of runs and commands."""

from __future__ import annotations

import dataclasses
import decimal
import importlib
import os
import shutil
import sys
import tomllib
import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from smoothseg import networks
from smoothseg.cli import cli
from smoothseg.components.plugins import plugins
from smoothseg.testing import ThresholdSegmenter


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The terminal and the settings that tests take for granted, whatever those of the caller are."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "SMOOTHSEG_DISABLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def disk(monkeypatch):
    """A disk that is not waited for: no test cuts the power, and thousands of files are written."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of weights that is the test's own; returns its folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SMOOTHSEG_CACHE", str(folder))
    monkeypatch.delenv("SMOOTHSEG_OFFLINE", raising=False)
    return folder


class Blur:
    """A denoiser that draws: adds seeded noise of its own to the noisy image's row means."""

    digests = {"blur.bin": "0" * 64}  # noqa: RUF012

    def denoise(self, noisy, sigma, *, seeds):
        return 0.5 * (noisy + noisy.mean(dim=3, keepdim=True)) + 0.05 * networks.standard_normal(
            seeds, noisy.shape[1:]
        )


@dataclasses.dataclass(frozen=True)
class BlurRecipe:
    """A toy denoiser that draws."""

    def load(self, device):
        return Blur()


@dataclasses.dataclass(frozen=True)
class ThresholdRecipe:
    """A toy segmenter."""

    threshold: float = 0.5

    def load(self, device):
        return ThresholdSegmenter(self.threshold)


@pytest.fixture
def toys():
    """Register denoiser `toy-blur` and segmenter `toy-threshold` for one test."""
    registries = plugins()
    registries["denoiser"].register("toy-blur", BlurRecipe, "tests")
    registries["segmenter"].register("toy-threshold", ThresholdRecipe, "tests")
    yield
    del registries["denoiser"]._entries["toy-blur"]
    del registries["segmenter"]._entries["toy-threshold"]


def _photograph(root):
    """Write three images of two sizes with labels, as the dataset `folder` reads them; return the root."""
    generator = np.random.Generator(np.random.Philox(8))
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for name, size in (("a", (14, 18)), ("b", (11, 21)), ("c", (14, 18))):
        bright = np.zeros(size, dtype=np.uint8)
        bright[:, : size[1] // 2] = 1
        pixels = np.where(bright[..., None] == 1, 215, 40) + generator.integers(-30, 30, (*size, 3))
        bright[0, :3] = 255
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{name}.png")
        Image.fromarray(bright).save(root / "labels" / f"{name}.png")
    (root / "classes.txt").write_text("dark\nbright\n", encoding="utf-8")
    return root


@pytest.fixture
def photos(tmp_path):
    """Three images of two sizes with labels, the test's own; returns the root."""
    return _photograph(tmp_path / "photos")


@pytest.fixture(scope="session")
def album(tmp_path_factory):
    """The images of `photos` for all tests, which leave them as they are; returns the root."""
    return _photograph(tmp_path_factory.mktemp("album"))


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Return a function that copies a run to a folder, and makes it with `make(folder)` if no test did under `key`."""
    place, made = tmp_path_factory.mktemp("once"), {}

    def copy(key, make, folder):
        if key not in made:
            make(at := place / str(len(list(place.iterdir()))))
            made[key] = at
        shutil.copytree(made[key], folder)

    return copy


@pytest.fixture(scope="session")
def down():
    """Return a function that writes a number with some significant figures, rounded down, as tables write radii."""

    def write(value, figures=3):
        context = decimal.Context(prec=figures, rounding=decimal.ROUND_FLOOR)
        return format(context.create_decimal(repr(float(value))).normalize(), "f")

    return write


@pytest.fixture
def invoke():
    """Return a function that runs `smoothseg WORDS` in this process and returns click's result.

    Words may be anything that has a text; named options are those of `click.testing.CliRunner.invoke`.
    """

    def run(*words, **options):
        return CliRunner().invoke(cli, [str(word) for word in words], **options)

    return run


@pytest.fixture
def certify(invoke, photos):
    """Return a function that runs a small `smoothseg certify` on the images of `photos` without their labels.

    Words and options are further ones, as for `invoke`; the segmenter is one of `toys`.
    """
    images = f"folder:root={photos},images=images"

    def run(*words, **options):
        return invoke(
            *("certify", "--dataset", images, "--denoiser", "identity", "--segmenter", "toy-threshold"),
            *("--certifier", "holm:n0=4,n=40,alpha=0.05", "--scale", 1, "--device", "cpu", *words),
            **options,
        )

    return run


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install projects for one test, as pip would without fetching anything.

    Returns a function from a project's folder to the folder that Python then finds its modules and its metadata in.
    """
    site = tmp_path / "site-packages"
    site.mkdir()
    before = set(sys.modules)

    def put(project):
        described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        name, version = (described["project"][key] for key in ("name", "version"))
        for path in described["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
            source = project / path
            (shutil.copytree if source.is_dir() else shutil.copy)(source, site / source.name)
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = described["project"]["entry-points"]["smoothseg"]
        lines = [f"{point} = {module}" for point, module in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[smoothseg]", *lines, ""]))
        importlib.invalidate_caches()
        plugins.cache_clear()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a plugin that is broken
            plugins()
        return site

    monkeypatch.syspath_prepend(str(site))
    yield put
    plugins.cache_clear()
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(site)):
            del sys.modules[module]
