"""Smooth calibration error against a slow double loop and closed cases, its exact merging, and its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.evaluation.calibration import (
    BINS,
    Reliability,
    reliability_curve,
    smooth_ece,
    smooth_ece_interval,
)


def draw(rows: int, *, seed: int, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    confidence = random.beta(2, 1.5, size=rows)
    return confidence, random.random(rows) < confidence**power


def error_at(width: float, confidence: np.ndarray, is_right: np.ndarray, points: int = 400) -> float:
    """The definition, one point and one row at a time."""
    total = 0.0
    for point in (np.arange(points) + 0.5) / points:
        smoothed = 0.0
        for place, right in zip(confidence.tolist(), is_right.tolist(), strict=True):
            images = [2 * turn + sign * place for turn in range(-3, 4) for sign in (1, -1)]
            kernel = sum(math.exp(-(((point - image) / width) ** 2) / 2) for image in images)
            smoothed += (right - place) * kernel / (width * math.sqrt(2 * math.pi))
        total += abs(smoothed / len(confidence)) / points
    return total


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_value_is_the_width_at_which_the_double_loop_gives_the_width(power: float) -> None:
    confidence, is_right = draw(60, seed=1, power=power)
    value = smooth_ece(Reliability.of(confidence, is_right))
    assert error_at(value, confidence, is_right) == pytest.approx(value, rel=2e-3)  # confidences moved within a bin


@given(st.floats(0, 1), st.integers(0, 20), st.integers(1, 20))
def test_one_confidence_for_all_rows_errs_by_its_distance_to_the_share(place: float, hits: int, misses: int) -> None:
    rows = hits + misses
    value = smooth_ece(Reliability.of(np.full(rows, place), np.arange(rows) < hits))
    distance = abs(hits / rows - place)
    of_a_bin = 0.01 if distance < 2 / BINS else 0.0  # a kernel hardly wider than a bin is known to a percent
    assert value == pytest.approx(distance, rel=of_a_bin, abs=1e-8)


def test_always_wrong_and_always_sure_errs_by_one_and_never_wrong_by_nothing() -> None:
    assert smooth_ece(Reliability.of(np.ones(5), np.zeros(5, bool))) == pytest.approx(1)
    assert smooth_ece(Reliability.of(np.ones(5), np.ones(5, bool))) == 0
    assert smooth_ece(Reliability.of(np.array([0.0, 1.0]), np.array([False, True]))) == 0


def test_equal_shifts_to_both_sides_far_apart_do_not_cancel() -> None:
    confidence = np.repeat([0.1, 0.9], 1000)
    is_right = np.concatenate([np.arange(1000) < 150, np.arange(1000) < 850])
    assert smooth_ece(Reliability.of(confidence, is_right)) == pytest.approx(0.05, abs=1e-6)


@given(st.integers(0, 2**32), st.integers(0, 500), st.sampled_from([np.float32, np.float64]))
def test_shards_merge_exactly_and_in_any_order(seed: int, cut: int, dtype: type) -> None:
    confidence, is_right = draw(500, seed=seed)
    confidence = confidence.astype(dtype)
    order = np.random.default_rng(seed).permutation(500)
    whole = Reliability.of(confidence, is_right)
    first, second = (
        Reliability.of(confidence[order][part], is_right[order][part]) for part in (slice(cut), slice(cut, None))
    )
    for merged in (first + second, second + first):
        for name in ("counts", "hits", "confidence_sums"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    assert whole.confidence_sums.sum() == sum(round(float(c) * 2**32) for c in confidence)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    confidence, is_right = draw(1000, seed=2)
    whole = Reliability.of(confidence, is_right)
    monkeypatch.setattr("trimtab.evaluation.calibration._CHUNK", 77)
    np.testing.assert_array_equal(Reliability.of(confidence, is_right).confidence_sums, whole.confidence_sums)


def test_bins_are_uniform_and_the_last_one_holds_certainty() -> None:
    reliability = Reliability.of(np.array([0.0, 0.5, 1.0]), np.array([True, False, True]))
    assert np.flatnonzero(reliability.counts).tolist() == [0, BINS // 2, BINS - 1]
    assert np.flatnonzero(reliability.hits).tolist() == [0, BINS - 1]
    assert reliability.mean_confidences[BINS // 2] == 0.5
    assert reliability.rows == 3


def test_coarser_bins_hold_the_same_rows_and_nearly_the_same_error() -> None:
    reliability = Reliability.of(*draw(2000, seed=3, power=2))
    coarse = reliability.coarsened(128)
    assert coarse.rows == 2000
    assert coarse.hits.sum() == reliability.hits.sum()
    assert smooth_ece(coarse) == pytest.approx(smooth_ece(reliability), rel=0.01)


def test_without_rows_it_is_undefined() -> None:
    nothing = Reliability.of(np.array([]), np.array([], bool))
    assert math.isnan(smooth_ece(nothing))
    assert smooth_ece_interval(nothing, level=0.95, seed=0).method == "undefined: there are no rows"


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([0.8, 0.95, 0.992]), st.floats(0.2, 5))
def test_interval_holds_the_value_stays_inside_and_has_a_width(
    seed: int, rows: int, level: float, power: float
) -> None:
    reliability = Reliability.of(*draw(rows, seed=seed, power=power))
    estimate = smooth_ece_interval(reliability, level=level, seed=0)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high - estimate.low > 1e-4
    assert estimate.level == level


def test_same_seed_gives_the_same_interval() -> None:
    reliability = Reliability.of(*draw(300, seed=5))
    assert smooth_ece_interval(reliability, level=0.95, seed=1) == smooth_ece_interval(reliability, level=0.95, seed=1)


def test_without_an_error_the_interval_reaches_to_the_exact_bound() -> None:
    sure = Reliability.of(np.full(300, 0.999), np.ones(300, bool))
    estimate = smooth_ece_interval(sure, level=0.95, seed=0)
    assert estimate.low == 0
    assert estimate.high >= 0.999 - 0.05 ** (1 / 300)


def test_large_miscalibration_on_many_rows_is_known_closely() -> None:
    confidence, is_right = draw(200_000, seed=6, power=2)
    truth = smooth_ece(Reliability.of(confidence, np.zeros(len(confidence), bool)))  # all of the confidence is too much
    assert truth == pytest.approx(confidence.mean(), rel=1e-3)
    estimate = smooth_ece_interval(Reliability.of(confidence, is_right), level=0.95, seed=0)
    excess = float((confidence - confidence**2).mean())  # of one sign everywhere, so no kernel changes its integral
    assert estimate.low < excess < estimate.high
    assert estimate.high - estimate.low < 0.01


@pytest.mark.parametrize(
    "power", [1.0, pytest.param(1.3, marks=pytest.mark.slow), pytest.param(2.0, marks=pytest.mark.slow)]
)
def test_interval_holds_the_true_error_as_often_as_it_says(power: float) -> None:
    confidence = np.random.default_rng(8).beta(2, 1.5, size=1_000_000)
    truth = float((confidence - confidence**power).mean())
    repeats = 30 if power == 1 else 120
    estimates = [
        smooth_ece_interval(Reliability.of(*draw(300, seed=seed, power=power)), level=0.95, seed=seed)
        for seed in range(repeats)
    ]
    hits = sum(estimate.low <= truth <= estimate.high for estimate in estimates)
    assert hits / repeats == pytest.approx(0.95, abs=0.09 if power == 1 else 0.05)


def test_curve_of_a_calibrated_model_stays_near_the_diagonal() -> None:
    curve = reliability_curve(Reliability.of(*draw(50_000, seed=9)), level=0.95)
    held = (curve.low <= curve.confidence) & (curve.confidence <= curve.high)
    inner = (curve.confidence > 2 * curve.width) & (curve.confidence < 1 - 2 * curve.width)
    assert held[inner].mean() > 0.8
    assert np.all(np.diff(curve.confidence) > 0)
    assert np.trapezoid(curve.density, curve.confidence) == pytest.approx(1, abs=0.01)


def test_curve_equals_a_weighted_mean_and_is_blank_where_no_row_is_near() -> None:
    confidence = np.array([0.2] * 40 + [0.8] * 60)
    is_right = np.array([True, False] * 20 + [True] * 45 + [False] * 15)
    curve = reliability_curve(Reliability.of(confidence, is_right), level=0.95)
    place = int(np.argmin(np.abs(curve.confidence - 0.8)))
    assert curve.accuracy[place] == pytest.approx(0.75, abs=0.01)
    assert curve.low[place] < 0.75 < curve.high[place]
    middle = int(np.argmin(np.abs(curve.confidence - 0.5)))
    assert math.isnan(curve.accuracy[middle]) == math.isnan(curve.low[middle])


def test_curve_is_blank_between_two_far_clusters() -> None:
    random = np.random.default_rng(10)
    confidence = np.repeat([0.05, 0.95], 5000)
    curve = reliability_curve(Reliability.of(confidence, random.random(10_000) < confidence), level=0.95)
    middle = np.abs(curve.confidence - 0.5) < 0.2
    assert np.isnan(curve.accuracy[middle]).all()
    assert np.isnan(curve.low[middle]).all()
    assert curve.accuracy[np.argmin(np.abs(curve.confidence - 0.95))] == pytest.approx(0.95, abs=0.02)
