"""How much each row moves the areas under the ROC and the precision-recall curve.

The influence of a row is its term in the variance: for the area under the ROC curve DeLong's, for the average
precision its derivative by the row's weight. The sum of squares over independent rows is the variance; influences of
the same rows for different classes, or for different models, carry the covariance; rows of a group are first added up
(Obuchowski's extension to clustered data). Where only the area and its error are wanted, `SortedScores` is faster.

Legend: ``N`` rows, ``D`` distinct scores, ``m`` positives, ``n`` negatives.

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

from trimtab.evaluation.counts import FloatArray, IntArray


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
    return Ranks.of(is_positive, scores).roc_auc()


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranks:
    """The rows in the order of their scores, once for both areas.

    Attributes
    ----------
    is_positive
        bool [N].
    number
        int64 [N]: which of the distinct scores, from the lowest up, a row has.
    positives, negatives
        float64 [D], whole numbers of rows of each side.
    """

    is_positive: NDArray[np.bool_]
    number: IntArray
    positives: FloatArray
    negatives: FloatArray

    @classmethod
    def of(cls, is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Ranks:
        """Return the ranks of bool [N] and finite float [N]."""
        order = np.argsort(scores)
        ordered = scores[order]
        number = np.empty(len(scores), np.int64)
        number[order] = np.cumsum(np.append(np.zeros(min(1, len(scores)), bool), ordered[1:] != ordered[:-1]))
        count = int(number[order[-1]]) + 1 if len(scores) else 0
        positives = np.bincount(number[is_positive], minlength=count).astype(np.float64)
        return cls(
            is_positive=is_positive,
            number=number,
            positives=positives,
            negatives=np.bincount(number, minlength=count) - positives,
        )

    def roc_auc(self) -> tuple[float, FloatArray]:
        """Return what `auc_with_influence` does."""
        m, n = self.positives.sum(), self.negatives.sum()
        if not m or not n:
            return math.nan, np.zeros(len(self.number))
        below = (np.cumsum(self.negatives) - self.negatives / 2) / n  # [D] share of negatives below a positive
        above = 1 - (np.cumsum(self.positives) - self.positives / 2) / m  # share of positives above a negative
        area = float(np.einsum("i,i->", self.positives, below) / m)
        return area, self._of_rows(
            (below - area) / math.sqrt(max(m * (m - 1), 1)), (above - area) / math.sqrt(max(n * (n - 1), 1))
        )

    def average_precision(self) -> tuple[float, FloatArray]:
        """Return the average precision, NaN without a positive, and the influence of each row, float64 [N]."""
        m = self.positives.sum()
        if not m:
            return math.nan, np.zeros(len(self.number))
        found = m - np.cumsum(self.positives) + self.positives  # [D] positives at or above
        taken = found + self.negatives.sum() - np.cumsum(self.negatives) + self.negatives
        value = float(np.einsum("i,i->", self.positives, found / taken) / m)
        loss = np.cumsum(self.positives * found / taken**2)  # to the positives at or below, by one more negative
        gain = np.cumsum(self.positives / taken) - loss
        return value, self._of_rows((found / taken + gain - value) / m, -loss / m)

    def _of_rows(self, of_positives: FloatArray, of_negatives: FloatArray) -> FloatArray:
        influence: FloatArray = np.where(self.is_positive, of_positives[self.number], of_negatives[self.number])
        return influence


def standard_error(influence: FloatArray, groups: IntArray | None = None) -> float:
    """Return the first of what `error_and_lean` returns."""
    return error_and_lean(influence, groups)[0]


def error_and_lean(influence: FloatArray, groups: IntArray | None = None) -> tuple[float, float]:
    """Return the standard error from the influence of each row, and the lean; the same bits in any order of the rows.

    The lean to low values is minus the sum of the cubes over the 1.5th power of the sum of the squares.

    Parameters
    ----------
    influence
        float64 [N].
    groups
        int64 [N], from 0 up to the number of groups - 1; rows of a group are not independent.
    """
    if groups is not None:
        influence = sum_by_group(groups, influence)
    influence = np.sort(influence)
    squares = influence * influence
    variance = float(squares.sum())
    lean = -float((squares * influence).sum()) / variance**1.5 if variance > 0 else 0.0
    correction = 1.0 if groups is None else len(influence) / max(len(influence) - 1, 1)
    return math.sqrt(variance * correction), lean


def sum_by_group(groups: IntArray, values: FloatArray) -> FloatArray:
    """Return the sum of the values of each group: float64 [G]; the same bits in any order of the rows."""
    order = np.lexsort((values, groups))
    return np.bincount(groups[order], weights=values[order]).astype(np.float64)
