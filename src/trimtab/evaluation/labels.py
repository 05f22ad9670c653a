"""Labels of any kind as class numbers, and the checks of what a caller gives.

Whole numbers from zero are taken as they are, so that ten million of them are not copied; anything else that can be
sorted is encoded once. A two-dimensional array of zeros and ones is multi-label: a column per label.

Legend: ``N`` rows, ``K`` classes, ``L`` labels of a multi-label problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import IntArray

_LARGEST_DENSE = 1000  # class numbers up to here are used as they are, even if many of them never occur
_BLOCK = 2**15  # rows
_SUM_TOLERANCE = 1e-3  # half-precision softmax stays within it; logits and percentages do not


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Labels as class numbers.

    Attributes
    ----------
    true, predicted
        Integers [N] in 0 to K - 1, of any integer dtype.
    classes
        [K] what the numbers stand for, in increasing order; classes may be among them that never occur.
    """

    true: NDArray[np.integer]
    predicted: NDArray[np.integer]
    classes: NDArray[Any]


def encode(y_true: NDArray[Any], y_pred: NDArray[Any]) -> Encoded:
    """Return both as class numbers of the same encoding.

    Raises
    ------
    ValueError
        If they are not two arrays [N] of the same length, or hold NaN or fractions, or are not of one kind.
    """
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ValueError(
            f"y_true has shape {true.shape} and y_pred {predicted.shape}; expected the same number of labels in "
            "one dimension; give one prediction for each label."
        )
    for labels, name in ((true, "y_true"), (predicted, "y_pred")):
        refuse_missing(labels, name)
        _refuse_fractions(labels, name)
    if true.dtype.kind == "b" and predicted.dtype.kind == "b":
        true, predicted = true.view(np.int8), predicted.view(np.int8)
        return Encoded(true=true, predicted=predicted, classes=np.array([False, True]))
    if true.dtype.kind in "iub" and predicted.dtype.kind in "iub":
        largest = max(_largest(true), _largest(predicted))
        if largest <= _LARGEST_DENSE:
            return Encoded(true=_integers(true), predicted=_integers(predicted), classes=np.arange(largest + 1))
    try:
        if len({side.dtype.kind in "US" for side in (true, predicted) if side.dtype.kind != "O"}) > 1:
            raise TypeError("NumPy would turn the numbers into strings")
        classes, numbers = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    except TypeError as error:
        raise ValueError(
            f"y_true is of the type {true.dtype} and y_pred {predicted.dtype}, which cannot be compared; expected "
            "labels of one kind; convert one of them."
        ) from error
    return Encoded(true=numbers[: len(true)], predicted=numbers[len(true) :], classes=classes)


def refuse_missing(labels: NDArray[Any], name: str, *, what: str = "labels") -> None:
    """Raise ``ValueError`` if labels, or groups, hold NaN or None."""
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    elif labels.dtype.kind == "O":
        missing = np.array([label is None or label != label for label in labels.ravel()], dtype=bool)
    else:
        return
    if missing.any():
        raise ValueError(
            f"{name} hold {np.count_nonzero(missing)} missing {what}, the first in row {int(np.argmax(missing))}; "
            "expected one in each row; fill them in or remove these rows."
        )


def _refuse_fractions(labels: NDArray[Any], name: str) -> None:
    """Raise ``ValueError`` if labels are floats other than whole numbers: they are scores, and would match nothing."""
    if labels.dtype.kind == "f" and not (is_whole := np.isfinite(labels) & (labels == np.rint(labels))).all():
        raise ValueError(
            f"{name} holds {labels[~is_whole][0]}; expected labels; give the predicted classes, not scores or "
            "probabilities."
        )


def check_groups(groups: NDArray[Any], *, rows: int) -> NDArray[Any]:
    """Return the groups [N].

    Raises
    ------
    ValueError
        If there is not one for each row, or one is missing.
    """
    if groups.shape != (rows,):
        raise ValueError(f"groups have shape {groups.shape}; expected ({rows},); give one group for each label.")
    refuse_missing(groups, "groups", what="groups")
    if groups.dtype.kind in "OU" and (groups.astype(str) == "").any():
        first = int(np.argmax(groups.astype(str) == ""))
        raise ValueError(
            f"the group of row {first} is empty; expected a group in each row; fill it in, or leave groups out."
        )
    return groups


