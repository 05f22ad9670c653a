"""What all figures of a test set follow from: sufficient statistics that are computed in parts and merged exactly.

Counts are whole numbers and sums of row losses are exact (`trimtab.evaluation.exact`), so the figures are the same
bits however the rows were shuffled, split over files or workers, and merged; no row is ever padded or counted twice.
Areas under curves need the scores in order. Up to `MOST_SCORES` numbers the rows themselves are kept for that and the
areas are exact; beyond, only a histogram of the scores is kept, so that memory stays bounded: the areas then are those
of rounded scores, and how far they can be off is known (`ScoreHistogram.resolution`).

Legend: ``N`` rows, ``K`` classes, ``B`` bins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.calibration import Reliability
from trimtab.evaluation.counts import ClassCounts, IntArray, count_cells
from trimtab.evaluation.exact import Moments
from trimtab.evaluation.score_metrics import row_losses, row_ranks, row_squares
from trimtab.evaluation.sorted_scores import Areas, areas_of_counts

MOST_SCORES = 2**27  # probabilities kept as they are: one GiB of float64
_BLOCK = 2**16  # rows whose losses are in memory at a time
_MANTISSA_BITS = 10  # of a bin: shares a thousandth apart are told apart, near 0 and near 1
_SMALLEST_EXPONENT = 32  # shares below 2**-32, or as close to 1, fall into the outermost bins
_SIDE = _SMALLEST_EXPONENT << _MANTISSA_BITS  # bins from 0 to one half


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows kept as they are.

    Attributes
    ----------
    labels, predictions
        Integers [N] in 0 to K - 1.
    probabilities
        float [N, K]; ``None`` when only classes were predicted.
    groups
        [N] anything that can be sorted; ``None`` when rows are independent.
    """

    labels: NDArray[np.integer]
    predictions: NDArray[np.integer]
    probabilities: NDArray[np.floating] | None = None
    groups: NDArray[Any] | None = None

    def __add__(self, other: Rows) -> Rows:
        """Return the rows of both."""
        return Rows(
            labels=np.concatenate([self.labels, other.labels]),
            predictions=np.concatenate([self.predictions, other.predictions]),
            probabilities=_joined(self.probabilities, other.probabilities),
            groups=_joined(self.groups, other.groups),
        )


