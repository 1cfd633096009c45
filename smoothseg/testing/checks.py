"""What every component must pass: the promises of the protocols, one named check each, and why each matters."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from smoothseg import networks
from smoothseg.certificates.certificate import Certificate, Verdict
from smoothseg.certificates.certifier import Certifier, Tally
from smoothseg.data import checks as core
from smoothseg.errors import DataError, PluginError
from smoothseg.protocols import Dataset, Denoiser, Sample, Segmenter
from smoothseg.smoothing.votes import Votes
from smoothseg.testing.toys import LabelDraw

__all__ = ["Check", "check_certifier", "check_dataset", "check_denoiser", "check_segmenter", "checks"]

_SIZES = ((24, 40), (33, 47))
"""Image sizes the checks use: one of round numbers, one odd; neither is square."""

_MOST_CALLS = 6
"""How many of a certifier's draws are singled out, one after the other, to see what each is used for."""

_LEVEL = 0.1
"""How often a false claim may come from chance at most: what is certified more easily is not tested at any level."""

_SIGMAS = (0.05, 0.25, 1.0)
"""Noise levels at which a certifier's radii are looked at; its votes are drawn at the second."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One promise of a protocol.

    name: a word. promise: what is checked, in a few. why: what would go wrong in a certificate if it were broken, a
    sentence or two. run: raises `AssertionError` with what was expected and what came, or whatever the component
    raises. vital: nothing else can be checked of a component that fails.
    """

    name: str
    promise: str
    why: str
    run: Callable[[], None]
    vital: bool = False

    def failure(self) -> str | None:
        """Return what was broken, in one line, or None if the promise is kept."""
        try:
            self.run()
        except AssertionError as error:
            return _first_line(error)
        except Exception as error:  # a component of others may raise anything; that is a finding, too
            return f"it raised {type(error).__name__}: {_first_line(error)}"
        return None


def checks(
    kind: str,
    component: Any,
    *,
    sigma: float = 0.25,
    atol: float = 0.0,
    device: torch.device | str = "cpu",
    samples: int = 3,
) -> tuple[Check, ...]:
    """Return the checks of a component of `kind` ('denoiser', 'segmenter', 'certifier', 'dataset'), in order.

    sigma: of the noise a denoiser is told, in [0, 1] pixel units. atol: how far a row of a denoiser or segmenter may
    differ between batch sizes; 0 asks for the same bits. device: where the component was loaded to. samples: how many
    of a dataset are read.
    """
    if kind == "denoiser":
        return _denoiser(component, sigma, atol, device)
    if kind == "segmenter":
        return _segmenter(component, atol, device)
    if kind == "certifier":
        return _certifier(component)
    if kind == "dataset":
        return _dataset(component, samples)
    raise ValueError(f"expected a kind of component, got {kind!r}")


def check_denoiser(
    denoiser: Denoiser, *, sigma: float = 0.25, atol: float = 0.0, device: torch.device | str = "cpu"
) -> None:
    """Assert the promises of `Denoiser`: shape, dtype, device, odd sizes, determinism, independence of rows.

    sigma: of the noise, in [0, 1] pixel units. atol: how far a row may differ between batch sizes; 0 asks for the
    same bits, which votes that do not depend on the batch size need. device: where the denoiser was loaded to.
    """
    _run(checks("denoiser", denoiser, sigma=sigma, atol=atol, device=device))


def check_segmenter(segmenter: Segmenter, *, atol: float = 0.0, device: torch.device | str = "cpu") -> None:
    """Assert the promises of `Segmenter`: shape, dtype, device, odd sizes, determinism, independence of rows.

    atol, device: as for `check_denoiser`.
    """
    _run(checks("segmenter", segmenter, atol=atol, device=device))


def check_certifier(certifier: Certifier) -> None:
    """Assert the promises of `Certifier`.

    It is handed label maps that always agree, ones that never do, and ones in which a single draw differs from all
    others; and counts of every height, each of which must be too rare by chance for the radius it is given. A claim
    whose counts chance gives in more than a tenth of all images is found; a level that is merely too generous is not:
    the promise of a certifier is proved, and no test replaces the proof.
    """
    _run(checks("certifier", certifier))


def check_dataset(dataset: Dataset, *, samples: int = 3) -> None:
    """Assert the promises of `Dataset` on its first `samples` samples."""
    _run(checks("dataset", dataset, samples=samples))


def _run(checks: tuple[Check, ...]) -> None:
    for check in checks:
        check.run()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no message").splitlines()[0]


