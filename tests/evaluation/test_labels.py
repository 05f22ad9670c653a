"""Labels as class numbers, and every sentence with which a caller's mistake is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from tests.evaluation.cases import Pair, law, named

from trimtab.evaluation import labels
from trimtab.evaluation.labels import check_labels, check_probabilities, encode

SOFTMAX = "expected softmax output; give probabilities, not logits or percentages."


@law
@given(named())
def test_numbers_stand_for_the_labels_in_increasing_order(case: Pair) -> None:
    encoded = encode(*case)
    assert encoded.classes[encoded.true].tolist() == case[0].tolist()
    assert encoded.classes[encoded.predicted].tolist() == case[1].tolist()
    assert encoded.classes.tolist() == sorted(set(encoded.classes.tolist()))


def test_small_whole_numbers_are_not_copied() -> None:
    true, predicted = np.array([0, 3, 1]), np.array([1, 1, 3], np.uint8)
    encoded = encode(true, predicted)
    assert np.shares_memory(encoded.true, true)
    assert np.shares_memory(encoded.predicted, predicted)
    flags = np.array([True, False])
    assert np.shares_memory(encode(flags, flags).true, flags)
    np.testing.assert_array_equal(encode(flags, np.array([0, 2])).predicted, [0, 2])


def test_large_negative_and_unsigned_numbers_are_encoded() -> None:
    for values in ([-1, 0, 2], [0, 5, 10**12], np.array([0, 7, 2**64 - 1], np.uint64)):
        array = np.array(values)
        np.testing.assert_array_equal(encode(array, array).true, [0, 1, 2])


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (
            lambda: encode(np.array([0, 1]), np.array([0])),
            "y_true has shape (2,) and y_pred (1,); expected the same number of labels in one dimension; give one "
            "prediction for each label.",
        ),
        (
            lambda: encode(np.array([0.0, np.nan, np.nan]), np.array([0.0, 1.0, 1.0])),
            "y_true hold 2 missing labels, the first in row 1; expected one in each row; fill them in or remove "
            "these rows.",
        ),
        (
            lambda: encode(np.array(["a", "b"]), np.array([None, "b"], dtype=object)),
            "y_pred hold 1 missing labels, the first in row 0; expected one in each row; fill them in or remove "
            "these rows.",
        ),
        (
            lambda: encode(np.array([0, 1]), np.array([0.2, 1.0])),
            "y_pred holds 0.2; expected labels; give the predicted classes, not scores or probabilities.",
        ),
        (
            lambda: encode(np.array([1.0, np.inf]), np.array([1, 1])),
            "y_true holds inf; expected labels; give the predicted classes, not scores or probabilities.",
        ),
        (
            lambda: encode(np.array(["a", "1"]), np.array([0, 1])),
            "y_true is of the type <U1 and y_pred int64, which cannot be compared; expected labels of one kind; "
            "convert one of them.",
        ),
        (
            lambda: encode(np.array(["a", 1], dtype=object), np.array([0, 1])),
            "y_true is of the type object and y_pred int64, which cannot be compared; expected labels of one kind; "
            "convert one of them.",
        ),
        (
            lambda: labels.check_groups(np.array([1, 2]), rows=3),
            "groups have shape (2,); expected (3,); give one group for each label.",
        ),
        (
            lambda: labels.check_groups(np.array([1.0, np.nan]), rows=2),
            "groups hold 1 missing groups, the first in row 1; expected one in each row; fill them in or remove "
            "these rows.",
        ),
        (
            lambda: labels.check_groups(np.array(["a", ""]), rows=2),
            "the group of row 1 is empty; expected a group in each row; fill it in, or leave groups out.",
        ),
        (
            lambda: labels.check_indicators(np.zeros((2, 3)), np.zeros((2, 2))),
            "y_true has shape (2, 3) and y_pred (2, 2); expected both [N, L], a column per label; give one row of "
            "predictions for each row of labels.",
        ),
        (
            lambda: labels.check_indicators(np.zeros((2, 3)), np.full((2, 3), 0.5)),
            "y_pred holds other values than 0 and 1; expected a column of zeros and ones per label.",
        ),
        (
            lambda: check_labels(np.array([0.0, 1.0]), num_classes=2),
            "labels have shape (2,) and dtype float64; expected integers [N]; encode the classes.",
        ),
        (
            lambda: check_labels(np.array([], dtype=int), num_classes=2),
            "there are no rows; expected at least one label; give the rows to evaluate.",
        ),
        (
            lambda: check_labels(np.array([0, 3]), num_classes=3),
            "labels reach from 0 to 3; expected 0 to 2, one number for each class name; encode the classes in the "
            "order of the names.",
        ),
        (
            lambda: check_probabilities(np.ones((3, 2)), rows=4, num_classes=2),
            "probabilities have shape (3, 2) and dtype float64; expected floats (4, 2): a row for each label, a "
            "column for each class; check what the model returned.",
        ),
        (
            lambda: check_probabilities(
                np.array([[0.5, 0.5], [np.nan, 1.0], [np.inf, -np.inf]]), rows=3, num_classes=2
            ),
            f"probabilities hold NaN or infinity in 2 of 3 rows, first in row 1; {SOFTMAX}",
        ),
        (
            lambda: check_probabilities(np.array([[1.5, -0.5]]), rows=1, num_classes=2),
            f"probabilities lie outside 0 to 1 in 1 of 1 rows, first in row 0; {SOFTMAX}",
        ),
        (
            lambda: check_probabilities(np.array([[0.5, 0.5], [0.5, 0.4]]), rows=2, num_classes=2),
            f"probabilities do not sum to one in 1 of 2 rows, first in row 1; {SOFTMAX}",
        ),
        (
            lambda: labels.check_shares(np.array([[0.5, 0.1], [0.5, 1.4]])),
            f"probabilities lie outside 0 to 1 in 1 of 2 rows, first in row 1; {SOFTMAX}",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(check: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        check()
    assert str(caught.value) == sentence


def test_a_fault_far_down_is_found_in_its_row() -> None:
    shares = np.full((70_000, 2), 0.5, np.float32)
    shares[65_000] = np.nan
    with pytest.raises(ValueError, match="in 1 of 70000 rows, first in row 65000"):
        check_probabilities(shares, rows=70_000, num_classes=2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_softmax_of_any_precision_sums_to_one(dtype: type) -> None:
    raw = np.exp(np.random.default_rng(0).normal(size=(1000, 100)))
    shares = (raw / raw.sum(axis=1, keepdims=True)).astype(dtype)
    assert check_probabilities(shares, rows=1000, num_classes=100) is shares
