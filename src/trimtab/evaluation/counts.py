"""What the count metrics are made of: the confusion matrix and three counts per class.

Counts of shards add up, and replicates of a resampling stack in front, so every metric here is written once over
the last axis. A ratio of nothing to nothing is NaN, never zero; no interval is computed here.

Shapes: ``N`` rows, ``K`` classes, ``...`` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_BLOCK = 2**15  # rows; a block's numbers stay in the processor's cache


def count_cells(labels: NDArray[np.integer], predictions: NDArray[np.integer], *, num_classes: int) -> IntArray:
    """Return how often each class was taken for each: int64 [K, K], rows true, columns predicted.

    Parameters
    ----------
    labels, predictions
        Integers [N], both in 0 to K - 1.
    num_classes
        K.
    """
    cells = np.zeros(num_classes**2, np.int64)
    for start in range(0, len(labels), _BLOCK):
        pairs = labels[start : start + _BLOCK].astype(np.int64)
        pairs *= num_classes
        pairs += predictions[start : start + _BLOCK]
        cells += np.bincount(pairs, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN where the denominator is zero."""
    quotient = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def mean_of_defined(values: FloatArray) -> FloatArray:
    """Return the mean over the last axis of the values that are not NaN; NaN when none is left."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return ratio(np.asarray(total, dtype=np.float64), np.asarray(defined.sum(axis=-1), dtype=np.float64))


def weighted_mean_of_defined(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted mean over the last axis of the values that are not NaN; NaN where no weight is left."""
    defined = ~np.isnan(values)
    left = np.where(defined, weights, 0.0)
    total = (np.where(defined, values, 0.0) * left).sum(axis=-1)
    return ratio(np.asarray(total, dtype=np.float64), np.asarray(left.sum(axis=-1), dtype=np.float64))


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """Three counts per class, float64 [..., K] each, from which precision, recall and F1 follow.

    Attributes
    ----------
    hits
        Rows of the class that were predicted as it.
    actual
        Rows of the class.
    predicted
        Rows predicted as the class.
    """

    hits: FloatArray
    actual: FloatArray
    predicted: FloatArray

    @classmethod
    def of(cls, confusion: IntArray | FloatArray) -> ClassCounts:
        """Return the counts of a confusion matrix [..., K, K]."""
        matrix = confusion.astype(np.float64)
        return cls(
            hits=np.diagonal(matrix, axis1=-2, axis2=-1),
            actual=matrix.sum(axis=-1),
            predicted=matrix.sum(axis=-2),
        )

    @property
    def precision(self) -> FloatArray:
        """Right among those predicted as the class; NaN for a class that was never predicted."""
        return ratio(self.hits, self.predicted)

    @property
    def recall(self) -> FloatArray:
        """Found among those of the class; NaN for a class without a row."""
        return ratio(self.hits, self.actual)

    @property
    def f1(self) -> FloatArray:
        """Harmonic mean of precision and recall, 2 hits / (actual + predicted); NaN when both are empty."""
        return ratio(2 * self.hits, self.actual + self.predicted)

    def take(self, classes: IntArray) -> ClassCounts:
        """Return the counts of these classes, in this order."""
        return ClassCounts(
            hits=self.hits[..., classes], actual=self.actual[..., classes], predicted=self.predicted[..., classes]
        )

    def total(self) -> ClassCounts:
        """Return the counts of all classes together, float64 [..., 1]: what a micro average is made of."""
        return ClassCounts(
            hits=self.hits.sum(axis=-1, keepdims=True),
            actual=self.actual.sum(axis=-1, keepdims=True),
            predicted=self.predicted.sum(axis=-1, keepdims=True),
        )

    @property
    def union(self) -> FloatArray:
        """Rows that are of the class, predicted as it, or both."""
        return self.actual + self.predicted - self.hits
