"""What a change to the training gained, row by row and seed by seed, and which of several gains are shown.

The same rows judge the baseline and each trial, and the same seeds train both, so differences are paired twice. Two
things make such a mean uncertain: which rows there are, and which seeds. The first is seen in the spread over rows.
The second is seen in the spread between seeds, of which each trial has two or three only; it is pooled over the
trials. Both variances are added, less what they share: a row that another seed would have judged otherwise.

Legend: ``S`` seeds, ``N`` rows, ``U`` independent units (rows, or groups of them), ``T`` trials.

References
----------
Holm (1979), Scandinavian Journal of Statistics 6(2). Satterthwaite (1946), Biometrics Bulletin 2(6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.compare import holm
from trimtab.evaluation.intervals import student_quantile
from trimtab.evaluation.paired_freedom import group_freedom
from trimtab.evaluation.student import two_sided_p

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A mean difference with its standard error.

    Attributes
    ----------
    value
        Positive is better.
    error
        Standard error, 0 or above; infinite when nothing is known of it.
    freedom
        Degrees of freedom of the error, 1 or above.
    p_value_at_least
        Of another test, which has to agree.
    """

    value: float
    error: float
    freedom: float
    p_value_at_least: float = 0.0

    @property
    def p_value(self) -> float:
        """Two-sided, of the hypothesis that nothing was gained or lost; 1 without an error to compare with."""
        if math.isinf(self.error) or (self.error == 0 and self.value == 0):
            return 1.0
        statistic = self.value / self.error if self.error else math.copysign(math.inf, self.value)
        return max(two_sided_p(statistic, self.freedom), self.p_value_at_least)

    def reach(self, level: float) -> float:
        """Return half the width of the interval at this level."""
        if self.error == 0 or math.isinf(self.error):
            return self.error
        return student_quantile(level, max(1, int(self.freedom))) * self.error


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a gain is shown, among all that were looked at.

    Attributes
    ----------
    low, high
        Its interval, at the level that Holm's procedure gives it; ``None`` without one.
    p_value
        Adjusted by Holm.
    is_shown
        Whether the lower bound is above zero.
    """

    low: float | None
    high: float | None
    p_value: float
    is_shown: bool


@dataclass(frozen=True, kw_only=True)
class SeedNoise:
    """The variance that another seed gives the mean over all rows of a paired difference.

    Attributes
    ----------
    variance
        Infinite when no trial had two seeds.
    freedom
        Degrees of freedom of the variance.
    shared
        The part of the variance that the spread over rows shows, too: of differences between rows and seeds that
        neither explains alone.
    """

    variance: float
    freedom: float
    shared: float = 0.0

    @classmethod
    def of(cls, trials: Sequence[FloatArray]) -> SeedNoise:
        """Return the noise pooled over trials, float64 [S, N] each, that share a baseline.

        Half of each trial's variance is that of the shared baseline, so the trials' variances go together by a
        quarter: T of them are worth T / (1 + (T - 1) / 4).
        """
        trials = [differences for differences in trials if len(differences) > 1]
        if not trials:
            return cls(variance=math.inf, freedom=1.0)
        freedoms = np.array([len(each) - 1 for each in trials], np.float64)
        variances = np.array([each.mean(axis=1).var(ddof=1) for each in trials])
        shared = np.array([_interaction(each) for each in trials])
        worth, count = 1 / (1 + (len(trials) - 1) / 4), float(freedoms.sum())
        return cls(
            variance=float(freedoms @ variances) / count,
            freedom=max(1.0, worth * count),
            shared=float(freedoms @ shared) / count,
        )


def _interaction(differences: FloatArray) -> float:
    """Return the variance of a mean over rows that comes of what differences [S, N] neither rows nor seeds explain."""
    seeds, rows = differences.shape
    if rows < 2:
        return 0.0
    rest = differences - differences.mean(axis=0) - differences.mean(axis=1, keepdims=True) + differences.mean()
    return float((rest**2).sum() / ((seeds - 1) * (rows - 1) * rows))


def mean_gain(differences: FloatArray, noise: SeedNoise | None, *, units: IntArray | None = None) -> Gain:
    """Return the mean of paired differences with the error that rows and seeds give it.

    Parameters
    ----------
    differences
        float64 [S, N], positive where the trial is better.
    noise
        Of the seeds; ``None`` when nothing was trained by chance, so that rows are all there is.
    units
        int64 [N], the number of the independent unit that each row belongs to; each row by itself unless given.
    """
    seeds, rows = differences.shape
    by_row = differences.mean(axis=0)
    value = float(by_row.mean())
    of_unit = by_row - value if units is None else np.bincount(units, weights=by_row - value)  # [U]
    count = len(of_unit)
    if count < 2:
        return Gain(value=value, error=math.inf, freedom=1.0)
    row_variance = count / (count - 1) * float(of_unit @ of_unit) / rows**2
    row_freedom = float(count - 1 if units is None else max(1, group_freedom(units)))
    if noise is None:
        return Gain(value=value, error=math.sqrt(row_variance), freedom=row_freedom)
    seed_variance = noise.variance / seeds
    if math.isinf(seed_variance):
        return Gain(value=value, error=math.inf, freedom=1.0)
    shared = noise.shared / seeds if units is None else 0.0  # of groups it is not known
    total = row_variance + max(0.0, seed_variance - shared)
    if total == 0:
        return Gain(value=value, error=0.0, freedom=row_freedom)
    parts = row_variance**2 / row_freedom + seed_variance**2 / noise.freedom
    freedom = max(min(row_freedom, noise.freedom), min(row_freedom, total**2 / parts))
    return Gain(value=value, error=math.sqrt(total), freedom=freedom)


def judge_together(gains: Sequence[Gain], *, level: float = 0.95) -> list[Verdict]:
    """Return the verdict on each gain, in the same order: the chance that any is shown wrongly stays 1 - ``level``.

    The smallest of T p-values is held against (1 - ``level``) / T, the next against (1 - ``level``) / (T - 1), and so
    on until one is not significant; intervals have the same levels, so that a gain is shown exactly when its interval
    excludes zero on the right side.

    Parameters
    ----------
    gains
        Of all trials, those that failed included.
    level
        In (0, 1).
    """
    adjusted = holm([gain.p_value for gain in gains])
    verdicts: dict[int, Verdict] = {}
    left, is_open = len(gains), True
    for place in sorted(range(len(gains)), key=lambda index: gains[index].p_value):
        own_level = 1 - (1 - level) / left
        verdicts[place] = _verdict(gains[place], own_level, adjusted[place], is_open=is_open)
        is_open = is_open and gains[place].p_value <= 1 - own_level
        left -= is_open
    return [verdicts[place] for place in range(len(gains))]


def _verdict(gain: Gain, level: float, p_value: float, *, is_open: bool) -> Verdict:
    reach = gain.reach(level)
    if math.isinf(reach):
        return Verdict(low=None, high=None, p_value=1.0, is_shown=False)
    is_shown = is_open and gain.p_value <= 1 - level and gain.value > 0
    low, high = gain.value - reach, gain.value + reach
    if not is_shown:
        low = min(low, 0.0)  # the quantile is right to four digits, the p-value to nine: they must say the same
    return Verdict(low=low, high=high, p_value=p_value, is_shown=is_shown and low > 0)
