"""From a value and what is known of its spread to an interval: closed forms, quantiles, and the edges.

At the edges (no error at all, perfect separation) an estimated spread is zero and would give a width of zero; an
exact one-sided bound takes its place. Which metric uses which interval is decided in `trimtab.evaluation.evaluate`.

References
----------
Wilson (1927), JASA 22. Hill (1970), Algorithm 396, Communications of the ACM 13(10).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from trimtab.evaluation.counts import FloatArray


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its interval.

    Attributes
    ----------
    value, low, high
        ``None`` when undefined; ``method`` then says why.
    method
        How the interval was made, in words.
    level
        The share of such intervals that hold the true value.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Estimate:
        """Return the estimate that `to_dict` gave."""
        return cls(**fields)


def undefined(why: str, *, level: float) -> Estimate:
    """Return an estimate without a value."""
    return Estimate(value=None, low=None, high=None, method=f"undefined: {why}", level=level)


def wilson(value: float, trials: float, *, level: float) -> Estimate:
    """Return the score interval of a proportion; at 0 and 1 the exact one-sided bound.

    Parameters
    ----------
    value
        The observed proportion.
    trials
        How many independent rows it was observed in, above 0.
    level
        In (0, 1).
    """
    if value <= 0 or value >= 1:
        return zero_error_bound(value, trials, level=level)
    z = normal_quantile(level)
    center = (value + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(value * (1 - value) / trials + z**2 / (4 * trials**2))
    return Estimate(value=value, low=center - half, high=center + half, method="Wilson", level=level)


def wilson_f1(value: float, union: float, *, level: float) -> Estimate:
    """Return the interval of a class's F1 from its share of hits in the union.

    Given the rows that are of the class or predicted as it, hits are binomial, and F1 is the increasing function
    2 J / (1 + J) of their share J (Jaccard's index), so the ends of J's interval give the ends of F1's.

    Parameters
    ----------
    value
        F1, in [0, 1].
    union
        Rows that are of the class, predicted as it, or both; above 0.
    level
        In (0, 1).
    """
    of_share = wilson(value / (2 - value), union, level=level)
    low, high = (2 * end / (1 + end) for end in (of_share.low or 0.0, of_share.high or 0.0))
    return Estimate(value=value, low=low, high=high, method=f"{of_share.method} (Jaccard)", level=level)


def zero_error_bound(value: float, trials: float, *, level: float) -> Estimate:
    """Return the exact one-sided bound for ``trials`` of which all or none succeeded."""
    bound = (1 - level) ** (1 / trials)
    low, high = (bound, 1.0) if value >= 0.5 else (0.0, 1 - bound)
    return Estimate(value=value, low=low, high=high, method="exact one-sided bound", level=level)


def zero_error_bound_of_mean(trials: FloatArray, *, level: float) -> float:
    """Return the exact lower bound of a mean of proportions when none of them had a failure.

    The smallest mean whose probability of no failure at all is still 1 - ``level``: each proportion p_k of n_k
    trials is min(1, mu n_k) with the mu that makes the product of p_k ** n_k equal to it.

    Parameters
    ----------
    trials
        float64 [K], n_k, all above 0.
    level
        In (0, 1).
    """
    target = math.log(1 - level)
    low, high = 0.0, 1 / float(trials.min())
    for _ in range(100):
        middle = (low + high) / 2
        product = float((trials * np.log(np.minimum(1, middle * trials))).sum()) if middle > 0 else -math.inf
        low, high = (middle, high) if product < target else (low, middle)
    return float(np.minimum(1, high * trials).mean())


def logit_interval(value: float, error: float, *, level: float, method: str, units: int | None = None) -> Estimate:
    """Return the interval of a value inside (0, 1) that is symmetric in its log odds.

    Near 0 and 1 it stays inside and leans to the middle, as the sampling distribution does.

    Parameters
    ----------
    value
        In (0, 1), ends excluded.
    error
        Its standard error, above 0.
    level
        In (0, 1).
    method
        How the standard error was found.
    units
        How many independent units it was found from, when these are few (groups): Student's quantile is used.
    """
    odds = math.log(value / (1 - value))
    reach = _quantile(level, units) * error / (value * (1 - value))
    low, high = (1 / (1 + math.exp(min(-end, 700))) for end in (odds - reach, odds + reach))
    return Estimate(value=value, low=low, high=high, method=f"{method}, logit interval", level=level)


def positive_interval(value: float, error: float, *, level: float, method: str, units: int | None = None) -> Estimate:
    """Return the interval of a positive mean that is symmetric in its logarithm.

    Row losses lean to the right, and so does their mean on few rows; parameters as for `logit_interval`.
    """
    factor = math.exp(min(_quantile(level, units) * error / value, 700))
    return Estimate(value=value, low=value / factor, high=value * factor, method=f"{method}, log interval", level=level)


def normal_quantile(level: float) -> float:
    """Return how many standard deviations to each side hold ``level`` of a normal distribution."""
    return NormalDist().inv_cdf((1 + level) / 2)


def student_quantile(level: float, freedom: int) -> float:
    """Return how far to each side holds ``level`` of Student's distribution.

    Parameters
    ----------
    level
        In (0, 1).
    freedom
        Degrees of freedom, at least 1. Exact for 1 and 2, to four digits above (Hill's expansion).
    """
    tail = 1 - level  # both sides together
    if freedom == 1:
        return 1 / math.tan(tail * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (tail * (2 - tail)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * tail) ** (2 / freedom)
    if y > 0.05 + a:
        x = -normal_quantile(level)
        y = x**2
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y**2)
    else:
        y = (
            (1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) + 0.5 / (freedom + 4)) * y
            - 1
        ) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)


def _quantile(level: float, units: int | None) -> float:
    return normal_quantile(level) if units is None else student_quantile(level, units - 1)
