"""The metrics of a whole confusion matrix by name, and how each moves with the cells.

Each is a function of three counts per class, written over the last axis, so that replicates stack in front. The slope
of a metric at a cell is the influence of a row in that cell: rows that are resampled, summed within groups, or
compared between two models need nothing else.

Legend: ``K`` classes, ``...`` any leading axes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from trimtab.evaluation.counts import ClassCounts, FloatArray, mean_of_defined, ratio, weighted_mean_of_defined

CountMetric = Callable[[ClassCounts], FloatArray]
_STEP = 1e-5  # of a share, relative to it, to both sides


def accuracy_of(counts: ClassCounts) -> FloatArray:
    """Return the share of rows predicted right: float64 [...]."""
    return ratio(counts.hits.sum(axis=-1), counts.actual.sum(axis=-1))


def macro(name: str) -> CountMetric:
    """Return the metric that is the mean over the classes of a `ClassCounts` property."""
    return lambda counts: mean_of_defined(getattr(counts, name))


def weighted(name: str) -> CountMetric:
    """Return the metric that is the mean over the rows' classes of a `ClassCounts` property."""
    return lambda counts: weighted_mean_of_defined(getattr(counts, name), counts.actual)


def matthews_corrcoef_of(counts: ClassCounts) -> FloatArray:
    """Return Matthews' correlation: float64 [...], in [-1, 1]; NaN when either side knows only one class."""
    rows = counts.actual.sum(axis=-1)
    covariance = counts.hits.sum(axis=-1) * rows - (counts.actual * counts.predicted).sum(axis=-1)
    of_actual = rows**2 - np.square(counts.actual).sum(axis=-1)
    of_predicted = rows**2 - np.square(counts.predicted).sum(axis=-1)
    is_defined = (counts.actual.max(axis=-1) < rows) & (counts.predicted.max(axis=-1) < rows)
    spread = np.sqrt(np.where(is_defined, of_actual, 0.0)) * np.sqrt(np.where(is_defined, of_predicted, 0.0))
    return ratio(covariance, spread)


def cohen_kappa_of(counts: ClassCounts) -> FloatArray:
    """Return Cohen's kappa: float64 [...], at most 1; NaN when both sides know only the same one class."""
    rows = counts.actual.sum(axis=-1)
    by_chance = counts.actual * counts.predicted
    wrong = (rows - counts.hits.sum(axis=-1)) * rows
    wrong_by_chance = np.where(by_chance.max(axis=-1) < rows**2, rows**2 - by_chance.sum(axis=-1), 0.0)
    return 1 - ratio(wrong, wrong_by_chance)


COUNT_METRICS: dict[str, CountMetric] = {
    "accuracy": accuracy_of,
    "balanced_accuracy": macro("recall"),
    "precision_macro": macro("precision"),
    "recall_macro": macro("recall"),
    "f1_macro": macro("f1"),
    "precision_weighted": weighted("precision"),
    "f1_weighted": weighted("f1"),
    "matthews_corrcoef": matthews_corrcoef_of,
    "cohen_kappa": cohen_kappa_of,
}
LOWEST = {"matthews_corrcoef": -1.0, "cohen_kappa": -1.0}  # of the others 0


def slope(metric: CountMetric, counts: ClassCounts) -> FloatArray:
    """Return how a metric moves with the share of rows in each cell: float64 [K, K].

    The variance of the metric is the variance over the rows of the slope at their cell, divided by their number (the
    delta method). By central differences, which for these quotients are right to eight digits.

    Parameters
    ----------
    metric
        One of `COUNT_METRICS`.
    counts
        Of one confusion matrix, float64 [K] each; classes without a row or a prediction have no slope.
    """
    rows = counts.actual.sum()
    shares = ClassCounts(hits=counts.hits / rows, actual=counts.actual / rows, predicted=counts.predicted / rows)
    of_hits, of_actual, of_predicted = (_partial(metric, shares, side) for side in ("hits", "actual", "predicted"))
    slopes: FloatArray = of_actual[:, None] + of_predicted
    slopes[np.diag_indices(len(slopes))] += of_hits
    return slopes


def _partial(metric: CountMetric, shares: ClassCounts, side: str) -> FloatArray:
    """Return the derivative by each class's share of one kind: float64 [K]."""
    values = getattr(shares, side)
    steps = _STEP * values
    up, down = (metric(replace(shares, **{side: values + sign * np.diag(steps)})) for sign in (1, -1))
    return np.nan_to_num(ratio(up - down, 2 * steps))
