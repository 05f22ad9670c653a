"""The metrics of labels and scores or probabilities, as plain functions in NumPy alone.

Arguments, averaging and values are scikit-learn's; where it defines none, the value is NaN, and an average goes over
the remaining classes. A column of scores stands for a class in sorted order; classes that are whole numbers from 0 to
K - 1 may be absent from the rows, any others are named by ``labels``.

Legend: ``N`` rows, ``K`` classes, ``L`` labels of a multi-label problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.evaluation.counts import FloatArray, IntArray, mean_of_defined, weighted_mean_of_defined
from trimtab.evaluation.exact import Moments
from trimtab.evaluation.labels import check_shares, indicators, refuse_missing
from trimtab.evaluation.sorted_scores import SortedScores

ScoreAverage = Literal["micro", "macro", "weighted", "samples"]
_Metric = Callable[[NDArray[np.bool_], NDArray[np.floating]], float]
_BLOCK = 2**14  # rows


@overload
def roc_auc(
    y_true: ArrayLike, y_score: ArrayLike, *, average: ScoreAverage = ..., labels: Sequence[Any] | None = ...
) -> float: ...
@overload
def roc_auc(
    y_true: ArrayLike, y_score: ArrayLike, *, average: None, labels: Sequence[Any] | None = ...
) -> float | FloatArray: ...
def roc_auc(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: ScoreAverage | None = "macro",
    labels: Sequence[Any] | None = None,
) -> float | FloatArray:
    """Return the area under the ROC curve; of more than two classes, each against the rest.

    The probability that a random row of the class gets a higher score for it than a random other row, a tie
    counted as one half. Misleads when positives are rare: a high area is compatible with low precision.

    Parameters
    ----------
    y_true
        Labels [N], or zeros and ones [N, L].
    y_score
        float [N] (two classes, the score of the larger one) or [N, K]; [N, L] for several labels per row. Of two
        columns of a binary problem the second counts.
    average
        ``"macro"``, ``"weighted"`` (by the classes' rows), ``"micro"`` (all cells as one problem), ``"samples"``
        (over rows, multi-label only), or ``None`` for one value per class. Two classes have one area.
    labels
        [K] the classes of the columns.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a score is NaN or infinite.
    """
    return _one_vs_rest(_roc_area, y_true, y_score, average, labels)


@overload
def average_precision(
    y_true: ArrayLike, y_score: ArrayLike, *, average: ScoreAverage = ..., labels: Sequence[Any] | None = ...
) -> float: ...
@overload
def average_precision(
    y_true: ArrayLike, y_score: ArrayLike, *, average: None, labels: Sequence[Any] | None = ...
) -> float | FloatArray: ...
def average_precision(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: ScoreAverage | None = "macro",
    labels: Sequence[Any] | None = None,
) -> float | FloatArray:
    """Return the average precision: the mean, over the rows of the class, of the precision at their score.

    The area under the precision-recall curve as a step function. Chance is the prevalence of the class, not one
    half, so values of different data sets do not compare. Parameters and errors as for `roc_auc`.
    """
    return _one_vs_rest(_average_precision, y_true, y_score, average, labels)


def log_loss(y_true: ArrayLike, y_proba: ArrayLike, *, labels: Sequence[Any] | None = None) -> float:
    """Return the mean of minus the natural logarithm of the true class's probability; NaN without rows.

    Judges the probabilities themselves, not only their order; one confident mistake can dominate it.

    Parameters
    ----------
    y_true
        Labels [N].
    y_proba
        float [N, K], or [N] for two classes; clipped to the machine epsilon of its dtype, as in scikit-learn.
    labels
        [K] the classes of the columns.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a probability is not within 0 to 1.
    """
    probabilities = two_columns(np.asarray(y_proba))
    numbers = class_numbers(np.asarray(y_true), probabilities, labels)
    check_shares(probabilities)
    return Moments.of(row_losses(numbers, probabilities)).mean


def brier_score(y_true: ArrayLike, y_proba: ArrayLike, *, labels: Sequence[Any] | None = None) -> float:
    """Return the mean squared distance between probabilities and truth; NaN without rows.

    As in scikit-learn, two classes count once, in [0, 1]; of more classes the squares are added up, in [0, 2].
    A confident mistake costs a bounded amount. Parameters and errors as for `log_loss`.
    """
    probabilities = two_columns(np.asarray(y_proba))
    numbers = class_numbers(np.asarray(y_true), probabilities, labels)
    check_shares(probabilities)
    return Moments.of(row_squares(numbers, probabilities)).mean


def top_k_accuracy(y_true: ArrayLike, y_score: ArrayLike, *, k: int = 2, labels: Sequence[Any] | None = None) -> float:
    """Return the share of rows whose class is among the ``k`` highest scores; NaN without rows.

    Among equal scores the later class comes first, as in scikit-learn.

    Parameters
    ----------
    y_true
        Labels [N].
    y_score
        float [N, K].
    k
        From 1 to K; K gives one.
    labels
        [K] the classes of the columns.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a score is NaN or infinite.
    """
    scores = np.asarray(y_score)
    if scores.ndim != 2 or not 1 <= k <= scores.shape[1]:
        raise ValueError(
            f"k is {k} and y_score has shape {scores.shape}; expected [N, K] and k from 1 to K; give a column of "
            "scores for each class."
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity; expected finite numbers; look for a fault in the model.")
    ranks = row_ranks(class_numbers(np.asarray(y_true), scores, labels), scores)
    return float((ranks < k).mean()) if len(ranks) else float("nan")


def row_losses(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> FloatArray:
    """Return the loss of each row, in nats: float64 [N]; `log_loss` is its mean."""
    epsilon = float(np.finfo(probabilities.dtype).eps)
    of_true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: FloatArray = -np.log(np.clip(of_true_class, epsilon, 1 - epsilon))
    return losses


def row_squares(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> FloatArray:
    """Return the squared distance of each row from its truth: float64 [N]; `brier_score` is its mean."""
    if probabilities.shape[1] == 2:
        squares: FloatArray = np.square((labels == 1) - probabilities[:, 1].astype(np.float64))
        return squares
    squares = np.empty(len(labels))
    for start in range(0, len(labels), _BLOCK):
        block = probabilities[start : start + _BLOCK].astype(np.float64, order="C")  # order decides how sums round
        block[np.arange(len(block)), labels[start : start + _BLOCK]] -= 1
        squares[start : start + _BLOCK] = np.square(block).sum(axis=1)
    return squares


def row_ranks(labels: NDArray[np.integer], scores: NDArray[np.floating]) -> IntArray:
    """Return how many classes come before the true one: int64 [N] in 0 to K - 1."""
    ranks = np.empty(len(labels), np.int64)
    later = np.arange(scores.shape[1])
    for start in range(0, len(labels), _BLOCK):
        block, true = scores[start : start + _BLOCK], labels[start : start + _BLOCK, None]
        own = np.take_along_axis(block, true.astype(np.int64), axis=1)
        ranks[start : start + _BLOCK] = ((block > own) | ((block == own) & (later > true))).sum(axis=1)
    return ranks


def two_columns(probabilities: NDArray[Any]) -> NDArray[np.floating]:
    """Return float [N, K]; of [N], the probability of the second of two classes, both columns."""
    if probabilities.dtype.kind != "f":
        probabilities = probabilities.astype(np.float64)
    return probabilities if probabilities.ndim == 2 else np.stack([1 - probabilities, probabilities], axis=1)


def class_numbers(y_true: NDArray[Any], scores: NDArray[Any], labels: Sequence[Any] | None) -> NDArray[np.integer]:
    """Return the column of each row's class: integers [N] in 0 to K - 1.

    Raises
    ------
    ValueError
        If ``y_true`` and the scores differ in length, or a label has no column.
    """
    if y_true.ndim != 1 or len(y_true) != len(scores):
        raise ValueError(
            f"y_true has shape {y_true.shape} and the scores {scores.shape}; expected [N] and a row of scores for "
            "each label; check what the model returned."
        )
    refuse_missing(y_true, "y_true")
    count = scores.shape[1] if scores.ndim == 2 else 2
    if labels is None:
        is_number = y_true.dtype.kind in "iu"
        if is_number and (not len(y_true) or (y_true.min() >= 0 and y_true.max() < count)):
            return y_true
        classes = np.unique(y_true)
    else:
        classes = np.asarray(labels)
    order = np.argsort(classes, kind="stable")
    if len(classes) == count:
        place = np.minimum(np.searchsorted(classes[order], y_true), count - 1)
        numbers: IntArray = order[place]
        if (classes[numbers] == y_true).all():
            return numbers
        unknown = y_true[classes[numbers] != y_true][0]
        raise ValueError(f"y_true holds '{unknown}'; expected one of labels; add it, with a column of scores.")
    raise ValueError(
        f"there are {len(classes)} classes and {count} columns of scores; expected a column for each; give `labels` "
        "in the order of the columns."
    )


def _roc_area(is_class: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    return SortedScores(is_class, scores).areas(has_precision=False).roc_auc


def _average_precision(is_class: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    return SortedScores(is_class, scores).areas().average_precision


def _one_vs_rest(
    metric: _Metric,
    y_true: ArrayLike,
    y_score: ArrayLike,
    average: str | None,
    labels: Sequence[Any] | None,
) -> float | FloatArray:
    true, scores = np.asarray(y_true), np.asarray(y_score)
    if scores.dtype.kind != "f":
        scores = scores.astype(np.float64)
    if true.ndim == 2:
        if true.shape != scores.shape:
            raise ValueError(f"y_true has shape {true.shape} and y_score {scores.shape}; expected the same [N, L].")
        return _averaged(metric, indicators(true, "y_true"), scores, average)
    numbers = class_numbers(true, scores, labels)
    if scores.ndim == 1 or scores.shape[1] == 2:
        return metric(numbers == 1, scores if scores.ndim == 1 else scores[:, 1])
    if average == "samples":
        raise ValueError("average is 'samples', but each row has one label; expected 'macro' or another; pick one.")
    return _averaged(metric, numbers[:, None] == np.arange(scores.shape[1]), scores, average)


def _averaged(
    metric: _Metric,
    is_class: NDArray[np.bool_],
    scores: NDArray[np.floating],
    average: str | None,
) -> float | FloatArray:
    if average not in ("micro", "macro", "weighted", "samples", None):
        raise ValueError(f"average is {average!r}; expected micro, macro, weighted, samples or None; pick one.")
    if average == "micro":
        return metric(is_class.ravel(), scores.ravel())
    if average == "samples":
        return float(mean_of_defined(np.array([metric(*row) for row in zip(is_class, scores, strict=True)])))
    values = np.array([metric(is_class[:, k], scores[:, k]) for k in range(scores.shape[1])])
    if average is None:
        return values
    if average == "weighted":
        return float(weighted_mean_of_defined(values, is_class.sum(axis=0).astype(np.float64)))
    return float(mean_of_defined(values))
