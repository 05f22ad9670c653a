"""DeLong's variance against its definition, and against resampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trimtab.evaluation.ranking import auc_with_influence, one_vs_rest


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


def test_macro_error_carries_the_covariance_between_classes(draw: Callable) -> None:
    labels, probabilities = draw(400, 3, quality=1.0)
    ranking = one_vs_rest(labels, probabilities)
    random = np.random.default_rng(2)
    replicates = []
    for _ in range(300):
        rows = random.integers(400, size=400)
        replicates.append(one_vs_rest(labels[rows], probabilities[rows]).macro_area)
    assert ranking.macro_error == pytest.approx(np.std(replicates), rel=0.15)
    independent = np.sqrt(np.square(ranking.errors).sum()) / 3
    assert ranking.macro_error != pytest.approx(independent, rel=0.05)


def test_two_classes_share_one_area(draw: Callable) -> None:
    ranking = one_vs_rest(*draw(100, 2))
    assert ranking.areas[0] == ranking.areas[1] == ranking.macro_area
    assert ranking.errors[0] == ranking.errors[1] == pytest.approx(ranking.macro_error)


def test_repeated_rows_in_groups_widen_the_error_to_that_of_the_rows_alone(draw: Callable) -> None:
    labels, probabilities = draw(300, 2, quality=1.0)
    alone = one_vs_rest(labels, probabilities).errors[1]
    groups = np.repeat(np.arange(300), 4)
    repeated = one_vs_rest(labels[groups], probabilities[groups], groups=groups).errors[1]
    assert repeated == pytest.approx(alone, rel=0.01)
