"""Areas and mean losses of rows with several labels each, with intervals: from the influence of each row.

The influences of a row for different labels carry the covariance of the labels, so their mean is the influence on the
macro average. Rows of a group are added up first.

Legend: ``N`` rows, ``L`` labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from trimtab.evaluation.area_interval import area_interval, roc_auc_interval
from trimtab.evaluation.counts import FloatArray, IntArray, mean_of_defined
from trimtab.evaluation.exact import Moments
from trimtab.evaluation.intervals import Estimate, undefined, wilson
from trimtab.evaluation.mean_interval import mean_interval
from trimtab.evaluation.multilabel_statistics import MultilabelRows, MultilabelStatistics, row_losses, row_squares
from trimtab.evaluation.ranking import Ranks, error_and_lean, standard_error, sum_by_group
from trimtab.evaluation.wording import UNDEFINED_IN_CLASS, why_undefined, with_note

AREAS = ("roc_auc", "average_precision")
_NOT_KEPT = "there are too many scores to keep them in order"


@dataclass(frozen=True, kw_only=True)
class _Area:
    """One area with its error and lean, and how many units (rows or groups) have the label, and do not."""

    value: float
    error: float
    lean: float
    positives: int
    negatives: int


def area_estimates(
    statistics: MultilabelStatistics, groups: IntArray | None, *, level: float
) -> tuple[dict[str, Estimate], dict[str, list[Estimate]]]:
    """Return the macro averages of both areas by name, and the areas of each label: name -> L estimates.

    Parameters
    ----------
    statistics
        With losses.
    groups
        int64 [N] of the kept rows, from 0 up; ``None`` when rows are independent.
    level
        Of the intervals, in (0, 1).
    """
    rows = statistics.rows
    if rows is None:
        none = undefined(_NOT_KEPT, level=level)
        return {f"{name}_macro": none for name in AREAS}, {name: [none] * statistics.num_labels for name in AREAS}
    areas, totals = _areas(rows, groups)
    per_label = {name: [_of_label(name, a, groups, level=level) for a in areas[name]] for name in AREAS}
    metrics = {}
    for name in AREAS:
        values = np.array([area.value for area in areas[name]])
        macro = _macro(name, values, per_label[name], totals[name], groups, level=level)
        metrics[f"{name}_macro"] = with_note(macro, values, statistics.class_names)
    return metrics, per_label


def _areas(rows: MultilabelRows, groups: IntArray | None) -> tuple[dict[str, list[_Area]], dict[str, FloatArray]]:
    """Return the areas of each label, and the influences of each row, summed over the labels: float64 [N]."""
    assert rows.probabilities is not None  # noqa: S101 - there are losses
    areas: dict[str, list[_Area]] = {name: [] for name in AREAS}
    totals = {name: np.zeros(len(rows.labels)) for name in AREAS}
    for is_label, scores in zip(rows.labels.T, rows.probabilities.T, strict=True):
        ranks = Ranks.of(is_label, scores)
        sides = [int(side.sum()) if groups is None else len(np.unique(groups[side])) for side in (is_label, ~is_label)]
        for name, (value, influence) in zip(AREAS, (ranks.roc_auc(), ranks.average_precision()), strict=True):
            error, lean = error_and_lean(influence, groups)
            totals[name] += influence
            areas[name].append(_Area(value=value, error=error, lean=lean, positives=sides[0], negatives=sides[1]))
    return areas, totals


def _of_label(name: str, area: _Area, groups: IntArray | None, *, level: float) -> Estimate:
    if math.isnan(area.value):
        return undefined(UNDEFINED_IN_CLASS[name].replace("class", "label"), level=level)
    if name == "roc_auc" and groups is None:
        return roc_auc_interval(
            area.value,
            error=area.error,
            lean=area.lean,
            positives=area.positives,
            negatives=area.negatives,
            level=level,
        )
    units = min(area.positives, area.negatives) if name == "roc_auc" else area.positives
    if 0 < area.value < 1 and area.error > 0 and units > 1:
        return area_interval(
            area.value, error=area.error, lean=area.lean, level=level, method=_method(groups), units=units
        )
    estimate = wilson(area.value, max(units, 1), level=level)
    return replace(estimate, method=f"{estimate.method} over {'the positives' if groups is None else 'groups'}")


def _macro(
    name: str,
    values: FloatArray,
    of_labels: list[Estimate],
    influence: FloatArray,
    groups: IntArray | None,
    *,
    level: float,
) -> Estimate:
    value, count = float(mean_of_defined(values)), int(np.count_nonzero(~np.isnan(values)))
    if not count:
        return undefined(why_undefined(name).replace("class", "label"), level=level)
    error, lean = error_and_lean(influence, groups)
    units = None if groups is None else int(groups.max()) + 1
    if 0 < value < 1 and error > 0 and units != 1:
        return area_interval(value, error=error / count, lean=lean, level=level, method=_method(groups), units=units)
    ends = [(e.low, e.high) for e in of_labels if e.low is not None and e.high is not None]
    low, high = (float(end) for end in np.mean(ends, axis=0))
    return Estimate(value=value, low=low, high=high, method="mean of the labels' intervals", level=level)


def _method(groups: IntArray | None) -> str:
    return "influence of rows" if groups is None else "summed within groups"


def loss_estimates(statistics: MultilabelStatistics, groups: IntArray | None, *, level: float) -> dict[str, Estimate]:
    """Return ``log_loss`` (nats) and ``brier_score``, means over rows and labels; parameters as `area_estimates`."""
    found = {}
    for name, moments, of_rows, highest in (
        ("log_loss", statistics.losses, row_losses, math.inf),
        ("brier_score", statistics.squares, row_squares, 1.0),
    ):
        assert moments is not None  # noqa: S101 - there are scores
        rows = statistics.rows
        if groups is None or rows is None or rows.probabilities is None:
            found[name] = _mean(moments, level=level, highest=highest)
        else:
            losses = of_rows(rows.labels, rows.probabilities)
            found[name] = _grouped_mean(losses, moments.mean, groups, level=level, highest=highest)
    return found


def _mean(moments: Moments, *, level: float, highest: float) -> Estimate:
    return mean_interval(
        moments.mean,
        variance=moments.variance,
        skewness=moments.skewness,
        rows=moments.count,
        level=level,
        highest=highest,
    )


def _grouped_mean(losses: FloatArray, mean: float, groups: IntArray, *, level: float, highest: float) -> Estimate:
    totals = sum_by_group(groups, losses - mean)
    deviation = float(totals.std()) if len(totals) > 1 else 0.0
    return mean_interval(
        mean,
        variance=standard_error((losses - mean) / len(losses), groups) ** 2 * len(losses),
        skewness=float(np.mean((totals / deviation) ** 3)) if deviation > 0 else 0.0,
        rows=len(losses),
        level=level,
        units=len(totals),
        highest=highest,
    )
