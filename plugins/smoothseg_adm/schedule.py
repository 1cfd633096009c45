"""Which timestep a noise level belongs to, and the coefficients of the diffusion, in float64.

The linear schedule of Ho et al. (NeurIPS 2020), as ADM uses it. Here `level` is the standard deviation of the noise
on images in [-1, 1] that are not scaled down: level_t = sqrt((1 - abar_t) / abar_t), twice the sigma of [0, 1]
images. Timesteps count from 0.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from smoothseg import ConfigError

__all__ = ["LINEAR", "Posterior", "Rule", "Schedule"]

Floats = npt.NDArray[np.float64]
Rule = Literal["interpolated", "nearest", "first-at-least", "direct"]


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """The ancestral step q(x_before | x_t, x_0) from each kept timestep to the kept one before it.

    timesteps: the kept timesteps, ascending; index i of every array belongs to `timesteps[i]`.
    mean = start * x_0 + current * x_t. The log variance lies between `log_variance`, that of the posterior, and
    `log_beta`, a learned variance anywhere on that line. From index 0 the step leads to x_0 and draws nothing; its
    log variance is set to that of index 1, as -inf is no number to compute with.
    """

    timesteps: npt.NDArray[np.int64]
    start: Floats
    current: Floats
    log_variance: Floats
    log_beta: Floats


class Schedule:
    """abar_t of a diffusion and what follows from it.

    alphas_cumprod: abar_t, float64 (T,), falling. levels: level_t, rising.
    """

    def __init__(self, alphas_cumprod: npt.NDArray[np.floating[Any]]) -> None:
        self.alphas_cumprod: Floats = alphas_cumprod.astype(np.float64)
        self.levels: Floats = np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)

    def timestep(self, level: float, rule: Rule) -> float:
        """Return the timestep for noise of standard deviation `level`.

        rule: `nearest` level_t; `first-at-least`, the first t with level_t >= level, which is the convention of
            diffusion denoised smoothing (Carlini et al., ICLR 2023); `direct`, the first t with
            level_t >= level / 2, that is, with sigma itself not doubled for [-1, 1], as Laousy et al. (UAI 2023)
            count their timesteps; or `interpolated`, linear between the two level_t around it, so not a
            whole number. Below level_0 each rule gives 0.

        Raises `ConfigError` if `level` is beyond the last timestep's.
        """
        if not (math.isfinite(level) and 0 <= level <= self.levels[-1]):
            raise ConfigError(
                f"sigma {level / 2:g} is outside what the diffusion was trained for: 0 to {self.levels[-1] / 2:.4g}"
            )
        if rule == "interpolated":
            return float(np.interp(level, self.levels, np.arange(len(self.levels))))
        if rule == "nearest":
            return int(np.abs(self.levels - level).argmin())
        return int(np.searchsorted(self.levels, level / 2 if rule == "direct" else level, side="left"))

    def posterior(self, timesteps: npt.NDArray[np.int64]) -> Posterior:
        """Return the ancestral steps along `timesteps`, ascending and distinct.

        Where timesteps are left out, the betas are those of the diffusion that has the same abar at the kept ones:
        beta_i = 1 - abar_i / abar_(i-1), with abar = 1 before the first (Nichol and Dhariwal, ICML 2021).
        """
        kept = self.alphas_cumprod[timesteps]
        before = np.concatenate([[1.0], kept[:-1]])
        beta = 1 - kept / before
        variance = beta * (1 - before) / (1 - kept)
        variance[0] = variance[1] if len(variance) > 1 else beta[0]
        return Posterior(
            timesteps=timesteps,
            start=beta * np.sqrt(before) / (1 - kept),
            current=(1 - before) * np.sqrt(1 - beta) / (1 - kept),
            log_variance=np.log(variance),
            log_beta=np.log(beta),
        )

    def chain(self, first: int, calls: int | None) -> npt.NDArray[np.int64]:
        """Return the timesteps from 0 to `first`, ascending: all of them, or `calls` of them evenly spaced.

        `first` is always among them, and 0 if there is more than one.
        """
        if calls is None or calls > first:
            return np.arange(first + 1)
        return np.linspace(first, 0, calls).round().astype(np.int64)[::-1].copy()


LINEAR = Schedule(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
"""1000 steps with beta from 1e-4 to 0.02: the schedule of every published ADM."""
