"""Shards merge to the same figures, bit for bit, in any order and number; what is kept, and what a histogram loses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.cases import Pair, law, probabilities

from trimtab.evaluation import evaluate, evaluate_statistics, score_metrics
from trimtab.evaluation.statistics import MOST_SCORES, ScoreHistogram, Statistics, merge, predicted_classes

NAMES = ("ant", "bee", "cat", "dog", "emu", "fox")
few = settings(deadline=None, max_examples=8)  # an evaluation takes a tenth of a second
FEW = 20  # numbers kept; more rows leave a histogram


def figures(statistics: Statistics) -> str:
    return repr(evaluate_statistics(statistics).to_dict())


def whole(case: Pair, *, most_scores: int = MOST_SCORES, groups: Any = None) -> Statistics:
    labels, shares = case
    names = NAMES[: shares.shape[1]]
    return Statistics.of(labels, shares, class_names=names, groups=groups, most_scores=most_scores)


@st.composite
def divided(draw: st.DrawFn) -> tuple[Pair, list[np.ndarray]]:
    """Rows, and which of them go to each shard: in any order, some shards empty."""
    case = draw(probabilities())
    order = np.array(draw(st.permutations(range(len(case[0])))))
    cuts = draw(st.lists(st.integers(0, len(order)), max_size=5).map(sorted))
    return case, np.split(order, cuts)


@pytest.mark.parametrize("most_scores", [MOST_SCORES, FEW, 0])
@few
@given(divided())
def test_shards_in_any_order_and_number_give_equal_figures(
    most_scores: int, case: tuple[Pair, list[np.ndarray]]
) -> None:
    (labels, shares), parts = case
    merged = merge(whole((labels[rows], shares[rows]), most_scores=most_scores) for rows in parts)
    assert figures(merged) == figures(whole((labels, shares), most_scores=most_scores))


@few
@given(divided(), st.integers(1, 4))
def test_shards_of_groups_give_equal_figures(case: tuple[Pair, list[np.ndarray]], count: int) -> None:
    (labels, shares), parts = case
    groups = np.array(["x", "y", "z", "w"])[np.arange(len(labels)) % count]
    merged = merge(whole((labels[rows], shares[rows]), groups=groups[rows]) for rows in parts)
    assert figures(merged) == figures(whole((labels, shares), groups=groups))


@few
@given(divided())
def test_shards_of_predicted_classes_give_equal_figures(case: tuple[Pair, list[np.ndarray]]) -> None:
    (labels, shares), parts = case
    names, predictions = NAMES[: shares.shape[1]], predicted_classes(shares)
    shards = (Statistics.of_predictions(labels[rows], predictions[rows], class_names=names) for rows in parts)
    expected = evaluate(labels, predictions, class_names=names)
    assert repr(evaluate_statistics(merge(shards)).to_dict()) == repr(expected.to_dict())


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("most_scores", [MOST_SCORES, 1000])
def test_any_number_of_workers_gives_equal_figures(draw: Callable, workers: int, most_scores: int) -> None:
    case = draw(1000, 4)
    parts = [tuple(side[worker::workers] for side in case) for worker in range(workers)]
    assert figures(merge(whole(part, most_scores=most_scores) for part in parts)) == figures(
        whole(case, most_scores=most_scores)
    )


def test_memory_order_and_dtype_of_labels_do_not_change_a_bit(draw: Callable) -> None:
    labels, shares = draw(500, 6)
    expected = figures(whole((labels, np.tile(shares, 1))))
    assert figures(whole((labels.astype(np.uint8), np.asfortranarray(shares)))) == expected


def test_rows_are_kept_up_to_a_number_of_scores_and_always_with_groups(draw: Callable) -> None:
    case = draw(30, 3)
    exact, rounded = whole(case, most_scores=90), whole(case, most_scores=89)
    assert (exact.rows is None, exact.scores.histogram is None) == (False, True)
    assert (rounded.rows is None, rounded.scores.histogram is None) == (True, False)
    grouped = whole(case, most_scores=89, groups=np.arange(30))
    assert grouped.has_groups
    assert not exact.has_groups
    assert not rounded.has_groups
    assert exact.num_rows == rounded.num_rows == 30
    two = whole(tuple(side[:15] for side in case), most_scores=89)
    assert two.rows is not None
    assert (two + two).rows is None


@pytest.mark.parametrize("classes", [2, 4])
def test_a_histogram_loses_no_more_of_the_area_than_it_says(draw: Callable, classes: int) -> None:
    labels, shares = draw(3000, classes)
    shares = np.round(shares, 3) if classes == 2 else shares
    shares[:, 1] = 1 - shares[:, 0] if classes == 2 else shares[:, 1]
    statistics = whole((labels, shares), most_scores=0)
    histogram = statistics.scores.histogram
    for k in range(1 if classes == 2 else 0, classes):
        exact = score_metrics.roc_auc(labels == k, shares[:, k])
        resolution = histogram.resolution(k)
        assert abs(histogram.areas(k).roc_auc - exact) <= resolution + 1e-15
        assert resolution < 1e-3
    if classes == 2:
        assert histogram.areas(0).roc_auc == pytest.approx(histogram.areas(1).roc_auc, abs=1e-12)
    without = Statistics.of(labels[:0], shares[:0], class_names=NAMES[:classes], most_scores=0)
    assert math.isnan(ScoreHistogram.of(without.rows).resolution(1))


@law
@given(probabilities())
def test_what_merges_equals_the_plain_metrics(case: Pair) -> None:
    statistics = whole(case)
    assert statistics.scores.losses.mean == score_metrics.log_loss(*case)
    assert statistics.scores.squares.mean == score_metrics.brier_score(*case)
    k = case[1].shape[1]
    ranks = statistics.scores.ranks
    for top in range(1, k + 1):
        assert ranks[:top].sum() / ranks.sum() == pytest.approx(score_metrics.top_k_accuracy(*case, k=top))
    assert statistics.confusion.sum() == statistics.num_rows == len(case[0])


def test_the_first_of_the_largest_is_predicted() -> None:
    shares = np.array([[0.5, 0.5], [0.4, 0.6], [0.6, 0.4]])
    np.testing.assert_array_equal(predicted_classes(shares), [0, 1, 0])
    np.testing.assert_array_equal(predicted_classes(np.pad(shares, ((0, 0), (1, 0)))), [1, 2, 1])


def test_parts_that_do_not_fit_together_are_refused(draw: Callable) -> None:
    labels, shares = draw(10, 2)
    part = Statistics.of(labels, shares, class_names=("a", "b"))
    others = {
        "the classes are ('a', 'b') and ('b', 'a'); expected the same in the same order; evaluate both parts with the "
        "same class_names.": Statistics.of(labels, shares, class_names=("b", "a")),
        "only one of two parts has probabilities or groups; expected both or neither; evaluate both "
        "alike.": Statistics.of(labels, shares, class_names=("a", "b"), groups=labels),
    }
    for sentence, other in others.items():
        with pytest.raises(ValueError, match="expected") as caught:
            part + other
        assert str(caught.value) == sentence
    with pytest.raises(ValueError, match="expected") as caught:
        part + Statistics.of_predictions(labels, labels, class_names=("a", "b"))
    with pytest.raises(ValueError, match="there are no parts; expected one at least; give the rows to evaluate"):
        merge([])
