"""Certifiers of SegCertify (Fischer et al., ICML 2021): three corrections for many pixels and two naive baselines.

And that of AdaptiveCertify (Anani et al., ICML 2024), which certifies groups of classes where single ones are unsure.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar, Literal

import smoothseg

if TYPE_CHECKING:
    from smoothseg_segcertify.anytime import Anytime
    from smoothseg_segcertify.certifiers import FixedTau, NaivePattern, NaivePixel, SeveralTau
    from smoothseg_segcertify.hierarchies import HierarchicalSelection
    from smoothseg_segcertify.one_draw import OneDraw

__all__ = [
    "AnytimeRecipe",
    "BonferroniRecipe",
    "HierarchicalAnytimeRecipe",
    "HierarchicalRecipe",
    "HolmRecipe",
    "KFWERRecipe",
    "NaivePatternRecipe",
    "NaivePixelRecipe",
]


@dataclasses.dataclass(frozen=True)
class HolmRecipe:
    """SegCertify: every pixel tested against tau, Holm's step-down over the image.

    With probability at least 1 - alpha over the noise samples, all certified pixels of the image together have
    the predicted class as the smoothed model's, under every perturbation of l2 norm at most sigma * PhiInv(tau).
    Nothing is assumed about how pixels depend on each other. The family is one image, every pixel of it.

    With `taus` the pixels are tested against several tau at once, and each has the radius sigma * PhiInv(tau) of the
    largest it passes: with the same probability every pixel with a radius keeps its class under every perturbation of
    at most that l2 norm. The largest tau certifies what it would alone; one sampling gives the whole curve.

    With `n0=0` all samples test, and the class of a pixel is the most frequent one among them. The promise is the same:
    a certified class needs more than half of the samples, and the thresholds allow for the choice.

    Source: Fischer, Baader and Vechev, "Scalable Certified Segmentation via Randomized Smoothing" (ICML 2021),
    section 5; Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).
    """

    n0: int = smoothseg.option(10, "noise samples that select the class of each pixel; 0: those that test it")
    n: int = smoothseg.option(100, "further noise samples that test the selected class")
    alpha: float = smoothseg.option(0.001, "probability that the guarantee of an image is wrong")
    tau: float = smoothseg.option(0.75, "probability the class must exceed; sets the radius")
    taus: tuple[float, ...] | None = smoothseg.option(
        None, "several tau, tested together, instead of one: a radius a pixel; e.g. 0.6,0.75,0.9"
    )

    def load(self) -> FixedTau | SeveralTau | OneDraw:
        """Return the certifier; raise `ConfigError` for an option out of range."""
        _check_options(self.n0, self.n, self.alpha, self.tau, least_n0=0)
        from smoothseg_segcertify import certifiers, one_draw, same_samples, statistics

        if self.n0 == 0:
            if self.taus is not None:
                raise smoothseg.ConfigError(
                    "certifier option taus needs n0 of at least 1: with n0=0 only one tau is proven"
                )
            return one_draw.OneDraw(0, self.n, self.alpha, self.tau, same_samples.holm_threshold)
        if self.taus is None:
            return certifiers.FixedTau(self.n0, self.n, self.alpha, self.tau, statistics.holm_threshold)
        for tau in self.taus:
            _check_options(self.n0, self.n, self.alpha, tau)
        return certifiers.SeveralTau(self.n0, self.n, self.alpha, _ascending(self.tau, self.taus))


@dataclasses.dataclass(frozen=True)
class BonferroniRecipe:
    """Every pixel tested against tau at level alpha / pixels.

    With probability at least 1 - alpha over the noise samples, all certified pixels of the image together have
    the predicted class as the smoothed model's, under every perturbation of l2 norm at most sigma * PhiInv(tau).
    Whatever this certifies, `holm` certifies too, under the same guarantee. `n0=0` is as there.

    Source: Fischer, Baader and Vechev (ICML 2021), section 5.
    """

    n0: int = smoothseg.option(10, "noise samples that select the class of each pixel; 0: those that test it")
    n: int = smoothseg.option(100, "further noise samples that test the selected class")
    alpha: float = smoothseg.option(0.001, "probability that the guarantee of an image is wrong")
    tau: float = smoothseg.option(0.75, "probability the class must exceed; sets the radius")

    def load(self) -> FixedTau | OneDraw:
        """Return the certifier; raise `ConfigError` for an option out of range."""
        _check_options(self.n0, self.n, self.alpha, self.tau, least_n0=0)
        from smoothseg_segcertify import certifiers, one_draw, same_samples, statistics

        if self.n0 == 0:
            return one_draw.OneDraw(0, self.n, self.alpha, self.tau, same_samples.bonferroni_threshold)
        return certifiers.FixedTau(self.n0, self.n, self.alpha, self.tau, statistics.bonferroni_threshold)


@dataclasses.dataclass(frozen=True)
class KFWERRecipe:
    """Every pixel tested against tau, up to k - 1 wrong pixels tolerated (Lehmann and Romano's step-down).

    With probability at least 1 - alpha over the noise samples, at most k - 1 of the certified pixels of the
    image are wrong: all others have the predicted class as the smoothed model's, under every perturbation of l2
    norm at most sigma * PhiInv(tau). With k = 1 this is `holm`.

    Source: Lehmann and Romano, "Generalizations of the Familywise Error Rate" (Annals of Statistics, 2005),
    theorem 2.2. The rule SegCertify publishes under this name has larger thresholds, which that theorem does not
    cover for k > 1.
    """

    n0: int = smoothseg.option(10, "noise samples that select the class of each pixel")
    n: int = smoothseg.option(100, "further noise samples that test the selected class")
    alpha: float = smoothseg.option(0.001, "probability that the guarantee of an image is wrong")
    tau: float = smoothseg.option(0.75, "probability the class must exceed; sets the radius")
    k: int = smoothseg.option(5, "number of wrong pixels that must not be reached")

    @property
    def tolerates(self) -> int:
        """k - 1: how many certified pixels of an image may be wrong."""
        return self.k - 1

    def load(self) -> FixedTau:
        """Return the certifier; raise `ConfigError` for an option out of range."""
        _check_options(self.n0, self.n, self.alpha, self.tau)
        if self.k < 1:
            raise smoothseg.ConfigError(f"certifier option k must be at least 1, got {self.k}")
        import functools

        from smoothseg_segcertify import certifiers, statistics

        threshold = functools.partial(statistics.kfwer_threshold, k=self.k)
        return certifiers.FixedTau(self.n0, self.n, self.alpha, self.tau, threshold, k=self.k)


@dataclasses.dataclass(frozen=True)
class _Levels:
    """The options of certifiers that certify unsure pixels as groups of classes."""

    hierarchy: str = smoothseg.option("cityscapes", "cityscapes, camvid, pascal-context, or a YAML file")
    thresholds: tuple[float, ...] = smoothseg.option(
        (0.0, 0.0, 0.25), "ascending, one for each level above the classes, that of the coarsest first"
    )
    temperature: float = smoothseg.option(1.335, "what scores are divided by before the softmax")
    unsure: Literal["posterior", "votes"] = smoothseg.option(
        "posterior", "what the difference is of: mean softmax of the scores, or shares of the votes"
    )

    def _selection(self) -> HierarchicalSelection:
        from smoothseg_segcertify.hierarchies import HierarchicalSelection

        return HierarchicalSelection(
            self.hierarchy, self.thresholds, temperature=self.temperature, unsure=self.unsure
        )


@dataclasses.dataclass(frozen=True)
class HierarchicalRecipe(_Levels):
    """AdaptiveCertify: unsure pixels tested as a group of classes, such as `vehicle`, all others as a class.

    With probability at least 1 - alpha over the noise samples, all certified pixels of the image together have the
    class or the group that is shown as the smoothed model's at their level of the hierarchy, under every perturbation
    of l2 norm at most sigma * PhiInv(tau). A pixel's level depends on the n0 selecting samples alone: it is the number
    of `thresholds` that the difference of the two largest class probabilities does not exceed.

    The thresholds and the temperature are those published for Cityscapes; the published test is `bonferroni`.

    Source: Anani, Lorenz, Schiele and Fritz, "Adaptive Hierarchical Certification for Segmentation using Randomized
    Smoothing" (ICML 2024). The published code looks up the hits in n samples in the distribution of
    n - n0, which certifies pixels that the test refuses.
    """

    n0: int = smoothseg.option(10, "noise samples that select level and class of each pixel")
    n: int = smoothseg.option(100, "further noise samples that test the selected class or group")
    alpha: float = smoothseg.option(0.001, "probability that the guarantee of an image is wrong")
    tau: float = smoothseg.option(0.75, "probability the class or group must exceed; sets the radius")
    test: Literal["holm", "bonferroni"] = smoothseg.option("holm", "correction for many pixels")

    def load(self) -> FixedTau:
        """Return the certifier, which reads its hierarchy when it is fitted; raise `ConfigError` for an option."""
        _check_options(self.n0, self.n, self.alpha, self.tau)
        from smoothseg_segcertify import certifiers, statistics

        threshold = statistics.holm_threshold if self.test == "holm" else statistics.bonferroni_threshold
        return certifiers.FixedTau(
            self.n0, self.n, self.alpha, self.tau, threshold, selection=self._selection()
        )


@dataclasses.dataclass(frozen=True)
class NaivePixelRecipe:
    """Baseline: a lower confidence bound a pixel at level alpha / pixels, and a radius from it.

    With probability at least 1 - alpha over the noise samples, all certified pixels of the image together have
    the predicted class as the smoothed model's, under every perturbation of l2 norm at most

    - their own radius sigma * PhiInv(lower bound), for `radius=own`; a bound of 1/2 certifies a pixel;
    - the radius of the smallest bound of the image, for `radius=common`; one pixel with a bound below 1/2 makes
      every pixel abstain;
    - sigma * PhiInv(tau), for `radius=fixed`; a bound of tau certifies a pixel. This is `bonferroni`.

    Source: Fischer, Baader and Vechev (ICML 2021), section 4; the bound is Clopper and Pearson's, one-sided.
    """

    n0: int = smoothseg.option(10, "noise samples that select the class of each pixel")
    n: int = smoothseg.option(100, "further noise samples that bound its probability")
    alpha: float = smoothseg.option(0.001, "probability that the guarantee of an image is wrong")
    radius: Literal["own", "common", "fixed"] = smoothseg.option(
        "own", "own: one a pixel; common: that of the worst pixel; fixed: that of tau"
    )
    tau: float = smoothseg.option(0.75, "probability the bound must reach with radius=fixed")

    def load(self) -> NaivePixel:
        """Return the certifier; raise `ConfigError` for an option out of range."""
        _check_options(self.n0, self.n, self.alpha, self.tau)
        from smoothseg_segcertify import certifiers

        return certifiers.NaivePixel(self.n0, self.n, self.alpha, self.radius, self.tau)


@dataclasses.dataclass(frozen=True)
class NaivePatternRecipe:
    """Baseline: the whole label map as one class; all pixels are certified or none.

    With probability at least 1 - alpha over the noise samples, if the image is certified, the predicted label map
    is the smoothed model's as a whole, under every perturbation of l2 norm at most the certificate's radius.

    Source: Fischer, Baader and Vechev (ICML 2021), section 4, where label maps form one product of classes.
    """

    n0: int = smoothseg.option(10, "noise samples that select the label map; all distinct ones are kept")
    n: int = smoothseg.option(100, "further noise samples, compared with the selected label map")
    alpha: float = smoothseg.option(0.001, "probability that the guarantee of an image is wrong")

    def load(self) -> NaivePattern:
        """Return the certifier; raise `ConfigError` for an option out of range."""
        _check_options(self.n0, self.n, self.alpha)
        from smoothseg_segcertify import certifiers

        return certifiers.NaivePattern(self.n0, self.n, self.alpha)


@dataclasses.dataclass(frozen=True)
class AnytimeRecipe:
    """Every pixel tested against tau, valid at every moment: stop when you like, and go on later.

    With probability at least 1 - alpha over the noise samples, at every moment at once, at most k - 1 of the certified
    pixels of the image are wrong (with k = 1: none): the others have the predicted class as the smoothed model's, under
    every perturbation of l2 norm at most sigma * PhiInv(tau), whatever it was that stopped the drawing. With `taus`
    every pixel has a radius of its own, as with `holm`.

    Drawing stops as soon as one of the options max_n, gain, share, hopeless and minutes says so. Pixels are hopeless
    once their votes rule out, up to a chance of alpha, that they have a probability above tau.

    Source: Holm (1979) on e-processes, after Ville (1939) and Waudby-Smith and Ramdas (2024); for k > 1 Lehmann and
    Romano (2005).
    """

    stops: ClassVar[tuple[str, ...]] = ("max_n", "gain", "share", "hopeless", "minutes")

    n0: int = smoothseg.option(10, "noise samples that select the class of each pixel")
    max_n: int = smoothseg.option(1000, "further noise samples that test the selected class, at most")
    alpha: float = smoothseg.option(0.001, "probability that the guarantee of an image is ever wrong")
    tau: float = smoothseg.option(0.75, "probability the class must exceed; sets the radius")
    taus: tuple[float, ...] | None = smoothseg.option(
        None, "several tau, tested together, instead of one: a radius a pixel; e.g. 0.6,0.75,0.9"
    )
    k: int = smoothseg.option(1, "number of wrong pixels that must not be reached")
    block: int = smoothseg.option(50, "noise samples between two looks at what is certified")
    gain: float | None = smoothseg.option(
        None, "stop when this share was certified and the last block added less than it; e.g. 0.004"
    )
    share: float | None = smoothseg.option(None, "stop when this share of the pixels is certified; e.g. 0.9")
    hopeless: float | None = smoothseg.option(
        None, "stop when at most this share of the pixels is neither certified nor hopeless; e.g. 0.02"
    )
    minutes: float | None = smoothseg.option(
        None, "stop an image after testing it for so long, at the next look"
    )

    @property
    def tolerates(self) -> int:
        """k - 1: how many certified pixels of an image may be wrong."""
        return self.k - 1

    def load(self) -> Anytime:
        """Return the certifier; raise `ConfigError` for an option out of range."""
        from smoothseg_segcertify.anytime import Anytime, Rules

        for tau in (self.tau,) if self.taus is None else self.taus:
            _check_options(self.n0, self.max_n, self.alpha, tau, n_name="max_n")
        for name in ("k", "block"):
            if getattr(self, name) < 1:
                raise smoothseg.ConfigError(
                    f"certifier option {name} must be at least 1, got {getattr(self, name)}"
                )
        if self.k > 1 and self.taus is not None:
            raise smoothseg.ConfigError("certifier options k and taus exclude each other")
        for name in ("gain", "share", "hopeless"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise smoothseg.ConfigError(
                    f"certifier option {name} must be a share between 0 and 1, got {value}"
                )
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise smoothseg.ConfigError(f"certifier option minutes must be positive, got {self.minutes}")
        taus = (self.tau,) if self.taus is None else _ascending(self.tau, self.taus)
        rules = Rules(
            max_n=self.max_n, block=self.block,
            gain=self.gain, share=self.share, hopeless=self.hopeless, minutes=self.minutes,
        )  # fmt: skip
        return Anytime(self.n0, self.alpha, taus, rules, self.k)


@dataclasses.dataclass(frozen=True)
class HierarchicalAnytimeRecipe(AnytimeRecipe, _Levels):
    """`hierarchical` with the test of `anytime`: unsure pixels as groups of classes, valid at every moment.

    With probability at least 1 - alpha over the noise samples, at every moment at once, at most k - 1 of the certified
    pixels of the image are wrong (with k = 1: none): the others have the class or the group that is shown as the
    smoothed model's at their level of the hierarchy, under every perturbation of l2 norm at most sigma * PhiInv(tau).

    The rules for stopping are those of `anytime`, the levels are those of `hierarchical`.

    Source: Anani, Lorenz, Schiele and Fritz (ICML 2024) for the levels; Ville (1939) and Holm (1979) for the test.
    """

    def load(self) -> Anytime:
        """Return the certifier, which reads its hierarchy when it is fitted; raise `ConfigError` for an option."""
        return dataclasses.replace(super().load(), selection=self._selection())


_LEAST_ALPHA = 1e-30
"""Far below it, over the pixels of an image, scipy's distributions fail."""


def _ascending(tau: float, taus: tuple[float, ...]) -> tuple[float, ...]:
    """Return `taus` in order; raise `ConfigError` where there are none, one twice, or a `tau` besides."""
    if tau != 0.75:
        raise smoothseg.ConfigError("certifier options tau and taus exclude each other: give one of them")
    if len(set(taus)) < max(len(taus), 1):
        raise smoothseg.ConfigError(f"certifier option taus must be different values, got {taus}")
    return tuple(sorted(taus))


def _check_options(
    n0: int, n: int, alpha: float, tau: float = 0.5, *, least_n0: int = 1, n_name: str = "n"
) -> None:
    for name, value, least in (("n0", n0, least_n0), (n_name, n, 1)):
        if value < least:
            raise smoothseg.ConfigError(f"certifier option {name} must be at least {least}, got {value}")
    if not 0 < alpha < 1:
        raise smoothseg.ConfigError(f"certifier option alpha must be between 0 and 1, got {alpha}")
    if alpha < _LEAST_ALPHA:
        raise smoothseg.ConfigError(
            f"certifier option alpha must be at least {_LEAST_ALPHA:g}, got {alpha:g}"
        )
    if not 0.5 <= tau < 1:
        raise smoothseg.ConfigError(f"certifier option tau must be at least 0.5 and below 1, got {tau}")


@smoothseg.hookimpl
def register_certifiers(register: smoothseg.Register) -> None:
    register("holm", HolmRecipe)
    register("bonferroni", BonferroniRecipe)
    register("kfwer", KFWERRecipe)
    register("anytime", AnytimeRecipe)
    register("hierarchical", HierarchicalRecipe)
    register("hierarchical-anytime", HierarchicalAnytimeRecipe)
    register("naive-pixel", NaivePixelRecipe)
    register("naive-pattern", NaivePatternRecipe)
