"""The metrics as plain functions of labels and predictions, in NumPy alone.

Names of arguments, their order and the averaging options are scikit-learn's, and so are the values wherever it
defines them. Where it does not (a class without rows, a class never predicted) the value is NaN and a macro average
goes over the remaining classes, as scikit-learn's does with ``zero_division=nan``. Classes are integers from 0 to
K - 1. Intervals are in `trimtab.evaluation.evaluate`.
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray, confusion_matrix, mean_of_defined
from trimtab.evaluation.ranking import auc_with_influence

__all__ = [
    "accuracy",
    "check_labels",
    "check_probabilities",
    "confusion_matrix",
    "f1",
    "log_loss",
    "precision",
    "recall",
    "roc_auc",
    "row_losses",
]

_SUM_TOLERANCE = 1e-3  # half-precision softmax stays within it; logits and percentages do not


def accuracy(y_true: IntArray, y_pred: IntArray) -> float:
    """Return the share of rows predicted right; NaN without rows.

    Misleads when classes are unequal: always answering the largest class scores its share.

    Parameters
    ----------
    y_true, y_pred
        Class numbers, int64 [N].
    """
    return float(np.mean(y_true == y_pred)) if len(y_true) else float("nan")


@overload
def precision(y_true: IntArray, y_pred: IntArray, *, average: Literal["macro"] = ...) -> float: ...
@overload
def precision(y_true: IntArray, y_pred: IntArray, *, average: None) -> FloatArray: ...
def precision(y_true: IntArray, y_pred: IntArray, *, average: Literal["macro"] | None = "macro") -> float | FloatArray:
    """Return how many of the rows predicted as a class are of it.

    Parameters
    ----------
    y_true, y_pred
        Class numbers, int64 [N].
    average
        ``"macro"`` for the mean over the classes where it is defined, ``None`` for one value per class [K].
    """
    return _averaged(_counts(y_true, y_pred).precision, average)


@overload
def recall(y_true: IntArray, y_pred: IntArray, *, average: Literal["macro"] = ...) -> float: ...
@overload
def recall(y_true: IntArray, y_pred: IntArray, *, average: None) -> FloatArray: ...
def recall(y_true: IntArray, y_pred: IntArray, *, average: Literal["macro"] | None = "macro") -> float | FloatArray:
    """Return how many of the rows of a class were found; parameters as for `precision`."""
    return _averaged(_counts(y_true, y_pred).recall, average)


@overload
def f1(y_true: IntArray, y_pred: IntArray, *, average: Literal["macro"] = ...) -> float: ...
@overload
def f1(y_true: IntArray, y_pred: IntArray, *, average: None) -> FloatArray: ...
def f1(y_true: IntArray, y_pred: IntArray, *, average: Literal["macro"] | None = "macro") -> float | FloatArray:
    """Return the harmonic mean of precision and recall; parameters as for `precision`.

    Misleads when read as a share of anything: it moves with the prevalence of the class.
    """
    return _averaged(_counts(y_true, y_pred).f1, average)


@overload
def roc_auc(y_true: IntArray, y_score: NDArray[np.floating], *, average: Literal["macro"] = ...) -> float: ...
@overload
def roc_auc(y_true: IntArray, y_score: NDArray[np.floating], *, average: None) -> FloatArray: ...
def roc_auc(
    y_true: IntArray, y_score: NDArray[np.floating], *, average: Literal["macro"] | None = "macro"
) -> float | FloatArray:
    """Return the area under the ROC curve, each class against the rest.

    The probability that a random row of the class gets a higher score for it than a random other row, a tie
    counted as one half. Misleads when positives are rare: a high area is compatible with low precision.

    Parameters
    ----------
    y_true
        Class numbers, int64 [N].
    y_score
        float [N, K]; or float [N] for two classes, the score of class 1. With K = 2 the second column decides
        for both classes, as in scikit-learn.
    average
        As for `precision`; a class without rows, or with all of them, has no area.
    """
    scores = y_score[:, None] if y_score.ndim == 1 else y_score
    if scores.shape[1] <= 2:
        area, _ = auc_with_influence(y_true == 1, scores[:, -1])
        areas = [area, area]
    else:
        areas = [auc_with_influence(y_true == k, scores[:, k])[0] for k in range(scores.shape[1])]
    return _averaged(np.array(areas), average)


def log_loss(y_true: IntArray, y_proba: NDArray[np.floating]) -> float:
    """Return the mean of minus the natural logarithm of the true class's probability; NaN without rows.

    Judges the probabilities themselves, not only their order; one confident mistake can dominate it.

    Parameters
    ----------
    y_true
        Class numbers, int64 [N].
    y_proba
        float [N, K], clipped to the machine epsilon of its dtype, as in scikit-learn.
    """
    return float(row_losses(y_true, y_proba).mean()) if len(y_true) else float("nan")


def row_losses(labels: IntArray, probabilities: NDArray[np.floating]) -> FloatArray:
    """Return the loss of each row, in nats: float64 [N]; `log_loss` is its mean."""
    epsilon = float(np.finfo(probabilities.dtype).eps)
    of_true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: FloatArray = -np.log(np.clip(of_true_class, epsilon, 1 - epsilon))
    return losses


def check_labels(labels: NDArray[np.integer], *, num_classes: int) -> IntArray:
    """Return the labels as int64 [N].

    Raises
    ------
    ValueError
        If they are not integers in one dimension, there are none, or one is not in 0 to ``num_classes`` - 1.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"labels have shape {array.shape} and dtype {array.dtype}; expected integers [N]; encode the classes."
        )
    if len(array) == 0:
        raise ValueError("there are no rows; expected at least one label; give the rows to evaluate.")
    if array.min() < 0 or array.max() >= num_classes:
        raise ValueError(
            f"labels reach from {array.min()} to {array.max()}; expected 0 to {num_classes - 1}, one number for "
            "each class name; encode the classes in the order of the names."
        )
    return array.astype(np.int64, copy=False)