def _joined(first: NDArray[Any] | None, second: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if first is None or second is None else np.concatenate([first, second])


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreHistogram:
    """How many rows of each side have a probability in each of 65,536 bins, for each class against the rest.

    Bins are narrow near 0 and near 1, a thousandth of the distance to the nearer of the two.

    Attributes
    ----------
    others, own
        int64 [K, B]: rows of the other classes, and of the class itself. Of two classes only the second is counted.
    """

    others: IntArray
    own: IntArray

    @classmethod
    def of(cls, rows: Rows) -> ScoreHistogram:
        """Return the histogram of rows."""
        probabilities = rows.probabilities
        assert probabilities is not None  # noqa: S101 - scores were given
        num_classes = probabilities.shape[1]
        counts = np.zeros((2, num_classes, 2 * _SIDE), np.int64)
        for k in [1] if num_classes == 2 else range(num_classes):
            for start in range(0, len(rows.labels), _BLOCK):
                block = slice(start, start + _BLOCK)
                bins, is_own = _bins(probabilities[block, k]), rows.labels[block] == k
                counts[0, k] += np.bincount(bins[~is_own], minlength=2 * _SIDE)
                counts[1, k] += np.bincount(bins[is_own], minlength=2 * _SIDE)
        return cls(others=counts[0], own=counts[1])

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        """Return the histogram of the rows of both."""
        return ScoreHistogram(others=self.others + other.others, own=self.own + other.own)

    def areas(self, k: int) -> Areas:
        """Return the areas of class ``k``, rows of a bin taken as ties."""
        if len(self.own) == 2 and k == 0:  # the second class from its other end
            return areas_of_counts(self.others[1, ::-1].astype(np.float64), self.own[1, ::-1].astype(np.float64))
        return areas_of_counts(self.own[k].astype(np.float64), self.others[k].astype(np.float64))

    def resolution(self, k: int) -> float:
        """Return how far the area under the ROC curve of class ``k`` can be from that of the unrounded scores."""
        pairs = float(self.own[k].sum()) * float(self.others[k].sum())
        return float((self.own[k].astype(np.float64) * self.others[k]).sum()) / 2 / pairs if pairs else math.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """The statistics of some rows; ``a + b`` is that of the rows of both.

    Attributes
    ----------
    class_names
        K names.
    confusion
        int64 [K, K], rows true, columns predicted.
    scores
        What follows from probabilities; ``None`` when only classes were predicted.
    rows
        The rows themselves: when there are groups, and for the areas while there are at most `MOST_SCORES` numbers.
    """

    class_names: tuple[str, ...]
    confusion: IntArray
    scores: ScoreStatistics | None
    rows: Rows | None

    @classmethod
    def of(
        cls,
        labels: NDArray[np.integer],
        probabilities: NDArray[np.floating],
        *,
        class_names: tuple[str, ...],
        groups: NDArray[Any] | None = None,
        most_scores: int = MOST_SCORES,
    ) -> Statistics:
        """Return the statistics of rows with probabilities.

        Parameters
        ----------
        labels
            Integers [N] in 0 to K - 1, as `check_labels` returns them.
        probabilities
            float [N, K], as `check_probabilities` returns them. The predicted class is the first of the largest.
        class_names
            K names.
        groups
            [N], anything that can be sorted. The rows are kept then, however many there are.
        most_scores
            N * K up to which the rows are kept.
        """
        predictions = predicted_classes(probabilities)
        rows = Rows(labels=labels, predictions=predictions, probabilities=probabilities, groups=groups)
        return cls(
            class_names=class_names,
            confusion=count_cells(labels, predictions, num_classes=len(class_names)),
            scores=ScoreStatistics.of(labels, probabilities, predictions, most_scores=most_scores),
            rows=rows,
        )._bounded()

    @classmethod
    def of_predictions(
        cls,
        labels: NDArray[np.integer],
        predictions: NDArray[np.integer],
        *,
        class_names: tuple[str, ...],
        groups: NDArray[Any] | None = None,
    ) -> Statistics:
        """Return the statistics of predicted classes: integers [N] in 0 to K - 1, both."""
        rows = None if groups is None else Rows(labels=labels, predictions=predictions, groups=groups)
        confusion = count_cells(labels, predictions, num_classes=len(class_names))
        return cls(class_names=class_names, confusion=confusion, scores=None, rows=rows)

    def __add__(self, other: Statistics) -> Statistics:
        """Return the statistics of the rows of both.

        Raises
        ------
        ValueError
            If they are about other classes, or only one has probabilities or groups.
        """
        if self.class_names != other.class_names:
            raise ValueError(
                f"the classes are {self.class_names} and {other.class_names}; expected the same in the same order; "
                "evaluate both parts with the same class_names."
            )
        if (self.scores is None) != (other.scores is None) or self.has_groups != other.has_groups:
            raise ValueError(
                "only one of two parts has probabilities or groups; expected both or neither; evaluate both alike."
            )
        rows = None if self.rows is None or other.rows is None else self.rows + other.rows
        scores = None
        if self.scores is not None and other.scores is not None:
            histogram = None if rows is not None else self._histogram() + other._histogram()
            scores = replace(self.scores + other.scores, histogram=histogram)
        return replace(self, confusion=self.confusion + other.confusion, scores=scores, rows=rows)._bounded()

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return int(self.confusion.sum())

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def counts(self) -> ClassCounts:
        """The counts of each class."""
        return ClassCounts.of(self.confusion)

    @property
    def has_groups(self) -> bool:
        """Whether only groups of rows are independent of each other."""
        return self.rows is not None and self.rows.groups is not None

    def _histogram(self) -> ScoreHistogram:
        if self.scores is not None and self.scores.histogram is not None:
            return self.scores.histogram
        assert self.rows is not None  # noqa: S101 - one of both is there
        return ScoreHistogram.of(self.rows)

    def _bounded(self) -> Statistics:
        """Return these statistics with a histogram in the place of too many rows."""
        if self.rows is None or self.scores is None or self.has_groups:
            return self
        if self.num_rows * self.num_classes <= self.scores.most_scores:
            return self
        return replace(self, rows=None, scores=replace(self.scores, histogram=self._histogram()))


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreStatistics:
    """The part of the statistics that comes from probabilities.

    Attributes
    ----------
    losses, squares
        Moments of the rows' log loss (nats) and Brier score.
    ranks
        int64 [K]: in how many rows the true class came first, second, ...
    reliability
        Rows, hits and confidence by bin of confidence: of class 1 when there are two, else of the predicted class.
    histogram
        Of the scores, when there are more than ``most_scores``.
    most_scores
        N * K up to which rows are kept.
    """

    losses: Moments
    squares: Moments
    ranks: IntArray
    reliability: Reliability
    histogram: ScoreHistogram | None
    most_scores: int

    @classmethod
    def of(
        cls,
        labels: NDArray[np.integer],
        probabilities: NDArray[np.floating],
        predictions: NDArray[np.integer],
        *,
        most_scores: int,
    ) -> ScoreStatistics:
        """Return the statistics of rows and the classes predicted for them, without a histogram."""
        num_classes = probabilities.shape[1]
        losses, squares, ranks = Moments(), Moments(), np.zeros(num_classes, np.int64)
        for start in range(0, len(labels), _BLOCK):
            block = slice(start, start + _BLOCK)
            losses += Moments.of(row_losses(labels[block], probabilities[block]))
            squares += Moments.of(row_squares(labels[block], probabilities[block]))
            ranks += np.bincount(row_ranks(labels[block], probabilities[block]), minlength=num_classes)
        return cls(
            losses=losses,
            squares=squares,
            ranks=ranks,
            reliability=reliability_of(labels, probabilities, predictions),
            histogram=None,
            most_scores=most_scores,
        )

    def __add__(self, other: ScoreStatistics) -> ScoreStatistics:
        """Return the statistics of the rows of both, without a histogram."""
        return ScoreStatistics(
            losses=self.losses + other.losses,
            squares=self.squares + other.squares,
            ranks=self.ranks + other.ranks,
            reliability=self.reliability + other.reliability,
            histogram=None,
            most_scores=min(self.most_scores, other.most_scores),
        )


def merge(parts: Iterable[Statistics]) -> Statistics:
    """Return the statistics of the rows of all parts; rows are copied a few times, not once for each part.

    Raises
    ------
    ValueError
        If there is no part, or two do not fit together.
    """
    stack: list[tuple[int, Statistics]] = []  # neighbours of the same size are merged, like digits of a number
    for part in parts:
        size = 1
        while stack and stack[-1][0] <= size:
            count, earlier = stack.pop()
            size, part = size + count, earlier + part
        stack.append((size, part))
    if not stack:
        raise ValueError("there are no parts; expected one at least; give the rows to evaluate.")
    return reduce(lambda later, earlier: earlier + later, (part for _, part in reversed(stack)))


def predicted_classes(probabilities: NDArray[np.floating]) -> NDArray[np.integer]:
    """Return the first of the largest of each row: integers [N]."""
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] > probabilities[:, 0]).view(np.int8)
    chosen: IntArray = probabilities.argmax(axis=1)
    return chosen


