"""The corrected resampled t-test: its formula, and its size where the ordinary t-test fails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trimtab.evaluation import corrected_resampled_t


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
