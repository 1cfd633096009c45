"""What a certifier promises, and the votes and draws that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, overload, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from smoothseg.certificates.certificate import Certificate, Verdict
    from smoothseg.certificates.stopping import Look

__all__ = ["Certifier", "Draw", "Sequential", "Tally", "Votes", "selects_from_trials"]


class Tally(Protocol):
    """Anything that label maps can be added to. A certifier may ask a draw to fill one instead of `Votes`.

    A tally that has a method `add_scores(scores)`, too, is also given the scores that the labels come from, before the
    labels: (B, C, H, W), floating point, at the image's size. They are handed over in the order of the samples, in
    parts of any B, so that what a tally makes of them should not depend on B.
    """

    def add(self, labels: torch.Tensor) -> None:
        """Count label maps (B, H, W), each of a different noise sample."""


T = TypeVar("T", bound=Tally)


class Votes(Tally, Protocol):
    """How often each class was seen at each pixel."""

    def mode(self) -> npt.NDArray[np.int16]:
        """Return the most frequent class per pixel, (H, W); a tie goes to the lowest class."""

    def hits(self, prediction: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Return how often the class of `prediction` (H, W) was seen per pixel, (H, W)."""


class Draw(Protocol):
    """Fresh noise samples of one image, labelled and counted; no call ever sees a sample of another."""

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise in [0, 1] pixel units."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""

    @overload
    def __call__(self, n: int) -> Votes: ...

    @overload
    def __call__(self, n: int, into: T) -> T: ...

    def __call__(self, n: int, into: Tally | None = None) -> Tally:
        """Draw the next `n` samples and return their votes, or `into` with their label maps added."""

    def some(self, n: int, into: Tally) -> str | None:
        """Add the label maps of the next `n` samples to `into`, or of fewer, if somebody asks to stop.

        Returns None after n samples, otherwise the reason for stopping. Only a certifier whose promise holds whenever
        it stops may use this.
        """

    def look(self, look: Look) -> str | None:
        """Show what is certified now; return None, or the reason for which somebody asks to stop."""


@runtime_checkable
class Certifier(Protocol):
    """Decides per pixel between a class and abstention, from votes over noise samples.

    The promise of `certify` is the plugin's to state, for instance "with probability at least 1 - alpha every
    certified pixel of this image has its class as the smoothed model's, within the radius".

    Where the promise allows some certified pixels of an image to be wrong, the recipe says how many: `tolerates`. The
    recipe's `alpha` is the probability with which the promise of an image may be broken; `smoothseg check` goes by it.

    What selects a class must not test it, unless the proof of the promise allows for that. A certifier with such a
    proof has the attribute `selects_from_trials`, which is true: all samples that it draws are trials.

    A certifier that may certify a pixel as a group of classes has two more members. `fitted(classes)` returns it for a
    segmenter of these classes, or raises `ConfigError` if it has no groups for them; it is called before any network
    runs, and what it returns is what certifies. None stands for the classes that the certifier itself names, in its own
    order. `hierarchy` of what was returned is a `smoothseg.Hierarchy`; predictions then hold its nodes.
    """

    @property
    def samples(self) -> int:
        """The most noise samples that `certify` draws for an image; used to estimate time."""

    @property
    def counted(self) -> str:
        """What a hit is: `pixel`, the pixel's class was seen, `node`, a class of the pixel's node was seen, or
        `pattern`, the whole label map was seen.

        Counts of one kind say nothing about the other: `verify` and `recertify` refuse to mix them.
        """

    def check(self, pixels: int) -> None:
        """Raise `NothingCertifiableError` if no pixel of an image of that many `pixels` could ever be certified."""

    def certify(self, draw: Draw) -> Certificate:
        """Return the certificate of one image.

        draw: `draw(n)` gives the votes of the next n fresh noise samples, never one seen before, so that
            what one draw selects can be tested on an independent one. `draw.sigma` is the noise's
            standard deviation. The trials that the certificate states are the samples drawn last, or all of them if
            the certifier `selects_from_trials`: `smoothseg verify --resample` draws some of them again.
        """

    def decide(self, hits: npt.NDArray[np.int32], trials: int, *, sigma: float) -> Verdict:
        """Return which pixels are certified, and the radius, from the counts alone.

        hits: (H, W), how often the predicted class was seen in `trials` independent samples.

        `certify` uses it, and `smoothseg verify` runs it again on the stored counts.
        """


@runtime_checkable
class Sequential(Certifier, Protocol):
    """A certifier whose promise holds whenever it stops: it may be stopped from outside, and go on later.

    It draws with `draw.some`, and its certificates say in `stopping` why they have no more trials. Its recipe names the
    options that only say when to stop in `stops`, a tuple of strings: a certificate may go on under others of these.
    """

    def resume(self, draw: Draw, before: Certificate) -> Certificate:
        """Return the certificate that `certify` had returned, had it not stopped at `before`.

        draw: its first sample is the one after the last sample of `before`.
        """

    @property
    def fewest(self) -> int:
        """How many noise samples an image takes at least, unless somebody asks to stop; used to estimate time."""


def selects_from_trials(certifier: Certifier) -> bool:
    """Tell whether `certifier` says that the samples that test a class select it; see `Certifier`."""
    return getattr(certifier, "selects_from_trials", False) is True