def check_indicators(y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return both as bool [N, L].

    Raises
    ------
    ValueError
        If they are not two arrays of the same shape [N, L] that hold zeros and ones.
    """
    if y_true.shape != y_pred.shape or y_true.ndim != 2:
        raise ValueError(
            f"y_true has shape {y_true.shape} and y_pred {y_pred.shape}; expected both [N, L], a column per label; "
            "give one row of predictions for each row of labels."
        )
    return indicators(y_true, "y_true"), indicators(y_pred, "y_pred")


def indicators(array: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """Return zeros and ones as bool of the same shape; ``ValueError`` if there is anything else."""
    if array.dtype.kind == "b":
        return array
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} holds other values than 0 and 1; expected a column of zeros and ones per label.")
    return array.astype(bool)


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
    fault = fault_of_probabilities(array)
    if fault is not None:
        raise _refused(*fault, rows)
    return array


def check_shares(probabilities: NDArray[np.floating]) -> None:
    """Raise ``ValueError`` if a probability of float [N, K] is not finite or not within 0 to 1."""
    fault = fault_of_probabilities(probabilities, has_sum=False)
    if fault is not None:
        raise _refused(*fault, len(probabilities))


def fault_of_probabilities(
    probabilities: NDArray[np.floating], *, has_sum: bool = True
) -> tuple[str, NDArray[np.int64]] | None:
    """Return what is wrong with float [N, K] and the numbers of the rows; ``None`` when nothing is.

    Parameters
    ----------
    probabilities
        float [N, K].
    has_sum
        Whether each row has to sum to one.
    """
    for what, is_fine in (
        ("hold NaN or infinity", _is_finite),
        ("lie outside 0 to 1", _is_in_range),
        *((("do not sum to one", _is_in_sum),) if has_sum else ()),
    ):
        blocks = range(0, len(probabilities), _BLOCK)
        bad = [start + np.flatnonzero(~is_fine(probabilities[start : start + _BLOCK])) for start in blocks]
        rows = np.concatenate([np.empty(0, np.int64), *bad])
        if len(rows):
            return what, rows
    return None


def _is_finite(block: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(block).all(axis=1))


def _is_in_range(block: NDArray[np.floating]) -> NDArray[np.bool_]:
    if block.min(initial=0) >= 0 and block.max(initial=0) <= 1:  # without an array of answers
        return np.ones(len(block), dtype=bool)
    return np.asarray(((block >= 0) & (block <= 1)).all(axis=1))


def _is_in_sum(block: NDArray[np.floating]) -> NDArray[np.bool_]:
    sums = np.einsum("ij->i", block, dtype=np.float64) if block.dtype == np.float64 else block.sum(1, dtype=np.float64)
    return np.asarray(np.abs(sums - 1) <= _SUM_TOLERANCE)


def _refused(what: str, bad: NDArray[np.int64], rows: int) -> ValueError:
    return ValueError(
        f"probabilities {what} in {len(bad)} of {rows} rows, first in row {bad[0]}; expected softmax output; give "
        "probabilities, not logits or percentages."
    )


def _largest(labels: NDArray[Any]) -> int:
    """Return the largest label; a negative one counts as very large."""
    if not len(labels):
        return -1
    if labels.dtype.kind == "i":
        labels = labels.view(labels.dtype.str.replace("i", "u"))
    return int(labels.max())


def _integers(labels: NDArray[Any]) -> NDArray[np.integer]:
    """Return booleans as int8, and unsigned 64-bit numbers, which NumPy adds to signed ones as floats, as int64."""
    if labels.dtype.kind == "b":
        return labels.view(np.int8)
    return labels.astype(np.int64) if labels.dtype == np.uint64 else labels