def _protocol(component: Any, protocol: type[Any]) -> Check:
    def run() -> None:
        members = sorted(name for name in vars(protocol) if not name.startswith("_") or name in _CONTAINER)
        missing = [name for name in members if not hasattr(component, name)]
        assert not missing, (
            f"{type(component).__name__} is no smoothseg.{protocol.__name__}: it lacks {', '.join(missing)}"
        )

    why = "smoothseg calls a component by the names of its protocol and by no others."
    return Check("protocol", f"it has what smoothseg.{protocol.__name__} names", why, run, vital=True)


_CONTAINER = ("__len__", "__getitem__")


def _digests(component: Any) -> Check:
    def run() -> None:
        for name, digest in component.digests.items():
            right = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
            assert right, f"digest of {name}: expected 64 hexadecimal digits, got {digest!r}"

    why = "The digests go into every certificate and tell which weights it was made with."
    return Check("digests", "weight files are named by their sha256", why, run)


class _Rows:
    """What `apply(images, rows)` of a batch of three gives at each of `_SIZES`, computed when it is first asked for."""

    def __init__(
        self,
        apply: Callable[[torch.Tensor, slice], torch.Tensor],
        what: str,
        sigma: float,
        device: torch.device | str,
    ) -> None:
        self.apply = apply
        self.what = what
        self.images = [_noisy(size, sigma).to(device) for size in _SIZES]

    @functools.cached_property
    def together(self) -> list[torch.Tensor]:
        """The results of the whole batches."""
        results = [self.apply(images, slice(0, 3)) for images in self.images]
        for result in results:
            assert isinstance(result, torch.Tensor), (
                f"{self.what}: expected a tensor, got {type(result).__name__}"
            )
        return results

    def each(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Give each batch with its result."""
        return zip(self.images, self.together, strict=True)

    def checks(self, atol: float) -> tuple[Check, ...]:
        """Return the checks that denoisers and segmenters share: device, finite values, determinism, rows."""

        def device() -> None:
            for images, result in self.each():
                assert result.device == images.device, (
                    f"{self.what}: expected {images.device}, got {result.device}"
                )

        def finite() -> None:
            for images, result in self.each():
                wrong = result.numel() - int(torch.isfinite(result).sum())
                assert not wrong, f"{self._at(images)}: {wrong} of {result.numel()} values are not finite"

        def deterministic() -> None:
            for images, result in self.each():
                again = self.apply(images, slice(0, 3))
                assert torch.equal(again, result), (
                    f"{self._at(images)}: the same input gave another result the second time"
                )

        def rows() -> None:
            for images, result in self.each():
                for i in range(3):
                    alone = self.apply(images, slice(i, i + 1))
                    assert len(alone) == 1, f"{self._at(images)}: one row gave {len(alone)}"
                    worst = float((alone[0] - result[i]).abs().max())
                    assert worst <= atol, (
                        f"{self._at(images)}: row {i} depends on the batch it is in (by up to {worst:.3g}, expected "
                        f"at most {atol:g})"
                    )

        return (
            Check(
                "device",
                "results are on the device of the images",
                "Labels are counted where the images are.",
                device,
            ),
            Check(
                "finite",
                "every value is a finite number",
                "A pixel without a number has no likeliest class, and its vote means nothing.",
                finite,
            ),
            Check(
                "deterministic",
                "the same input gives the same result, bit for bit",
                "The base model is a fixed function of the noisy image: that is what the guarantee is about, and a run "
                "that is taken up again must count the same votes.",
                deterministic,
            ),
            Check(
                "rows",
                "row i depends on row i alone, whatever the batch",
                "The votes of an image are independent samples only if no sample sees another, and --batch-size must "
                "not change a count. Run a network on a fixed number of rows at a time (smoothseg.networks.in_rows).",
                rows,
            ),
        )

    def _at(self, images: torch.Tensor) -> str:
        return f"{self.what} at {tuple(images.shape[2:])}"


def _denoiser(denoiser: Denoiser, sigma: float, atol: float, device: torch.device | str) -> tuple[Check, ...]:
    seeds = [11, 12, 2**127 + 13]

    def apply(noisy: torch.Tensor, rows: slice) -> torch.Tensor:
        return denoiser.denoise(noisy[rows].clone(), sigma, seeds=seeds[rows])

    results = _Rows(apply, "denoise", sigma, device)

    def shape() -> None:
        for noisy, result in results.each():
            assert result.shape == noisy.shape, (
                f"denoise: expected shape {tuple(noisy.shape)}, got {tuple(result.shape)}"
            )

    def dtype() -> None:
        for _, result in results.each():
            assert result.dtype == torch.float32, f"denoise: expected float32, got {result.dtype}"

    return (
        _protocol(denoiser, Denoiser),
        _digests(denoiser),
        Check(
            "shape",
            "the estimate has the shape of the image, of any size",
            "Every pixel of the image needs its estimate, whatever the image's size.",
            shape,
            vital=True,
        ),
        Check("dtype", "the estimate is float32", "Segmenters are handed float32.", dtype),
        *results.checks(atol),
    )


def _segmenter(segmenter: Segmenter, atol: float, device: torch.device | str) -> tuple[Check, ...]:
    results = _Rows(lambda images, rows: segmenter.segment(images[rows].clone()), "segment", 0.1, device)

    def classes() -> None:
        names = segmenter.classes
        assert names, "classes is empty"
        plain = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
        assert plain, f"classes: expected a tuple of names, got {names!r}"
        assert len(set(names)) == len(names), f"classes has a name twice: {names}"

    def shape() -> None:
        for images, result in results.each():
            assert result.ndim == 4, f"segment: expected scores (B, C, h, w), got shape {tuple(result.shape)}"
            expected = (len(images), len(segmenter.classes))
            assert result.shape[:2] == expected, (
                f"segment: expected (B, C) = {expected}, got {tuple(result.shape[:2])}"
            )

    def dtype() -> None:
        for _, result in results.each():
            assert result.is_floating_point(), f"segment: expected floating point scores, got {result.dtype}"

    return (
        _protocol(segmenter, Segmenter),
        _digests(segmenter),
        Check(
            "classes",
            "the classes have names, each another",
            "A label is an index into the class names; they are compared with the dataset's.",
            classes,
        ),
        Check(
            "shape",
            "there is a score for every class",
            "Every class needs its score, in the order of the class names.",
            shape,
            vital=True,
        ),
        Check(
            "dtype",
            "scores are floating point",
            "Scores are brought to the image's size by interpolation.",
            dtype,
        ),
        *results.checks(atol),
    )


def _certifier(certifier: Certifier) -> tuple[Check, ...]:
    height, width, classes = 3, 5, 4
    constant = np.arange(height * width).reshape(height, width) % classes

    @functools.cache
    def agreeing() -> tuple[Certificate, int]:
        draw = LabelDraw(np.broadcast_to(constant, (certifier.samples, height, width)), classes=classes)
        return certifier.certify(draw), draw.drawn  # type: ignore[arg-type]

    @functools.cache
    def scattered() -> Certificate:
        generator = np.random.Generator(np.random.Philox(0))
        labels = generator.integers(0, classes, (certifier.samples, height, width))
        return certifier.certify(LabelDraw(labels, classes=classes))  # type: ignore[arg-type]

    def counted() -> None:
        assert certifier.counted in ("pixel", "pattern"), (
            f"counted is {certifier.counted!r}, not 'pixel' or 'pattern'"
        )

    def samples() -> None:
        certificate, drawn = agreeing()
        assert drawn <= certifier.samples, (
            f"certify drew {drawn} samples, more than the {certifier.samples} that `samples` says"
        )
        assert 1 <= certificate.trials <= drawn, (
            f"certify states {certificate.trials} trials, but drew {drawn} samples"
        )

    def predicts() -> None:
        certificate, _ = agreeing()
        assert isinstance(certificate, Certificate), (
            f"certify: expected a Certificate, got {type(certificate).__name__}"
        )
        assert (certificate.prediction == constant).all(), (
            "certify did not predict the only class that was ever seen"
        )
        assert (certificate.hits == certificate.trials).all(), (
            f"hits: expected {certificate.trials}, of as many trials that all agreed, "
            f"got {int(certificate.hits.min())} to {int(certificate.hits.max())}"
        )

    def abstains() -> None:
        wrong = int(scattered().certified.sum())
        assert not wrong, (
            f"certify certified pixels whose labels were drawn uniformly: {wrong} of {height * width}, expected 0"
        )

    def disjoint() -> None:
        certificate, drawn = agreeing()
        assert certificate.trials < drawn, (
            f"all {drawn} samples that certify drew are stated as trials: expected others that select the class"
        )
        first = _SingledOut(certifier.samples, (height, width), call=0)
        certifier.certify(first)  # type: ignore[arg-type]
        for call in range(min(first.calls, _MOST_CALLS)):
            draw = _SingledOut(certifier.samples, (height, width), call=call)
            result = certifier.certify(draw)  # type: ignore[arg-type]
            # Where the class was selected that no other draw has, this draw selected it and must not test it.
            tested = int(result.hits[result.prediction == 0].max(initial=0))
            assert draw.calls < 2 or not tested, (
                f"a class seen in draw {call + 1} alone was selected and has {tested} hits, expected 0: what selects "
                "a class must not test it"
            )

    def backed(sigma: float) -> None:
        trials = agreeing()[0].trials
        for hits in _counts(trials, (height, width), alike=certifier.counted == "pattern"):
            _assert_backed(certifier.decide(hits, trials, sigma=sigma), hits, trials, sigma)

    def radius() -> None:
        backed(_SIGMAS[1])

    def scales() -> None:
        for sigma in (_SIGMAS[0], _SIGMAS[2]):
            backed(sigma)
            labels = np.broadcast_to(constant, (certifier.samples, height, width))
            made = certifier.certify(LabelDraw(labels, classes=classes, sigma=sigma))  # type: ignore[arg-type]
            again = certifier.decide(made.hits, made.trials, sigma=sigma)
            assert np.isclose(made.radius, again.radius, equal_nan=True), (
                f"certify at sigma {sigma:g}: expected the radius {again.radius:g} that decide gives for it, got "
                f"{made.radius:g}"
            )

    def decides() -> None:
        for result in (agreeing()[0], scattered()):
            again = certifier.decide(result.hits, result.trials, sigma=0.25)
            assert isinstance(again, Verdict), f"decide: expected a Verdict, got {type(again).__name__}"
            assert (again.certified == result.certified).all(), (
                "decide contradicts certify on the same counts"
            )
            assert np.isclose(again.radius, result.radius, equal_nan=True), (
                f"decide gives another radius than certify: expected {result.radius:g}, got {again.radius:g}"
            )

    return (
        _protocol(certifier, Certifier),
        Check(
            "counted",
            "it says what it counts, pixels or patterns",
            "Counts of pixels and of whole label maps must never be taken for each other.",
            counted,
        ),
        Check(
            "predicts",
            "what all samples say is what is predicted",
            "What is certified must be what the smoothed model says.",
            predicts,
            vital=True,
        ),
        Check(
            "samples",
            "it draws no more samples than it says",
            "The cost of a run, and what `smoothseg verify` accepts, follow from it.",
            samples,
        ),
        Check(
            "abstains",
            "labels drawn at random are not certified",
            "A certified pixel without a clear vote is a false guarantee.",
            abstains,
        ),
        Check(
            "decides",
            "the counts alone give the same verdict again",
            "`smoothseg verify` must come to the stored verdict from the stored counts.",
            decides,
        ),
        Check(
            "disjoint",
            "no sample that selected a class tests it",
            "A class that is selected for its votes has many of them by chance: tested on the same samples, it passes "
            "more often than the certificate says.",
            disjoint,
        ),
        Check(
            "radius",
            "a radius is given to counts that chance seldom makes",
            "The radius R says that the class has a probability above Phi(R / sigma). If counts like these are common "
            "at that probability, they do not show it, and the guarantee is false.",
            radius,
        ),
        Check(
            "scales",
            "a radius goes by the sigma of the noise that was drawn",
            "The same counts under half the noise guarantee half the radius.",
            scales,
        ),
    )


class _SingledOut:
    """A draw of two classes in which one call of it gives class 0 alone and every other call class 1 alone.

    calls: how many there were so far. The rest is as in `smoothseg.smoothing.sampling.Draw`.
    """

    sigma = _SIGMAS[1]

    def __init__(self, samples: int, size: tuple[int, int], *, call: int) -> None:
        self.size = size
        self.calls = 0
        self.drawn = 0
        self._samples = samples
        self._call = call

    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        if self.drawn + n > self._samples:
            raise ValueError(
                f"{self.drawn + n} samples asked for, more than the {self._samples} that `samples` says"
            )
        tally = Votes(2, self.size, capacity=n) if into is None else into
        tally.add(torch.full((n, *self.size), int(self.calls != self._call)))
        self.calls += 1
        self.drawn += n
        return tally


def _counts(trials: int, size: tuple[int, int], *, alike: bool) -> Iterator[npt.NDArray[np.int32]]:
    """Give hits (H, W) of all heights: the same at every pixel, and, unless `alike`, at one pixel of a sure image."""
    for count in np.unique(np.linspace(trials // 2, trials, 33).round().astype(np.int32)):
        hits = np.full(size, count, dtype=np.int32)
        yield hits
        if not alike:
            hits = np.full(size, trials, dtype=np.int32)
            hits[0, 0] = count
            yield hits


def _assert_backed(verdict: Verdict, hits: npt.NDArray[np.int32], trials: int, sigma: float) -> None:
    """Assert that each certified pixel's hits are seldom at the probability that its radius says is exceeded."""
    if not verdict.certified.any():
        return
    radii = np.broadcast_to(verdict.radius if verdict.radii is None else verdict.radii, hits.shape)
    counts, claims = hits[verdict.certified], radii[verdict.certified].astype(np.float64)
    assert np.isfinite(claims).all(), f"a certified pixel has the radius {claims[~np.isfinite(claims)][0]}"
    # Radii of single precision may be a little below the one they were rounded from.
    assert verdict.radius <= claims.min() * (1 + 1e-6), (
        f"the radius of the image, {verdict.radius:g}, is above that of a certified pixel, {claims.min():g}"
    )
    probabilities = stats.norm.cdf(claims / sigma)
    chances = stats.binom.sf(counts - 1, trials, probabilities)
    worst = int(chances.argmax())
    assert chances[worst] <= _LEVEL, (
        f"{counts[worst]} of {trials} hits are certified within {claims[worst]:.4g} at sigma {sigma:g}, which says "
        f"that the class has a probability above {probabilities[worst]:.4g}; at that probability so many hits come "
        f"up in {chances[worst]:.0%} of all images, expected at most {_LEVEL:.0%}"
    )


class _Part:
    """A dataset without samples and classes, but for what is given: to look at one thing that it promises."""

    def __init__(self, **given: Any) -> None:
        self.keys = given.get("keys", ())
        self.classes = given.get("classes", ())
        self.palette = given.get("palette", ())
        self.ignore = given.get("ignore", 255)
        self._length = given.get("length", 0)

    def __len__(self) -> int:
        return int(self._length)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the core refuses before a run into a broken promise."""
    try:
        yield
    except (PluginError, DataError) as error:
        raise AssertionError(_first_line(error)) from None


def _dataset(dataset: Dataset, samples: int) -> tuple[Check, ...]:
    part = type(type(dataset).__name__, (_Part,), {})  # the core's messages name the dataset's class

    def keys() -> None:
        with _refusals():
            core.check_dataset(part(keys=dataset.keys, length=len(dataset)))

    def legend() -> None:
        with _refusals():
            core.check_dataset(
                part(classes=dataset.classes, palette=dataset.palette, ignore=dataset.ignore),
            )

    @functools.cache
    def first() -> list[Sample]:
        return [dataset[index] for index in range(min(samples, len(dataset)))]

    def images() -> None:
        for index, sample in enumerate(first()):
            with _refusals():
                core.check_sample(dataclasses.replace(sample, labels=None), dataset.keys[index], dataset)

    def deterministic() -> None:
        for index, sample in enumerate(first()):
            again = dataset[index]
            assert np.array_equal(sample.image, again.image), (
                f"{sample.key}: reading it twice gives two images"
            )
            if sample.labels is None or again.labels is None:
                same = sample.labels is again.labels
            else:
                same = np.array_equal(sample.labels, again.labels)
            assert same, f"{sample.key}: reading it twice gives two label maps"

    def labels() -> None:
        for sample in first():
            with _refusals():
                core.check_sample(sample, sample.key, dataset)

    return (
        _protocol(dataset, Dataset),
        Check(
            "keys",
            "keys are unique and fit for file names",
            "A certificate is filed under its image's key, and the key seeds its noise.",
            keys,
        ),
        Check(
            "legend",
            "every class has a colour, and ignore is no class",
            "Labels are looked up in the classes and drawn in the palette.",
            legend,
        ),
        Check(
            "images",
            "images are 8-bit RGB under their keys",
            "Noise is added to 8-bit RGB, and sigma and radius are in units of its range.",
            images,
            True,
        ),
        Check(
            "deterministic",
            "reading a sample twice gives the same",
            "A certificate is about one image, and a run that goes on must find it.",
            deterministic,
        ),
        Check(
            "labels",
            "labels are classes or ignore, a value a pixel",
            "Accuracy and IoU compare the prediction with them, pixel by pixel.",
            labels,
        ),
    )


def _noisy(size: tuple[int, int], sigma: float) -> torch.Tensor:
    """Return three noisy images (3, 3, H, W), each another gradient."""
    rows, columns = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
    clean = torch.stack([rows * columns, (rows + columns) / 2, (1 - rows) * columns])
    return clean[:, None] + sigma * networks.standard_normal([1, 2, 3], (3, *size))
