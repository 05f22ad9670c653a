"""Is one model better than another on the same rows: the difference, its interval, and a test.

Only rows that one model gets right and the other wrong carry information, so a paired comparison sees differences
that two separate intervals would hide. Accuracy only; rows are taken as independent.

References
----------
Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91 (mid-p McNemar).
Tango (1998), Statistics in Medicine 17(8) (score interval).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.intervals import normal_quantile
from trimtab.evaluation.metrics import check_labels, check_probabilities


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

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compare_accuracy(
    labels: NDArray[np.integer],
    probabilities_a: NDArray[np.floating],
    probabilities_b: NDArray[np.floating],
    *,
    level: float = 0.95,
) -> Comparison:
    """Return how the accuracy of b differs from that of a.

    Parameters
    ----------
    labels
        Class numbers, integers [N].
    probabilities_a, probabilities_b
        float [N, K] of the two models for the same rows.
    level
        Of the interval, in (0, 1).

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a value is not what it should be.
    """
    num_classes = probabilities_a.shape[-1]
    labels = check_labels(labels, num_classes=num_classes)
    right_a, right_b = (
        check_probabilities(p, rows=len(labels), num_classes=num_classes).argmax(axis=1) == labels
        for p in (probabilities_a, probabilities_b)
    )
    a_only, b_only = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    rows, z = len(labels), normal_quantile(level)
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
    cases, however few rows there are. Negative when b is surely better.
    """
    z = NormalDist().inv_cdf(level)
    return -_tango_bound(comparison.b_only, comparison.a_only, comparison.rows, z=-z)


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


def _tango_bound(gains: int, losses: int, rows: int, *, z: float) -> float:
    """Return the difference at which the score statistic of the observed one is ``z``: negative for the low end."""
    low, high = (-1.0, (gains - losses) / rows) if z < 0 else ((gains - losses) / rows, 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        if _score(gains, losses, rows, middle) + z > 0:  # the statistic falls as the difference grows
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _score(gains: int, losses: int, rows: int, difference: float) -> float:
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
