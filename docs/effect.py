"""The picture of the landing page: one image certified without and with a denoiser, at the same noise.

    smoothseg certify --config examples/demo.yaml --output runs/demo
    python docs/effect.py runs/demo docs/images/effect.png

Takes everything from the run directory; needs no network and no dataset.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from smoothseg.certificates import file
from smoothseg.report import previews
from smoothseg.report.colours import colourise

KEY = "streets-val-0001"
SIGMA = 0.5
METHODS = (("hrnet-clean", "without a denoiser"), ("dc-hrnet", "behind the denoiser"))
"""Names of the run's folders of two methods with one segmenter, and what the picture says above them."""

ENLARGED = 2
MARGIN, GUTTER, CAPTION = 20, 16, 40
BACKGROUND, INK, FRAME = (246, 246, 243), (32, 33, 36), (189, 193, 198)


def tiles(run: Path) -> list[tuple[str, Image.Image]]:
    """Return caption and picture of the four tiles: the image, its noisy copy, and the two certified maps."""
    palette, _ = previews.read_legend(run)
    image = Image.open(previews.image_path(run, KEY)).convert("RGB")
    noisy = Image.open(previews.noisy_path(run, KEY, SIGMA)).convert("RGB")
    found = [("an image", image), (f"one of the noisy copies that vote: sigma {SIGMA}", noisy)]
    for method, words in METHODS:
        made = file.load(run / "certificates" / method / f"sigma-{SIGMA}" / f"{KEY}.npz")
        coloured = colourise(made.prediction, palette, abstained=~made.certified)
        right = made.certified & (made.prediction == previews.read_labels(run, KEY))
        found.append((f"{words}: {np.mean(right):.0%} certified, and right", Image.fromarray(coloured)))
    return found


def sheet(found: list[tuple[str, Image.Image]]) -> Image.Image:
    """Return the tiles in two rows of two, under their captions."""
    font = ImageFont.load_default(19)
    wide, high = (ENLARGED * side for side in found[0][1].size)
    size = (2 * MARGIN + 2 * wide + GUTTER, 2 * MARGIN + 2 * (high + CAPTION))
    drawn = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(drawn)
    for place, (caption, tile) in enumerate(found):
        x = MARGIN + place % 2 * (wide + GUTTER)
        y = MARGIN + place // 2 * (high + CAPTION) + CAPTION - 8
        draw.text((x, y - 10), caption, fill=INK, font=font, anchor="ls")
        draw.rectangle((x - 1, y - 1, x + wide, y + high), outline=FRAME)
        drawn.paste(tile.resize((wide, high), Image.Resampling.NEAREST), (x, y))
    return drawn


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    picture = sheet(tiles(given.run)).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(given.target, optimize=True)
    print(given.target, picture.size, given.target.stat().st_size)


if __name__ == "__main__":
    main()
