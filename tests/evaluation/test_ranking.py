"""Influence of rows on both areas: DeLong's variance, derivatives, covariance between classes, groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.cases import Pair, binary_scores, law, looped_precision, pairs_area, same_bits, shuffled

from trimtab.evaluation.ranking import Ranks, auc_with_influence, error_and_lean, standard_error, sum_by_group


def delong_by_definition(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    pairs = np.sign(positive[:, None] - negative[None, :]) / 2 + 0.5
    by_positive, by_negative = pairs.mean(axis=1), pairs.mean(axis=0)
    variance = by_positive.var(ddof=1) / len(positive) + by_negative.var(ddof=1) / len(negative)
    return float(pairs.mean()), float(variance)


@pytest.mark.parametrize("decimals", [1, 8])
def test_sum_of_squared_influences_is_delongs_variance_ties_included(decimals: int) -> None:
    random = np.random.default_rng(1)
    is_positive = random.random(150) < 0.3
    scores = np.round(random.normal(size=150) + is_positive, decimals)
    area, influence = auc_with_influence(is_positive, scores)
    expected_area, expected_variance = delong_by_definition(scores[is_positive], scores[~is_positive])
    assert area == pytest.approx(expected_area, abs=1e-12)
    assert np.square(influence).sum() == pytest.approx(expected_variance, rel=1e-10)
    assert influence[is_positive].sum() == pytest.approx(0, abs=1e-12)
    assert influence[~is_positive].sum() == pytest.approx(0, abs=1e-12)


@law
@given(binary_scores())
def test_values_equal_the_obvious_versions(case: Pair) -> None:
    is_positive, scores = case[0] == 1, case[1]
    ranks = Ranks.of(is_positive, scores)
    for (value, influence), obvious in ((ranks.roc_auc(), pairs_area), (ranks.average_precision(), looped_precision)):
        assert value == pytest.approx(obvious(is_positive, scores), abs=1e-12, nan_ok=True)
        assert influence.shape == scores.shape
        assert np.isfinite(influence).all()
        if math.isnan(value):
            assert not influence.any()


def weighted_precision(is_positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    at_or_above = scores[None, :] >= scores[:, None]
    precision = (at_or_above * weights * is_positive).sum(axis=1) / (at_or_above * weights).sum(axis=1)
    return float((weights * is_positive * precision).sum() / (weights * is_positive).sum())


@pytest.mark.parametrize("decimals", [0, 8])
def test_influence_on_average_precision_is_its_derivative_by_the_rows_weight(decimals: int) -> None:
    random = np.random.default_rng(3)
    is_positive = random.random(40) < 0.4
    scores = np.round(random.normal(size=40) + is_positive, decimals)
    _, influence = Ranks.of(is_positive, scores).average_precision()
    for row in range(40):
        step = 1e-5 * np.eye(40)[row]
        up, down = (weighted_precision(is_positive, scores, 1 + sign * step) for sign in (1, -1))
        assert influence[row] == pytest.approx((up - down) / 2e-5, abs=1e-8)
    assert influence.sum() == pytest.approx(0, abs=1e-12)


@law
@given(binary_scores(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_a_bit(case: Pair, random: Any) -> None:
    labels, scores = case
    groups = np.arange(len(labels)) % 3
    moved = shuffled(random, labels, scores, groups)
    results = []
    for y, s, g in ((labels, scores, groups), moved):
        ranks = Ranks.of(y == 1, s)
        for value, influence in (ranks.roc_auc(), ranks.average_precision()):
            results.append([value, *error_and_lean(influence), *error_and_lean(influence, g)])
    assert same_bits(results[:2], results[2:])


@law
@given(binary_scores(both=True))
def test_rows_that_are_their_own_groups_are_independent_rows(case: Pair) -> None:
    _, influence = auc_with_influence(case[0] == 1, case[1])
    rows = len(influence)
    alone, lean = error_and_lean(influence)
    grouped, lean_of_groups = error_and_lean(influence, np.arange(rows)[::-1])
    assert grouped == pytest.approx(alone * math.sqrt(rows / (rows - 1)))
    assert lean_of_groups == lean
    assert standard_error(influence) == alone


def test_repeated_rows_in_groups_widen_the_error_to_that_of_the_rows_alone(draw: Callable) -> None:
    labels, probabilities = draw(300, 2, quality=1.0)
    alone = standard_error(auc_with_influence(labels == 1, probabilities[:, 1])[1])
    groups = np.repeat(np.arange(300), 4)
    _, influence = auc_with_influence(labels[groups] == 1, probabilities[groups, 1])
    assert standard_error(influence, groups) == pytest.approx(alone, rel=0.01)
    assert standard_error(influence) == pytest.approx(alone / 2, rel=0.01)


def test_influences_of_the_same_rows_carry_the_covariance_between_classes(draw: Callable) -> None:
    labels, probabilities = draw(400, 3, quality=1.0)

    def areas(rows: np.ndarray) -> list[tuple[float, np.ndarray]]:
        return [auc_with_influence(labels[rows] == k, probabilities[rows, k]) for k in range(3)]

    random = np.random.default_rng(2)
    replicates = [np.mean([area for area, _ in areas(random.integers(400, size=400))]) for _ in range(300)]
    influences = [influence for _, influence in areas(np.arange(400))]
    error = standard_error(np.mean(influences, axis=0))
    assert error == pytest.approx(np.std(replicates), rel=0.15)
    independent = math.hypot(*(standard_error(influence) for influence in influences)) / 3
    assert error != pytest.approx(independent, rel=0.05)


def test_lean_is_the_skewness_of_the_influences_to_low_values() -> None:
    influence = np.array([-3.0, 1.0, 1.0, 1.0])
    assert error_and_lean(influence) == (pytest.approx(math.sqrt(12)), pytest.approx(24 / 12**1.5))
    assert error_and_lean(np.zeros(3)) == (0.0, 0.0)


def test_sums_by_group_are_those_of_each_groups_rows() -> None:
    random = np.random.default_rng(0)
    groups, values = random.integers(7, size=100), random.normal(size=100)
    groups[:7] = np.arange(7)
    np.testing.assert_allclose(sum_by_group(groups, values), [values[groups == g].sum() for g in range(7)])
