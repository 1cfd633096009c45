"""Draw the pictures of `docs/architecture.md`: the way of an image and the way of a command, in the order of the calls.

    python docs/architecture.py

Every box is a module of the core, or a plugin. What stands under a box is called by it: the tests compare that with
the import graph, and the pictures with what this file draws.
"""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent

_ROW, _INDENT, _BOX, _LEFT, _TOP, _WIDTH = 40, 30, 26, 12, 12, 780
_CAPTION = 330
"""Where the captions begin."""

_INK, _PALE, _CORE, _OUTSIDE = "#1f2933", "#52606d", "#e3f0ff", "#fff3d6"


@dataclasses.dataclass(frozen=True)
class Step:
    """One box. name: `room/module`, or what kind of plugin it is. says: what it does, or hands on.

    depth: 0 for what the way consists of, one more than that of the box above which calls it.
    """

    depth: int
    name: str
    says: str

    @property
    def module(self) -> str | None:
        """The full name of the module; None for a plugin."""
        return f"smoothseg.{self.name.replace('/', '.')}" if "/" in self.name else None


IMAGE = (
    Step(0, "dataset plugin", "Sample: key, image uint8 (H, W, 3), labels"),
    Step(0, "smoothing/pipeline", "one image in, one certificate out"),
    Step(1, "certifier plugin", "selects on n0 samples, tests on n others"),
    Step(2, "smoothing/sampling", "Draw: the next samples, none seen before"),
    Step(3, "smoothing/noise", "(image + k) / 255: (B, 3, H, W)"),
    Step(4, "smoothing/lattice", "k = round(255 N(0, σ²)), from its exact law"),
    Step(3, "smoothing/base_model", "sees the noisy images alone"),
    Step(4, "networks/resizing", "to the networks' size, and the σ that is left"),
    Step(4, "denoiser plugin", "the clean estimate, of the same shape"),
    Step(4, "segmenter plugin", "scores (B, C, h, w)"),
    Step(4, "smoothing/geometry", "labels (B, H, W)"),
    Step(3, "smoothing/votes", "counts (C, H, W); label maps are forgotten"),
    Step(1, "certificates/certificate", "prediction, hits, verdict, radius, provenance"),
    Step(0, "certificates/file", "KEY.npz: verify needs nothing else"),
    Step(0, "certificates/counts", "pixels certified and correct, with the labels"),
    Step(0, "certificates/metrics", "scores, from the counts of many images"),
)
"""The way of an image, from a dataset to its certificate and its scores."""

COMMAND = (
    Step(0, "cli/certify", "options and a YAML file"),
    Step(1, "runs/configuration", "what to compute, and how to run it"),
    Step(2, "runs/plan", "Plan: everything that decides the results"),
    Step(3, "components/registry", "adm:steps=multi to a validated recipe"),
    Step(1, "runs/preparing", "everything loaded, every image checked"),
    Step(2, "components/loading", "a recipe to its component"),
    Step(3, "weights/references", "weights=NAME to a verified file"),
    Step(1, "report/running", "the run and everything that shows it"),
    Step(2, "runs/executing", "image by image; what is done stays done"),
    Step(3, "runs/resuming", "the directory: new, or the same run"),
    Step(3, "runs/preparing", "Prepared: the pipeline of each method, see above"),
    Step(4, "smoothing/pipeline", "the way of an image"),
    Step(3, "certificates/file", "METHOD/sigma-S/KEY.npz"),
    Step(3, "runs/ledger", "one line for each certificate"),
    Step(2, "report/illustrating", "pictures and previews of each image"),
    Step(2, "report/rows", "the ledger to scores"),
    Step(2, "report/html", "report.html"),
    Step(1, "cli/report", "prints the table"),
)
"""The way of a command, from `smoothseg certify` to its table."""

WAYS = {"way-of-an-image": IMAGE, "way-of-a-command": COMMAND}
"""The pictures, by the name of their file in `docs/images`."""


def draw(steps: tuple[Step, ...], title: str) -> str:
    """Return the picture of `steps` as SVG."""
    height = _TOP + _ROW * len(steps)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="15">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
    ]
    above: dict[int, int] = {}
    for i, step in enumerate(steps):
        x, y = _LEFT + _INDENT * step.depth, _TOP + _ROW * i
        if step.depth:
            parent = _TOP + _ROW * above[step.depth - 1] + _BOX
            parts.append(
                f'<path d="M{x - _INDENT + 12} {parent}V{y + _BOX // 2}H{x}" fill="none" stroke="{_PALE}"/>'
            )
        above[step.depth] = i
        width = 20 + round(8.6 * len(step.name))
        fill = _OUTSIDE if step.module is None else _CORE
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{_BOX}" rx="4" fill="{fill}" stroke="{_PALE}"/>'
        )
        parts.append(f'<text x="{x + 10}" y="{y + 18}" fill="{_INK}">{step.name}</text>')
        parts.append(f'<text x="{_CAPTION}" y="{y + 18}" fill="{_PALE}">{escape(step.says)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write both pictures."""
    for name, steps in WAYS.items():
        path = HERE / "images" / f"{name}.svg"
        path.write_text(draw(steps, name.replace("-", " ")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
