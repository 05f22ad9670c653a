"""The metrics of labels and predicted labels, as plain functions in NumPy alone.

Names of arguments, their order and the averaging options are scikit-learn's, and so are the values wherever it
defines them. Where it does not (a class without rows, a class never predicted, nothing to agree about) the value is
NaN, never a silent zero, and an average goes over the remaining classes, as scikit-learn's does with
``zero_division=nan``. Metrics of scores and probabilities are in `trimtab.evaluation.score_metrics`, intervals in
`trimtab.evaluation.evaluate`. There are no sample weights.

Labels are integers, booleans, strings, or anything else that can be sorted: [N]. Multi-label problems have a column
of zeros and ones per label: [N, L].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from trimtab.evaluation.count_metrics import cohen_kappa_of, matthews_corrcoef_of
from trimtab.evaluation.counts import (
    ClassCounts,
    FloatArray,
    IntArray,
    count_cells,
    mean_of_defined,
    weighted_mean_of_defined,
)
from trimtab.evaluation.labels import check_indicators, encode

Average = Literal["binary", "micro", "macro", "weighted", "samples"]
_AVERAGES = ("binary", "micro", "macro", "weighted", "samples", None)


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, *, labels: Sequence[Any] | None = None) -> IntArray:
    """Return how often each class was taken for each: int64 [K, K], rows true, columns predicted.

    Parameters
    ----------
    y_true, y_pred
        Labels [N].
    labels
        Classes in the order of the rows and columns; by default those that occur, sorted. Rows with another label
        are left out.

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """
    confusion, classes = _confusion(y_true, y_pred)
    present = _present(confusion) if labels is None else _positions(labels, classes)
    padded = np.pad(confusion, (0, 1))  # a class that never occurs is the last, which is empty
    return padded[np.ix_(present, present)]


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the share of rows predicted right; NaN without rows.

    Multi-label rows are right when all their labels are. Misleads when classes are unequal: always answering the
    largest class scores its share.

    Parameters
    ----------
    y_true, y_pred
        Labels [N], or zeros and ones [N, L].

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim == 2:
        true, predicted = check_indicators(true, predicted)
        return float((true == predicted).all(axis=1).mean()) if len(true) else float("nan")
    encoded = encode(true, predicted)
    return float((encoded.true == encoded.predicted).mean()) if len(true) else float("nan")


def balanced_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the mean over the classes that have rows of the share found: macro recall; NaN without rows.

    Always answering one class scores 1 / K. It says nothing of how often a predicted class is right.

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """
    return float(mean_of_defined(ClassCounts.of(_confusion(y_true, y_pred)[0]).recall))


@overload
def precision(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: Sequence[Any] | None = ...,
    pos_label: Any = ...,
    average: Average = ...,
) -> float: ...
@overload
def precision(
    y_true: ArrayLike, y_pred: ArrayLike, *, labels: Sequence[Any] | None = ..., pos_label: Any = ..., average: None
) -> FloatArray: ...
def precision(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: Sequence[Any] | None = None,
    pos_label: Any = 1,
    average: Average | None = "binary",
) -> float | FloatArray:
    """Return how many of the rows predicted as a class are of it.

    Misleads alone: a model that names one sure case and no other has precision one.

    Parameters
    ----------
    y_true, y_pred
        Labels [N], or zeros and ones [N, L].
    labels
        Classes (or columns) to report or to average over, in this order; by default all that occur, sorted.
    pos_label
        The class that ``"binary"`` reports.
    average
        ``"binary"``: of ``pos_label``. ``"micro"``: of all rows together. ``"macro"``: mean over classes.
        ``"weighted"``: mean weighted by the classes' rows. ``"samples"``: mean over rows (multi-label only).
        ``None``: one value per class [K].

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """
    return _averaged("precision", y_true, y_pred, labels, pos_label, average)


@overload
def recall(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: Sequence[Any] | None = ...,
    pos_label: Any = ...,
    average: Average = ...,
) -> float: ...
@overload
def recall(
    y_true: ArrayLike, y_pred: ArrayLike, *, labels: Sequence[Any] | None = ..., pos_label: Any = ..., average: None
) -> FloatArray: ...
def recall(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: Sequence[Any] | None = None,
    pos_label: Any = 1,
    average: Average | None = "binary",
) -> float | FloatArray:
    """Return how many of the rows of a class were found; parameters and errors as for `precision`.

    Misleads alone: a model that always answers one class has recall one for it.
    """
    return _averaged("recall", y_true, y_pred, labels, pos_label, average)


@overload
def f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: Sequence[Any] | None = ...,
    pos_label: Any = ...,
    average: Average = ...,
) -> float: ...
@overload
def f1(
    y_true: ArrayLike, y_pred: ArrayLike, *, labels: Sequence[Any] | None = ..., pos_label: Any = ..., average: None
) -> FloatArray: ...
def f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: Sequence[Any] | None = None,
    pos_label: Any = 1,
    average: Average | None = "binary",
) -> float | FloatArray:
    """Return the harmonic mean of precision and recall; parameters and errors as for `precision`.

    Misleads when compared between data sets: it moves with the prevalence of the class.
    """
    return _averaged("f1", y_true, y_pred, labels, pos_label, average)


