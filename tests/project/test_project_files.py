"""The files beside the code that other programs read: citation, issue forms, hooks before a commit."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import smoothseg

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def plain(title):
    return re.sub(r"[^a-z0-9]+", " ", title.lower()).strip()


@pytest.fixture(scope="module")
def citation():
    return read(ROOT / "CITATION.cff")


def test_the_citation_is_of_this_version_and_licence(citation):
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == project()["version"] == smoothseg.__version__
    assert citation["license"] == project()["license"]
    assert citation["type"] == "software"
    assert citation["message"]
    assert all(set(author) in ({"name"}, {"family-names", "given-names"}) for author in citation["authors"])


def test_the_citation_has_the_papers_of_the_readme(citation):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Cite\n")[2].partition("\nThe networks are")[0]
    entries = [
        " ".join(entry.split())
        for entry in re.findall(r"^- (.+?)(?=^- |\Z)", section, re.MULTILINE | re.DOTALL)
    ]
    assert len(entries) >= 4
    for entry in entries:
        (found,) = [paper for paper in citation["references"] if plain(paper["title"]) in plain(entry)]
        assert str(found["year"]) in entry
        assert all(author["family-names"] in entry for author in found["authors"])


def test_every_paper_of_the_citation_is_in_the_bibtex_of_the_docs(citation):
    page = plain((ROOT / "docs" / "citing.md").read_text(encoding="utf-8"))
    for paper in citation["references"]:
        assert plain(paper["title"]) in page, paper["title"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_can_be_shown(path):
    form = read(path)
    assert set(form) <= {"name", "description", "title", "labels", "assignees", "body"}
    assert form["name"]
    assert form["description"]
    ids = [element["id"] for element in form["body"] if element["type"] != "markdown"]
    assert ids
    assert len(set(ids)) == len(ids)
    for element in form["body"]:
        attributes = element["attributes"]
        assert element["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        if element["type"] == "markdown":
            assert set(attributes) == {"value"}
            continue
        assert re.fullmatch(r"[a-z-]+", element["id"])
        assert attributes["label"]
        if element["type"] == "dropdown":
            assert len(set(attributes["options"])) == len(attributes["options"]) > 1
        if element["type"] == "checkboxes":
            assert all(option["label"] for option in attributes["options"])


def test_the_forms_for_bugs_and_features_are_there_and_their_links_lead_somewhere():
    assert {path.stem for path in FORMS} == {"bug", "feature"}
    assert set(read(GITHUB / "ISSUE_TEMPLATE" / "config.yml")) <= {"blank_issues_enabled", "contact_links"}
    links = [
        target
        for path in FORMS
        for target in re.findall(r"\]\(\.\./blob/main/([^)#]+)", path.read_text(encoding="utf-8"))
    ]
    assert links
    for target in links:
        assert (ROOT / target).is_file(), target


def test_what_contributors_are_asked_to_run_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    template = (GITHUB / "pull_request_template.md").read_text(encoding="utf-8")
    assert "`make check`" in template
    for kind, name in re.findall(r"`(make|python) ([\w/.-]+)`", template):
        assert name in targets if kind == "make" else (ROOT / name).is_file(), name


def test_the_hooks_before_a_commit_are_those_of_make_check_and_pinned():
    hooks = {
        hook["id"]: hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    }
    installed = re.findall(r"[\w-]+", " ".join(project()["optional-dependencies"]["dev"]))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("ruff-format", "ruff-check", "mypy"):
        hook = hooks.pop(name)
        program, *rest = hook["entry"].split()
        assert hook["language"] == "system"
        assert program in installed
        assert shutil.which(program, path=str(Path(sys.executable).parent)), f"{program} is not installed"
        assert " ".join([program, *(word for word in rest if not word.startswith("-"))]) in makefile
    assert "check-yaml" in hooks
    for hook in hooks.values():
        assert hook["language"] == "python"
        assert all("==" in requirement for requirement in hook["additional_dependencies"])


def test_every_yaml_file_of_the_repository_can_be_read():
    paths = [
        path
        for pattern in (
            "*.yml",
            "*.yaml",
            ".github/**/*.yml",
            "examples/**/*.yaml",
            "plugins/**/*.yaml",
            "smoothseg/**/*.yaml",
        )
        for path in ROOT.glob(pattern)
    ]
    assert len(paths) > 20
    for path in paths:
        assert read(path), path


def test_a_report_of_a_fault_holds_what_the_doctor_says():
    (bug,) = [read(path) for path in FORMS if path.name == "bug.yml"]
    asked = "\n".join(str(element["attributes"].get("description", "")) for element in bug["body"])
    assert re.findall(r"`(smoothseg [^`]+|python [^`]+)`", asked) == ["smoothseg doctor"]
    install = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    for title in ("Is everything there?", "Troubleshooting"):
        section = install.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert "smoothseg doctor" in section, title
