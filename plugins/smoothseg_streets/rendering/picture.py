"""How a scene becomes an image and its labels: front to back, each sample of a pixel seen once.

Every pixel has 2 x 2 samples. Things are drawn from the nearest to the farthest; each takes the samples that are
still open and closes them, so hidden surfaces cost nothing. What can be seen through (railings, twigs) closes a
sample's label but leaves its colour open, and is laid over what lies behind at the end. A pixel's colour is the
mean of its samples; its label is the label of most of them, the rarer class where two are level.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from smoothseg_streets.labels import VOID
from smoothseg_streets.rendering.air import render_sky, render_skyline
from smoothseg_streets.rendering.canvas import Canvas, vote
from smoothseg_streets.rendering.crowns import render_crown
from smoothseg_streets.rendering.ground import render_ground
from smoothseg_streets.rendering.solids import render_solid
from smoothseg_streets.rendering.uprights import render_fence, render_wall
from smoothseg_streets.rendering.view import SAMPLES, View
from smoothseg_streets.scene import Crown, Fence, Film, Scene, Skyline, Solid, Wall

__all__ = ["render"]


def render(
    scene: Scene, *, height: int, width: int, sensor: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the scene's image, uint8 (height, width, 3), and labels, uint8 (height, width).

    sensor: source of the image noise, the only thing that depends on the size beyond sampling.
    """
    view = View.of(scene.camera, height=height * SAMPLES, width=width * SAMPLES)
    canvas = Canvas(height * SAMPLES, width * SAMPLES)
    _bonnet(canvas, view, scene.film)
    for thing in sorted(scene.things, key=lambda thing: thing.depth):
        match thing:
            case Wall():
                render_wall(canvas, view, thing, scene)
            case Fence():
                render_fence(canvas, view, thing, scene)
            case Crown():
                render_crown(canvas, view, thing, scene)
            case Solid():
                render_solid(canvas, view, thing, scene)
            case Skyline():
                render_skyline(canvas, view, thing, scene)
    render_ground(canvas, view, scene)
    render_sky(canvas, view, scene.light)
    canvas.close()
    return _develop(canvas, view, scene.film, sensor), vote(canvas.labels)


def _bonnet(canvas: Canvas, view: View, film: Film) -> None:
    """Draw the bonnet of the car the camera looks out of, if there is one: it belongs to no class."""
    if film.bonnet is None:
        return
    top, arch, lean = film.bonnet
    columns = np.linspace(-1.0, 1.0, view.width, dtype=np.float32)
    edge = (1.0 - top + arch * columns**2 + lean * columns) * view.height
    first = max(int(edge.min()), 0)
    rows = np.arange(first, view.height, dtype=np.float32)[:, None]
    at = np.flatnonzero(rows > edge[None, :]) + first * view.width
    below = (at // view.width - edge[at % view.width]) / view.height
    shade = np.float32(0.5) + np.float32(1.2) * np.exp(below * np.float32(-25.0))
    canvas.put(at, np.array(film.bonnet_colour, dtype=np.float32) * shade[:, None], VOID)


def _develop(canvas: Canvas, view: View, film: Film, sensor: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the image: the mean of each pixel's samples, through lens, exposure, sensor and gamma."""
    samples = canvas.colours
    image = (
        samples[0::2, 0::2] + samples[1::2, 0::2] + samples[0::2, 1::2] + samples[1::2, 1::2]
    ) * np.float32(0.25 * film.exposure)
    # What is brighter than the film can show is clipped before the lens spreads it too far.
    np.minimum(image, np.float32(1.6), out=image)
    sigma = film.blur * view.frame / SAMPLES
    if sigma > 0.25:
        image = ndimage.gaussian_filter(image, (sigma, sigma, 0.0), truncate=2.5)
    height, width = image.shape[:2]
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    corner = 1.0 - np.float32(film.vignette) * (x * x + y * y) * np.float32(0.5)
    image *= corner[:, :, None] * np.array(film.cast, dtype=np.float32)
    np.clip(image, 0.0, 1.0, out=image)
    image **= np.float32(film.gamma)
    grain = sensor.standard_normal(image.shape, dtype=np.float32)
    image += grain * np.float32(film.noise)
    return np.asarray(np.clip(image * 255.0 + 0.5, 0.0, 255.0), dtype=np.uint8)
