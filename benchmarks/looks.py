"""How often is an image falsely certified if somebody looks after every sample, and stops at the worst moment?

    python -m benchmarks.looks --picture docs/images/looks.png

A class has the very probability tau that its certificate claims to be exceeded. For `anytime` and for `holm`, decided
anew after every sample, the share of images that are ever falsely certified is computed exactly, as a function of the
number of looks. The script fails if `anytime` exceeds alpha, or if `holm` does not.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.machine import header
from smoothseg.components.plugins import plugins
from smoothseg.testing.moments import wrong_by

__all__: list[str] = []

COLOURS = {"holm": "#e8710a", "anytime": "#1a73e8"}


def draw(path: Path, shares: dict[str, dict[str, list[float]]], moments: int) -> None:
    """Write the curves as a picture, one part for each alpha."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        sheet = Figure(figsize=(8.4, 3.0), dpi=110, layout="constrained")
        for axes, (alpha, each) in zip(sheet.subplots(1, len(shares)), shares.items(), strict=True):
            for name, by_look in each.items():
                label = "holm, decided anew at every look" if name == "holm" else name
                axes.plot(range(1, moments + 1), by_look, color=COLOURS[name], linewidth=1.3, label=label)
            axes.axhline(float(alpha), color="#5f6368", linewidth=0.9, linestyle=":", label=f"α = {alpha}")
            axes.set_xscale("log")
            axes.set_xlabel("looks, one after every sample")
            axes.grid(alpha=0.25)
            axes.legend(frameon=False, fontsize=8, loc="upper left")
        sheet.axes[0].set_ylabel("share of images ever falsely certified")
        sheet.savefig(path, metadata={"Software": None})


def main() -> None:
    """Compute, print a table, write numbers and picture, and fail if a promise is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.05, 0.001])
    parser.add_argument("--looks", type=int, default=2000)
    parser.add_argument("--json", type=Path, default=Path("runs/looks.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/looks.png"))
    options = parser.parse_args()
    registry = plugins()["certifier"]
    shares: dict[str, dict[str, list[float]]] = {}
    for alpha in options.alpha:
        for name, spec in (("holm", "holm"), ("anytime", f"anytime:max_n={options.looks}")):
            certifier = registry.recipe(f"{spec}{',' if ':' in spec else ':'}alpha={alpha!r}").load()
            by_look = wrong_by(certifier, options.looks, doubtful=1, certain=0, allowed=0)
            shares.setdefault(f"{alpha:g}", {})[name] = by_look.tolist()
    said = header("benchmarks.looks", packages=("numpy", "scipy"))
    places = [place for place in (10, 100, 500, 1000, 2000) if place <= options.looks]
    print(f"{said}\n\n| alpha | certifier | {' | '.join(f'{place} looks' for place in places)} |")
    print(f"| --- | --- |{' ---: |' * len(places)}")
    for alpha, each in shares.items():
        for name, by_look in each.items():
            print(f"| {alpha} | `{name}` | {' | '.join(f'{by_look[place - 1]:.5f}' for place in places)} |")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(
        json.dumps({"measured": said.splitlines(), "shares": shares}) + "\n", encoding="utf-8"
    )
    draw(options.picture, shares, options.looks)
    for alpha, each in shares.items():
        if each["anytime"][-1] > float(alpha) or each["holm"][-1] <= float(alpha):
            sys.exit(f"alpha {alpha}: anytime must stay below it, and holm exceeds it")


if __name__ == "__main__":
    main()
