"""What the figures of rows with several labels each follow from: computed in parts and merged exactly.

Each row is a vector of whole numbers: for each label whether it is a hit, given, predicted, and a one. The sums of
products of all pairs of them, its Gram matrix, hold every count and, by the delta method, the covariance of every
average over labels, however labels depend on each other. Areas need the scores themselves, kept up to `MOST_SCORES`
numbers; beyond, nothing is kept of them. The matrix has the size of nine times the square of the number of labels.

Legend: ``N`` rows, ``L`` labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray
from trimtab.evaluation.exact import Moments
from trimtab.evaluation.statistics import MOST_SCORES

_BLOCK = 2**14  # rows; counts of a block are exact in float32
_THRESHOLD = 0.5  # a label is predicted when it is more probable than not


@dataclass(frozen=True, kw_only=True, eq=False)
class MultilabelRows:
    """Rows kept as they are.

    Attributes
    ----------
    labels, predictions
        bool [N, L].
    probabilities
        float [N, L]; ``None`` when only labels were predicted.
    groups
        [N] anything that can be sorted; ``None`` when rows are independent.
    """

    labels: NDArray[np.bool_]
    predictions: NDArray[np.bool_]
    probabilities: NDArray[np.floating] | None = None
    groups: NDArray[Any] | None = None

    def __add__(self, other: MultilabelRows) -> MultilabelRows:
        """Return the rows of both."""
        return MultilabelRows(
            labels=np.concatenate([self.labels, other.labels]),
            predictions=np.concatenate([self.predictions, other.predictions]),
            probabilities=_joined(self.probabilities, other.probabilities),
            groups=_joined(self.groups, other.groups),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MultilabelStatistics:
    """The statistics of some rows; ``a + b`` is that of the rows of both.

    Attributes
    ----------
    class_names
        L names of labels.
    gram
        int64 [3L + 1, 3L + 1]: over the rows, sums of products of hits, labels, predictions and one. The last row
        are the counts, the last number is N.
    right
        Rows with all labels right.
    occupied
        int64 [3]: rows with a prediction, with a label, with either.
    losses, squares
        Moments of the rows' mean log loss (nats) and mean squared error over the labels; ``None`` when only labels
        were predicted.
    rows
        The rows themselves: when there are groups, and for the areas while there are at most ``most_scores``.
    most_scores
        N * L up to which rows are kept.
    """

    class_names: tuple[str, ...]
    gram: IntArray
    right: int
    occupied: IntArray
    losses: Moments | None
    squares: Moments | None
    rows: MultilabelRows | None
    most_scores: int

    @classmethod
    def of(
        cls,
        labels: NDArray[np.bool_],
        probabilities: NDArray[np.floating],
        *,
        class_names: tuple[str, ...],
        groups: NDArray[Any] | None = None,
        most_scores: int = MOST_SCORES,
    ) -> MultilabelStatistics:
        """Return the statistics of rows with probabilities.

        Parameters
        ----------
        labels
            bool [N, L].
        probabilities
            float [N, L] in [0, 1]; a label above one half is predicted.
        class_names
            L names.
        groups
            [N], anything that can be sorted. The rows are kept then, however many there are.
        most_scores
            N * L up to which the rows are kept.
        """
        losses, squares = Moments(), Moments()
        for start in range(0, len(labels), _BLOCK):
            block = slice(start, start + _BLOCK)
            losses += Moments.of(row_losses(labels[block], probabilities[block]))
            squares += Moments.of(row_squares(labels[block], probabilities[block]))
        predictions = probabilities > _THRESHOLD
        counted = cls.of_predictions(labels, predictions, class_names=class_names)
        rows = MultilabelRows(labels=labels, predictions=predictions, probabilities=probabilities, groups=groups)
        return replace(counted, losses=losses, squares=squares, rows=rows, most_scores=most_scores)._bounded()

    @classmethod
    def of_predictions(
        cls,
        labels: NDArray[np.bool_],
        predictions: NDArray[np.bool_],
        *,
        class_names: tuple[str, ...],
        groups: NDArray[Any] | None = None,
    ) -> MultilabelStatistics:
        """Return the statistics of predicted labels: bool [N, L], both."""
        size = 3 * labels.shape[1] + 1
        gram, right, occupied = np.zeros((size, size), np.int64), 0, np.zeros(3, np.int64)
        for start in range(0, len(labels), _BLOCK):
            true, predicted = labels[start : start + _BLOCK], predictions[start : start + _BLOCK]
            numbers = numbers_of_rows(true, predicted)
            gram += (numbers.T @ numbers).astype(np.int64)
            right += int((true == predicted).all(axis=1).sum())
            occupied += [each.any(axis=1).sum() for each in (predicted, true, true | predicted)]
        rows = None if groups is None else MultilabelRows(labels=labels, predictions=predictions, groups=groups)
        return cls(
            class_names=class_names,
            gram=gram,
            right=right,
            occupied=occupied,
            losses=None,
            squares=None,
            rows=rows,
            most_scores=MOST_SCORES,
        )

    def __add__(self, other: MultilabelStatistics) -> MultilabelStatistics:
        """Return the statistics of the rows of both.

        Raises
        ------
        ValueError
            If they are about other labels, or only one has probabilities or groups.
        """
        if self.class_names != other.class_names:
            raise ValueError(
                f"the labels are {self.class_names} and {other.class_names}; expected the same in the same order; "
                "evaluate both parts with the same class_names."
            )
        if (self.losses is None) != (other.losses is None) or self.has_groups != other.has_groups:
            raise ValueError(
                "only one of two parts has probabilities or groups; expected both or neither; evaluate both alike."
            )
        return MultilabelStatistics(
            class_names=self.class_names,
            gram=self.gram + other.gram,
            right=self.right + other.right,
            occupied=self.occupied + other.occupied,
            losses=None if self.losses is None or other.losses is None else self.losses + other.losses,
            squares=None if self.squares is None or other.squares is None else self.squares + other.squares,
            rows=None if self.rows is None or other.rows is None else self.rows + other.rows,
            most_scores=min(self.most_scores, other.most_scores),
        )._bounded()

    @property
    def num_rows(self) -> int:
        """N."""
        return int(self.gram[-1, -1])

    @property
    def num_labels(self) -> int:
        """L."""
        return len(self.class_names)

    @property
    def counts(self) -> ClassCounts:
        """The counts of each label."""
        hits, actual, predicted = self.gram[-1, :-1].astype(np.float64).reshape(3, -1)
        return ClassCounts(hits=hits, actual=actual, predicted=predicted)

    @property
    def confusion(self) -> IntArray:
        """int64 [L, 2, 2]: for each label, rows without and with it, columns the same of the predictions."""
        hits, actual, predicted = self.gram[-1, :-1].reshape(3, -1)
        neither = self.num_rows - actual - predicted + hits
        return np.stack([neither, predicted - hits, actual - hits, hits], axis=1).reshape(-1, 2, 2)

    @property
    def has_groups(self) -> bool:
        """Whether only groups of rows are independent of each other."""
        return self.rows is not None and self.rows.groups is not None

    def _bounded(self) -> MultilabelStatistics:
        """Return these statistics without the rows when there are too many."""
        is_small = self.num_rows * self.num_labels <= self.most_scores
        return self if is_small or self.has_groups else replace(self, rows=None)


def numbers_of_rows(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return hits, labels, predictions and a one side by side: float32 [N, 3L + 1] of zeros and ones."""
    ones = np.ones((len(labels), 1), bool)
    return np.concatenate([labels & predictions, labels, predictions, ones], axis=1).astype(np.float32)


def row_losses(labels: NDArray[np.bool_], probabilities: NDArray[np.floating]) -> FloatArray:
    """Return the log loss of each row, the mean over its labels, in nats: float64 [N]."""
    epsilon = float(np.finfo(probabilities.dtype).eps)
    own = np.ascontiguousarray(np.where(labels, probabilities, 1 - probabilities), np.float64)
    losses: FloatArray = -np.log(np.clip(own, epsilon, 1 - epsilon)).mean(axis=1)
    return losses


def row_squares(labels: NDArray[np.bool_], probabilities: NDArray[np.floating]) -> FloatArray:
    """Return the squared error of each row, the mean over its labels: float64 [N]."""
    squares: FloatArray = np.square(
        np.ascontiguousarray(labels) - np.ascontiguousarray(probabilities, np.float64)
    ).mean(axis=1)
    return squares


def _joined(first: NDArray[Any] | None, second: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if first is None or second is None else np.concatenate([first, second])
