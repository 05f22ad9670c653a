"""The interval of a mean loss: the transformation it inverts, its edges, and whether it covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.mean_interval import leans_too_far, mean_interval


def interval_of(losses: np.ndarray, level: float = 0.95) -> Estimate:
    skewness = float(stats.skew(losses))
    return mean_interval(
        float(losses.mean()), variance=float(losses.var(ddof=1)), skewness=skewness, rows=len(losses), level=level
    )


@given(st.floats(-1, 3), st.sampled_from([0.8, 0.95, 0.975, 0.992]))
def test_ends_are_where_the_transformed_mean_is_the_normal_quantile(lean: float, level: float) -> None:
    def transformed(t: float) -> float:
        return t + lean * t**2 / 3 + lean**2 * t**3 / 27 + lean / 6

    z = stats.norm.ppf((1 + level) / 2)
    estimate = mean_interval(1e6, variance=100.0, skewness=10 * lean, rows=100, level=level)
    for end, quantile in ((estimate.low, z), (estimate.high, -z)):
        root = optimize.brentq(lambda t, q=quantile: transformed(t) - q, -1000, 1000, xtol=1e-12)
        assert end == pytest.approx(min(max(1e6 - root, 0), 1e6) if end == 1e6 else 1e6 - root, abs=1e-4)


def test_without_skewness_it_is_the_normal_interval() -> None:
    estimate = mean_interval(5.0, variance=4.0, skewness=0.0, rows=400, level=0.95)
    assert (estimate.low, estimate.high) == pytest.approx(stats.norm.interval(0.95, 5.0, 0.1))


def test_groups_use_students_quantile_and_their_own_number() -> None:
    rows = mean_interval(5.0, variance=4.0, skewness=0.0, rows=400, level=0.95)
    groups = mean_interval(5.0, variance=4.0, skewness=0.0, rows=400, level=0.95, units=6)
    factor = stats.t.ppf(0.975, 5) / stats.norm.ppf(0.975)
    assert groups.high - 5 == pytest.approx(factor * (rows.high - 5), rel=1e-4)
    assert groups.method == "Hall's transformation over 6 groups"


@pytest.mark.parametrize(
    ("variance", "rows", "units"), [(0.0, 10, None), (1.0, 1, None), (1.0, 10, 1), (math.nan, 9, 3)]
)
def test_without_spread_there_is_no_interval(variance: float, rows: int, units: int | None) -> None:
    estimate = mean_interval(0.5, variance=variance, skewness=math.nan, rows=rows, level=0.95, units=units)
    assert (estimate.value, estimate.low, estimate.high) == (0.5, None, None)
    assert estimate.method == "no interval: nothing to see a spread between"


@given(
    st.floats(1e-6, 2),
    st.floats(1e-9, 10),
    st.floats(-1, 30),
    st.integers(2, 10**6),
    st.sampled_from([0.9, 0.95, 0.992]),
)
def test_it_holds_the_mean_and_stays_between_zero_and_the_highest(
    mean: float, variance: float, skewness: float, rows: int, level: float
) -> None:
    estimate = mean_interval(mean, variance=variance, skewness=skewness, rows=rows, level=level, highest=2.0)
    assert 0 <= estimate.low <= mean <= estimate.high <= 2


def test_a_few_large_losses_reach_further_up_than_down() -> None:
    losses = np.array([0.01] * 190 + [3.0] * 10)
    estimate = interval_of(losses)
    assert estimate.high - estimate.value > 1.5 * (estimate.value - estimate.low)
    assert not leans_too_far(skewness=float(stats.skew(losses)), rows=200)
    assert leans_too_far(skewness=float(stats.skew(losses[:191])), rows=191)


@pytest.mark.parametrize(("shape", "rows"), [(0.3, 200), (0.1, 200), (1.0, 30)])
def test_it_covers_the_mean_of_skewed_losses(shape: float, rows: int) -> None:
    random, repeats = np.random.default_rng(7), 2000
    hits = 0
    for losses in random.gamma(shape, size=(repeats, rows)):
        estimate = interval_of(losses)
        hits += estimate.low <= shape <= estimate.high
    assert hits / repeats == pytest.approx(0.95, abs=0.02)
