"""Thinned curves are exact where they are kept, and their bands hold the true curve."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from trimtab.evaluation.plots.curves import class_curves, precision_band, roc_band, score_curve
from trimtab.evaluation.statistics import Statistics

NORMAL = NormalDist()


def normal_scores(rows: int, positives: int, *, distance: float, seed: int) -> tuple[NDArray, NDArray]:
    is_positive = np.arange(rows) < positives
    return is_positive, np.random.default_rng(seed).normal(size=rows) + distance * is_positive


@pytest.mark.parametrize("decimals", [1, 12])
def test_a_short_curve_holds_every_threshold_of_scikit_learn(decimals: int) -> None:
    is_positive, scores = normal_scores(300, 100, distance=1, seed=0)
    scores = scores.round(decimals)
    curve = score_curve(is_positive, scores)
    false, true, _ = roc_curve(is_positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.taken_share, false)
    np.testing.assert_allclose(curve.found_share, true)
    precision, recall, _ = precision_recall_curve(is_positive, scores)
    np.testing.assert_allclose(curve.precision[1:], precision[:-1][::-1])
    np.testing.assert_allclose(curve.found_share[1:], recall[:-1][::-1])


def test_a_long_curve_is_thinned_to_exact_points_of_the_whole() -> None:
    is_positive, scores = normal_scores(100_000, 20_000, distance=1, seed=1)
    curve = score_curve(is_positive, scores)
    false, true, _ = roc_curve(is_positive, scores, drop_intermediate=False)
    whole = set(zip(np.round(false * 80_000).tolist(), np.round(true * 20_000).tolist(), strict=True))
    assert set(zip(curve.taken.tolist(), curve.found.tolist(), strict=True)) <= whole
    assert (curve.found[0], curve.taken[0], curve.found[-1], curve.taken[-1]) == (0, 0, 20_000, 80_000)
    assert 200 < len(curve.found) < 900
    area = np.trapezoid(curve.found_share, curve.taken_share)
    assert area == pytest.approx(roc_auc_score(is_positive, scores), abs=1e-4)


def test_the_corner_of_perfect_separation_is_not_cut() -> None:
    is_positive = np.arange(100_000) < 30_000
    curve = score_curve(is_positive, np.linspace(1, 0, 100_000))
    assert 30_000 in curve.found[curve.taken == 0]


def test_blocks_of_equal_scores_are_one_step() -> None:
    is_positive = np.arange(100_000) % 3 == 0
    curve = score_curve(is_positive, np.zeros(100_000))
    assert curve.found.tolist() == [0, 33_334]
    assert curve.taken.tolist() == [0, 66_666]


@pytest.mark.parametrize("classes", [2, 5])
def test_curves_of_a_histogram_are_close_to_those_of_the_rows(draw: Callable, classes: int) -> None:
    labels, probabilities = draw(3000, classes)
    names = tuple(f"class {k}" for k in range(classes))
    exact, binned = (
        class_curves(Statistics.of(labels, probabilities, class_names=names, most_scores=most)) for most in (10**9, 10)
    )
    assert list(exact) == list(binned) == ([1] if classes == 2 else list(range(classes)))
    for k, curve in exact.items():
        areas = [np.trapezoid(each.found_share, each.taken_share) for each in (curve, binned[k])]
        assert areas[0] == pytest.approx(areas[1], abs=1e-3)
        assert binned[k].found[-1] == (labels == k).sum()


def test_classes_without_a_row_have_no_curve(draw: Callable) -> None:
    labels, probabilities = draw(100, 3)
    statistics = Statistics.of(np.minimum(labels, 1), probabilities, class_names=("a", "b", "c"))
    assert list(class_curves(statistics)) == [0, 1]


@pytest.mark.parametrize("make", [roc_band, precision_band])
@pytest.mark.parametrize(("rows", "distance"), [(400, 1.5), (400, 20), (100_000, 1.5), (100_000, 6), (100_000, 20)])
def test_a_band_holds_the_curve_and_stays_within_bounds(make: Callable, rows: int, distance: float) -> None:
    is_positive, scores = normal_scores(rows, rows // 5, distance=distance, seed=2)
    curve = score_curve(is_positive, scores)
    band = make(curve)
    assert (band.low >= 0).all()
    assert (band.high <= 1 + 1e-12).all()
    assert (np.diff(band.at) >= 0).all()
    if make is roc_band:
        middle = [curve.found_share[curve.taken_share <= x].max() for x in band.at]
    else:
        middle = [curve.precision[1:][curve.found_share[1:] >= x][0] for x in band.at]
    assert (band.low <= np.array(middle) + 1e-12).all()
    assert (band.high >= np.array(middle) - 1e-12).all()


def test_a_band_keeps_its_width_at_perfect_separation_and_shrinks_with_rows() -> None:
    widths = []
    for rows in (60, 6000):
        is_positive = np.arange(rows) % 2 == 0
        band = roc_band(score_curve(is_positive, is_positive + np.linspace(0, 0.1, rows)))
        widths.append((band.high - band.low)[len(band.at) // 2])
    assert 0.05 < widths[0] < 0.2
    assert 0 < widths[1] < 0.002


def test_a_band_is_the_same_each_time() -> None:
    curve = score_curve(*normal_scores(500, 100, distance=1, seed=3))
    np.testing.assert_array_equal(roc_band(curve).low, roc_band(curve).low)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "share", "distance"), [(200, 0.5, 1.2), (2000, 0.1, 2.5)])
def test_bands_hold_the_true_curve_in_at_least_ninety_three_of_a_hundred_samples(
    rows: int, share: float, distance: float
) -> None:
    roc, precision = [], []
    for seed in range(200):
        curve = score_curve(*normal_scores(rows, int(rows * share), distance=distance, seed=seed))
        for band, held, at, true in (
            (roc_band(curve), roc, 0.3, 1 - NORMAL.cdf(NORMAL.inv_cdf(0.7) - distance)),
            (precision_band(curve), precision, 0.6, true_precision(0.6, share, distance)),
        ):
            low, high = (np.interp(at, band.at, side) for side in (band.low, band.high))
            held.append(low <= true <= high)
    assert np.mean(roc) >= 0.93
    assert np.mean(precision) >= 0.93


def true_precision(recall: float, share: float, distance: float) -> float:
    false = 1 - NORMAL.cdf(distance - NORMAL.inv_cdf(recall))
    return share * recall / (share * recall + (1 - share) * false)
