"""The laws that scikit-learn expects of its metrics, as a table: each metric, and which laws it obeys.

A metric is a law's subject by standing in the table; a new metric without an entry fails `test_no_metric_is_missing`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.evaluation.cases import same_bits

from trimtab.evaluation import metrics, score_metrics

KINDS = ("binary", "multiclass", "multilabel")


@dataclass(frozen=True, kw_only=True)
class Law:
    """What holds for a metric.

    ``kinds``: what it is defined for. ``is_symmetric``: truth and answer may be exchanged. ``has_labels``: it takes
    the names of the classes. ``per_class``: it returns a value, or a row and a column, per class.
    """

    metric: Callable[..., Any]
    kinds: tuple[str, ...] = KINDS
    is_symmetric: bool = False
    has_labels: bool = False
    per_class: bool = False


def of_classes(name: str) -> dict[str, Law]:
    metric = getattr(metrics, name)
    averages = {
        f"{name}_{average}": Law(
            metric=partial(metric, average=average),
            is_symmetric=name == "f1" and average != "weighted",
            has_labels=True,
            per_class=average is None,
        )
        for average in ("macro", "weighted", "micro", None)
    }
    if name != "f1":  # of one label per row all micro averages are the accuracy, of several they are not
        averages[f"{name}_micro"] = Law(metric=partial(metric, average="micro"), has_labels=True)
    averages[f"{name}_binary"] = Law(metric=metric, kinds=("binary",), is_symmetric=name == "f1")
    averages[f"{name}_samples"] = Law(
        metric=partial(metric, average="samples"), kinds=("multilabel",), is_symmetric=name == "f1"
    )
    return averages


ANSWERED: dict[str, Law] = {
    "accuracy": Law(metric=metrics.accuracy, is_symmetric=True),
    "balanced_accuracy": Law(metric=metrics.balanced_accuracy, kinds=KINDS[:2]),
    "confusion_matrix": Law(metric=metrics.confusion_matrix, kinds=KINDS[:2], has_labels=True, per_class=True),
    "matthews_corrcoef": Law(metric=metrics.matthews_corrcoef, kinds=KINDS[:2], is_symmetric=True),
    "cohen_kappa": Law(metric=metrics.cohen_kappa, kinds=KINDS[:2], is_symmetric=True),
    **of_classes("precision"),
    **of_classes("recall"),
    **of_classes("f1"),
}
AREAS = ("roc_auc", "average_precision")
SCORED: dict[str, Law] = {
    f"{name}_{average}": Law(
        metric=partial(getattr(score_metrics, name), average=average),
        kinds=("multilabel",) if average == "samples" else KINDS,
        per_class=average is None,
    )
    for name in AREAS
    for average in ("macro", "weighted", "micro", "samples", None)
} | {
    "log_loss": Law(metric=score_metrics.log_loss, kinds=KINDS[:2], has_labels=True),
    "brier_score": Law(metric=score_metrics.brier_score, kinds=KINDS[:2], has_labels=True),
    "top_k_accuracy": Law(metric=score_metrics.top_k_accuracy, kinds=("multiclass",), has_labels=True),
}
ALL = ANSWERED | SCORED


def table(laws: dict[str, Law], **wanted: Any) -> Any:
    """Parametrize by metric and kind those that have the wanted properties."""
    rows = [
        pytest.param(law, kind, id=f"{name}-{kind}")
        for name, law in laws.items()
        for kind in law.kinds
        if all(getattr(law, key) == value for key, value in wanted.items() if key != "kinds")
        and kind in wanted.get("kinds", KINDS)
    ]
    return pytest.mark.parametrize(("law", "kind"), rows)


def case(law: Law, kind: str, *, seed: int = 0, rows: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Truth and answer of a kind; every class occurs."""
    random = np.random.default_rng(seed)
    if kind == "multilabel":
        truth = random.integers(2, size=(rows, 4))
        return truth, random.normal(size=truth.shape) if law in SCORED.values() else random.integers(2, size=(rows, 4))
    classes = 2 if kind == "binary" else 4
    truth = random.permutation(np.arange(rows) % classes)
    if law not in SCORED.values():
        return truth, random.permutation(truth)
    raw = random.random((rows, classes)) + np.eye(classes)[truth] / 2
    return truth, raw / raw.sum(axis=1, keepdims=True)


def test_no_metric_is_missing() -> None:
    named = {name for room in (metrics, score_metrics) for name, value in vars(room).items() if is_metric(room, value)}
    helpers = {"row_losses", "row_squares", "row_ranks", "two_columns", "class_numbers"}
    assert named - helpers == {getattr(law.metric, "func", law.metric).__name__ for law in ALL.values()}


