"""Intervals of areas under curves, which lean far to one side where few rows decide them.

What an area lacks to one is a sum of losses, one per row that is out of order, most of them none. Near one a handful
of rows carries all of it, and any interval made from the observed spread alone ends too early: a row that would have
cost more may be missing from the sample by chance. Fay and Feuer's gamma interval was made for such sums (of weighted
Poisson counts). Its end on the near side to one is a gamma quantile with the observed mean and variance; its far end
has one more row in mean and variance, the heaviest not seen. How heavy is the compromise here: certain cover for every
law of scores takes a whole positive lost, most laws take far less. The method needs no guess of the law; it becomes
DeLong's interval where there are many rows.

Which areas are decided by too few rows for an interval of the stated level is told by `weakness_of_roc_auc` and
`weakness_of_average_precision`. How the spread is found is no matter of this module.

References
----------
Fay, Feuer (1997), Statistics in Medicine 16(7), section 2. DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44(3).
Wilson, Hilferty (1931), PNAS 17(12). Hall (1992), Journal of the Royal Statistical Society B 54(1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from trimtab.evaluation.intervals import Estimate, logit_interval, normal_quantile, wilson
from trimtab.evaluation.mean_interval import studentized_at

_UNSEEN = 0.3  # share of the heaviest loss that one row can bring, for the row that was not seen
_FEWEST = 10  # rows on the smaller side
_HEAVY = {"roc_auc": 0.2, "average_precision": 0.15}  # unseen row over the error, above which cover is above 96.5%
_MOST_STEPS = 100
_PRECISION = 1e-12
_LARGE_SHAPE = 150.0  # from here on a cube is as good as the series


def roc_auc_interval(
    area: float, *, error: float, lean: float, positives: int, negatives: int, level: float
) -> Estimate:
    """Return the area under the ROC curve with its interval, rows independent of each other.

    Simulated coverage of 95% lies between 93.5 and 97.5% where `weakness_of_roc_auc` has nothing to say, and between
    93.5 and 100% elsewhere: 200 to 100,000 rows, prevalence 0.01 to 0.5, areas 0.7 to 0.995; scores binormal with
    equal and unequal spread, exponential to either side, beta, or with 6 or 10 distinct values. The other levels tried
    (90, 97.5 and 99.2%) are held as well, to half a point where a side has two rows. What can break it: losses that
    a few rare rows carry, such as wrong labels, of which the sample holds none or one.

    Parameters
    ----------
    area
        In [0, 1].
    error
        DeLong's standard error.
    lean
        How far the estimated area's distribution leans to low values: minus the sum of the cubes of the rows'
        influences over the 1.5th power of the sum of their squares.
    positives, negatives
        Rows of both sides, one at least of each.
    level
        In (0, 1).
    """
    fewer = min(positives, negatives)
    if not error > 0 or area in (0.0, 1.0) or fewer < 2:
        estimate = wilson(area, fewer, level=level)
        return replace(estimate, method=f"{estimate.method} over disjoint pairs")
    low, high = _gamma_interval(_Loss.of(area, error, lean, _UNSEEN / fewer), level=level)
    return Estimate(value=area, low=low, high=high, method="DeLong, gamma interval", level=level)


def average_precision_interval(value: float, *, error: float, lean: float, positives: int, level: float) -> Estimate:
    """Return the average precision with its interval, rows independent of each other.

    Simulated coverage of 95%, for the laws named at `roc_auc_interval`: from 100 positives on between 94 and 97.5%
    where `weakness_of_average_precision` has nothing to say, and up to 100% elsewhere; with 10 to 20 positives 93 to
    100%; with about two 96 to 100%, at several times the width. It is so wide for few positives because one negative
    at the very top costs every positive some precision, and because the value itself is a few points too high then.
    Scores with heavy tails (Student's with 3 degrees of freedom) broke it: 90 to 93% at areas under the ROC curve from
    0.97 on with 10 to 100 positives, all of it where `weakness_of_average_precision` speaks.

    Parameters
    ----------
    value
        In [0, 1].
    error
        Its standard error, from the influence of each row.
    lean
        As for `roc_auc_interval`.
    positives
        Positive rows, at least 1.
    level
        In (0, 1).
    """
    if positives < 2:
        estimate = wilson(value, positives, level=level)
        return replace(estimate, method=f"{estimate.method} over the positives")
    unseen = _unseen_precision(value, positives)
    if value in (0.0, 1.0):
        farthest = max(-math.log(1 - level) * unseen, 1 - (1 - level) ** (1 / positives))
        low, high = (max(0.0, 1 - farthest), 1.0) if value else (0.0, min(1.0, farthest))
    else:
        widened = error * math.sqrt((positives + 1) / (positives - 1))
        low, high = _gamma_interval(_Loss.of(value, widened, lean, unseen), level=level)
    return Estimate(value=value, low=low, high=high, method="influence of rows, gamma interval", level=level)


def area_interval(
    value: float, *, error: float, lean: float, level: float, method: str, units: int | None = None
) -> Estimate:
    """Return an area, or a mean of areas, with the interval that its influences alone give.

    The wider of a logit interval and Hall's, for means over classes and for rows in groups, where no count of rows
    says what one more could bring. For the average precision of one class it covered 93 to 98% of 95% from 20
    positives on while the lean was below 0.5.

    Parameters
    ----------
    value
        In (0, 1), ends excluded.
    error
        Its standard error, above 0.
    lean
        As for `roc_auc_interval`.
    level
        In (0, 1).
    method
        How the error was found.
    units
        How many independent units it was found from, when these are few: Student's quantile is used.
    """
    logit = logit_interval(value, error, level=level, method=method, units=units)
    quantile = normal_quantile(level)
    low, high = (value + error * studentized_at(end, lean) for end in (-quantile, quantile))
    return Estimate(
        value=value,
        low=max(0.0, min(low, value, logit.low or 0.0)),
        high=min(1.0, max(high, value, logit.high or 0.0)),
        method=f"{method}, logit and skewness",
        level=level,
    )


def weakness_of_roc_auc(*, error: float, positives: int, negatives: int) -> str | None:
    """Return why an interval of the area under the ROC curve may not be of its level; ``None`` if it is.

    Parameters
    ----------
    error
        DeLong's standard error.
    positives, negatives
        Rows of both sides.
    """
    fewer = min(positives, negatives)
    return _weakness(fewer, _HEAVY["roc_auc"] * error * fewer < _UNSEEN, "of the smaller side")


def weakness_of_average_precision(value: float, *, error: float, positives: int) -> str | None:
    """Return why an interval of the average precision may not be of its level; ``None`` if it is.

    Parameters
    ----------
    value
        In [0, 1].
    error
        Its standard error.
    positives
        Positive rows.
    """
    is_heavy = _unseen_precision(value, positives) > _HEAVY["average_precision"] * error
    return _weakness(positives, is_heavy, "of the positive side")


def _weakness(fewer: int, is_heavy: bool, which: str) -> str | None:
    if fewer < _FEWEST:
        rows = "1 row" if fewer == 1 else f"{fewer} rows"
        return f"only {rows} {which}: the interval is little more than a guess, and wide to be safe"
    if is_heavy:
        return "so few rows are out of order that the interval is a cautious guess, mostly wider than its level says"
    return None


def _unseen_precision(value: float, positives: int) -> float:
    """Return what the negative that was not seen would have cost an average precision, and the positive.

    At the very top among perfectly ranked positives it costs the k-th of them 1 / (k + 1) of its precision; the lower
    the precisions are, the less, with their square.
    """
    harmonic = math.log(positives + 1) + np.euler_gamma + 0.5 / (positives + 1)  # 1 + 1/2 + ... + 1/(m + 1)
    return _UNSEEN * math.hypot((harmonic - 1) * value**2, 1.0) / positives


@dataclass(frozen=True)
class _Loss:
    """What an area lacks to the nearer of zero and one."""

    mean: float
    variance: float
    unseen: float  # loss by the row that was not seen
    is_from_zero: bool

    @classmethod
    def of(cls, area: float, error: float, lean: float, unseen: float) -> _Loss:
        """Return the loss; the row not seen weighs at least as much as the seen ones do on average."""
        is_from_zero = area < 0.5
        seen = max(0.0, -lean if is_from_zero else lean) * error
        return cls(area if is_from_zero else 1 - area, error**2, math.hypot(seen, unseen), is_from_zero)


def _gamma_interval(loss: _Loss, *, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    least = _scaled_gamma_quantile(tail, loss.mean, loss.variance) if loss.variance > 0 else 0.0
    most = _scaled_gamma_quantile(1 - tail, loss.mean + loss.unseen, loss.variance + loss.unseen**2)
    low, high = min(least, loss.mean), min(max(most, loss.mean), 1.0)
    return (low, high) if loss.is_from_zero else (1 - high, 1 - low)


def _scaled_gamma_quantile(share: float, mean: float, variance: float) -> float:
    scale = variance / mean
    return gamma_quantile(share, mean / scale) * scale


def gamma_quantile(share: float, shape: float) -> float:
    """Return the quantile of a gamma distribution of scale 1, to 2 parts in 10,000 within (0.001, 0.999).

    Parameters
    ----------
    share
        In (0, 1).
    shape
        Above 0.
    """
    normal = NormalDist().inv_cdf(share)
    value = shape * max(0.0, 1 - 1 / (9 * shape) + normal / (3 * math.sqrt(shape))) ** 3
    if shape > _LARGE_SHAPE:
        return value
    low, high = 0.0, math.inf
    for _ in range(_MOST_STEPS):  # Newton's, kept between what is known to be too low and too high
        below, density = _gamma_share(value, shape)
        low, high = (value, high) if below < share else (low, value)
        step = (below - share) / density if density > 0 else math.inf
        if abs(step) <= _PRECISION * value:
            break
        value = value - step if low < value - step < high else (low + min(high, 2 * low + 1)) / 2
    return value


def _gamma_share(value: float, shape: float) -> tuple[float, float]:
    """Return how much of a gamma distribution lies below a value, by a series of positive terms; and its density."""
    if value <= 0:
        return 0.0, 0.0
    term = math.exp(shape * math.log(value) - value - math.lgamma(shape + 1))
    density = term * shape / value
    total, k = 0.0, 0
    while term > _PRECISION * total:
        total += term
        k += 1
        term *= value / (shape + k)
    return total, density
