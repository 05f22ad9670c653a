"""Metrics over the last axis: scikit-learn's values, replicates stacked in front, and slopes that give the variance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as oracle
from tests.evaluation.cases import law

from trimtab.evaluation.count_metrics import COUNT_METRICS, LOWEST, slope
from trimtab.evaluation.counts import ClassCounts, count_cells

ORACLES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": oracle.accuracy_score,
    "balanced_accuracy": oracle.balanced_accuracy_score,
    "precision_macro": lambda y, p: oracle.precision_score(y, p, average="macro", zero_division=np.nan),
    "recall_macro": lambda y, p: oracle.recall_score(y, p, average="macro", zero_division=np.nan),
    "f1_macro": lambda y, p: oracle.f1_score(y, p, average="macro", zero_division=np.nan),
    "precision_weighted": lambda y, p: oracle.precision_score(y, p, average="weighted", zero_division=np.nan),
    "f1_weighted": lambda y, p: oracle.f1_score(y, p, average="weighted", zero_division=np.nan),
    "matthews_corrcoef": oracle.matthews_corrcoef,
    "cohen_kappa": oracle.cohen_kappa_score,
}
squares = (
    st.integers(2, 5)
    .flatmap(lambda k: hnp.arrays(np.int64, (k, k), elements=st.integers(0, 6)))
    .filter(lambda confusion: confusion.sum() > 0)
)
full = st.integers(2, 5).flatmap(lambda k: hnp.arrays(np.int64, (k, k), elements=st.integers(1, 9)))


def rows_of(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions = np.indices(confusion.shape)
    return np.repeat(labels.ravel(), confusion.ravel()), np.repeat(predictions.ravel(), confusion.ravel())


def test_every_metric_is_compared() -> None:
    assert {*ORACLES} == {*COUNT_METRICS}


@pytest.mark.parametrize("name", COUNT_METRICS)
@law
@given(squares)
def test_values_equal_scikit_learn_where_it_defines_them(name: str, confusion: np.ndarray) -> None:
    value = float(COUNT_METRICS[name](ClassCounts.of(confusion)))
    if math.isnan(value):
        return  # when, is in test_metrics
    with warnings.catch_warnings(action="ignore"):
        assert value == pytest.approx(ORACLES[name](*rows_of(confusion)), abs=1e-12)
    assert LOWEST.get(name, 0.0) - 1e-12 <= value <= 1


@law
@given(squares)
def test_cells_are_counted_as_scikit_learn_does(confusion: np.ndarray) -> None:
    labels, predictions = rows_of(confusion)
    np.testing.assert_array_equal(count_cells(labels, predictions, num_classes=len(confusion)), confusion)
    small = count_cells(labels.astype(np.uint8), predictions.astype(np.int8), num_classes=len(confusion))
    np.testing.assert_array_equal(small, confusion)


@pytest.mark.parametrize("name", COUNT_METRICS)
@law
@given(confusion=squares, seed=st.integers(0, 5))
def test_classes_in_another_order_keep_the_value(name: str, confusion: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(confusion))
    metric = COUNT_METRICS[name]
    moved = metric(ClassCounts.of(confusion[np.ix_(order, order)]))
    np.testing.assert_allclose(moved, metric(ClassCounts.of(confusion)), atol=1e-12)


@pytest.mark.parametrize("name", COUNT_METRICS)
def test_leading_axes_are_one_matrix_each(name: str) -> None:
    confusions = np.random.default_rng(0).integers(4, size=(2, 3, 4, 4))
    values = COUNT_METRICS[name](ClassCounts.of(confusions))
    assert values.shape == (2, 3)
    for at in np.ndindex(2, 3):
        np.testing.assert_array_equal(values[at], COUNT_METRICS[name](ClassCounts.of(confusions[at])))


@pytest.mark.parametrize("name", COUNT_METRICS)
@law
@given(full)
def test_slope_is_what_the_metric_moves_by_when_a_cell_grows(name: str, confusion: np.ndarray) -> None:
    metric, shares = COUNT_METRICS[name], confusion / confusion.sum()
    found = slope(metric, ClassCounts.of(confusion))
    centered = found - (shares * found).sum()  # a slope counts up to a constant
    for cell in np.ndindex(*confusion.shape):
        towards = np.zeros_like(shares)
        towards[cell] = 1
        up, down = (metric(ClassCounts.of(shares + sign * 1e-6 * (towards - shares))) for sign in (1, -1))
        assert centered[cell] == pytest.approx(float(up - down) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("name", COUNT_METRICS)
def test_variance_of_the_slope_is_that_of_resampled_rows(name: str) -> None:
    confusion = np.array([[300, 40, 20], [30, 200, 60], [10, 50, 290]])
    metric, shares = COUNT_METRICS[name], confusion / confusion.sum()
    found = slope(metric, ClassCounts.of(confusion))
    variance = float((shares * found**2).sum() - (shares * found).sum() ** 2) / confusion.sum()
    draws = np.random.default_rng(0).multinomial(confusion.sum(), shares.ravel(), size=4000).reshape(-1, 3, 3)
    assert math.sqrt(variance) == pytest.approx(metric(ClassCounts.of(draws)).std(), rel=0.05)
