"""Build the wheel, install it into a fresh environment with a plugin of others, and certify with it.

    python tests/wheel.py

Run it with an interpreter that has the packages of the extra `dev`: the fresh environment holds smoothseg and the
plugin from their wheels, and finds what they depend on, some 5 GB, where this interpreter does. Everything else is made
in a temporary folder. The exit code is 1, and the last line says why, if something is not as it should be.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "plugins" / "smoothseg-tv"
HEAVY = ("torch", "skimage")
"""Packages of whose folders the fresh environment has the use."""

SOURCES = ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "smoothseg", "plugins")
"""What a wheel is made of."""

MOVED = "smoothseg_segcertify"
"""The bundled plugin that becomes a package of its own."""

SMALL = (
    *("--dataset", "streets:count=1,height=32,width=48", "--scale", "1", "--sigma", "0.1"),
    *("--certifier", "holm:n0=4,n=60", "--segmenter", "hrnet", "--threads", "1"),
)


def move_out(plugin: str, folder: Path) -> Path:
    """Make a project of a bundled plugin in `folder`, of its folder and its entry point and nothing else."""
    core = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copytree(ROOT / "plugins" / plugin, folder / plugin, ignore=shutil.ignore_patterns("__pycache__"))
    lines = [
        "[build-system]",
        'requires = ["hatchling>=1.25"]',
        'build-backend = "hatchling.build"',
        "[project]",
        f'name = "{plugin.replace("_", "-")}"',
        'version = "7.0"',
        f'requires-python = "{core["requires-python"]}"',
        'dependencies = ["smoothseg"]',
        "[project.entry-points.smoothseg]",
        f'{plugin} = "{core["entry-points"]["smoothseg"][plugin]}"',
        "[tool.hatch.build.targets.wheel]",
        f'only-include = ["{plugin}"]',
    ]
    (folder / "pyproject.toml").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


class Environment:
    """A virtual environment, and what is run in it."""

    def __init__(self, folder: Path, *, pip: bool) -> None:
        venv.create(folder, with_pip=pip)
        self.folder = folder
        self.scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.scripts / ("python.exe" if os.name == "nt" else "python")

    @property
    def site(self) -> Path:
        """The folder that packages are installed in."""
        paths = {"base": str(self.folder), "platbase": str(self.folder)}
        return Path(sysconfig.get_path("purelib", "venv", paths))

    def run(self, *command: object, at: Path, **variables: str) -> str:
        """Run a command with `at` as its folder and return what it printed; fail with all of that if it does."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SMOOTHSEG"))
        }
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=at, env=environment | variables, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}\nexit code {done.returncode}")
        return done.stdout

    def smoothseg(self, *arguments: object, at: Path, **variables: str) -> str:
        """Run the installed command."""
        return self.run(shutil.which("smoothseg", path=self.scripts) or "", *arguments, at=at, **variables)


def build(tools: Environment, project: Path, dist: Path) -> Path:
    """Return the wheel of `project`, made in `dist`."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    tools.run(tools.python, "-m", "pip", "wheel", *options, "--wheel-dir", dist, project, at=dist.parent)
    (wheel,) = dist.glob("*.whl")
    return wheel


def expect(condition: bool, otherwise: str) -> None:
    """Stop with a message unless something is so."""
    if not condition:
        sys.exit(f"wheel test: {otherwise}")


def check_contents(wheel: Path) -> None:
    """Every file of the packages is in the wheel, and nothing else but its metadata."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {
        path.relative_to(base).as_posix()
        for base in (ROOT, ROOT / "plugins")
        for package in (base / "smoothseg", *base.glob("smoothseg_*"))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expect(inside == files, f"the wheel and the sources differ in {', '.join(sorted(inside ^ files)[:5])}")


