"""Rows with several labels: scikit-learn's values, intervals that hold the truth, exact merging, the edges."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from tests.evaluation.cases import Pair, indicators, law

from trimtab.evaluation import Evaluation, metrics
from trimtab.evaluation.multilabel import MultilabelStatistics, evaluate_multilabel, evaluate_multilabel_statistics

COUNTS = ("precision_macro", "recall_macro", "f1_macro", "precision_micro", "recall_micro", "f1_micro")
COUNTS += ("precision_weighted", "f1_weighted")


def draw(rows: int, labels: int = 4, *, seed: int = 0, noise: float = 0.7) -> Pair:
    """Labels that depend on each other through what rows have in common, and probabilities of some quality."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, labels)) + random.normal(size=(rows, 1)) + np.linspace(-1, 0.5, labels)
    truth = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return truth.astype(int), 1 / (1 + np.exp(-logits - noise * random.normal(size=logits.shape)))


def test_values_equal_scikit_learn_and_lie_inside_their_intervals() -> None:
    truth, shares = draw(300)
    predicted = (shares > 0.5).astype(int)
    evaluation = evaluate_multilabel(truth, shares, class_names="abcd")
    expected = {
        "accuracy": oracle.accuracy_score(truth, predicted),
        "hamming_loss": oracle.hamming_loss(truth, predicted),
        "roc_auc_macro": oracle.roc_auc_score(truth, shares),
        "average_precision_macro": oracle.average_precision_score(truth, shares),
        "log_loss": np.mean([oracle.log_loss(t, s) for t, s in zip(truth.T, shares.T, strict=True)]),
        "brier_score": np.mean([oracle.brier_score_loss(t, s) for t, s in zip(truth.T, shares.T, strict=True)]),
    }
    for name in COUNTS:
        metric, average = name.split("_")
        expected[name] = getattr(oracle, f"{metric}_score")(truth, predicted, average=average)
    assert {*evaluation.metrics} == {*expected}
    for name, value in expected.items():
        estimate = evaluation.metrics[name]
        assert estimate.value == pytest.approx(value, abs=1e-12), name
        assert estimate.low < estimate.value < estimate.high, name
    for k, name in enumerate("abcd"):
        estimates = evaluation.per_class[name]
        assert {*estimates} == {"precision", "recall", "f1", "roc_auc", "average_precision"}
        assert estimates["f1"].value == pytest.approx(oracle.f1_score(truth[:, k], predicted[:, k]), abs=1e-12)
        area = oracle.roc_auc_score(truth[:, k], shares[:, k])
        assert estimates["roc_auc"].value == pytest.approx(area, abs=1e-12)
        assert all(e.low < e.value < e.high for e in estimates.values())
        assert evaluation.support[name] == truth[:, k].sum()
    np.testing.assert_array_equal(evaluation.confusion, oracle.multilabel_confusion_matrix(truth, predicted))


@law
@given(indicators())
def test_values_of_any_predictions_equal_the_plain_metrics(case: Pair) -> None:
    evaluation = evaluate_multilabel(*case)
    assert evaluation.metrics["accuracy"].value == pytest.approx(metrics.accuracy(*case), abs=1e-12)
    for name in COUNTS:
        metric, average = name.split("_")
        value, estimate = getattr(metrics, metric)(*case, average=average), evaluation.metrics[name]
        if math.isnan(value):
            assert estimate.value is None
            assert estimate.method.startswith("undefined: ")
        else:
            assert estimate.value == pytest.approx(value, abs=1e-12)
            assert -1e-12 <= estimate.low <= estimate.value + 1e-12
            assert estimate.value - 1e-12 <= estimate.high <= 1 + 1e-12
            assert estimate.low < estimate.high
    assert repr(Evaluation.from_dict(evaluation.to_dict()).to_dict()) == repr(evaluation.to_dict())
    assert "accuracy" in evaluation.to_table()


