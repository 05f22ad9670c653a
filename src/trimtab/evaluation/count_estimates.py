"""Intervals of the metrics of a confusion matrix when rows are independent of each other.

Proportions get Wilson's interval, everything else the draws of `trimtab.evaluation.resampling`, made once for all
metrics. Where nothing went wrong, or nothing right, an exact bound takes the place of a width of zero.

Legend: ``K`` classes.
"""

from __future__ import annotations

import math

import numpy as np

from trimtab.evaluation.count_metrics import COUNT_METRICS, LOWEST
from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray
from trimtab.evaluation.intervals import Estimate, undefined, wilson, wilson_f1, zero_error_bound_of_mean
from trimtab.evaluation.resampling import CellDraws, without_empty_classes
from trimtab.evaluation.statistics import Statistics
from trimtab.evaluation.wording import UNDEFINED_IN_CLASS, why_undefined, with_note

CLASS_METRICS = ("precision", "recall", "f1")
_ROUNDING = 1e-12  # a value so close to its end is at it
_AVERAGED = {"balanced_accuracy": "recall", "precision_macro": "precision", "recall_macro": "recall", "f1_macro": "f1"}


def count_estimates(statistics: Statistics, *, level: float, seed: int) -> dict[str, Estimate]:
    """Return the metrics of the whole confusion matrix, `COUNT_METRICS` by name."""
    counts = statistics.counts
    present = without_empty_classes(statistics.confusion)
    draws = CellDraws.of(present, seed=seed)
    estimates = {"accuracy": wilson(float(COUNT_METRICS["accuracy"](counts)), statistics.num_rows, level=level)}
    for name in COUNT_METRICS:
        if name != "accuracy":
            estimate = _estimate(name, present, draws, level=level)
            values = getattr(counts, _AVERAGED[name]) if name in _AVERAGED else None
            estimates[name] = with_note(estimate, values, statistics.class_names)
    return estimates


def class_estimates(counts: ClassCounts, *, level: float) -> dict[str, list[Estimate]]:
    """Return precision, recall and F1 of each class: name -> K estimates."""
    trials = {"precision": counts.predicted, "recall": counts.actual, "f1": counts.union}
    return {
        name: [
            _of_class(name, float(value), float(rows), level=level)
            for value, rows in zip(getattr(counts, name), trials[name], strict=True)
        ]
        for name in CLASS_METRICS
    }


def _of_class(name: str, value: float, rows: float, *, level: float) -> Estimate:
    if math.isnan(value):
        return undefined(UNDEFINED_IN_CLASS[name], level=level)
    return (wilson_f1 if name == "f1" else wilson)(value, rows, level=level)


def _estimate(name: str, confusion: IntArray, draws: CellDraws, *, level: float) -> Estimate:
    metric, counts, lowest = COUNT_METRICS[name], ClassCounts.of(confusion), LOWEST.get(name, 0.0)
    value = float(np.clip(metric(counts), lowest, 1.0))  # rounding may leave the range by a bit
    if math.isnan(value):
        return undefined(why_undefined(name), level=level)
    if not draws.are_posterior and min(1 - value, value - lowest) < _ROUNDING:
        return _at_an_edge(name, 1.0 if value > 0.5 else lowest, confusion, level=level)
    return draws.interval(value, metric, lowest=lowest, level=level)


def _at_an_edge(name: str, value: float, confusion: IntArray, *, level: float) -> Estimate:
    """Return the exact bound when all rows, or none, are right: no estimated spread can say anything there."""
    counts, rows = ClassCounts.of(confusion), float(confusion.sum())
    share = (1 - level) ** (1 / rows)  # of right answers, at least, when all were right
    if name in _AVERAGED:
        trials: FloatArray = {"precision": counts.predicted, "recall": counts.actual, "f1": counts.union}[
            _AVERAGED[name]
        ]
        share = zero_error_bound_of_mean(trials[trials > 0], level=level)
    if value < 1:
        low, high = value, 1 - share
    elif name in LOWEST:  # the share of errors over that by chance, at the class sizes seen
        by_chance = 1 - float(np.square(counts.actual / rows).sum())
        low, high = max(LOWEST[name], 1 - (1 - share) / by_chance), 1.0
    else:
        low, high = share, 1.0
    return Estimate(value=value, low=low, high=max(high, value), method="exact one-sided bound", level=level)
