"""Closed forms against published or slower versions, and what happens at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trimtab.evaluation.intervals import (
    logit_interval,
    positive_interval,
    student_quantile,
    wilson,
    wilson_f1,
    zero_error_bound,
    zero_error_bound_of_mean,
)


@given(st.integers(1, 10**6), st.floats(0.001, 0.999), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_equals_scipy_between_the_edges(trials: int, share: float, level: float) -> None:
    successes = min(max(1, round(share * trials)), trials - 1)
    if successes == 0:
        return
    estimate = wilson(successes / trials, trials, level=level)
    expected = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), rel=1e-7)


@pytest.mark.parametrize("trials", [1, 5, 360])
def test_without_an_error_the_bound_is_where_no_error_has_five_percent(trials: int) -> None:
    estimate = wilson(1.0, trials, level=0.95)
    assert estimate.high == 1.0
    assert estimate.low is not None
    assert estimate.low**trials == pytest.approx(0.05)
    assert estimate.method == "exact one-sided bound"
    mirrored = zero_error_bound(0.0, trials, level=0.95)
    assert (mirrored.low, mirrored.high) == (0.0, pytest.approx(1 - estimate.low))


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 500))
def test_interval_of_f1_is_that_of_jaccard_carried_over(hits: int, false: int, missed: int) -> None:
    union = hits + false + missed
    estimate = wilson_f1(2 * hits / (2 * hits + false + missed), union, level=0.95)
    share = wilson(hits / union, union, level=0.95)
    assert estimate.low == pytest.approx(2 * share.low / (1 + share.low))
    assert estimate.low <= estimate.value <= estimate.high + 1e-12


def test_bound_of_a_mean_is_the_worst_mean_that_still_shows_no_error() -> None:
    trials = np.array([20.0, 60.0, 200.0])
    bound = zero_error_bound_of_mean(trials, level=0.95)
    shares = 1 - np.random.default_rng(0).dirichlet([0.1, 0.1, 0.1], size=200_000) * np.array([0.139, 0.05, 0.015])
    allowed = shares[(trials * np.log(shares)).sum(axis=1) >= math.log(0.05)]
    assert bound <= allowed.mean(axis=1).min()
    assert bound == pytest.approx(allowed.mean(axis=1).min(), abs=0.002)
    assert zero_error_bound_of_mean(np.full(10, 36.0), level=0.95) == pytest.approx(0.05 ** (1 / 360))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 1000])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_student_quantile_equals_scipy(freedom: int, level: float) -> None:
    assert student_quantile(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-5)


@given(st.floats(1e-6, 1 - 1e-6), st.floats(1e-6, 0.5))
def test_logit_interval_holds_the_value_and_stays_inside(value: float, error: float) -> None:
    estimate = logit_interval(value, error, level=0.95, method="test")
    assert 0 <= estimate.low <= value <= estimate.high <= 1
    assert logit_interval(value, error, level=0.95, method="test", units=3).low <= estimate.low


@given(st.floats(1e-9, 10), st.floats(1e-9, 10))
def test_interval_of_a_loss_holds_the_value_and_stays_positive(value: float, error: float) -> None:
    estimate = positive_interval(value, error, level=0.95, method="test")
    assert 0 <= estimate.low <= value <= estimate.high