@pytest.mark.parametrize("has_groups", [False, True])
@pytest.mark.parametrize("most_scores", [10**9, 40])
@settings(deadline=None, max_examples=8)
@given(cuts=st.lists(st.integers(0, 60), max_size=4).map(sorted), seed=st.integers(0, 99))
def test_shards_in_any_order_and_number_give_equal_figures(
    has_groups: bool, most_scores: int, cuts: list[int], seed: int
) -> None:
    truth, shares = draw(60, 3, seed=seed)
    groups = np.arange(60) % 9

    def part(rows: Any) -> MultilabelStatistics:
        return MultilabelStatistics.of(
            truth[rows].astype(bool),
            shares[rows],
            class_names=("a", "b", "c"),
            groups=groups[rows] if has_groups else None,
            most_scores=most_scores,
        )

    shards = np.split(np.random.default_rng(seed).permutation(60), cuts)
    merged = reduce(lambda first, second: first + second, map(part, shards))
    whole = part(slice(None))
    assert repr(evaluate_multilabel_statistics(merged).to_dict()) == repr(
        evaluate_multilabel_statistics(whole).to_dict()
    )


def test_too_many_scores_leave_the_areas_undefined_and_say_so() -> None:
    truth, shares = draw(50, 2)
    statistics = MultilabelStatistics.of(truth > 0, shares, class_names=("a", "b"), most_scores=99)
    evaluation = evaluate_multilabel_statistics(statistics)
    for estimate in (evaluation.metrics["roc_auc_macro"], evaluation.per_class["a"]["average_precision"]):
        assert estimate.value is None
        assert estimate.method == "undefined: there are too many scores to keep them in order"
    assert evaluation.metrics["log_loss"].value == evaluate_multilabel(truth, shares).metrics["log_loss"].value


def test_errors_carry_the_dependence_between_labels() -> None:
    truth, shares = draw(400, 3)
    repeated = evaluate_multilabel(np.repeat(truth[:, :1], 3, axis=1), np.repeat(shares[:, :1], 3, axis=1)).metrics
    alone = evaluate_multilabel(truth[:, :1], shares[:, :1])
    for name in ("precision_micro", "f1_macro", "roc_auc_macro", "hamming_loss"):  # three times the same says no more
        single = alone.metrics[name]
        assert repeated[name].high - repeated[name].low == pytest.approx(single.high - single.low, rel=1e-9)


@pytest.mark.parametrize("name", ["f1_macro", "precision_weighted", "recall_micro", "hamming_loss", "roc_auc_macro"])
def test_width_is_that_of_resampled_rows(name: str) -> None:
    truth, shares = draw(400)
    estimate, random = evaluate_multilabel(truth, shares).metrics[name], np.random.default_rng(0)
    replicates = []
    for _ in range(150):
        rows = random.integers(400, size=400)
        replicates.append(evaluate_multilabel(truth[rows], shares[rows]).metrics[name].value)
    assert (estimate.high - estimate.low) / 3.92 == pytest.approx(np.std(replicates), rel=0.2)


def test_repeated_rows_in_groups_are_no_more_than_the_rows_alone() -> None:
    truth, shares = draw(200)
    rows = np.repeat(np.arange(200), 3)
    alone = evaluate_multilabel(truth, shares, groups=np.arange(200))
    grouped = evaluate_multilabel(truth[rows], shares[rows], groups=rows)
    naive = evaluate_multilabel(truth[rows], shares[rows])
    for name, estimate in grouped.metrics.items():
        width = estimate.high - estimate.low
        if name != "roc_auc_macro":  # its divisor knows rows
            assert width == pytest.approx(alone.metrics[name].high - alone.metrics[name].low, rel=1e-6), name
        assert width > 1.5 * (naive.metrics[name].high - naive.metrics[name].low), name
    for name in ("precision", "recall", "f1"):
        estimate, single = grouped.per_class["1"][name], alone.per_class["1"][name]
        assert (estimate.low, estimate.high) == pytest.approx((single.low, single.high))
        assert estimate.method == "summed within groups, logit interval"


@pytest.mark.parametrize("groups", [None, np.arange(30) % 6, np.zeros(30)])
def test_no_interval_has_width_zero_when_everything_is_right_or_wrong(groups: Any) -> None:
    truth = np.arange(90).reshape(30, 3) % 2
    for answer, end in ((truth, 1.0), (1 - truth, 0.0)):
        for name, estimate in evaluate_multilabel(truth, answer, groups=groups).metrics.items():
            assert estimate.value == (end if name != "hamming_loss" else 1 - end)
            assert estimate.low < estimate.high, name
    scored = evaluate_multilabel(truth, truth.astype(float), groups=groups)
    assert scored.metrics["roc_auc_macro"].value == 1.0
    assert scored.metrics["roc_auc_macro"].low < 1.0


