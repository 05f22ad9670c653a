"""Area under the ROC curve and how much each row moves it: one sort per side, ties counted as one half.

The influence of a row is its term in DeLong's variance, so the sum of squares over rows is that variance, and
influences of the same rows for different classes carry the covariance. Rows of a group are first added up
(Obuchowski's extension to clustered data). No interval is computed here.

References
----------
DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44(3). Sun, Xu (2014), IEEE Signal Processing Letters 21(11).
Obuchowski (1997), Biometrics 53(2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import FloatArray, IntArray, mean_of_defined


def auc_with_influence(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> tuple[float, FloatArray]:
    """Return the AUC of scores and the influence of each row on it.

    Parameters
    ----------
    is_positive
        bool [N].
    scores
        float [N]; higher means more likely positive.

    Returns
    -------
    tuple
        The probability that a random positive outranks a random negative, NaN when one side is empty; and the
        influences, float64 [N], which sum to zero on each side.
    """
    positives, negatives = scores[is_positive], scores[~is_positive]
    influence = np.zeros(len(scores))
    m, n = len(positives), len(negatives)
    if m == 0 or n == 0:
        return math.nan, influence
    positive_order, negative_order = np.argsort(positives), np.argsort(negatives)
    positives, negatives = positives[positive_order], negatives[negative_order]
    below = np.empty(m)  # share of negatives below each positive
    below[positive_order] = _ranks(positives, within=negatives) / n
    above = np.empty(n)  # share of positives above each negative
    above[negative_order] = 1 - _ranks(negatives, within=positives) / m
    auc = float(below.sum() / m)
    influence[is_positive] = (below - auc) / math.sqrt(max(m * (m - 1), 1))
    influence[~is_positive] = (above - auc) / math.sqrt(max(n * (n - 1), 1))
    return auc, influence


def _ranks(values: NDArray[np.floating], *, within: NDArray[np.floating]) -> FloatArray:
    """Return how many of the sorted ``within`` lie below each value, a tie counted as one half."""
    lower = np.searchsorted(within, values, side="left")
    upper = np.searchsorted(within, values, side="right")
    return np.asarray((lower + upper) / 2, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class RankingErrors:
    """The areas of each class against the rest, with standard errors.

    Attributes
    ----------
    areas, errors
        float64 [K]; NaN for a class that has no rows or all of them.
    macro_area, macro_error
        The mean over the classes that have an area, and its error with their covariance.
    pairs
        float64 [K]: the size of a class's smaller side; so many pairs of rows share no row.
    """

    areas: FloatArray
    errors: FloatArray
    macro_area: float
    macro_error: float
    pairs: FloatArray


def one_vs_rest(
    labels: IntArray, probabilities: NDArray[np.floating], *, groups: IntArray | None = None
) -> RankingErrors:
    """Return the one-vs-rest areas and their standard errors.

    Parameters
    ----------
    labels
        int64 [N].
    probabilities
        float [N, K]; with K = 2 the second column decides for both classes.
    groups
        int64 [N], from 0 up to the number of groups - 1; rows of a group are not independent.
    """
    num_classes = probabilities.shape[1]
    areas, errors = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    total = np.zeros(len(labels))  # influence on the sum of the areas
    for k in range(num_classes):
        if num_classes == 2 and k == 0:
            continue
        areas[k], influence = auc_with_influence(labels == k, probabilities[:, k])
        errors[k] = _standard_error(influence, groups)
        total += influence
    if num_classes == 2:
        areas[0], errors[0], total = areas[1], errors[1], 2 * total
    support = np.bincount(labels, minlength=num_classes).astype(np.float64)
    errors[np.isnan(areas)] = np.nan
    return RankingErrors(
        areas=areas,
        errors=errors,
        macro_area=float(mean_of_defined(areas)),
        macro_error=_standard_error(total, groups) / max(int(np.count_nonzero(~np.isnan(areas))), 1),
        pairs=np.minimum(support, len(labels) - support),
    )


def _standard_error(influence: FloatArray, groups: IntArray | None) -> float:
    if groups is None:
        return float(np.linalg.norm(influence))
    of_groups = np.bincount(groups, weights=influence)
    return float(np.linalg.norm(of_groups)) * math.sqrt(len(of_groups) / max(len(of_groups) - 1, 1))
