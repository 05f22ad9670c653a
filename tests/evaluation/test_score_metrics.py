"""Metrics of scores and probabilities: scikit-learn's values, the obvious versions, what must hold for any scores."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from tests.evaluation.cases import (
    EXACT,
    Pair,
    binary_scores,
    defined_mean,
    indicator_scores,
    law,
    looped_precision,
    pairs_area,
    probabilities,
    same_bits,
    shuffled,
)

from trimtab.evaluation import score_metrics as metrics

AREAS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., float]]] = {
    "roc_auc": (metrics.roc_auc, oracle.roc_auc_score, pairs_area),
    "average_precision": (metrics.average_precision, oracle.average_precision_score, looped_precision),
}
MEANS: dict[str, Callable[..., float]] = {"log_loss": metrics.log_loss, "brier_score": metrics.brier_score}


def is_defined(name: str, is_class: np.ndarray) -> bool:
    return bool(is_class.any() and (name == "average_precision" or not is_class.all()))


@pytest.mark.parametrize("name", AREAS)
@law
@given(binary_scores())
def test_area_of_two_classes_equals_scikit_learn_and_the_obvious_version(name: str, case: Pair) -> None:
    ours, theirs, obvious = AREAS[name]
    labels, scores = case
    area = ours(labels, scores)
    assert area == pytest.approx(obvious(labels == 1, scores), abs=1e-12, nan_ok=True)
    assert math.isnan(area) == (not is_defined(name, labels == 1))
    if not math.isnan(area):
        assert area == pytest.approx(theirs(labels, scores), abs=1e-12)
        assert 0 <= area <= 1
    assert same_bits(ours(labels, np.stack([scores, scores], axis=1)), area)  # the second of two columns counts


@law
@given(binary_scores())
def test_area_under_the_roc_curve_keeps_its_bits_under_mirroring_and_increasing_maps(case: Pair) -> None:
    labels, scores = case
    area = metrics.roc_auc(labels, scores)
    assert metrics.roc_auc(1 - labels, -scores) == pytest.approx(area, abs=1e-15, nan_ok=True)
    assert metrics.roc_auc(labels, -scores) == pytest.approx(1 - area, abs=1e-15, nan_ok=True)
    levels = np.unique(scores, return_inverse=True)[1]  # equal scores stay equal
    assert same_bits(metrics.roc_auc(labels, levels**3 - 40), area)


@pytest.mark.parametrize("name", AREAS)
@law
@given(binary_scores())
def test_area_of_single_precision_is_that_of_the_same_numbers_in_double(name: str, case: Pair) -> None:
    labels, scores = case[0], case[1].astype(np.float32) if abs(case[1]).max() < 1e30 else np.sign(case[1])
    assert same_bits(AREAS[name][0](labels, scores), AREAS[name][0](labels, scores.astype(np.float64)))


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
@pytest.mark.parametrize("name", AREAS)
@law
@given(case=probabilities(least=3))
def test_each_class_against_the_rest_equals_scikit_learn(name: str, average: Any, case: Pair) -> None:
    ours, theirs, _ = AREAS[name]
    labels, scores = case
    targets = np.eye(scores.shape[1], dtype=int)[labels]
    each = [theirs(t, s) if is_defined(name, t) else math.nan for t, s in zip(targets.T, scores.T, strict=True)]
    expected = {
        "macro": lambda: defined_mean(each),
        "weighted": lambda: defined_mean(each, targets.sum(axis=0).tolist()),
        "micro": lambda: theirs(targets.ravel(), scores.ravel()),
    }.get(average, lambda: each)()
    np.testing.assert_allclose(ours(labels, scores, average=average), expected, **EXACT)


@pytest.mark.parametrize("average", ["macro", "weighted"])
@law
@given(case=probabilities(least=3, full=True))
def test_averages_equal_scikit_learns_own_when_every_class_has_rows(average: Any, case: Pair) -> None:
    expected = oracle.roc_auc_score(*case, average=average, multi_class="ovr")
    assert metrics.roc_auc(*case, average=average) == pytest.approx(expected, abs=1e-12)
    expected = oracle.average_precision_score(*case, average=average)
    assert metrics.average_precision(*case, average=average) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "samples", None])
@pytest.mark.parametrize("name", AREAS)
@law
@given(case=indicator_scores())
def test_multilabel_areas_equal_scikit_learn(name: str, average: Any, case: Pair) -> None:
    ours, theirs, _ = AREAS[name]
    labels, scores = case
    parts = zip(labels, scores, strict=True) if average == "samples" else zip(labels.T, scores.T, strict=True)
    each = [theirs(t, s) if is_defined(name, t) else math.nan for t, s in parts]
    whole = is_defined(name, labels)
    expected = {
        "weighted": lambda: defined_mean(each, labels.sum(axis=0).tolist()),
        "micro": lambda: theirs(labels.ravel(), scores.ravel()) if whole else math.nan,
        None: lambda: each,
    }.get(average, lambda: defined_mean(each))()
    np.testing.assert_allclose(ours(labels, scores, average=average), expected, **EXACT)
    if not np.isnan(each).any():
        with warnings.catch_warnings(action="ignore"):
            np.testing.assert_allclose(expected, theirs(labels, scores, average=average), **EXACT)


@law
@given(probabilities())
def test_log_loss_and_brier_score_equal_scikit_learn(case: Pair) -> None:
    labels, shares = case
    classes = np.arange(shares.shape[1])
    expected = oracle.log_loss(labels, shares, labels=classes)
    assert metrics.log_loss(labels, shares) == pytest.approx(expected, abs=1e-12)
    second = shares[:, 1] if len(classes) == 2 else shares
    expected = oracle.brier_score_loss(labels, second, labels=classes)
    assert metrics.brier_score(labels, second) == pytest.approx(expected, abs=1e-12)
    assert metrics.brier_score(labels, shares) == pytest.approx(expected, abs=1e-12)
    assert 0 <= metrics.log_loss(labels, shares) <= 40
    assert 0 <= metrics.brier_score(labels, shares) <= (1 if len(classes) == 2 else 2)


@law
@given(probabilities())
def test_mean_losses_equal_a_walk_through_the_rows(case: Pair) -> None:
    labels, shares = case
    losses, squares = [], []
    for label, row in zip(labels.tolist(), shares.tolist(), strict=True):
        epsilon = np.finfo(float).eps
        losses.append(-math.log(min(max(row[label], epsilon), 1 - epsilon)))
        squares.append(sum((share - (k == label)) ** 2 for k, share in enumerate(row)))
    per_row = 2 if shares.shape[1] == 2 else 1  # two classes count once
    assert metrics.log_loss(labels, shares) == pytest.approx(math.fsum(losses) / len(labels), abs=1e-12)
    assert metrics.brier_score(labels, shares) == pytest.approx(math.fsum(squares) / per_row / len(labels), abs=1e-12)


@law
@given(probabilities())
def test_log_loss_of_single_precision_equals_scikit_learn_to_its_own_rounding(case: Pair) -> None:
    labels, shares = case[0], case[1].astype(np.float32)
    expected = oracle.log_loss(labels, shares, labels=np.arange(shares.shape[1]))
    assert metrics.log_loss(labels, shares) == pytest.approx(float(expected), rel=1e-5, abs=1e-6)


def test_log_loss_of_a_certain_mistake_is_finite_as_in_scikit_learn() -> None:
    labels, shares = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])
    assert metrics.log_loss(labels, shares) == oracle.log_loss(labels, shares)


@law
@given(probabilities(least=3), st.data())
def test_top_k_accuracy_equals_scikit_learn_ties_included(case: Pair, data: st.DataObject) -> None:
    labels, shares = case
    k = data.draw(st.integers(1, shares.shape[1]))
    with warnings.catch_warnings(action="ignore"):  # k of all classes
        expected = oracle.top_k_accuracy_score(labels, shares, k=k, labels=np.arange(shares.shape[1]))
    assert metrics.top_k_accuracy(labels, shares, k=k) == pytest.approx(expected, abs=1e-12)
    places = [
        sorted(range(len(row)), key=lambda c: (row[c], c))[::-1].index(label) for label, row in zip(*case, strict=True)
    ]
    assert metrics.top_k_accuracy(labels, shares, k=k) == pytest.approx(np.mean([place < k for place in places]))


@law
@given(probabilities(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_a_bit(case: Pair, random: Any) -> None:
    other = shuffled(random, *case)
    for metric in (metrics.roc_auc, metrics.average_precision):
        for average in ("micro", "macro", "weighted", None):
            assert same_bits(metric(*case, average=average), metric(*other, average=average))
    for mean in (*MEANS.values(), lambda y, p: metrics.top_k_accuracy(y, p, k=1)):
        assert same_bits(mean(*case), mean(*other))


@law
@given(probabilities())
def test_memory_order_of_the_probabilities_does_not_change_a_bit(case: Pair) -> None:
    labels = case[0]
    shares = np.repeat(case[1], 3, axis=1) / 3  # NumPy adds eight numbers and more in another order
    for metric in (*MEANS.values(), metrics.roc_auc, metrics.average_precision):
        assert same_bits(metric(labels, shares), metric(labels, np.asfortranarray(shares)))


@law
@given(probabilities(least=3), st.randoms(use_true_random=False))
def test_classes_in_another_order_keep_their_values(case: Pair, random: Any) -> None:
    labels, shares = case
    order = list(range(shares.shape[1]))
    random.shuffle(order)
    renamed, moved = np.argsort(order)[labels], shares[:, order]
    for metric in (metrics.roc_auc, metrics.average_precision):
        assert same_bits(metric(renamed, moved, average=None), metric(labels, shares, average=None)[order])
        for average in ("macro", "weighted", "micro"):
            expected = metric(labels, shares, average=average)
            assert metric(renamed, moved, average=average) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    for mean in MEANS.values():
        assert mean(renamed, moved) == pytest.approx(mean(labels, shares), abs=1e-12)


@law
@given(probabilities(full=True))
def test_names_of_classes_stand_for_their_columns_in_sorted_order_or_that_of_labels(case: Pair) -> None:
    labels, shares = case
    names = np.array(["bee", "cat", "dog", "emu", "fox", "gnu"])[: shares.shape[1]]
    backwards = names[::-1]
    for metric in (*MEANS.values(), metrics.roc_auc, metrics.average_precision):
        value = metric(labels, shares)
        assert same_bits(metric(names[labels], shares), value)
        assert same_bits(metric(names[labels].astype(object), shares), value)
        assert same_bits(metric(names[labels].tolist(), shares.tolist()), value)
        assert metric(backwards[labels], shares, labels=backwards) == pytest.approx(value, abs=1e-12)
    assert metrics.top_k_accuracy(names[labels], shares, k=1) == metrics.top_k_accuracy(labels, shares, k=1)


def test_of_negative_and_large_scores_the_area_is_exact() -> None:
    scores = np.array([-np.finfo(float).max, -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, np.finfo(float).max])
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert metrics.roc_auc(labels, scores) == 1 - 0.5 / 16  # minus zero ties with zero
    assert metrics.roc_auc(labels, -scores) == 0.5 / 16


@pytest.mark.parametrize("metric", [metrics.roc_auc, metrics.average_precision, *MEANS.values()])
def test_metrics_without_rows_are_undefined(metric: Callable[..., float]) -> None:
    assert math.isnan(metric(np.array([], int), np.empty((0, 2))))
    assert math.isnan(metric(np.array([], int), np.empty((0, 3))))


def test_areas_of_nothing_are_undefined() -> None:
    assert math.isnan(metrics.top_k_accuracy(np.array([], int), np.empty((0, 3))))
    assert math.isnan(metrics.roc_auc([1, 1], [0.2, 0.3]))
    assert math.isnan(metrics.average_precision([0, 0], [0.2, 0.3]))
    assert math.isnan(metrics.average_precision([[0, 0]], [[0.2, 0.3]], average="weighted"))
    assert metrics.average_precision([1, 1], [0.2, 0.3]) == 1.0
    np.testing.assert_array_equal(metrics.roc_auc([0, 1], np.eye(3)[:2], average=None), [1.0, 1.0, math.nan])


SHAPES = "expected [N] and a row of scores for each label; check what the model returned."


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (lambda: metrics.roc_auc([0, 1], [0.5]), f"y_true has shape (2,) and the scores (1,); {SHAPES}"),
        (lambda: metrics.log_loss([0], np.ones((2, 2))), f"y_true has shape (1,) and the scores (2, 2); {SHAPES}"),
        (
            lambda: metrics.roc_auc([0, 3], np.eye(3)[:2]),
            "there are 2 classes and 3 columns of scores; expected a column for each; give `labels` in the order of "
            "the columns.",
        ),
        (
            lambda: metrics.log_loss(["a", "c"], np.eye(2), labels=["a", "b"]),
            "y_true holds 'c'; expected one of labels; add it, with a column of scores.",
        ),
        (
            lambda: metrics.roc_auc([0, 1], [0.5, np.nan]),
            "scores hold NaN or infinity; expected finite numbers; look for a fault in the model.",
        ),
        (
            lambda: metrics.average_precision([[0, 1]], [[0.5, -np.inf]]),
            "scores hold NaN or infinity; expected finite numbers; look for a fault in the model.",
        ),
        (
            lambda: metrics.roc_auc([[0, 1]], [[0.5]]),
            "y_true has shape (1, 2) and y_score (1, 1); expected the same [N, L].",
        ),
        (
            lambda: metrics.roc_auc([[0, 2]], [[0.5, 0.5]]),
            "y_true holds other values than 0 and 1; expected a column of zeros and ones per label.",
        ),
        (
            lambda: metrics.roc_auc([0, 1, 2], np.eye(3), average="samples"),
            "average is 'samples', but each row has one label; expected 'macro' or another; pick one.",
        ),
        (
            lambda: metrics.roc_auc([0, 1, 2], np.eye(3), average="mean"),
            "average is 'mean'; expected micro, macro, weighted, samples or None; pick one.",
        ),
        (
            lambda: metrics.top_k_accuracy([0, 1], np.eye(2), k=3),
            "k is 3 and y_score has shape (2, 2); expected [N, K] and k from 1 to K; give a column of scores for "
            "each class.",
        ),
        (
            lambda: metrics.roc_auc([0.0, np.nan], [0.5, 0.6]),
            "y_true hold 1 missing labels, the first in row 1; expected one in each row; fill them in or remove "
            "these rows.",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(check: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        check()
    assert str(caught.value) == sentence


@pytest.mark.parametrize("metric", MEANS.values())
@pytest.mark.parametrize("bad", [-0.5, 1.5])
def test_logits_are_not_taken_for_probabilities(metric: Callable[..., float], bad: float) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        metric([0, 1, 0], [0.5, bad, 0.5])
    assert str(caught.value) == (
        "probabilities lie outside 0 to 1 in 1 of 3 rows, first in row 1; expected softmax output; give "
        "probabilities, not logits or percentages."
    )


@pytest.mark.parametrize(
    "metric", [metrics.roc_auc, metrics.average_precision, metrics.top_k_accuracy, *MEANS.values()]
)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_value_comes_of_scores_that_are_not_finite(metric: Callable[..., float], bad: float) -> None:
    for scores in ([[0.5, 0.5], [0.5, bad]], [[0.2, 0.3, 0.5], [bad, 0.5, 0.5]]):
        with pytest.raises(ValueError, match=r"hold NaN or infinity"):
            metric([0, 1], scores)