def check_probabilities(probabilities: NDArray[np.floating], *, rows: int, num_classes: int) -> NDArray[np.floating]:
    """Return the probabilities, float [N, K].

    Raises
    ------
    ValueError
        If the shape is not ``(rows, num_classes)``, a value is not finite or not within 0 to 1, or a row does not
        sum to one.
    """
    array = np.asarray(probabilities)
    if array.shape != (rows, num_classes) or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"probabilities have shape {array.shape} and dtype {array.dtype}; expected floats "
            f"{(rows, num_classes)}: a row for each label, a column for each class; check what the model returned."
        )
    with np.errstate(invalid="ignore"):  # infinities of both signs in one row
        finite = np.isfinite(array).all(axis=1)
        in_range = ((array >= 0) & (array <= 1)).all(axis=1)
        in_sum = np.abs(array.sum(axis=1, dtype=np.float64) - 1) <= _SUM_TOLERANCE
    for fine, what in (
        (finite, "hold NaN or infinity"),
        (in_range, "lie outside 0 to 1"),
        (in_sum, "do not sum to one"),
    ):
        if not fine.all():
            raise ValueError(
                f"probabilities {what} in {np.count_nonzero(~fine)} of {rows} rows, first in row "
                f"{int(np.argmin(fine))}; expected softmax output; give probabilities, not logits or percentages."
            )
    return array


def _counts(y_true: IntArray, y_pred: IntArray) -> ClassCounts:
    num_classes = int(max(y_true.max(initial=0), y_pred.max(initial=0))) + 1
    return ClassCounts.of(confusion_matrix(y_true, y_pred, num_classes=num_classes))


def _averaged(values: FloatArray, average: Literal["macro"] | None) -> float | FloatArray:
    return values if average is None else float(mean_of_defined(values))