def matthews_corrcoef(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return Matthews' correlation of true and predicted classes, in [-1, 1]; NaN when either is constant.

    Zero is chance whatever the classes' sizes. scikit-learn returns 0 where it is undefined.

    Raises
    ------
    ValueError
        If the arguments do not fit together.

    References
    ----------
    Matthews (1975), BBA Protein Structure 405(2). Gorodkin (2004), Computational Biology and Chemistry 28(5).
    """
    return float(matthews_corrcoef_of(_padded(ClassCounts.of(_confusion(y_true, y_pred)[0]))))


def cohen_kappa(y1: ArrayLike, y2: ArrayLike) -> float:
    """Return Cohen's kappa: agreement beyond what the classes' shares alone would give, at most 1.

    NaN when both are the same constant. Moves with the prevalence of the classes.

    Raises
    ------
    ValueError
        If the arguments do not fit together.

    References
    ----------
    Cohen (1960), Educational and Psychological Measurement 20(1).
    """
    return float(cohen_kappa_of(_padded(ClassCounts.of(_confusion(y1, y2)[0]))))


def _confusion(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[IntArray, Any]:
    """Return the confusion matrix [K, K] and the classes [K], of which some may never occur."""
    encoded = encode(np.asarray(y_true), np.asarray(y_pred))
    return count_cells(encoded.true, encoded.predicted, num_classes=len(encoded.classes)), encoded.classes


def _present(confusion: IntArray) -> IntArray:
    return np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))


def _positions(labels: Sequence[Any], classes: Any) -> IntArray:
    """Return where the labels stand among the classes; those that do not occur come after the last."""
    place = {label: position for position, label in enumerate(classes.tolist())}
    return np.array([place.get(label, len(classes)) for label in np.asarray(labels).tolist()], dtype=np.int64)


def _averaged(
    name: str, y_true: ArrayLike, y_pred: ArrayLike, labels: Sequence[Any] | None, pos_label: Any, average: str | None
) -> float | FloatArray:
    if average not in _AVERAGES:
        raise ValueError(f"average is {average!r}; expected one of {', '.join(map(str, _AVERAGES))}; pick one.")
    if np.asarray(y_true).ndim == 2:
        return _averaged_indicators(name, np.asarray(y_true), np.asarray(y_pred), labels, average)
    confusion, classes = _confusion(y_true, y_pred)
    present = _present(confusion)
    if average == "samples":
        raise ValueError("average is 'samples', but each row has one label; expected 'macro' or another; pick one.")
    if average == "binary":
        _check_binary(classes[present].tolist(), pos_label)
        chosen = _positions([pos_label], classes)
    else:
        chosen = present if labels is None else _positions(labels, classes)
    return _average_of(name, _padded(ClassCounts.of(confusion)).take(chosen), average)


def _padded(counts: ClassCounts) -> ClassCounts:
    """Return the counts with a class added that never occurs."""
    return ClassCounts(
        hits=np.append(counts.hits, 0.0), actual=np.append(counts.actual, 0.0), predicted=np.append(counts.predicted, 0)
    )


def _average_of(name: str, counts: ClassCounts, average: str | None) -> float | FloatArray:
    if average == "micro":
        counts = counts.total()
    values: FloatArray = getattr(counts, name)
    if average is None:
        return values
    if average == "weighted":
        return float(weighted_mean_of_defined(values, counts.actual))
    return float(mean_of_defined(values))


def _averaged_indicators(
    name: str, y_true: Any, y_pred: Any, labels: Sequence[Any] | None, average: str | None
) -> float | FloatArray:
    true, predicted = check_indicators(y_true, y_pred)
    if average == "binary":
        raise ValueError("average is 'binary', but rows have several labels; expected 'macro' or another; pick one.")
    if labels is not None:
        columns = np.asarray(labels, dtype=np.int64)
        true, predicted = true[:, columns], predicted[:, columns]
    axis = 1 if average == "samples" else 0
    counts = ClassCounts(
        hits=(true & predicted).sum(axis=axis).astype(np.float64),
        actual=true.sum(axis=axis).astype(np.float64),
        predicted=predicted.sum(axis=axis).astype(np.float64),
    )
    return _average_of(name, counts, average)


def _check_binary(present: list[Any], pos_label: Any) -> None:
    if len(present) > 2:
        raise ValueError(
            f"average is 'binary', but there are {len(present)} classes; expected two; give average='macro', "
            "'weighted', 'micro' or None."
        )
    if len(present) == 2 and pos_label not in present:
        raise ValueError(f"pos_label is {pos_label!r}; expected one of {present}; name the class to report.")