def main() -> None:
    """Build, install, certify."""
    missing = [name for name in HEAVY if importlib.util.find_spec(name) is None]
    expect(not missing, f"no {', '.join(missing)} here: run it with the extra dev (make wheel-test)")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name).resolve()
        tools = Environment(work / "tools", pip=True)
        tools.run(tools.python, "-m", "pip", "install", "--quiet", "hatchling>=1.25", at=work)

        core = build(tools, ROOT, work / "core")
        check_contents(core)
        copy = work / "copy"  # another folder, and files of another time
        for source in map(Path, SOURCES):
            target = copy / source
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                skipped = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, target, ignore=skipped, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(ROOT / source, target)
        again = build(tools, copy, work / "again")
        expect(core.read_bytes() == again.read_bytes(), "two builds of the wheel are not the same bytes")
        print(f"{core.name}: {core.stat().st_size / 1e6:.1f} MB, the same bytes twice", flush=True)

        plugin = build(tools, EXAMPLE, work / "example")
        fresh = Environment(work / "fresh", pip=False)
        pip = (
            tools.python,
            "-m",
            "pip",
            "--python",
            fresh.python,
            "--disable-pip-version-check",
            "install",
            "--quiet",
        )
        fresh.run(*pip, "--no-deps", "--no-index", core, plugin, at=work)
        origins = [importlib.util.find_spec(package).origin for package in HEAVY]  # type: ignore[union-attr]
        behind = sorted({str(Path(str(origin)).parents[1]) for origin in origins})
        (fresh.site / "behind.pth").write_text("\n".join(behind), encoding="utf-8")
        fresh.run(
            *pip, "--no-index", "--dry-run", "smoothseg", "smoothseg-tv", at=work
        )  # nothing else is needed
        code = "import smoothseg, smoothseg_adm, smoothseg_tv as tv; "
        code += "print(smoothseg.__file__, smoothseg_adm.__file__, tv.__file__, sep='\\n')"
        for file in fresh.run(fresh.python, "-c", code, at=work).splitlines():
            expect(Path(file).resolve().is_relative_to(work / "fresh"), f"{file} is not the wheel's")

        listed = json.loads(fresh.smoothseg("plugins", "--format", "json", at=work))
        for entry in listed:
            expect(entry["error"] is None, f"plugin {entry['name']} is broken: {entry['error']}")
        offered = {entry["distribution"]: entry["offers"] for entry in listed}
        expect(
            offered.get("smoothseg-tv") == {"denoiser": ["tv"]}, f"smoothseg-tv is not among {list(offered)}"
        )
        bundled = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "entry-points"
        ]
        expect(len(listed) == len(bundled["smoothseg"]) + 1, f"{len(listed)} plugins are installed")
        fresh.smoothseg("certify", "--denoiser", "tv", *SMALL, "--output", "run", at=work)
        verified = fresh.smoothseg("verify", "run", at=work)
        expect("1 certificate verified" in verified, verified)
        fresh.smoothseg("new", "plugin", "soft", "--kind", "denoiser", at=work)
        print(f"{plugin.name}: certified with it", flush=True)

        moved = build(tools, move_out(MOVED, work / "project"), work / "moved")
        target = work / "target"
        fresh.run(*pip, "--no-deps", "--no-index", "--target", target, moved, at=work)
        variables = {"PYTHONPATH": str(target), "SMOOTHSEG_DISABLE": f"{MOVED}@smoothseg"}
        listed = json.loads(fresh.smoothseg("plugins", "--format", "json", at=work, **variables))
        on = {entry["distribution"]: not entry["disabled"] for entry in listed if entry["name"] == MOVED}
        expect(on == {"smoothseg": False, "smoothseg-segcertify": True}, f"switched on are {on}")
        fresh.smoothseg("certify", "--denoiser", "identity", *SMALL, "--output", "out", at=work, **variables)
        verified = fresh.smoothseg("verify", "out", at=work, **variables)
        expect("1 certificate verified" in verified, verified)
        print(f"{moved.name}: certified with it in place of the bundled one", flush=True)


if __name__ == "__main__":
    main()
