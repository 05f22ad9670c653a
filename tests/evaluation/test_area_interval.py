"""The intervals of areas: the gamma quantile, the edges, what they lean on, and whether they cover."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trimtab.evaluation.area_interval import (
    average_precision_interval,
    gamma_quantile,
    roc_auc_interval,
    weakness_of_average_precision,
    weakness_of_roc_auc,
)
from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.sorted_scores import Areas, SortedScores

LEVELS = (0.9, 0.95, 0.975, 0.992)


def roc_auc_of(areas: Areas, level: float = 0.95) -> Estimate:
    return roc_auc_interval(
        areas.roc_auc,
        error=areas.roc_auc_error,
        lean=areas.roc_auc_lean,
        positives=areas.positives,
        negatives=areas.negatives,
        level=level,
    )


def average_precision_of(areas: Areas, level: float = 0.95) -> Estimate:
    return average_precision_interval(
        areas.average_precision,
        error=areas.average_precision_error,
        lean=areas.average_precision_lean,
        positives=areas.positives,
        level=level,
    )


def areas_of(positives: np.ndarray, negatives: np.ndarray) -> Areas:
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    return SortedScores(labels, np.concatenate([positives, negatives])).areas()


@given(st.floats(0.05, 1e7), st.sampled_from([0.004, 0.0125, 0.025, 0.05, 0.5, 0.95, 0.975, 0.9875, 0.996]))
def test_gamma_quantile_is_scipys(shape: float, share: float) -> None:
    assert gamma_quantile(share, shape) == pytest.approx(stats.gamma.ppf(share, shape), rel=3e-4, abs=1e-12)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=15),
    st.lists(st.integers(0, 6), min_size=1, max_size=15),
    st.sampled_from(LEVELS),
)
def test_intervals_hold_the_value_inside_zero_and_one(positives: list[int], negatives: list[int], level: float) -> None:
    areas = areas_of(np.array(positives, float), np.array(negatives, float))
    for estimate in (roc_auc_of(areas, level), average_precision_of(areas, level)):
        assert 0 <= estimate.low <= estimate.value + 1e-12
        assert estimate.value - 1e-12 <= estimate.high <= 1
        assert estimate.high > estimate.low


def test_turned_around_scores_turn_the_interval_around() -> None:
    random = np.random.default_rng(0)
    positives, negatives = random.normal(1, 1, 15), random.normal(0, 1, 60)
    there, back = roc_auc_of(areas_of(positives, negatives)), roc_auc_of(areas_of(-positives, -negatives))
    assert (back.low, back.high) == pytest.approx((1 - there.high, 1 - there.low), abs=1e-9)


@pytest.mark.parametrize("interval", [roc_auc_of, average_precision_of])
def test_higher_level_is_wider(interval: Callable[..., Estimate]) -> None:
    random = np.random.default_rng(1)
    areas = areas_of(random.normal(2, 1, 12), random.normal(0, 1, 90))
    estimates = [interval(areas, level) for level in LEVELS]
    assert all(a.low > b.low and a.high < b.high for a, b in itertools.pairwise(estimates))


def test_many_rows_give_delongs_normal_interval() -> None:
    estimate = roc_auc_interval(0.8, error=1e-4, lean=0.0, positives=10**7, negatives=10**7, level=0.95)
    assert (estimate.low, estimate.high) == pytest.approx(stats.norm.interval(0.95, 0.8, 1e-4), abs=1e-6)
    assert estimate.method == "DeLong, gamma interval"


def test_perfect_separation_has_the_exact_bound() -> None:
    estimate = roc_auc_interval(1.0, error=0.0, lean=0.0, positives=20, negatives=300, level=0.95)
    assert (estimate.low, estimate.high) == (pytest.approx(0.05 ** (1 / 20)), 1.0)
    assert estimate.method == "exact one-sided bound over disjoint pairs"


def test_scores_that_are_all_equal_give_a_wide_interval_around_one_half() -> None:
    estimate = roc_auc_of(areas_of(np.zeros(30), np.zeros(30)))
    assert estimate.low < 0.35
    assert estimate.low + estimate.high == pytest.approx(1)


def test_one_row_out_of_order_reaches_about_as_far_as_none() -> None:
    none = roc_auc_of(areas_of(np.arange(100.0, 120), np.arange(60.0)))
    one = roc_auc_of(areas_of(np.append(np.arange(101.0, 120), 58.5), np.arange(60.0)))
    assert none.low - 0.05 < one.low < one.value < 1
    assert one.high > one.value


def test_perfect_precision_is_bounded_below_the_share_that_the_positives_alone_show() -> None:
    estimate = average_precision_interval(1.0, error=0.0, lean=0.0, positives=50, level=0.95)
    assert estimate.low <= 0.05 ** (1 / 50)
    assert estimate.high == 1.0


def test_a_single_row_on_a_side_gives_the_interval_of_one_trial() -> None:
    assert roc_auc_interval(0.9, error=0.05, lean=0.1, positives=1, negatives=99, level=0.95).low < 0.2
    assert average_precision_interval(0.5, error=0.2, lean=0.0, positives=1, level=0.95).high > 0.9


def test_weakness_is_told_in_words_where_few_rows_decide() -> None:
    assert weakness_of_roc_auc(error=0.1, positives=3, negatives=500) == (
        "only 3 rows of the smaller side: the interval is little more than a guess, and wide to be safe"
    )
    assert weakness_of_roc_auc(error=0.002, positives=50, negatives=50) == (
        "so few rows are out of order that the interval is a cautious guess, mostly wider than its level says"
    )
    assert weakness_of_roc_auc(error=0.0, positives=50, negatives=50) is not None
    assert weakness_of_roc_auc(error=0.02, positives=100, negatives=100) is None
    assert weakness_of_average_precision(0.5, error=0.1, positives=1) == (
        "only 1 row of the positive side: the interval is little more than a guess, and wide to be safe"
    )
    assert weakness_of_average_precision(0.99, error=0.002, positives=100) is not None
    assert weakness_of_average_precision(0.8, error=0.02, positives=1000) is None


def _coverage(interval: Callable[[Areas], Estimate], truth: float, draw: Callable[[], Areas], repeats: int) -> float:
    estimates = [interval(draw()) for _ in range(repeats)]
    return float(np.mean([e.low <= truth <= e.high for e in estimates]))


@pytest.mark.parametrize(
    ("area", "positives", "lowest", "highest"),
    [(0.9, 100, 0.925, 0.98), (0.97, 20, 0.94, 1.0), (0.995, 20, 0.94, 1.0), (0.8, 4, 0.93, 1.0)],
)
def test_roc_auc_covers(area: float, positives: int, lowest: float, highest: float) -> None:
    random = np.random.default_rng(int(1000 * area) + positives)
    distance = math.sqrt(2) * float(stats.norm.ppf(area))

    def draw() -> Areas:
        return areas_of(random.normal(distance, 1, positives), random.normal(0, 1, 180))

    assert lowest <= _coverage(roc_auc_of, area, draw, 500) <= highest


def test_roc_auc_covers_where_exponential_scores_hide_heavy_losses() -> None:
    random = np.random.default_rng(5)

    def draw() -> Areas:
        return areas_of(random.exponential(99.0, 100), random.exponential(1.0, 900))

    assert _coverage(roc_auc_of, 0.99, draw, 500) >= 0.92


def test_average_precision_covers() -> None:
    random = np.random.default_rng(6)

    def draw(positives: int = 100) -> Areas:
        is_positive = random.random(10 * positives) < 0.1
        return SortedScores(is_positive, random.normal(size=10 * positives) + 1.8 * is_positive).areas()

    truth = draw(300_000).average_precision
    assert 0.925 <= _coverage(average_precision_of, truth, draw, 500) <= 0.99
