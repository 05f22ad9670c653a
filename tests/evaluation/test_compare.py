"""Models compared on the same rows: differences, tests that hold their size, and what is said about them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from trimtab.evaluation import compare, compare_many, evaluate, holm
from trimtab.evaluation.paired import compare_accuracy

NAMES = (
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "matthews_corrcoef",
    "roc_auc_macro",
    "average_precision_macro",
    "log_loss",
    "brier_score",
)


def two_models(rows: int, *, classes: int = 2, gain: float = 0.0, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Labels, and probabilities of two models that share most of what they see."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=rows)
    shared = random.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels]
    models = []
    for number in range(2):
        odds = shared + 0.7 * random.normal(size=(rows, classes)) + number * gain * np.eye(classes)[labels]
        models.append(np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True))
    return labels, *models


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("groups", [None, np.arange(600) // 4])
def test_differences_are_those_of_the_evaluations_and_change_sign_with_the_order(
    classes: int, groups: np.ndarray | None
) -> None:
    labels, a, b = two_models(600, classes=classes, gain=0.2)
    found, turned = compare(labels, a, b, groups=groups), compare(labels, b, a, groups=groups)
    metrics_a, metrics_b = evaluate(labels, a).metrics, evaluate(labels, b).metrics
    assert tuple(found.metrics) == NAMES
    for name, each in found.metrics.items():
        assert each.value_a == pytest.approx(metrics_a[name].value, abs=1e-12), name
        assert each.difference == pytest.approx(metrics_b[name].value - metrics_a[name].value, abs=1e-12), name
        assert each.low < each.difference < each.high, name
        back = turned.metrics[name]
        assert (back.difference, back.low) == pytest.approx((-each.difference, -each.high), abs=1e-9), name
        assert back.p_value == pytest.approx(each.p_value, rel=1e-6), name


@pytest.mark.parametrize("name", NAMES[1:])
def test_intervals_are_as_wide_as_resampled_rows_say(name: str) -> None:
    labels, a, b = two_models(800, classes=3, seed=4)
    each = compare(labels, a, b).metrics[name]
    random, drawn = np.random.default_rng(1), []
    for _ in range(200):
        rows = random.integers(800, size=800)
        drawn.append(compare(labels[rows], a[rows], b[rows]).metrics[name].difference)
    assert (each.high - each.low) / 2 / 1.96 == pytest.approx(np.std(drawn), rel=0.2)


def test_a_model_and_itself_do_not_differ() -> None:
    labels, a, _ = two_models(200)
    found = compare(labels, a, a)
    for each in found.metrics.values():
        assert (each.difference, each.p_value) == (0.0, 1.0)
    assert found.verdict().startswith("No difference in accuracy was seen (p = 1.000); on these 200 rows a difference")


def test_the_same_answers_stored_at_another_precision_lose_nothing() -> None:
    labels = np.arange(20) % 2
    wrong = np.eye(2)[1 - labels]
    loss = compare(labels, wrong.astype(np.float32), wrong).metrics["log_loss"]
    assert (loss.difference, loss.p_value) == (0.0, 1.0)


def test_rows_that_all_differ_alike_are_no_spread_but_rounding() -> None:
    labels = np.arange(60) % 2
    sure, unsure = (np.where(np.eye(2)[labels] == 1, p, 1 - p) for p in (0.9, 0.7))
    loss = compare(labels, sure, unsure).metrics["log_loss"]
    assert math.isnan(loss.p_value)
    assert loss.method == "no test: one group, or all rows differ alike"


def test_order_of_rows_does_not_matter() -> None:
    labels, a, b = two_models(300, classes=3)
    order = np.random.default_rng(0).permutation(300)
    groups = np.arange(300) // 6
    for plain, moved in (
        (compare(labels, a, b), compare(labels[order], a[order], b[order])),
        (compare(labels, a, b, groups=groups), compare(labels[order], a[order], b[order], groups=groups[order])),
    ):
        assert plain.to_dict() == moved.to_dict()


def test_rows_repeated_in_groups_are_not_taken_for_more_evidence() -> None:
    labels, a, b = two_models(200, gain=0.3)
    rows = np.repeat(np.arange(200), 8)
    alone = compare(labels, a, b)
    grouped = compare(labels[rows], a[rows], b[rows], groups=rows)
    pretended = compare(labels[rows], a[rows], b[rows])
    for name in NAMES:
        width, claimed = (each.metrics[name].noise_floor for each in (grouped, pretended))
        assert width == pytest.approx(alone.metrics[name].noise_floor, rel=0.25), name
        assert claimed < 0.5 * width, name
    assert grouped.groups == 200
    assert "1,600 rows in 200 groups" in grouped.verdict()


@pytest.mark.slow
@pytest.mark.parametrize("groups", [None, 5])
def test_tests_hold_their_size(groups: int | None) -> None:
    rejected, repeats = dict.fromkeys(NAMES, 0), 800
    for repeat in range(repeats):
        labels, a, b = two_models(300, seed=repeat)
        units = None if groups is None else np.arange(300) // groups
        for name, each in compare(labels, a, b, groups=units).metrics.items():
            rejected[name] += each.is_significant
    for name, count in rejected.items():
        assert count / repeats == pytest.approx(0.05, abs=0.025), name


def test_a_real_difference_is_found_and_said_in_points() -> None:
    labels, a, b = two_models(3000, gain=0.5)
    found = compare(labels, a, b, names=("old", "new"))
    accuracy = found.metrics["accuracy"]
    assert accuracy.is_significant
    assert accuracy.is_better
    assert found.metrics["log_loss"].is_better
    sentence = found.verdict()
    assert sentence.startswith(f"new is better by {100 * accuracy.difference:.2f} points of accuracy (")
    assert f"a difference below {100 * accuracy.noise_floor:.2f} points could not be shown" in sentence
    assert compare(labels, b, a, names=("new", "old")).verdict() == sentence


def test_what_has_no_test_says_so_and_survives_json() -> None:
    labels = np.array([0, 0, 0, 1])
    a = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    found = compare(labels, a, a[:, ::-1])
    area = found.metrics["roc_auc_macro"]
    assert area.method == "no test: a class of one row, or within one group"
    assert math.isnan(area.p_value)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["metrics"]["roc_auc_macro"]["low"] is None
    assert "no test" in found.to_table()


def test_predicted_classes_are_compared_without_scores() -> None:
    labels, a, b = two_models(100, classes=3)
    found = compare(labels, np.eye(3)[a.argmax(1)], np.eye(3)[b.argmax(1)], has_probabilities=False)
    assert tuple(found.metrics) == NAMES[:4]
    assert found.metrics["accuracy"].difference == compare_accuracy(labels, a, b).difference


def test_holm_equals_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, math.nan, 0.9])[::2] == pytest.approx([1.0, 1.0])
    assert math.isnan(holm([0.5, math.nan, 0.9])[1])
    assert holm([]) == []


def test_several_models_are_compared_in_pairs_with_adjusted_p_values() -> None:
    labels, a, b = two_models(400, gain=0.4)
    found = compare_many(labels, {"a": a, "b": b, "c": a[:, ::-1]})
    assert [pair.names for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for name in NAMES:
        assert found.adjusted[name] == pytest.approx(holm([pair.metrics[name].p_value for pair in found.pairs]))
    lines = found.to_table().splitlines()
    assert len(lines) == 4
    assert lines[2].endswith("yes")
    with pytest.raises(ValueError, match="there are 1 models; expected two or more"):
        compare_many(labels, {"a": a})


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda labels, a, b: compare(labels, a, b, level=95),
            "level is 95; expected a number between 0 and 1; give 0.95 for 95%.",
        ),
        (
            lambda labels, a, b: compare(labels, a, b[:10]),
            "probabilities have shape (10, 2) and dtype float64; expected floats (50, 2): a row for each label, a "
            "column for each class; check what the model returned.",
        ),
        (
            lambda labels, a, b: compare(labels, a, b, groups=[1, 2]),
            "groups have shape (2,); expected (50,); give one group for each label.",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_sentence(spoil: Callable, sentence: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        spoil(*two_models(50))
    assert str(caught.value) == sentence
