"""Comparison of two models: test, interval, guard and noise floor against slower versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from trimtab.evaluation import Comparison, compare_accuracy, upper_bound_of_drop
from trimtab.evaluation.paired import _score, compare_right, mid_p_mcnemar


def compare(rows: int, a_only: int, b_only: int) -> Comparison:
    labels = np.zeros(rows, dtype=np.int64)
    right, wrong = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    a, b = np.tile(right, (rows, 1)), np.tile(right, (rows, 1))
    b[:a_only] = wrong
    a[a_only : a_only + b_only] = wrong
    return compare_accuracy(labels, a, b)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mid_p_equals_its_definition(a_only: int, b_only: int) -> None:
    throws, fewer = a_only + b_only, min(a_only, b_only)
    coin = stats.binom(throws, 0.5)
    expected = 1.0 if a_only == b_only else 2 * coin.cdf(fewer) - coin.pmf(fewer)
    assert mid_p_mcnemar(a_only, b_only) == pytest.approx(min(1, expected), rel=1e-9, abs=1e-300)


def test_mid_p_of_many_throws_is_finite() -> None:
    assert mid_p_mcnemar(0, 10**6) == 0.0
    assert mid_p_mcnemar(500_000, 500_000) == 1.0


@pytest.mark.parametrize(("gains", "losses", "rows", "difference"), [(12, 4, 100, -0.02), (3, 9, 60, 0.1)])
def test_score_uses_the_likeliest_table_with_that_difference(
    gains: int, losses: int, rows: int, difference: float
) -> None:
    def minus_log_likelihood(share: float) -> float:
        cells = (share + difference, share, 1 - 2 * share - difference)
        return -sum(n * math.log(p) for n, p in zip((gains, losses, rows - gains - losses), cells, strict=True))

    low, high = max(0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9
    share = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = rows * (2 * share + difference - difference**2)
    expected = (gains - losses - rows * difference) / math.sqrt(variance)
    assert _score(gains, losses, rows, difference) == pytest.approx(expected, rel=1e-5)


def test_interval_ends_where_the_score_reaches_the_quantile() -> None:
    comparison = compare(500, 30, 18)
    assert comparison.difference == pytest.approx(-12 / 500)
    assert _score(18, 30, 500, comparison.low) == pytest.approx(1.959964, abs=1e-5)
    assert _score(18, 30, 500, comparison.high) == pytest.approx(-1.959964, abs=1e-5)


def test_models_swapped_give_the_mirrored_interval() -> None:
    one, other = compare(300, 20, 7), compare(300, 7, 20)
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
    assert one.p_value == other.p_value


def test_guard_is_not_blind_when_nothing_changed() -> None:
    z = 1.6448536
    assert upper_bound_of_drop(compare(1000, 0, 0)) == pytest.approx(z**2 / (1000 + z**2), rel=1e-5)
    assert upper_bound_of_drop(compare(20, 0, 0)) > 0.1


def test_guard_is_negative_when_b_is_surely_better() -> None:
    assert upper_bound_of_drop(compare(1000, 2, 60)) < 0


def test_guard_lets_a_model_at_the_margin_pass_in_about_five_percent() -> None:
    random, margin, passed = np.random.default_rng(4), 0.02, 0
    for _ in range(2000):
        a_only, b_only, _ = random.multinomial(800, [0.05, 0.03, 0.92])
        comparison = Comparison(
            rows=800,
            difference=0,
            low=0,
            high=0,
            p_value=1,
            a_only=int(a_only),
            b_only=int(b_only),
            noise_floor=0,
        )
        passed += upper_bound_of_drop(comparison) < margin
    assert passed / 2000 == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("disagreements", [0, 4, 5, 6, 37, 200])
def test_noise_floor_is_the_smallest_significant_difference(disagreements: int) -> None:
    floor = compare(1000, disagreements // 2, disagreements - disagreements // 2).noise_floor
    throws = max(disagreements, 5)
    ahead = round(floor * 1000)
    assert mid_p_mcnemar((throws - ahead) // 2, (throws + ahead) // 2) <= 0.05
    if ahead >= 2:
        assert mid_p_mcnemar((throws - ahead) // 2 + 1, (throws + ahead) // 2 - 1) > 0.05


def test_equal_models_are_not_told_apart() -> None:
    comparison = compare(100, 0, 0)
    assert (comparison.difference, comparison.p_value) == (0.0, 1.0)
    assert comparison.low < 0 < comparison.high
    assert comparison.to_dict()["a_only"] == 0


def test_models_with_different_rows_are_refused() -> None:
    labels, probabilities = np.zeros(3, dtype=np.int64), np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match=r"probabilities have shape \(2, 2\)"):
        compare_accuracy(labels, probabilities, probabilities[:2])


def gains_of_groups(gains: list[int], groups: np.ndarray) -> Comparison:
    """+1 where only b is right, -1 where only a is."""
    rows = np.array(gains)
    return compare_right(rows <= 0, rows >= 0, groups=groups)


def test_test_of_groups_equals_the_formula_of_obuchowski() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(25), 4)
    gains = random.integers(-1, 2, size=100)
    totals = gains.reshape(25, 4).sum(axis=1)
    found = gains_of_groups(list(gains), groups)
    variance = 25 / 24 * np.sum((totals - totals.mean()) ** 2) / 100**2
    statistic = gains.mean() / math.sqrt(variance)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(statistic), 24))
    assert found.high - found.difference == pytest.approx(stats.t.ppf(0.975, 24) * math.sqrt(variance), rel=1e-3)
    assert found.method == "t-test of 25 groups"


def test_groups_of_one_row_are_nearly_no_groups() -> None:
    random = np.random.default_rng(1)
    gains = list(random.choice([-1, 0, 1], p=[0.07, 0.85, 0.08], size=2000))
    alone, grouped = gains_of_groups(gains, np.arange(2000)), compare_right(np.array(gains) <= 0, np.array(gains) >= 0)
    assert alone.difference == grouped.difference
    assert (alone.low, alone.high) == pytest.approx((grouped.low, grouped.high), abs=1e-3)
    assert alone.p_value == pytest.approx(grouped.p_value, rel=0.05)
    assert alone.design_effect == pytest.approx(1, abs=1e-3)
    assert upper_bound_of_drop(alone) == pytest.approx(upper_bound_of_drop(grouped), abs=1e-3)


def test_groups_that_do_not_differ_are_no_proof_that_they_never_do() -> None:
    found = gains_of_groups([0] * 60, np.arange(60) // 6)
    assert (found.difference, found.p_value) == (0.0, 1.0)
    assert found.low < -0.2
    assert found.noise_floor == pytest.approx(found.high)
    assert upper_bound_of_drop(found) > 0.2


def test_groups_that_all_gain_alike_are_as_many_throws_of_a_coin() -> None:
    found = gains_of_groups([1, 0, 0] * 7, np.arange(21) // 3)
    assert found.p_value == mid_p_mcnemar(0, 7)
    assert found.low < found.difference < found.high


def test_one_group_shows_nothing() -> None:
    found = gains_of_groups([-1] * 12, np.zeros(12))
    assert (found.low, found.high, found.p_value, found.noise_floor) == (-1.0, 1.0, 1.0, 1.0)
    assert found.method == "no test: one group"
    assert upper_bound_of_drop(found) == 1.0


@pytest.mark.parametrize(
    ("groups", "size", "affected", "loss"), [(5, 40, 0.05, 0.4), (20, 10, 0.2, 0.1), (200, 5, 1, 0.02)]
)
def test_guard_of_groups_lets_no_more_than_five_percent_pass_at_the_margin(
    groups: int, size: int, affected: float, loss: float
) -> None:
    random, passed, units = np.random.default_rng(6), 0, np.repeat(np.arange(groups), size)
    for _ in range(500):
        is_lost = (random.random(groups) < affected)[units] & (random.random(len(units)) < loss)
        comparison = compare_right(np.ones(len(units), bool), ~is_lost, groups=units)
        passed += upper_bound_of_drop(comparison) < affected * loss
    assert passed / 500 < 0.07


def test_a_level_in_percent_is_refused() -> None:
    labels, probabilities = np.zeros(3, dtype=np.int64), np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match=r"level is 95; expected a number between 0 and 1; give 0.95 for 95%"):
        compare_accuracy(labels, probabilities, probabilities, level=95)
