"""The corrected resampled t-test and interval: their formula, and its size where the ordinary t-test fails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trimtab.evaluation import corrected_interval, corrected_resampled_t


def test_it_is_the_formula_of_nadeau_and_bengio() -> None:
    differences = np.array([0.01, 0.03, -0.01, 0.02, 0.015, 0.02, 0.0, 0.01, 0.03, 0.005])
    found = corrected_resampled_t(differences, train_rows=90, test_rows=10)
    error = np.sqrt((1 / 10 + 10 / 90) * differences.var(ddof=1))
    reach = stats.t.ppf(0.975, 9) * error
    assert found.difference == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((found.difference - reach, found.difference + reach), rel=1e-4)
    assert found.p_value == pytest.approx(2 * stats.t.sf(found.difference / error, 9))
    assert found.noise_floor == pytest.approx(reach, rel=1e-4)
    assert corrected_resampled_t(differences.reshape(2, 5), train_rows=90, test_rows=10) == found


def test_equal_folds_are_certain_and_no_difference_is_none() -> None:
    assert corrected_resampled_t([0.5, 0.5], train_rows=2, test_rows=1).p_value == 0.0
    assert corrected_resampled_t([0.0, 0.0], train_rows=2, test_rows=1).p_value == 1.0


def test_repeated_folds_of_the_same_rows_do_not_pretend_to_be_new_evidence() -> None:
    """Two equally good predictors of noise, cross-validated ten times ten-fold on the same 100 rows."""
    corrected = ordinary = 0
    for repeat in range(150):
        random = np.random.default_rng(repeat)
        rows, target = random.normal(size=(100, 2)), random.normal(size=100)
        differences = []
        for _ in range(10):
            for fold in np.array_split(random.permutation(100), 10):
                train = np.setdiff1d(np.arange(100), fold)
                slopes = (rows[train] * target[train, None]).sum(0) / (rows[train] ** 2).sum(0)
                errors = np.square(target[fold, None] - rows[fold] * slopes).mean(0)
                differences.append(errors[0] - errors[1])
        corrected += corrected_resampled_t(differences, train_rows=90, test_rows=10).p_value < 0.05
        ordinary += stats.ttest_1samp(differences, 0).pvalue < 0.05
    assert corrected / 150 < 0.1
    assert ordinary / 150 > 0.2


def test_too_few_differences_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 1 finite differences of 2; expected two or more, all finite"):
        corrected_resampled_t([0.1, np.nan], train_rows=9, test_rows=1)
    with pytest.raises(ValueError, match="train_rows is 0 and test_rows 1; expected both above 0"):
        corrected_resampled_t([0.1, 0.2], train_rows=0, test_rows=1)


def test_the_interval_of_one_figure_is_the_same_formula() -> None:
    values = np.array([0.9, 0.92, 0.95, 0.88, 0.91])
    found = corrected_interval(values, train_rows=80, test_rows=20, bounds=(0, 1))
    reach = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + 20 / 80) * values.var(ddof=1))
    assert (found.value, found.low, found.high) == pytest.approx((0.912, 0.912 - reach, 0.912 + reach), rel=1e-4)
    assert (found.method, found.level) == ("corrected resampled t (Nadeau, Bengio)", 0.95)
    assert corrected_interval(values.reshape(1, 5), train_rows=80, test_rows=20, bounds=(0, 1)) == found


def test_the_interval_ends_where_the_figure_must() -> None:
    found = corrected_interval([0.99, 1.0, 0.9, 1.0], train_rows=30, test_rows=10, bounds=(0, 1))
    assert found.high == 1.0
    assert found.low is not None
    assert found.low < 0.95


def test_folds_without_any_spread_give_no_interval() -> None:
    found = corrected_interval([0.1, 0.1, 0.1], train_rows=30, test_rows=10)
    assert (found.value, found.low, found.high) == (pytest.approx(0.1), None, None)
    assert found.method == "all folds are equal, which gives no interval"


def test_the_interval_of_cross_validation_holds_the_truth_about_as_often_as_it_says() -> None:
    """Accuracy of a threshold on one noisy feature, five folds of 100 rows; the truth is from very many rows."""
    held = 0
    for repeat in range(200):
        random = np.random.default_rng(repeat)
        labels = random.integers(0, 2, 100)
        feature = labels + random.normal(size=100)
        accuracies = []
        for fold in np.array_split(random.permutation(100), 5):
            train = np.setdiff1d(np.arange(100), fold)
            threshold = (feature[train][labels[train] == 1].mean() + feature[train][labels[train] == 0].mean()) / 2
            accuracies.append(((feature[fold] > threshold) == labels[fold]).mean())
        found = corrected_interval(accuracies, train_rows=80, test_rows=20)
        held += found.low is not None and found.high is not None and found.low <= stats.norm.cdf(0.5) <= found.high
    assert held / 200 >= 0.93
