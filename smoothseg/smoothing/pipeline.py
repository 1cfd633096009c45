"""From one image to one certificate: the base model, the certifier, and the provenance in the certificate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from smoothseg.certificates import recheck
from smoothseg.certificates.certificate import Certificate
from smoothseg.certificates.certifier import Certifier, Sequential
from smoothseg.certificates.digests import sample_digests
from smoothseg.certificates.hierarchy import hierarchy_of, names_of
from smoothseg.certificates.stopping import Look, without
from smoothseg.components import loading
from smoothseg.components.blaming import blamed
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, PluginError
from smoothseg.files import plain
from smoothseg.protocols import Sample
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.kinds import ALGORITHMS
from smoothseg.smoothing.noise import NoisyImage, unit
from smoothseg.smoothing.sampling import BatchSize, Draw
from smoothseg.smoothing.stop import Stop

__all__ = ["Description", "Pipeline", "check_sequential"]


@dataclasses.dataclass(frozen=True)
class Description:
    """The provenance of a certificate, as JSON values.

    denoiser, segmenter, certifier: name and options of each. plugins: the owner of each, by kind. method: the name of
    their combination. dataset: name and options, None for images without a dataset. device, versions: as computed.
    stops: the options of the certifier that only say when it stops.
    """

    denoiser: Mapping[str, Any]
    segmenter: Mapping[str, Any]
    certifier: Mapping[str, Any]
    plugins: Mapping[str, str]
    method: str
    dataset: Mapping[str, Any] | None
    device: str
    versions: Mapping[str, str]
    stops: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        recipes: Mapping[str, Any],
        *,
        method: str,
        dataset: Any,
        device: str,
        versions: Mapping[str, str],
    ) -> Description:
        """Return the description of registered recipes, by kind, and of the dataset's, None if there is none."""
        registries = plugins()
        return cls(
            **{kind: registries[kind].describe(recipe) for kind, recipe in recipes.items()},
            plugins={kind: loading.owner(kind, recipe) for kind, recipe in recipes.items()},
            method=method,
            dataset=None if dataset is None else registries["dataset"].describe(dataset),
            device=device,
            versions=versions,
            stops=tuple(getattr(recipes["certifier"], "stops", ())),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
    """A base model and a certifier, fitted to its classes, on one device.

    noise: its kind, see `noise.py`. seed: of the noise.
    """

    model: BaseModel
    certifier: Certifier
    description: Description
    noise: str
    seed: int
    device: torch.device

    @property
    def names(self) -> tuple[str, ...]:
        """What the indices of a prediction mean: the segmenter's classes, and behind them the certifier's groups."""
        return names_of(self.certifier, self.model.segmenter.classes)

    def certify(
        self,
        sample: Sample,
        *,
        sigma: float,
        batch_size: int | BatchSize = 1,
        progress: Callable[[int], None] | None = None,
        looked: Callable[[Look], object] | None = None,
        stop: Stop | None = None,
        before: Certificate | None = None,
    ) -> Certificate:
        """Return the certificate of `sample` under noise `sigma` ([0, 1] pixel units), with its provenance.

        The noise depends only on `seed`, `sample.key` and the sample's number. batch_size: noise samples
        labelled at once; it changes no count. progress: called with the number of noise samples just labelled.

        Of a certifier that may stop at any time: looked receives what is certified after each block of samples, and
        asks it to stop by returning True; others ask by `stop`. before: a certificate that goes on where it stopped.

        Raises `PluginError` if the networks label a noisy image otherwise before and after: then they are not one
        function, and nothing is guaranteed. Raises `ConfigError` if `before` cannot go on here.
        """
        if before is not None:
            self.check_continues(before, sample, sigma)
        labelled = self._labelled(sample, sigma)
        draw = Draw(
            self.model,
            sample.image,
            sample.key,
            sigma=sigma,
            seed=self.seed,
            noise=self.noise,
            batch_size=batch_size,
            device=self.device,
            first=0 if before is None else before.provenance["samples"],
            progress=progress,
            looked=looked,
            stop=stop,
        )
        with blamed("certifier", str(self.description.certifier["name"])):
            if before is None:
                result = self.certifier.certify(draw)
            else:
                assert isinstance(self.certifier, Sequential)
                result = self.certifier.resume(draw, before)
        self._check_certified(result, sample, draw.drawn)
        self._check_unchanged(sample, sigma, labelled)
        return dataclasses.replace(
            result, clean=self.clean(sample), provenance=self._provenance(sample, sigma, draw.drawn)
        )

    def _copies(self, sample: Sample, sigma: float) -> NoisyImage:
        return NoisyImage(
            sample.image, sample.key, sigma=sigma, seed=self.seed, kind=self.noise, device=self.device
        )

    def _labelled(self, sample: Sample, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the estimate and the labels of the first noisy copy of `sample`."""
        copies = self._copies(sample, sigma)
        return self.model.labelled(copies.samples([0]), sigma, seeds=copies.seeds([0]))

    def _check_unchanged(
        self, sample: Sample, sigma: float, before: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        """Raise `PluginError` if the first noisy copy of `sample` is not labelled as `before`."""
        estimate, labels = self._labelled(sample, sigma)
        if torch.equal(labels, before[1]):
            return
        kind, told = "segmenter", self.description.segmenter
        if not torch.equal(estimate, before[0]):
            kind, told = "denoiser", self.description.denoiser
        apart = 100 * float((labels != before[1]).float().mean())
        raise PluginError(
            f"the {kind} {told['name']} gave one noisy image of {sample.key} another answer after the certificate than "
            f"before ({apart:.2g} % of the labels): it is no function of the image, and nothing is guaranteed"
        )

    def _check_certified(self, result: object, sample: Sample, drawn: int) -> None:
        """Raise `PluginError` unless the certifier returned a certificate of this image and these samples."""
        who, size = f"the certifier {self.description.certifier['name']}", sample.image.shape[:2]
        if not isinstance(result, Certificate):
            raise PluginError(f"{who} returned {type(result).__name__}, expected a Certificate")
        if result.prediction.shape != size:
            raise PluginError(f"{who} returned a prediction {result.prediction.shape}, expected {size}")
        for name, array, kind in (
            ("prediction", result.prediction, np.integer),
            ("hits", result.hits, np.integer),
            ("certified", result.certified, np.bool_),
        ):
            if not np.issubdtype(array.dtype, kind):
                raise PluginError(f"{who} returned {name} of {array.dtype}, expected {kind.__name__}")
        lowest, highest = int(result.prediction.min()), int(result.prediction.max())
        if lowest < 0 or highest >= len(self.names):
            raise PluginError(f"{who} predicted classes {lowest} to {highest} of {len(self.names)}")
        if not 1 <= result.trials <= drawn:
            raise PluginError(f"{who} states {result.trials} trials, it drew {drawn} samples")

    def check_continues(self, before: Certificate, sample: Sample, sigma: float) -> None:
        """Raise `ConfigError` unless the certificate `before` can go on with further noise samples here.

        Everything that determines its counts must be as it was; only the rules for stopping may differ.
        """
        told = self.description
        check_sequential(told.certifier["name"], self.certifier, told.stops)
        drawn = before.provenance.get("samples", 0)
        if drawn > self.certifier.samples:
            raise ConfigError(
                f"the certificate of {sample.key} has {drawn} samples already, more than the {self.certifier.samples} "
                "of these rules"
            )
        there = _comparable(before.provenance, told.stops)
        here = _comparable(self._provenance(sample, sigma, 0), told.stops)
        # A package that was not installed then had no effect on the results.
        known = there.get("versions", {})
        here["versions"] = {name: version for name, version in here["versions"].items() if name in known}
        for name in dict.fromkeys(("image", "sigma", "seed", *there, *here)):
            if there.get(name) != here.get(name):
                raise ConfigError(
                    f"the certificate of {sample.key} cannot go on: {name} is {there.get(name)!r} there and "
                    f"{here.get(name)!r} here"
                )
        recheck.verify(before, self.certifier)

    def labels(self, sample: Sample, *, sigma: float, samples: Sequence[int]) -> np.ndarray[Any, Any]:
        """Return the labels (n, H, W) of the noise samples with the numbers `samples`, one after the other."""
        copies = self._copies(sample, sigma)
        labels = [
            self.model.predict(copies.samples([number]), sigma, seeds=copies.seeds([number]))
            for number in samples
        ]
        return torch.cat(labels).cpu().numpy()

    def clean(self, sample: Sample) -> np.ndarray[Any, Any]:
        """Return the labels (H, W) of the image itself, without noise and denoiser: the usual prediction."""
        image = torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1))).to(self.device)
        return self.model.clean(unit(image)[None])[0].cpu().numpy()

    def first(self, sample: Sample, *, sigma: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return the first noise sample and the denoiser's estimate, (h, w, 3) floats about [0, 1] each."""
        copies = self._copies(sample, sigma)
        noisy = copies.samples([0])
        estimate = self.model.denoised(noisy, sigma, seeds=copies.seeds([0]))
        return _photo(noisy), _photo(estimate)

    def _provenance(self, sample: Sample, sigma: float, drawn: int) -> dict[str, Any]:
        model, told, hierarchy = self.model, self.description, hierarchy_of(self.certifier)
        height, width = sample.image.shape[:2]
        return {
            "image": {
                "key": sample.key,
                "sha256": sample_digests(sample)["image"],
                "height": height,
                "width": width,
            },
            "dataset": None if told.dataset is None else dict(told.dataset),
            "classes": list(self.names),
            **({} if hierarchy is None else {"levels": [list(level) for level in hierarchy.levels]}),
            "method": told.method,
            "denoiser": dict(told.denoiser),
            "segmenter": dict(told.segmenter),
            "certifier": dict(told.certifier),
            "weights": {
                "denoiser": dict(model.denoiser.digests),
                "segmenter": dict(model.segmenter.digests),
            },
            "geometry": {
                **dataclasses.asdict(model.geometry),
                "sigma_told": model.geometry.sigma_told(sigma, height, width),
            },
            "sigma": sigma,
            "seed": self.seed,
            "noise": ALGORITHMS[self.noise],
            "samples": drawn,
            "device": told.device,
            "threads": torch.get_num_threads(),
            "counted": self.certifier.counted,
            "plugins": dict(told.plugins),
            "versions": dict(told.versions),
        }


def _photo(images: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return the first of (B, 3, H, W) images as (H, W, 3)."""
    return images[0].permute(1, 2, 0).float().cpu().numpy()


def check_sequential(name: str, certifier: Certifier, stops: Collection[str]) -> None:
    """Raise `ConfigError` unless certificates of the certifier `name` may go on. stops: of its recipe."""
    if not isinstance(certifier, Sequential) or not stops:
        raise ConfigError(
            f"{name} decides once, after the samples that were chosen beforehand: to draw more after its verdict "
            "is not valid at the same alpha; certificates of anytime can go on"
        )


def _comparable(provenance: Mapping[str, Any], stops: Collection[str]) -> dict[str, Any]:
    """Return what must not differ between a certificate and the one that goes on from it, as JSON gives it."""
    left = {name: value for name, value in provenance.items() if name != "samples"}
    left["certifier"] = without(left["certifier"], stops)
    found: dict[str, Any] = plain(left)
    return found
