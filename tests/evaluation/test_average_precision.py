"""Average precision and the influence of each row: scikit-learn's value, and the spread of resampled rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from trimtab.evaluation.ranking import Ranks
from trimtab.evaluation.sorted_scores import SortedScores


def drawn(rows: int, decimals: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    is_positive = random.random(rows) < 0.3
    return is_positive, np.round(random.normal(size=rows) + 1.2 * is_positive, decimals)


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=60))
def test_equals_scikit_learn_ties_included(rows: list[tuple[bool, int]]) -> None:
    is_positive = np.array([row[0] for row in rows])
    scores = np.array([row[1] for row in rows], float)
    value, _ = Ranks.of(is_positive, scores).average_precision()
    if not is_positive.any():
        assert math.isnan(value)
    else:
        assert value == pytest.approx(average_precision_score(is_positive, scores), abs=1e-12)


@pytest.mark.parametrize("decimals", [8, 0])
def test_influence_is_the_derivative_by_the_weight_of_a_row(decimals: int) -> None:
    is_positive, scores = drawn(40, decimals)
    value, influence = Ranks.of(is_positive, scores).average_precision()
    for row in range(len(scores)):
        weights = np.ones(len(scores))
        weights[row] += 1e-6
        moved = average_precision_score(is_positive, scores, sample_weight=weights)
        assert influence[row] == pytest.approx((moved - value) / 1e-6, abs=1e-5)


@pytest.mark.parametrize("decimals", [8, 0])
def test_sum_of_squares_is_the_variance_of_resampled_rows(decimals: int) -> None:
    is_positive, scores = drawn(800, decimals)
    _, influence = Ranks.of(is_positive, scores).average_precision()
    random = np.random.default_rng(1)
    values = []
    for _ in range(1500):
        rows = random.integers(800, size=800)
        values.append(Ranks.of(is_positive[rows], scores[rows]).average_precision()[0])
    assert math.sqrt(np.square(influence).sum()) == pytest.approx(np.std(values), rel=0.07)


@pytest.mark.parametrize("decimals", [8, 0])
def test_sum_of_squares_is_near_the_jackknifes_variance(decimals: int) -> None:
    is_positive, scores = drawn(300, decimals)
    _, influence = Ranks.of(is_positive, scores).average_precision()
    without = np.array([average_precision_score(np.delete(is_positive, i), np.delete(scores, i)) for i in range(300)])
    jackknife = 299 / 300 * np.square(without - without.mean()).sum()
    assert np.square(influence).sum() == pytest.approx(jackknife, rel=0.05)


def test_influences_sum_to_zero() -> None:
    _, influence = Ranks.of(*drawn(500, 1)).average_precision()
    assert influence.sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("decimals", [8, 0])
def test_sorted_pass_finds_the_error_and_the_lean_of_the_influences(decimals: int) -> None:
    is_positive, scores = drawn(700, decimals)
    value, influence = Ranks.of(is_positive, scores).average_precision()
    areas, squares = SortedScores(is_positive, scores).areas(), np.square(influence).sum()
    assert areas.average_precision == pytest.approx(value, abs=1e-12)
    assert areas.average_precision_error == pytest.approx(math.sqrt(squares), rel=1e-9)
    assert areas.average_precision_lean == pytest.approx(-np.sum(influence**3) / squares**1.5, rel=1e-7)


def test_order_of_the_rows_does_not_matter() -> None:
    is_positive, scores = drawn(200, 0)
    value, influence = Ranks.of(is_positive, scores).average_precision()
    order = np.random.default_rng(2).permutation(200)
    shuffled, moved = Ranks.of(is_positive[order], scores[order]).average_precision()
    assert shuffled == pytest.approx(value, abs=1e-15)
    np.testing.assert_allclose(moved, influence[order], atol=1e-15)


def test_one_tied_score_gives_the_prevalence() -> None:
    value, _ = Ranks.of(np.array([True, False, False, True]), np.zeros(4)).average_precision()
    assert value == 0.5