def is_metric(room: Any, value: Any) -> bool:
    is_function = callable(value) and getattr(value, "__module__", "") == room.__name__
    return is_function and value.__name__[0] != "_" and not isinstance(value, type)


@table(ANSWERED, is_symmetric=True)
def test_truth_and_answer_may_be_exchanged(law: Law, kind: str) -> None:
    for seed in range(5):
        truth, answer = case(law, kind, seed=seed)
        np.testing.assert_allclose(law.metric(truth, answer), law.metric(answer, truth), rtol=1e-12, atol=1e-12)


@table(ANSWERED, is_symmetric=False)
def test_truth_and_answer_may_not_be_exchanged(law: Law, kind: str) -> None:
    random, differs = np.random.default_rng(0), False
    for _ in range(5):
        shape, classes = ((20, 4), 2) if kind == "multilabel" else ((20,), 2 if kind == "binary" else 4)
        truth, answer = random.integers(classes, size=shape), random.integers(classes, size=shape)
        differs |= not np.allclose(law.metric(truth, answer), law.metric(answer, truth))
    is_accuracy = kind != "multilabel" and getattr(law.metric, "keywords", {}).get("average") == "micro"
    is_accuracy |= kind != "multilabel" and law in (ANSWERED["recall_weighted"],)
    assert differs != is_accuracy


