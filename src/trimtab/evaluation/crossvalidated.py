"""Figures over folds, and two configurations compared by them: what knows that folds share their training rows.

The same rows train several folds, so what is measured on them varies less than on independent samples, and the
ordinary t-test calls nothing into something several times too often. The correction widens the error by the share
of test to training rows. It is no comparison of two finished models: for these see `trimtab.evaluation.compare`.

References
----------
Nadeau, Bengio (2003), Machine Learning 52(3). Bouckaert, Frank (2004), PAKDD (repeated folds).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.evaluation.intervals import Estimate, student_quantile
from trimtab.evaluation.student import two_sided_p


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """Configuration b against configuration a, over folds.

    Attributes
    ----------
    folds
        How many differences there are.
    difference, low, high
        Mean of b minus a, with its interval.
    p_value
        Of the hypothesis that both are equally good.
    noise_floor
        The smallest difference that would be significant with the spread that was seen.
    method
        Of interval and test.
    level
        Of the interval.
    """

    folds: int
    difference: float
    low: float
    high: float
    p_value: float
    noise_floor: float
    method: str = "corrected resampled t-test (Nadeau, Bengio)"
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def corrected_resampled_t(
    differences: ArrayLike, *, train_rows: int, test_rows: int, level: float = 0.95
) -> CrossValidated:
    """Return the mean difference over folds with the interval and the test that overlapping training rows allow.

    Parameters
    ----------
    differences
        float [folds] or [repeats, folds]: the metric of b minus that of a, on the same fold each.
    train_rows, test_rows
        Rows that each fold was trained and tested on (their mean, if they differ).
    level
        Of the interval, in (0, 1).

    Raises
    ------
    ValueError
        If there are fewer than two finite differences, no rows, or the level is not between 0 and 1.
    """
    values = _finite(differences, "differences")
    count, mean, error = len(values), float(values.mean()), _error(values, train_rows, test_rows, level)
    reach = student_quantile(level, count - 1) * error
    statistic = mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
    return CrossValidated(
        folds=count,
        difference=mean,
        low=mean - reach,
        high=mean + reach,
        p_value=two_sided_p(statistic, count - 1),
        noise_floor=reach,
        level=level,
    )


def corrected_interval(
    values: ArrayLike,
    *,
    train_rows: float,
    test_rows: float,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """Return the mean of a figure over folds with the interval that overlapping training rows allow.

    It is about what is trained this way on as many rows, not about one of the models. Without any spread between the
    folds there is nothing to make an interval of, and the ends are ``None``.

    Parameters
    ----------
    values
        float [folds] or [repeats, folds]: the figure on each fold's own test rows.
    train_rows, test_rows
        Rows that each fold was trained and tested on (their mean, if they differ).
    level
        Of the interval, in (0, 1).
    bounds
        Lowest and highest value that the figure can have; the interval is cut off there.

    Raises
    ------
    ValueError
        If there are fewer than two finite values, no rows, or the level is not between 0 and 1.
    """
    found = _finite(values, "values")
    mean, error = float(found.mean()), _error(found, train_rows, test_rows, level)
    if error == 0:
        method = "all folds are equal, which gives no interval"
        return Estimate(value=mean, low=None, high=None, method=method, level=level)
    reach = student_quantile(level, len(found) - 1) * error
    return Estimate(
        value=mean,
        low=max(bounds[0], mean - reach),
        high=min(bounds[1], mean + reach),
        method="corrected resampled t (Nadeau, Bengio)",
        level=level,
    )


def _finite(values: ArrayLike, what: str) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64).ravel()
    if len(found) < 2 or not np.isfinite(found).all():
        raise ValueError(
            f"there are {np.isfinite(found).sum()} finite {what} of {len(found)}; expected two or more, all "
            "finite; give one per fold."
        )
    return found


def _error(values: NDArray[np.float64], train_rows: float, test_rows: float, level: float) -> float:
    """Return the standard error of the mean over folds."""
    if train_rows < 1 or test_rows < 1:
        raise ValueError(f"train_rows is {train_rows} and test_rows {test_rows}; expected both above 0.")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1; give 0.95 for 95%.")
    spread = 0.0 if (values == values[0]).all() else float(values.var(ddof=1))
    return math.sqrt((1 / len(values) + test_rows / train_rows) * spread)
