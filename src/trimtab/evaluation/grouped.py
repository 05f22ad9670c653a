"""Intervals of all metrics when only groups of rows are independent: patients, days, authors.

Whole groups are resampled for what follows from counts; for areas and losses, what rows contribute is added up within
groups first. Intervals are as wide as the number of groups allows, however many rows they have.

Legend: ``N`` rows, ``K`` classes, ``G`` groups, ``R`` replicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.class_areas import ClassAreas, class_areas
from trimtab.evaluation.count_estimates import CLASS_METRICS
from trimtab.evaluation.count_metrics import COUNT_METRICS, LOWEST
from trimtab.evaluation.counts import FloatArray, IntArray
from trimtab.evaluation.group_resampling import group_replicates
from trimtab.evaluation.intervals import Estimate, logit_interval, undefined, wilson
from trimtab.evaluation.mean_interval import mean_interval
from trimtab.evaluation.ranking import standard_error, sum_by_group
from trimtab.evaluation.resampling import spread
from trimtab.evaluation.score_estimates import AREAS, top_k, top_name, top_share
from trimtab.evaluation.score_metrics import row_losses, row_ranks, row_squares
from trimtab.evaluation.statistics import Rows, ScoreStatistics, Statistics
from trimtab.evaluation.wording import UNDEFINED_IN_CLASS, why_undefined, with_note

_RESAMPLED = "resampled groups"
_SUMMED = "summed within groups"


def grouped_counts(
    statistics: Statistics, rows: Rows, groups: IntArray, *, level: float, seed: int
) -> tuple[dict[str, Estimate], dict[str, list[Estimate]]]:
    """Return the metrics of counts by name, and those of each class: name -> K estimates.

    Parameters
    ----------
    statistics
        Of the rows.
    rows
        That were kept.
    groups
        int64 [N], from 0 up to G - 1, each of them present.
    level
        Of the intervals.
    seed
        Of the resampling.
    """
    counts, num_groups = statistics.counts, int(groups.max()) + 1
    drawn = group_replicates(groups, rows.labels, rows.predictions, num_classes=statistics.num_classes, seed=seed)
    present = _groups_with(rows, groups, statistics.num_classes)
    metrics = {}
    for name, metric in COUNT_METRICS.items():
        value, why = float(metric(counts)), why_undefined(name)
        estimate = _of_groups(
            value, spread(metric(drawn)), num_groups, _RESAMPLED, why, level=level, lowest=LOWEST.get(name, 0.0)
        )
        of_classes = getattr(counts, name.removesuffix("_macro"), None) if name.endswith("_macro") else None
        metrics[name] = with_note(estimate, of_classes, statistics.class_names)
    per_class = {
        name: [
            _of_groups(
                float(getattr(counts, name)[k]),
                spread(getattr(drawn, name)[:, k]),
                present[name][k],
                _RESAMPLED,
                UNDEFINED_IN_CLASS[name],
                level=level,
            )
            for k in range(statistics.num_classes)
        ]
        for name in CLASS_METRICS
    }
    return metrics, per_class


def grouped_scores(
    statistics: Statistics, scores: ScoreStatistics, rows: Rows, groups: IntArray, *, level: float
) -> tuple[dict[str, Estimate], dict[str, list[Estimate]]]:
    """Return the metrics of scores by name, and the areas of each class; parameters as for `grouped_counts`."""
    assert rows.probabilities is not None  # noqa: S101 - there are scores
    found, num_groups = class_areas(statistics, groups), int(groups.max()) + 1
    present = _groups_with(rows, groups, statistics.num_classes)["roc_auc"]
    per_class = {name: _areas(name, found[name], present, level=level) for name in AREAS}
    metrics = {}
    for name in AREAS:
        macro = _of_groups(
            found[name].macro, found[name].macro_error, num_groups, _SUMMED, why_undefined(name), level=level
        )
        is_binary = statistics.num_classes == 2 and name == "roc_auc"
        metrics[f"{name}_macro"] = (
            per_class[name][1] if is_binary else with_note(macro, found[name].values, statistics.class_names)
        )
    k = top_k(statistics.num_classes)
    if k:
        hits = (row_ranks(rows.labels, rows.probabilities) < k).astype(np.float64)
        share = top_share(scores)
        error = standard_error((hits - share) / len(hits), groups)
        metrics[top_name(statistics.num_classes)] = _of_groups(share, error, num_groups, _SUMMED, "", level=level)
    metrics["log_loss"] = _mean(row_losses(rows.labels, rows.probabilities), scores.losses.mean, groups, level=level)
    highest = 2.0 if statistics.num_classes > 2 else 1.0
    squares = row_squares(rows.labels, rows.probabilities)
    metrics["brier_score"] = _mean(squares, scores.squares.mean, groups, level=level, highest=highest)
    return metrics, per_class


def _areas(name: str, found: ClassAreas, present: FloatArray, *, level: float) -> list[Estimate]:
    return [
        _of_groups(float(value), float(error), units, _SUMMED, UNDEFINED_IN_CLASS[name], level=level)
        for value, error, units in zip(found.values, found.errors, present, strict=True)
    ]


def _mean(losses: FloatArray, mean: float, groups: IntArray, *, level: float, highest: float = math.inf) -> Estimate:
    """Return the interval of a mean loss from the totals of the groups."""
    totals = sum_by_group(groups, losses - mean)
    num_groups = len(totals)
    error = standard_error((losses - mean) / len(losses), groups)
    deviation = float(totals.std()) if num_groups > 1 else 0.0
    skewness = float(np.mean((totals / deviation) ** 3)) if deviation > 0 else 0.0
    return mean_interval(
        mean,
        variance=error**2 * len(losses),
        skewness=skewness,
        rows=len(losses),
        level=level,
        units=num_groups,
        highest=highest,
    )


def _of_groups(
    value: float, error: float, units: float, method: str, why: str, *, level: float, lowest: float = 0.0
) -> Estimate:
    """Return the interval of a value in [``lowest``, 1] from the spread between ``units`` groups that bear on it."""
    if math.isnan(value):
        return undefined(why, level=level)
    share, width = (value - lowest) / (1 - lowest), 1 - lowest
    if 0 < share < 1 and units > 1 and error > 0:
        inside = logit_interval(share, error / width, level=level, method=method, units=int(units))
    else:
        inside = wilson(share, max(units, 1), level=level)
        inside = replace(inside, method=f"{inside.method} over groups")
    low, high = (lowest + width * end for end in (inside.low or 0.0, inside.high or 0.0))
    return replace(inside, value=value, low=low, high=high)


def _groups_with(rows: Rows, groups: IntArray, num_classes: int) -> dict[str, FloatArray]:
    """Return in how many groups each class occurs [K], as each metric per class needs it."""

    def count(chosen: NDArray[np.bool_]) -> float:
        return float(len(np.unique(groups[chosen])))

    def counts(chosen: Sequence[NDArray[np.bool_]]) -> FloatArray:
        return np.array([count(each) for each in chosen])

    is_label = [rows.labels == k for k in range(num_classes)]
    is_predicted = [rows.predictions == k for k in range(num_classes)]
    return {
        "recall": counts(is_label),
        "precision": counts(is_predicted),
        "f1": counts([label | predicted for label, predicted in zip(is_label, is_predicted, strict=True)]),
        "roc_auc": np.minimum(counts(is_label), counts([~label for label in is_label])),
    }
