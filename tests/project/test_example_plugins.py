"""The plugins in examples/plugins: each on a page, found through its entry point, and good for a certificate."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from smoothseg.certificates import file
from smoothseg.components.plugins import plugins
from smoothseg.testing import check_denoiser, check_segmenter, recipe

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "plugins"
PROJECTS = sorted(path.parent for path in EXAMPLES.glob("*/pyproject.toml"))

by_project = pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)


@pytest.fixture
def tv(install):
    """Install the denoiser; without scikit-image, which the extra `dev` brings, there is nothing to test."""
    pytest.importorskip("skimage")
    return install(EXAMPLES / "smoothseg-tv")


@pytest.fixture
def own_model(install, tmp_path):
    """Install the segmenter; returns the path of weights for it."""
    install(EXAMPLES / "smoothseg-own-model")
    from smoothseg_own_model import CLASSES
    from smoothseg_own_model.network import Network

    torch.manual_seed(3)
    path = tmp_path / "mine.pth"
    torch.save(Network(len(CLASSES)).state_dict(), path)
    return path


@pytest.fixture
def certified(invoke, tmp_path):
    """Return a function that certifies one small street scene with some components and returns its certificate."""

    def run(*components):
        output = tmp_path / "run"
        small = ("--dataset", "streets:count=1,height=32,width=48", "--scale", 1, "--sigma", 0.1)
        result = invoke("certify", *components, *small, "--certifier", "holm:n0=4,n=60", "--output", output)
        assert result.exit_code == 0, result.output
        assert "1 certificate verified" in invoke("verify", output).output
        return file.load(next(output.rglob("*.npz")))

    return run


def test_tv_is_found_keeps_its_promises_and_certifies(tv, certified):
    check_denoiser(recipe("denoiser", "tv:weight=0.7").load("cpu"), sigma=0.5)
    made = certified("--denoiser", "tv:weight=0.7", "--segmenter", "hrnet")
    assert made.provenance["denoiser"] == {"name": "tv", "weight": 0.7, "steps": 100}
    assert made.certified.any()


def test_own_model_is_found_keeps_its_promises_and_certifies(own_model, certified):
    spec = f"own-model:weights={own_model}"
    check_segmenter(recipe("segmenter", spec).load("cpu"))
    made = certified("--denoiser", "identity", "--segmenter", spec)
    assert own_model.name in str(made.provenance["weights"])


@by_project
def test_the_own_tests_of_an_example_pass(project, request, tmp_path):
    """Run in this process: the fixture `file` is the only one that an example's tests take."""
    request.getfixturevalue({"smoothseg-tv": "tv", "smoothseg-own-model": "own_model"}[project.name])
    (path,) = (project / "tests").glob("test_*.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ran = 0
    for name, test in inspect.getmembers(module, inspect.isfunction):
        if not name.startswith("test_"):
            continue
        marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        for value in marks[0].args[1] if marks else [None]:
            given = {marks[0].args[0]: value} if marks else {}
            if "file" in inspect.signature(test).parameters:
                given["file"] = module.file.__wrapped__(tmp_path)
            test(**given)
            ran += 1
    assert ran >= 4


@by_project
def test_an_example_is_a_whole_project_each_module_on_a_page(project):
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert described["project"]["name"] == project.name
    (module,) = described["project"]["entry-points"]["smoothseg"].values()
    sources = sorted(project.glob("smoothseg_*.py")) or sorted(project.glob("smoothseg_*/*.py"))
    assert module in {path.stem for path in sources} | {path.parent.name for path in sources}
    for path in sources:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 100, path
    assert described["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"][0].startswith(module)


@by_project
def test_the_readme_of_an_example_names_its_options_and_files(project, request):
    request.getfixturevalue({"smoothseg-tv": "tv", "smoothseg-own-model": "own_model"}[project.name])
    readme = (project / "README.md").read_text(encoding="utf-8")
    for kind, name in re.findall(r"smoothseg check (\w+) ([a-z-]+)", readme):
        for field in plugins()[kind].entry(name).fields:
            assert f"`{field.name}`" in readme
    for path in re.findall(r"`(smoothseg_\w+/?[\w/]*\.py)`", readme):
        assert (project / path).exists(), path


def test_the_guide_names_every_example():
    guide = (ROOT / "docs/guides/plugin.md").read_text(encoding="utf-8")
    assert len(PROJECTS) == 2
    for project in PROJECTS:
        assert f"`{project.name}`" in guide


def test_the_examples_import_no_torch(install):
    sites = {str(install(project)) for project in PROJECTS}
    assert len(sites) == 1
    code = (
        f"import sys; sys.path.insert(0, {sites.pop()!r}); import smoothseg_tv, smoothseg_own_model; "
        "assert not {'torch', 'numpy', 'skimage'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
