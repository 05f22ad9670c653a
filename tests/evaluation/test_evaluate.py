"""The whole evaluation: values, intervals, edges, groups, and how it is written down."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as oracle

from trimtab.evaluation import Evaluation, evaluate
from trimtab.evaluation.count_metrics import COUNT_METRICS, slope
from trimtab.evaluation.counts import ClassCounts

NAMES = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc_macro", "log_loss")


def width(evaluation: Evaluation, name: str) -> float:
    estimate = evaluation.metrics[name]
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def with_mistakes(rows: int, mistakes: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(rows) % classes
    predictions = labels.copy()
    predictions[:mistakes] = (predictions[:mistakes] + 1) % classes
    probabilities = np.full((rows, classes), 0.1 / (classes - 1))
    probabilities[np.arange(rows), predictions] = 0.9
    return labels, probabilities


@pytest.mark.parametrize("classes", [2, 5])
def test_values_equal_scikit_learn_and_lie_inside_their_intervals(draw: Callable, classes: int) -> None:
    labels, probabilities = draw(500, classes)
    evaluation = evaluate(labels, probabilities, class_names=[f"c{k}" for k in range(classes)])
    predictions = probabilities.argmax(axis=1)
    score = probabilities[:, 1] if classes == 2 else probabilities
    targets = np.eye(classes)[labels]
    expected = {
        "accuracy": oracle.accuracy_score(labels, predictions),
        "balanced_accuracy": oracle.balanced_accuracy_score(labels, predictions),
        "precision_macro": oracle.precision_score(labels, predictions, average="macro"),
        "recall_macro": oracle.recall_score(labels, predictions, average="macro"),
        "f1_macro": oracle.f1_score(labels, predictions, average="macro"),
        "precision_weighted": oracle.precision_score(labels, predictions, average="weighted"),
        "f1_weighted": oracle.f1_score(labels, predictions, average="weighted"),
        "matthews_corrcoef": oracle.matthews_corrcoef(labels, predictions),
        "cohen_kappa": oracle.cohen_kappa_score(labels, predictions),
        "roc_auc_macro": oracle.roc_auc_score(labels, score, multi_class="ovr"),
        "average_precision_macro": oracle.average_precision_score(targets, probabilities),
        "log_loss": oracle.log_loss(labels, probabilities),
        "brier_score": oracle.brier_score_loss(labels, score),
    }
    if classes > 2:
        expected["top_3_accuracy"] = oracle.top_k_accuracy_score(labels, probabilities, k=3)
    assert {*evaluation.metrics} == {*expected, "smooth_ece"}
    for name, value in expected.items():
        estimate = evaluation.metrics[name]
        assert estimate.value == pytest.approx(value, abs=1e-12), name
        assert estimate.low < estimate.value < estimate.high, name
    assert evaluation.support == {f"c{k}": int((labels == k).sum()) for k in range(classes)}


def test_no_interval_has_width_zero_when_everything_is_right() -> None:
    labels, probabilities = with_mistakes(90, 0, classes=3)
    evaluation = evaluate(labels, probabilities, class_names="abc")
    for name in NAMES[:4]:
        estimate = evaluation.metrics[name]
        assert estimate.value == estimate.high == 1.0
        assert estimate.low == pytest.approx(0.05 ** (1 / 90))
        assert estimate.method == "exact one-sided bound"
    area = evaluation.metrics["roc_auc_macro"]
    assert (area.value, area.low) == (1.0, pytest.approx(0.05 ** (1 / 30)))
    for estimates in evaluation.per_class.values():
        assert all(estimate.low < estimate.high == 1.0 for estimate in estimates.values())


@pytest.mark.parametrize("sizes", [(9, 11, 7), (3, 3, 3), (1, 50, 2), (10,) * 60])
def test_all_metrics_of_perfect_predictions_are_one_with_a_bound(sizes: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for name, estimate in evaluate(labels, labels).metrics.items():
        assert estimate.value == estimate.high == 1.0, name
        assert 0 <= estimate.low < 1, name


def test_everything_wrong_is_bounded_from_above() -> None:
    labels, probabilities = with_mistakes(40, 40)
    evaluation = evaluate(labels, probabilities, class_names="ab")
    for name in NAMES[:5]:
        estimate = evaluation.metrics[name]
        assert estimate.value == estimate.low == 0.0
        assert 0 < estimate.high < 0.2


def test_undefined_figures_say_why_and_are_left_out_of_the_mean() -> None:
    labels, probabilities = np.array([0, 0, 1, 1]), np.array([[0.8, 0.1, 0.1]] * 3 + [[0.1, 0.8, 0.1]])
    evaluation = evaluate(labels, probabilities, class_names=("cat", "dog", "unicorn"))
    unicorn = evaluation.per_class["unicorn"]
    assert {name: (e.value, e.method) for name, e in unicorn.items()} == {
        "precision": (None, "undefined: the class was never predicted"),
        "recall": (None, "undefined: no row is of the class"),
        "f1": (None, "undefined: no row is of the class or predicted as it"),
        "roc_auc": (None, "undefined: no row, or every row, is of the class"),
        "average_precision": (None, "undefined: no row is of the class"),
    }
    recall = evaluation.metrics["recall_macro"]
    assert recall.value == pytest.approx(0.75)
    assert recall.method.endswith("; mean over 2 of 3 classes, undefined for 'unicorn'")


def test_one_row_can_be_evaluated() -> None:
    evaluation = evaluate(np.array([1]), np.array([[0.3, 0.7]]), class_names="ab")
    assert evaluation.metrics["accuracy"].low == pytest.approx(0.05)
    assert evaluation.metrics["roc_auc_macro"].value is None
    assert evaluation.metrics["log_loss"].low is None
    assert evaluation.metrics["log_loss"].method == "no interval: nothing to see a spread between"


def test_scores_that_are_all_equal_give_a_wide_interval_around_one_half() -> None:
    labels = np.arange(60) % 2
    evaluation = evaluate(labels, np.full((60, 2), 0.5), class_names="ab")
    area = evaluation.metrics["roc_auc_macro"]
    assert (area.value, area.method) == (0.5, "Wilson over disjoint pairs")
    assert area.low < 0.35


def test_a_small_class_without_a_mistake_still_widens_the_mean() -> None:
    labels = np.repeat([0, 1], [990, 10])
    predictions = labels.copy()
    predictions[:20] = 1
    evaluation = evaluate(labels, np.eye(2)[predictions] * 0.8 + 0.1, class_names="ab")
    assert evaluation.metrics["recall_macro"].low < 0.97
    assert evaluation.metrics["recall_macro"].value == pytest.approx(1 - 10 / 990)


@pytest.mark.parametrize("name", COUNT_METRICS)
def test_slopes_give_the_error_that_resampled_rows_have(draw: Callable, name: str) -> None:
    labels, probabilities = draw(1500, 4)
    confusion = evaluate(labels, probabilities).confusion
    metric, shares = COUNT_METRICS[name], confusion / 1500
    slopes = slope(metric, ClassCounts.of(confusion))
    error = math.sqrt(((shares * slopes**2).sum() - (shares * slopes).sum() ** 2) / 1500)
    drawn = np.random.default_rng(3).multinomial(1500, shares.ravel(), size=2000).reshape(-1, 4, 4)
    assert error == pytest.approx(metric(ClassCounts.of(drawn)).std(), rel=0.08)


def test_many_classes_have_the_intervals_of_few(draw: Callable) -> None:
    labels, probabilities = draw(6000, 60)
    estimates = evaluate(labels, probabilities).metrics
    assert estimates["f1_macro"].method.startswith("delta method over confusion cells")
    accuracy = estimates["accuracy"].high - estimates["accuracy"].low
    for name in ("balanced_accuracy", "f1_weighted", "cohen_kappa", "matthews_corrcoef"):
        assert estimates[name].high - estimates[name].low == pytest.approx(accuracy, rel=0.1), name


def test_groups_of_one_row_change_little(draw: Callable) -> None:
    labels, probabilities = draw(600, 3)
    plain = evaluate(labels, probabilities, class_names="abc")
    grouped = evaluate(labels, probabilities, class_names="abc", groups=np.arange(600))
    for name in NAMES:
        assert grouped.metrics[name].value == plain.metrics[name].value
        assert width(grouped, name) == pytest.approx(width(plain, name), rel=0.15), name


def test_rows_repeated_in_groups_are_not_taken_for_more_evidence(draw: Callable) -> None:
    labels, probabilities = draw(150, 3)
    plain = evaluate(labels, probabilities, class_names="abc")
    groups = np.repeat([f"patient {number}" for number in range(150)], 5)
    rows = np.repeat(np.arange(150), 5)
    grouped = evaluate(labels[rows], probabilities[rows], class_names="abc", groups=groups)
    pretended = evaluate(labels[rows], probabilities[rows], class_names="abc")
    for name in NAMES:
        assert width(grouped, name) == pytest.approx(width(plain, name), rel=0.2), name
        assert width(pretended, name) < 0.6 * width(plain, name), name
    recall = grouped.per_class["a"]["recall"]
    assert recall.method == "resampled groups, logit interval"


def test_groups_without_a_mistake_are_bounded_by_their_number() -> None:
    labels, probabilities = with_mistakes(100, 0)
    evaluation = evaluate(labels, probabilities, class_names="ab", groups=np.arange(100) // 10)
    accuracy = evaluation.metrics["accuracy"]
    assert accuracy.low == pytest.approx(0.05 ** (1 / 10))
    assert accuracy.method == "exact one-sided bound over groups"


def test_one_group_gives_no_false_certainty(draw: Callable) -> None:
    labels, probabilities = draw(50, 2)
    evaluation = evaluate(labels, probabilities, class_names="ab", groups=np.zeros(50))
    assert width(evaluation, "accuracy") > 0.7
    assert evaluation.metrics["log_loss"].low is None


def test_same_seed_gives_the_same_figures_and_json_keeps_them(draw: Callable) -> None:
    labels, probabilities = draw(200, 3)
    first = evaluate(labels, probabilities, class_names="abc", seed=5)
    second = evaluate(labels, probabilities, class_names="abc", seed=5)
    assert first.to_dict() == second.to_dict()
    read = Evaluation.from_dict(json.loads(json.dumps(first.to_dict(), allow_nan=False)))
    assert read.to_dict() == first.to_dict()
    assert read.confusion.dtype == np.int64


def test_table_lists_metrics_and_classes_in_aligned_columns() -> None:
    labels, probabilities = with_mistakes(100, 10)
    lines = evaluate(labels, probabilities, class_names=("cat", "dog")).to_table().splitlines()
    assert lines[0] == "metric                   value   95% interval      method"
    assert lines[1] == "accuracy                 0.9000  [0.8256, 0.9448]  Wilson"
    empty = lines.index("")
    assert lines[empty + 1].split() == ["class", "rows", "precision", "recall", "f1", "roc_auc", "average_precision"]
    assert lines[empty + 2].startswith("cat    50    0.9000 [0.7864, 0.9565]")


def test_names_and_numbers_of_classes_mean_the_same(draw: Callable) -> None:
    labels, probabilities = draw(80, 3)
    names = np.array(["owl", "cat", "dog"])
    by_name = evaluate(names[labels], probabilities, class_names=names.tolist())
    assert by_name.to_dict() == evaluate(labels, probabilities, class_names=names.tolist()).to_dict()


def test_one_column_of_probabilities_is_that_of_the_second_class(draw: Callable) -> None:
    labels, probabilities = draw(80, 2)
    one = evaluate(labels, probabilities[:, 1])
    assert one.metrics["roc_auc_macro"] == evaluate(labels, probabilities).metrics["roc_auc_macro"]
    assert one.class_names == ("0", "1")


@pytest.mark.parametrize("groups", [None, np.arange(300) // 3])
def test_predicted_classes_alone_give_the_count_metrics_of_probabilities(draw: Callable, groups: np.ndarray) -> None:
    labels, probabilities = draw(300, 3)
    predictions = probabilities.argmax(axis=1)
    whole = evaluate(labels, probabilities, groups=groups)
    counted = evaluate(labels, predictions, groups=groups)
    assert "log_loss" not in counted.metrics
    assert counted.metrics == {name: whole.metrics[name] for name in COUNT_METRICS}
    assert evaluate(np.array(list("abc"))[labels], np.array(list("abc"))[predictions]).class_names == ("a", "b", "c")


def test_ten_classes_take_less_than_a_third_of_a_second(draw: Callable) -> None:
    labels, probabilities = draw(5000, 10)
    evaluate(labels, probabilities, class_names="abcdefghij")
    start = time.process_time()
    evaluate(labels, probabilities, class_names="abcdefghij")
    assert time.process_time() - start < 0.3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"class_names": ("a", "a")},
            "class_names has 2 names, 1 of them different; expected two or more, each different; give one name for "
            "each column of the probabilities.",
        ),
        (
            {"class_names": "ab", "level": 95},
            "level is 95; expected a number between 0 and 1; give 0.95 for 95%.",
        ),
        (
            {"class_names": "ab", "groups": np.zeros(3)},
            "groups have shape (3,); expected (20,); give one group for each label.",
        ),
        (
            {"class_names": "ab", "groups": np.array(["x", "", *["y"] * 18])},
            "the group of row 1 is empty; expected a group in each row; fill it in, or leave groups out.",
        ),
        (
            {"class_names": "ab", "groups": np.array([0, 1, np.nan, *[2] * 17])},
            "groups hold 1 missing groups, the first in row 2; expected one in each row; fill them in or remove these "
            "rows.",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(draw: Callable, arguments: dict, sentence: str) -> None:
    labels, probabilities = draw(20, 2)
    with pytest.raises(ValueError, match="expected") as caught:
        evaluate(labels, probabilities, **arguments)
    assert str(caught.value) == sentence


def test_a_class_that_the_model_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        evaluate(np.array(["cat", "zebra"]), np.full((2, 2), 0.5), class_names=("cat", "dog"))
    assert str(caught.value) == (
        "the label 'zebra' is not among the classes cat, dog; expected one of them; add the class, with probabilities "
        "of zero if the model does not know it."
    )
