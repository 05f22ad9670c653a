"""Both areas from one sort: values, errors and leans against their definitions, ties over many blocks included."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from tests.evaluation.cases import Pair, binary_scores, law, shuffled

from trimtab.evaluation.ranking import Ranks, error_and_lean
from trimtab.evaluation.sorted_scores import SortedScores, areas_of_counts

LARGE = 3 * 2**15 + 17  # rows: several blocks, and a rest


def shares_outranked(is_positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each positive the share of negatives below it, of each negative the share of positives above it."""
    own, other = scores[is_positive].astype(float)[:, None], scores[~is_positive].astype(float)[None, :]
    pairs = (own > other) + (own == other) / 2
    return pairs.mean(axis=1), pairs.mean(axis=0)


@law
@given(binary_scores(both=True))
def test_areas_errors_and_leans_equal_their_definitions(case: Pair) -> None:
    is_positive, scores = case[0] == 1, case[1]
    areas = SortedScores(is_positive, scores).areas()
    of_positives, of_negatives = shares_outranked(is_positive, scores)
    assert (areas.positives, areas.negatives) == (is_positive.sum(), (~is_positive).sum())
    assert areas.roc_auc == pytest.approx(of_positives.mean(), abs=1e-12)
    for variance, side in ((areas.positive_variance, of_positives), (areas.negative_variance, of_negatives)):
        assert variance == pytest.approx(side.var(ddof=1) if len(side) > 1 else 0.0, abs=1e-12)
    ranks = Ranks.of(is_positive, scores)
    _, influence = ranks.average_precision()
    error, lean = error_and_lean(influence)
    assert areas.average_precision_error == pytest.approx(error, abs=1e-7)  # roundoff is of the squares
    if error > 1e-3:
        assert areas.average_precision_lean == pytest.approx(lean, abs=1e-6)
    if min(areas.positives, areas.negatives) > 1:
        error, lean = error_and_lean(ranks.roc_auc()[1])
        assert areas.roc_auc_error == pytest.approx(error, abs=1e-12)
        if error > 1e-3:
            assert areas.roc_auc_lean == pytest.approx(lean, abs=1e-9)


@law
@given(binary_scores(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_a_bit(case: Pair, random: Any) -> None:
    first, second = (SortedScores(y == 1, s).areas() for y, s in (case, shuffled(random, *case)))
    assert repr(astuple(first)) == repr(astuple(second))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [1, 2, 3, 40, 5000, 10**9])
@pytest.mark.parametrize("shift", [0, 1])
def test_ties_across_blocks_are_counted_once(dtype: type, levels: int, shift: int) -> None:
    random = np.random.default_rng(levels)
    scores = (random.integers(levels, size=LARGE) - shift * levels // 2).astype(dtype)
    is_positive = random.random(LARGE) < 0.3 + 0.2 * (scores > np.median(scores))
    areas = SortedScores(is_positive, scores).areas()
    assert areas.roc_auc == pytest.approx(oracle.roc_auc_score(is_positive, scores), abs=1e-12)
    expected = oracle.average_precision_score(is_positive, scores)
    assert areas.average_precision == pytest.approx(expected, abs=1e-12)
    ranks = Ranks.of(is_positive, scores)
    assert areas.roc_auc_error == pytest.approx(error_and_lean(ranks.roc_auc()[1])[0], rel=1e-9)
    error, lean = error_and_lean(ranks.average_precision()[1])
    assert areas.average_precision_error == pytest.approx(error, rel=1e-9)
    assert areas.average_precision_lean == pytest.approx(lean, rel=1e-6, abs=1e-6)


def test_distinct_scores_come_in_order_and_none_is_divided() -> None:
    random = np.random.default_rng(0)
    scores = np.concatenate([np.repeat([-1.5, 0.0, 2.5], 20_000), random.integers(-30, 30, 9000) / 4])
    is_positive = random.random(len(scores)) < 0.5
    blocks = list(SortedScores(is_positive, scores).distinct())
    positives, negatives = (np.concatenate(side) for side in zip(*blocks, strict=True))
    values = np.unique(scores)
    np.testing.assert_array_equal(positives, [(is_positive & (scores == v)).sum() for v in values])
    np.testing.assert_array_equal(negatives, [(~is_positive & (scores == v)).sum() for v in values])


@law
@given(binary_scores())
def test_areas_of_counted_rows_equal_those_of_the_rows(case: Pair) -> None:
    is_positive, scores = case[0] == 1, case[1]
    number = np.unique(scores, return_inverse=True)[1] * 3  # bins without rows in between
    counts = [np.bincount(number[side], minlength=200).astype(float) for side in (is_positive, ~is_positive)]
    np.testing.assert_allclose(
        astuple(areas_of_counts(*counts)), astuple(SortedScores(is_positive, scores).areas()), atol=1e-12
    )


def test_an_area_within_a_millionth_of_one_is_exact() -> None:
    scores = np.arange(200_000, dtype=np.float64)
    is_positive = scores >= 100_000
    is_positive[[99_999, 100_000]] = [True, False]  # one pair in the wrong order
    areas = SortedScores(is_positive, scores).areas()
    assert areas.roc_auc == 1 - 1e-10
    assert areas.positive_variance == pytest.approx(1e-10 * (1 / 100_000), rel=1e-9)


def test_precision_is_left_out_when_it_is_not_asked_for() -> None:
    areas = SortedScores(np.array([True, False]), np.array([0.5, 0.4])).areas(has_precision=False)
    assert areas.roc_auc == 1.0
    assert math.isnan(areas.average_precision)
    assert math.isnan(areas.average_precision_error)


@pytest.mark.parametrize("is_positive", [True, False])
def test_a_side_without_rows_has_no_area(is_positive: bool) -> None:
    areas = SortedScores(np.full(3, is_positive), np.array([0.1, 0.2, 0.3])).areas()
    assert math.isnan(areas.roc_auc)
    assert math.isnan(areas.roc_auc_error)
    assert math.isnan(areas.average_precision) != is_positive
    empty = SortedScores(np.array([], bool), np.array([])).areas()
    assert math.isnan(empty.roc_auc)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, bool])
def test_scores_of_other_types_are_compared_as_numbers(dtype: type) -> None:
    scores = np.array([0, 1, 1, 0]).astype(dtype)
    assert SortedScores(np.array([0, 1, 0, 1]), scores).areas().roc_auc == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sign", [1, -1])
def test_scores_that_are_not_finite_are_refused(dtype: type, bad: float, sign: int) -> None:
    scores = (sign * np.linspace(0, 1, 9000)).astype(dtype)
    scores[8000] = bad
    with pytest.raises(ValueError, match="NaN") as caught:
        SortedScores(np.arange(9000) % 2 == 0, scores)
    assert str(caught.value) == "scores hold NaN or infinity; expected finite numbers; look for a fault in the model."