def reliability_of(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], predictions: NDArray[np.integer]
) -> Reliability:
    """Return confidence against truth: of class 1 when there are two classes, else of the predicted class."""
    if probabilities.shape[1] == 2:
        return Reliability.of(probabilities[:, 1], labels == 1)
    confidence = np.take_along_axis(probabilities, predictions[:, None].astype(np.int64), axis=1)[:, 0]
    return Reliability.of(confidence, labels == predictions)


def _bins(shares: NDArray[np.floating]) -> IntArray:
    """Return the bin of each share in [0, 1]: int64 [N], increasing with the share."""
    wide = shares.astype(np.float64)
    is_upper = wide > 0.5
    near = np.where(is_upper, 1 - wide, wide)  # distance to the nearer end, in [0, 0.5]
    fraction, exponent = np.frexp(np.maximum(near, 2.0 ** -(_SMALLEST_EXPONENT + 1)))  # near = fraction * 2**exponent
    within = ((2 * fraction - 1) * 2**_MANTISSA_BITS).astype(np.int64)
    number = ((exponent + _SMALLEST_EXPONENT).astype(np.int64) << _MANTISSA_BITS) + within
    number = np.clip(number, 0, _SIDE - 1)
    bins: IntArray = np.where(is_upper, 2 * _SIDE - 1 - number, number)
    return bins
