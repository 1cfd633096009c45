"""No perturbation inside the radius, random or made to do harm, breaks a bound of a street scene.

The smoothed model at a perturbed image can only be sampled: a pixel counts as changed where the votes say so beyond
doubt, at a level shared by all pixels and perturbations.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from smoothseg import networks
from smoothseg.certificates import bounds
from smoothseg.components.plugins import plugins
from smoothseg.smoothing import geometry
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.sampling import Draw
from smoothseg_hrnet import segmenter as hrnet

SIGMA, TRIALS, AGAIN, RANDOM, GRADIENT = 0.1, 40, 400, 200, 20


def smoothed(network, image, noise):
    """Return the votes (N, H, W) of the base model on `image` (3, H, W) under `noise` (N, 3, H, W)."""
    return base(network, image + noise).argmax(1)


def base(network, noisy):
    """Return the scores of the base model at half the resolution, upsampled, differentiably."""
    size = noisy.shape[-2] // 2, noisy.shape[-1] // 2
    scores = network(networks.resize(noisy, size))
    return functional.interpolate(scores, size=noisy.shape[-2:], mode="bilinear", align_corners=False)


@pytest.mark.slow
def test_no_perturbation_within_the_radius_breaks_a_bound_of_a_street_scene():
    torch.manual_seed(0)
    registries = plugins()
    dataset = registries["dataset"].recipe("streets:count=1,height=96,width=128").load()
    sample = dataset[0]
    segmenter = registries["segmenter"].recipe("hrnet").load("cpu")
    model = BaseModel(
        registries["denoiser"].recipe("identity").load("cpu"), segmenter, geometry.Geometry(0.5)
    )
    holm = registries["certifier"].recipe("holm:n=200").load()
    made = holm.certify(Draw(model, sample.image, sample.key, sigma=SIGMA, seed=0, batch_size=20))
    network = hrnet.read("streets", width="w18-small", classes=None)[0].eval().requires_grad_(False)
    labels = sample.labels
    found = bounds.bounds(
        made.prediction,
        made.certified,
        dataset.classes,
        radius=made.radius,
        labels=labels,
        ignore=dataset.ignore,
    )
    # Not vacuous: more than half of the image is guaranteed to be right.
    assert found.accuracy > 0.5
    assert found.mean_iou > 0.1
    assert max(one.iou or 0 for one in found.classes) > 0.4

    image = torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1))).float() / 255
    target = torch.from_numpy(made.prediction.astype(np.int64))
    certified = torch.from_numpy(made.certified)
    generator = torch.Generator().manual_seed(1)
    length = 0.999 * made.radius
    deltas = []
    for index in range(RANDOM):
        delta = torch.randn(image.shape, generator=generator)
        if index % 2:  # smooth ones reach the network through the resizing, white ones hardly do
            coarse = torch.randn((1, 3, 6, 8), generator=generator)
            delta = functional.interpolate(
                coarse, size=image.shape[-2:], mode="bicubic", align_corners=False
            )[0]
        deltas.append(length * delta / delta.norm())

    def attack(length, aim, steps=8):
        """Return a perturbation of l2 norm `length` that takes certainty from the pixels of `aim`."""
        delta = 1e-3 * torch.randn(image.shape, generator=generator)
        for _ in range(steps):
            delta.requires_grad_(True)
            noise = SIGMA * torch.randn((8, *image.shape), generator=generator)
            scores = base(network, image + delta + noise)
            loss = functional.cross_entropy(scores, target.expand(8, -1, -1), reduction="none")
            (gradient,) = torch.autograd.grad(loss[:, aim].mean(), delta)
            delta = delta.detach() + 0.5 * length * gradient / gradient.norm()
            delta = delta * min(1.0, length / float(delta.norm()))
        return length * delta / delta.norm()

    for index in range(GRADIENT):
        rows = torch.arange(96) // 24 == index % 4  # each goes for a part of the certified pixels, or for all
        deltas.append(
            attack(length, certified & (rows[:, None] if index < 16 else torch.ones_like(certified)))
        )

    def after(delta):
        """Return the smoothed model's segmentation of the perturbed image, and its certified pixels that changed.

        A certified pixel that has few hits is sampled again, and counts as changed where a majority for its class is
        beyond doubt no longer there.
        """
        votes = smoothed(
            network, image + delta, SIGMA * torch.randn((TRIALS, *image.shape), generator=generator)
        )
        seen = votes.mode(0).values
        doubtful = certified & ((votes == target).sum(0) < 0.75 * TRIALS)
        changed = torch.zeros_like(certified)
        if doubtful.any():
            hits = torch.zeros_like(target)
            for _ in range(AGAIN // 20):
                noise = SIGMA * torch.randn((20, *image.shape), generator=generator)
                hits += (smoothed(network, image + delta, noise) == target).sum(0)
            changed = doubtful & (hits < stats.binom.ppf(1e-9, AGAIN, 0.5))
        seen[certified & ~changed] = target[certified & ~changed]
        return seen.numpy(), changed

    fixed = SIGMA * torch.randn((20, *image.shape), generator=generator)

    def sureness(delta):
        """Return the mean probability of the prediction at certified pixels, under noise that is always the same."""
        shares = base(network, image + delta + fixed).softmax(1)
        return float(shares.gather(1, target.expand(20, 1, -1, -1))[:, 0, certified].mean())

    def holds(seen):
        """Tell whether the segmentation `seen` keeps to every bound."""
        reached = bounds.bounds(
            seen,
            np.ones_like(made.certified),
            dataset.classes,
            radius=0.0,
            labels=labels,
            ignore=dataset.ignore,
        )
        kept = reached.accuracy >= found.accuracy and reached.mean_iou >= found.mean_iou
        for before, one in zip(found.classes, reached.classes, strict=True):
            kept &= before.pixels_at_least <= one.pixels_at_least <= before.pixels_at_most
            for name in ("iou", "dice", "recall"):
                low = getattr(before, name)
                kept &= low is None or getattr(one, name) >= low
        return kept

    with torch.inference_mode():
        untouched = sureness(torch.zeros_like(image))
        harm = []
        for delta in deltas:
            assert float(delta.norm()) < made.radius
            seen, changed = after(delta)
            assert not changed.any()
            assert holds(seen)
            harm.append(untouched - sureness(delta))
    # The attacks are attacks: those by gradient take more certainty away than any random one,
    assert np.mean(harm[RANDOM:]) > 2 * np.max(harm[:RANDOM])
    # and far outside the radius one is caught.
    seen, changed = after(attack(60 * made.radius, certified).detach())
    assert changed.any()
    assert not holds(seen)
