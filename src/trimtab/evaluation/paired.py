"""Is one model better than another on the same rows: the difference, its interval, and a test.

Only rows that one model gets right and the other wrong carry information, so a paired comparison sees differences
that two separate intervals would hide. Accuracy only; all metrics are compared in `trimtab.evaluation.compare`. Where
only groups of rows are independent, differences are added up within groups: Student's t takes McNemar's place, and
score bounds count as many rows as the groups are worth.

References
----------
Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91 (mid-p McNemar).
Tango (1998), Statistics in Medicine 17(8) (score interval). Rao, Scott (1992), Biometrics 48(2) (design effect).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import FloatArray, IntArray
from trimtab.evaluation.intervals import normal_quantile, student_quantile
from trimtab.evaluation.labels import check_groups, check_labels, check_probabilities
from trimtab.evaluation.paired_freedom import group_freedom
from trimtab.evaluation.student import two_sided_p


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Model b against model a on the same rows.

    Attributes
    ----------
    rows
        How many rows both predicted.
    difference, low, high
        Accuracy of b minus accuracy of a, with its interval.
    p_value
        Of the hypothesis that both are equally accurate.
    a_only, b_only
        Rows that only a, only b predicted right.
    noise_floor
        The smallest difference that would be significant at this level with as many disagreements as were seen.
    method
        Of interval and test.
    level
        Of the interval.
    groups
        How many groups the rows form; ``None`` when rows are independent.
    design_effect
        How many rows count as one, because rows of a group win and lose together; 1 when rows are independent.
    freedom
        Degrees of freedom of the groups.
    """

    rows: int
    difference: float
    low: float
    high: float
    p_value: float
    a_only: int
    b_only: int
    noise_floor: float
    method: str = "Tango score interval, mid-p McNemar test"
    level: float = 0.95
    groups: int | None = None
    design_effect: float = 1.0
    freedom: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compare_accuracy(
    labels: NDArray[np.integer],
    probabilities_a: NDArray[np.floating],
    probabilities_b: NDArray[np.floating],
    *,
    groups: NDArray[Any] | None = None,
    level: float = 0.95,
) -> Comparison:
    """Return how the accuracy of b differs from that of a.

    Parameters
    ----------
    labels
        Class numbers, integers [N].
    probabilities_a, probabilities_b
        float [N, K] of the two models for the same rows.
    groups
        [N], anything that can be sorted, when rows of the same group are not independent of each other.
    level
        Of the interval, in (0, 1).

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a value is not what it should be.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1; give 0.95 for 95%.")
    num_classes = probabilities_a.shape[-1]
    labels = check_labels(labels, num_classes=num_classes)
    right_a, right_b = (
        check_probabilities(p, rows=len(labels), num_classes=num_classes).argmax(axis=1) == labels
        for p in (probabilities_a, probabilities_b)
    )
    return compare_right(right_a, right_b, groups=groups, level=level)


def compare_right(
    right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], *, groups: NDArray[Any] | None = None, level: float = 0.95
) -> Comparison:
    """Return how the accuracy of b differs from that of a, from which rows each got right: bool [N] both."""
    a_only, b_only = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    rows, z = len(right_a), normal_quantile(level)
    if groups is not None:
        return _compare_groups(right_b.astype(np.int64) - right_a, groups, a_only, b_only, level=level)
    return Comparison(
        rows=rows,
        difference=(b_only - a_only) / rows,
        low=_tango_bound(b_only, a_only, rows, z=-z),
        high=_tango_bound(b_only, a_only, rows, z=z),
        p_value=mid_p_mcnemar(a_only, b_only),
        a_only=a_only,
        b_only=b_only,
        noise_floor=_noise_floor(a_only + b_only, rows, level=level),
        level=level,
    )


def upper_bound_of_drop(comparison: Comparison, *, level: float = 0.95) -> float:
    """Return the most accuracy that b may have lost against a, by a one-sided score bound.

    A guard that asks for this bound to stay below a margin lets a worse model pass in at most 1 - ``level`` of the
    cases, however few rows there are. Negative when b is surely better. Of groups it is the bound of as many rows as
    they are worth, with Student's quantile; a loss that sits in a few large groups, among many that differ by chance
    alone, can still pass about twice as often as it should. A single group bounds nothing: 1.
    """
    if comparison.groups is None:
        return -_tango_bound(comparison.b_only, comparison.a_only, comparison.rows, z=-NormalDist().inv_cdf(level))
    if comparison.groups < 2:
        return 1.0
    gains, losses, rows = (
        count / comparison.design_effect for count in (comparison.b_only, comparison.a_only, comparison.rows)
    )
    return -_tango_bound(gains, losses, rows, z=-student_quantile(2 * level - 1, comparison.freedom))


def _compare_groups(gains: IntArray, groups: NDArray[Any], a_only: int, b_only: int, *, level: float) -> Comparison:
    """Return the comparison when rows are +1 (only b right), -1 (only a right) or 0, and groups are independent."""
    units = np.unique(check_groups(np.asarray(groups), rows=len(gains)), return_inverse=True)[1]
    rows, sizes = len(gains), np.bincount(units)
    totals, count, difference = np.bincount(units, weights=gains), len(sizes), (b_only - a_only) / rows
    off = totals - difference * sizes
    freedom = group_freedom(units)
    effect = _design_effect(off, sizes, a_only + b_only, rows * difference**2)
    low, high, p_value, method = -1.0, 1.0, 1.0, "no test: one group"
    if count > 1 and (totals * rows == (b_only - a_only) * sizes).all():
        z = student_quantile(level, freedom)
        low, high = (_tango_bound(b_only / effect, a_only / effect, rows / effect, z=side) for side in (-z, z))
        p_value = mid_p_mcnemar(0, count if difference else 0)
        method = f"score interval, mid-p sign test of {count:,} groups that differ alike"
    elif count > 1:
        error = math.sqrt(count / (count - 1) * float(off @ off)) / rows
        reach = student_quantile(level, freedom) * error
        low, high = difference - reach, difference + reach
        p_value, method = two_sided_p(difference / error, freedom), f"t-test of {count:,} groups"
    return Comparison(
        rows=rows,
        difference=difference,
        low=max(-1.0, low),
        high=min(1.0, high),
        p_value=p_value,
        a_only=a_only,
        b_only=b_only,
        noise_floor=min(1.0, max(high - difference, difference - low)),
        method=method,
        level=level,
        groups=count,
        design_effect=effect,
        freedom=freedom,
    )


def _design_effect(off: FloatArray, sizes: IntArray, disagreements: int, by_mean: float) -> float:
    """Return the variance of the groups' totals in units of that of independent rows, at least 1.

    One more disagreement counts in that all rows of its group share: without it, groups that hardly differ would
    look as if they could not.

    Parameters
    ----------
    off
        float64 [G], the groups' totals less their expectation.
    sizes
        int64 [G], rows of each.
    disagreements, by_mean
        Sum of the rows' squares, and how much of it is due to their mean.
    """
    count = len(sizes)
    shared = float(sizes @ sizes) / float(sizes.sum())  # were each group a single row
    between = count / max(count - 1, 1) * float(off @ off)
    return max(1.0, (between + shared) / (disagreements - by_mean + 1))


def mid_p_mcnemar(a_only: int, b_only: int) -> float:
    """Return the two-sided mid-p value of a fair coin falling ``a_only`` to ``b_only``; 1 without a throw."""
    throws, fewer = a_only + b_only, min(a_only, b_only)
    if a_only == b_only:
        return 1.0
    log_term = math.lgamma(throws + 1) - math.lgamma(fewer + 1) - math.lgamma(throws - fewer + 1)
    term = math.exp(log_term - throws * math.log(2))  # P(X = fewer)
    tail, k = term / 2, fewer
    while k > 0 and term > 1e-17 * tail:
        term *= k / (throws - k + 1)
        tail, k = tail + term, k - 1
    return min(1.0, 2 * tail)


def _tango_bound(gains: float, losses: float, rows: float, *, z: float) -> float:
    """Return the difference at which the score statistic of the observed one is ``z``: negative for the low end."""
    low, high = (-1.0, (gains - losses) / rows) if z < 0 else ((gains - losses) / rows, 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        if _score(gains, losses, rows, middle) + z > 0:  # the statistic falls as the difference grows
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _score(gains: float, losses: float, rows: float, difference: float) -> float:
    """Return Tango's statistic: the observed difference less ``difference``, in standard errors under it."""
    b = -gains - losses + (2 * rows - gains + losses) * difference
    c = -losses * difference * (1 - difference)
    share = (math.sqrt(max(b**2 - 8 * rows * c, 0)) - b) / (4 * rows)  # likeliest P(only a right)
    variance = rows * (2 * share + difference * (1 - difference))
    distance = gains - losses - rows * difference
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance) if distance else 0.0


def _noise_floor(disagreements: int, rows: int, *, level: float) -> float:
    throws = max(disagreements, math.ceil(math.log2(1 / (1 - level))))  # fewer are never significant
    low, high = 0, throws // 2  # of the model that loses: the most of them that is still significant
    while low < high:
        middle = (low + high + 1) // 2
        if mid_p_mcnemar(middle, throws - middle) <= 1 - level:
            low = middle
        else:
            high = middle - 1
    return (throws - 2 * low) / rows
