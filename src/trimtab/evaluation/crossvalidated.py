"""Two configurations compared by cross-validation: a test that knows that folds share their training rows.

The same rows train several folds, so differences between folds vary less than those between independent samples, and
the ordinary t-test calls nothing into something several times too often. The correction widens the error by the share
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
from numpy.typing import ArrayLike

from trimtab.evaluation.intervals import student_quantile
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
    values = np.asarray(differences, dtype=np.float64).ravel()
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"there are {np.isfinite(values).sum()} finite differences of {len(values)}; expected two or more, all "
            "finite; give one per fold."
        )
    if train_rows < 1 or test_rows < 1:
        raise ValueError(f"train_rows is {train_rows} and test_rows {test_rows}; expected both above 0.")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1; give 0.95 for 95%.")
    count, mean = len(values), float(values.mean())
    error = math.sqrt((1 / count + test_rows / train_rows) * float(values.var(ddof=1)))
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
