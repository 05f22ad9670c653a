"""From the first three moments of row losses to the interval of their mean, for losses that lean far to the right.

A few confident mistakes carry much of a mean log loss or Brier score, and the usual interval then ends too early on
the right. Hall's transformation takes the skewness out of the studentized mean before the normal quantile is put in,
and is turned back in closed form. The moments come from exact sums that merge over shards; no row is needed here.

References
----------
Hall (1992), Journal of the Royal Statistical Society B 54(1), section 2 (removal of skewness by transformation).
"""

from __future__ import annotations

import math

from trimtab.evaluation.intervals import Estimate, normal_quantile, student_quantile

LARGEST_LEAN = 0.6  # see `leans_too_far`
_NO_LEAN = 1e-6  # below it the transformation is the identity to six digits, and its inverse loses its own


def mean_interval(
    mean: float,
    *,
    variance: float,
    skewness: float,
    rows: int,
    level: float,
    units: int | None = None,
    highest: float = math.inf,
) -> Estimate:
    """Return the mean of non-negative losses with its interval; without one when there is no spread.

    Simulated coverage of 95% lies between 93.5 and 96.5% for log loss and Brier score from 200 rows on. Where fewer
    than about ten rows carry the loss (`leans_too_far`, or a lean above 0.3) it lies between 94 and 98%, and with
    only one or two such rows, which a sample may miss altogether, no method that knows the rows alone can hold it:
    63 to 87% were measured for 200 rows of which 2 are of the rare class.

    Parameters
    ----------
    mean
        Of the losses, 0 or more.
    variance
        Of a row's loss, with ``rows - 1`` in the denominator; with ``units``, such that ``variance / rows`` is the
        squared standard error of the mean.
    skewness
        Third central moment over the 1.5th power of the variance: of the rows, or of the groups' totals.
    rows
        How many rows.
    level
        In (0, 1).
    units
        How many independent groups of rows there are, when rows of a group are not independent of each other.
    highest
        The largest mean there can be, such as 1 or 2 for a Brier score.
    """
    if not variance > 0 or rows < 2 or (units is not None and units < 2):
        why = "no interval: nothing to see a spread between"
        return Estimate(value=mean, low=None, high=None, method=why, level=level)
    error = math.sqrt(variance / rows)
    lean = skewness / math.sqrt(rows if units is None else units)
    quantile = normal_quantile(level) if units is None else student_quantile(level, units - 1)
    low, high = (mean - error * studentized_at(end, lean) for end in (quantile, -quantile))
    method = "Hall's transformation" if units is None else f"Hall's transformation over {units} groups"
    return Estimate(
        value=mean, low=max(min(low, mean), 0.0), high=min(max(high, mean), highest), method=method, level=level
    )


def leans_too_far(*, skewness: float, rows: int) -> bool:
    """Return whether so few rows carry the loss that its interval may miss the true mean more often than it says.

    Parameters
    ----------
    skewness
        Of the losses.
    rows
        How many independent rows, or groups of rows, they are of.
    """
    return skewness / math.sqrt(rows) > LARGEST_LEAN


def studentized_at(quantile: float, lean: float) -> float:
    """Return the studentized mean at which Hall's transform is the quantile.

    The transform of t is t + a t^2 / 3 + a^2 t^3 / 27 + a / 6, a the lean.

    Parameters
    ----------
    quantile
        Of the standard normal distribution.
    lean
        Skewness of the mean: that of a row over the square root of the number of rows.
    """
    if abs(lean) < _NO_LEAN:
        return quantile
    return 3 / lean * (math.cbrt(1 + lean * (quantile - lean / 6)) - 1)