@pytest.mark.parametrize("groups", [None, np.arange(100) % 7, np.zeros(100)])
def test_every_figure_has_an_interval_or_says_why_not(groups: Any) -> None:
    truth, shares = draw(100)
    truth[:, 0], shares[:, 1], truth[:, 2] = 0, 0.25, 1
    evaluation = evaluate_multilabel(truth, shares, groups=groups)
    for estimates in (evaluation.metrics, *evaluation.per_class.values()):
        for name, estimate in estimates.items():
            if estimate.value is None:
                assert estimate.method.startswith("undefined: ")
            elif estimate.low is None:
                assert estimate.method.startswith("no interval: ")
            else:
                assert estimate.low <= estimate.value <= estimate.high, name
    assert evaluation.per_class["0"]["recall"].method == "undefined: no row is of the label"
    assert evaluation.per_class["1"]["precision"].method == "undefined: the label was never predicted"
    assert evaluation.metrics["recall_macro"].method.endswith("mean over 3 of 4 classes, undefined for '0'")


def test_evaluation_is_written_down_and_read_back() -> None:
    evaluation = evaluate_multilabel(*draw(60), class_names=("sun", "sea", "sand", "snow"))
    again = Evaluation.from_dict(json.loads(json.dumps(evaluation.to_dict())))
    assert again.to_dict() == evaluation.to_dict()
    assert again.confusion.shape == (4, 2, 2)
    lines = evaluation.to_table().splitlines()
    assert lines[1].startswith("accuracy")
    assert any(line.startswith("snow") for line in lines)


def test_a_label_is_predicted_when_it_is_more_probable_than_not() -> None:
    evaluation = evaluate_multilabel([[0, 1, 1]], np.array([[0.5, 0.5, 0.51]], np.float32))
    np.testing.assert_array_equal(evaluation.confusion, [[[1, 0], [0, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 1]]])


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (
            lambda: evaluate_multilabel([[0, 1]], [[1]]),
            "labels have shape (1, 2) and predictions (1, 1); expected both [N, L], a row at least and a column per "
            "label; give one row of predictions for each row of labels.",
        ),
        (
            lambda: evaluate_multilabel(np.zeros((0, 2)), np.zeros((0, 2))),
            "labels have shape (0, 2) and predictions (0, 2); expected both [N, L], a row at least and a column per "
            "label; give one row of predictions for each row of labels.",
        ),
        (
            lambda: evaluate_multilabel([[0, 2]], [[0.5, 0.5]]),
            "labels holds other values than 0 and 1; expected a column of zeros and ones per label.",
        ),
        (
            lambda: evaluate_multilabel([[0, 1]], [[0.5, 1.5]]),
            "probabilities lie outside 0 to 1 in 1 of 1 rows, first in row 0; expected softmax output; give "
            "probabilities, not logits or percentages.",
        ),
        (
            lambda: evaluate_multilabel([[0, 1]], [[0.5, math.nan]]),
            "probabilities hold NaN or infinity in 1 of 1 rows, first in row 0; expected softmax output; give "
            "probabilities, not logits or percentages.",
        ),
        (
            lambda: evaluate_multilabel([[0, 1]], [[0, 1]], class_names=["a", "a"]),
            "class_names has 2 names, 1 of them different; expected 2, each different; give one name for each column "
            "of the labels.",
        ),
        (
            lambda: evaluate_multilabel([[0, 1]], [[0, 1]], level=95),
            "level is 95; expected a number between 0 and 1; give 0.95 for 95%.",
        ),
        (
            lambda: evaluate_multilabel([[0, 1]], [[0, 1]], groups=[1, 2]),
            "groups have shape (2,); expected (1,); give one group for each label.",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(check: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        check()
    assert str(caught.value) == sentence


def test_parts_that_do_not_fit_together_are_refused() -> None:
    truth, shares = draw(5, 2)
    part = MultilabelStatistics.of(truth > 0, shares, class_names=("a", "b"))
    with pytest.raises(ValueError, match="expected the same in the same order"):
        part + MultilabelStatistics.of(truth > 0, shares, class_names=("b", "a"))
    with pytest.raises(ValueError, match="only one of two parts has probabilities or groups"):
        part + MultilabelStatistics.of_predictions(truth > 0, truth > 0, class_names=("a", "b"))