@table(ALL)
def test_order_of_rows_does_not_matter(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    order = np.random.default_rng(1).permutation(len(truth))
    value, moved = law.metric(truth, answer), law.metric(truth[order], answer[order])
    if getattr(law.metric, "keywords", {}).get("average") == "samples":
        assert moved == pytest.approx(value, abs=1e-12)  # a mean of rows, in their order
    else:
        assert same_bits(value, moved)


@table(ALL)
def test_rows_twice_give_the_same_value(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    value, twice = law.metric(truth, answer), law.metric(np.tile(truth.T, 2).T, np.concatenate([answer, answer]))
    factor = 2 if law is ANSWERED["confusion_matrix"] else 1
    np.testing.assert_allclose(twice, factor * np.asarray(value), rtol=1e-12)


@table(ALL)
def test_lists_are_arrays(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    value = law.metric(truth, answer)
    for first, second in itertools.product((truth, truth.tolist()), (answer, answer.tolist())):
        assert same_bits(law.metric(first, second), value)
    assert same_bits(law.metric(list(truth), list(answer)), value)


@table(ALL, kinds=("binary", "multiclass"))
def test_names_are_numbers(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    value = law.metric(truth, answer)
    names = np.array(["ant", "bee", "cat", "dog"])[: truth.max() + 1]
    options = {"pos_label": "bee"} if getattr(law.metric, "__name__", "") in ("precision", "recall", "f1") else {}
    for dtype in (names.dtype, object):
        named = answer if law in SCORED.values() else names.astype(dtype)[answer]
        assert same_bits(law.metric(names.astype(dtype)[truth], named, **options), value)
        if law.has_labels:
            assert same_bits(law.metric(names.astype(dtype)[truth], named, labels=names.tolist()), value)


@table(ALL, kinds=("multiclass",), per_class=False)
def test_classes_in_another_order_keep_the_value(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    for order in itertools.permutations(range(4)):
        place = np.argsort(order)
        moved = answer[:, order] if law in SCORED.values() else place[answer]
        assert law.metric(place[truth], moved) == pytest.approx(law.metric(truth, answer), abs=1e-12)


@table(ALL, kinds=("multiclass",), per_class=True)
def test_classes_in_another_order_permute_the_values(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    value = law.metric(truth, answer)
    for order in itertools.permutations(range(4)):
        place = np.argsort(order)
        moved = answer[:, order] if law in SCORED.values() else place[answer]
        expected = value[np.ix_(order, order)] if value.ndim == 2 else value[list(order)]
        np.testing.assert_array_equal(law.metric(place[truth], moved), expected)


@table(ALL, kinds=("multilabel",))
def test_columns_of_labels_in_another_order_keep_or_permute_the_values(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    value, order = law.metric(truth, answer), [2, 0, 3, 1]
    moved = law.metric(truth[:, order], answer[:, order])
    np.testing.assert_allclose(moved, value[order] if law.per_class else value, rtol=1e-12)


@table(ANSWERED, kinds=("binary", "multiclass"))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_labels_that_are_not_finite_are_refused(law: Law, kind: str, bad: float) -> None:
    truth, answer = (side.astype(float) for side in case(law, kind))
    broken = truth.copy()
    broken[3] = bad
    for first, second in ((broken, answer), (truth, broken)):
        with pytest.raises(ValueError, match="expected"):
            law.metric(first, second)


@table(SCORED)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(law: Law, kind: str, bad: float) -> None:
    truth, answer = case(law, kind)
    answer[3] = bad
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        law.metric(truth, answer)


@table(ANSWERED, kinds=("binary", "multiclass"))
def test_scores_are_not_taken_for_labels(law: Law, kind: str) -> None:
    truth, _ = case(law, kind)
    for names in (truth, np.array(["ant", "bee", "cat", "dog"])[truth]):
        with pytest.raises(ValueError, match="give the predicted classes, not scores"):
            law.metric(names, np.linspace(0.1, 0.9, len(truth)))


@table(ANSWERED, kinds=("multilabel",))
def test_multilabel_answers_other_than_zeros_and_ones_are_refused(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    with pytest.raises(ValueError, match="other values than 0 and 1"):
        law.metric(truth, answer + 0.5)
    with pytest.raises(ValueError, match="other values than 0 and 1"):
        law.metric(2 * truth, answer)


@table(ALL)
def test_sides_that_do_not_fit_together_are_refused(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    for first, second in ((truth[:-1], answer), (truth, answer[:-1]), (truth[None], answer)):
        with pytest.raises(ValueError, match="expected"):
            law.metric(first, second)


@table(ALL)
def test_one_row_is_enough_for_an_answer_or_nan(law: Law, kind: str) -> None:
    for seed in range(4):
        truth, answer = case(law, kind, seed=seed)
        value = np.asarray(law.metric(truth[:1], answer[:1]), np.float64)
        assert ((value >= -1) | np.isnan(value)).all()


@table(ALL)
def test_no_rows_are_nan_or_nothing(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    value = np.asarray(law.metric(truth[:0], answer[:0]), np.float64)
    assert np.isnan(value).all()


@table(ANSWERED, kinds=("multilabel",))
def test_multilabel_rows_without_any_label_are_undefined_and_full_ones_perfect(law: Law, kind: str) -> None:
    zeros, ones = np.zeros((20, 3), int), np.ones((20, 3), int)
    for side in (zeros, zeros.astype(float), zeros.astype(bool)):
        value = np.asarray(law.metric(side, side))
        assert np.isnan(value).all() or law is ANSWERED["accuracy"]
    np.testing.assert_array_equal(law.metric(ones, ones), np.ones(3) if law.per_class else 1.0)


@table(SCORED, kinds=("multilabel",))
def test_multilabel_areas_of_empty_and_full_labels(law: Law, kind: str) -> None:
    zeros, ones = np.zeros((20, 3), int), np.ones((20, 3), int)
    scores = np.random.default_rng(0).normal(size=(20, 3))
    assert np.isnan(law.metric(zeros, scores)).all()
    full = np.asarray(law.metric(ones, scores))
    assert np.isnan(full).all() if law.metric.func is score_metrics.roc_auc else (full == 1).all()


@pytest.mark.parametrize("name", ["precision", "recall", "f1", *AREAS])
def test_multilabel_averages_are_those_of_the_columns_the_cells_and_the_rows(name: str) -> None:
    prefix = ANSWERED if name in ("precision", "recall", "f1") else SCORED
    metric = prefix[f"{name}_macro"].metric.func
    truth, answer = case(prefix[f"{name}_macro"], "multilabel", rows=40)
    truth[:, 0], truth[:, 1] = 0, 1  # each row has both
    binary = partial(metric, average="macro") if name in AREAS else metric
    each = [binary(t, a) for t, a in zip(truth.T[2:], answer.T[2:], strict=True)]
    kept = truth[:, 2:], answer[:, 2:]
    np.testing.assert_allclose(metric(*kept, average=None), each, rtol=1e-12)
    assert metric(*kept, average="macro") == pytest.approx(np.mean(each), abs=1e-12)
    weighted = np.average(each, weights=kept[0].sum(axis=0))
    assert metric(*kept, average="weighted") == pytest.approx(weighted, abs=1e-12)
    assert metric(*kept, average="micro") == pytest.approx(binary(kept[0].ravel(), kept[1].ravel()), abs=1e-12)
    rows = np.array([binary(t, a) for t, a in zip(truth, answer, strict=True)])
    assert metric(truth, answer, average="samples") == pytest.approx(np.nanmean(rows), abs=1e-12)
    for unknown in ("unknown", "garbage", 1):
        with pytest.raises(ValueError, match="pick one"):
            metric(truth, answer, average=unknown)


@table(ANSWERED, kinds=("binary", "multiclass"), per_class=False)
def test_perfect_answers_score_one_and_all_values_have_bounds(law: Law, kind: str) -> None:
    truth, answer = case(law, kind)
    assert law.metric(truth, truth) == pytest.approx(1.0, abs=1e-15)
    assert -1 <= law.metric(truth, answer) < 1
