"""Intervals of the metrics of scores and probabilities when rows are independent of each other.

Legend: ``K`` classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from trimtab.evaluation.area_interval import area_interval, average_precision_interval, roc_auc_interval
from trimtab.evaluation.calibration import smooth_ece, smooth_ece_interval
from trimtab.evaluation.class_areas import ClassAreas
from trimtab.evaluation.exact import Moments
from trimtab.evaluation.intervals import Estimate, undefined, wilson
from trimtab.evaluation.mean_interval import mean_interval
from trimtab.evaluation.score_metrics import class_numbers
from trimtab.evaluation.sorted_scores import Areas, SortedScores
from trimtab.evaluation.statistics import ScoreStatistics, Statistics
from trimtab.evaluation.wording import UNDEFINED_IN_CLASS, why_undefined, with_note

AREAS = ("roc_auc", "average_precision")


def score_estimates(
    statistics: Statistics, scores: ScoreStatistics, found: dict[str, ClassAreas], *, level: float
) -> tuple[dict[str, Estimate], dict[str, list[Estimate]]]:
    """Return the metrics of the whole problem by name, and the areas of each class: name -> K estimates.

    Parameters
    ----------
    statistics, scores
        Of the rows.
    found
        As `class_areas` returns it.
    level
        Of the intervals.
    """
    per_class = {
        name: [_of_class(name, found[name], k, level=level) for k in range(statistics.num_classes)] for name in AREAS
    }
    metrics = {f"{name}_macro": _macro(name, found[name], per_class[name], statistics, level=level) for name in AREAS}
    if top_k(statistics.num_classes):
        metrics[top_name(statistics.num_classes)] = wilson(top_share(scores), statistics.num_rows, level=level)
    metrics["log_loss"] = _mean(scores.losses, level=level)
    metrics["brier_score"] = _mean(scores.squares, level=level, highest=2.0 if statistics.num_classes > 2 else 1.0)
    return metrics, per_class


def calibration_estimate(statistics: Statistics, scores: ScoreStatistics, *, level: float, seed: int) -> Estimate:
    """Return the smooth calibration error; of groups without an interval."""
    if statistics.has_groups:
        value, why = smooth_ece(scores.reliability), "no interval: not worked out for groups"
        return Estimate(value=value, low=None, high=None, method=why, level=level)
    return smooth_ece_interval(scores.reliability, level=level, seed=seed)


def roc_auc_estimate(y_true: ArrayLike, y_score: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Return the area under the ROC curve of two classes with its interval: one sort, one pass, one copy.

    Parameters
    ----------
    y_true
        Labels [N] of two classes, of which the larger is positive.
    y_score
        float [N], the score of the positive class.
    level
        Of the interval, in (0, 1).

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a score is NaN or infinite.
    """
    labels, scores = np.asarray(y_true), np.asarray(y_score)
    numbers = class_numbers(labels, scores, None)
    areas = SortedScores(numbers, scores).areas(has_precision=False)
    if math.isnan(areas.roc_auc):
        return undefined(UNDEFINED_IN_CLASS["roc_auc"], level=level)
    return _roc_auc(areas, level=level)


def top_k(num_classes: int) -> int:
    """Return the k of the top-k accuracy that is reported: 5, of few classes 3, of very few none (0)."""
    return 5 if num_classes >= 10 else 3 if num_classes >= 5 else 0


def top_name(num_classes: int) -> str:
    """Return the metric's name."""
    return f"top_{top_k(num_classes)}_accuracy"


def top_share(scores: ScoreStatistics) -> float:
    """Return the share of rows whose class is among the k most probable."""
    return float(scores.ranks[: top_k(len(scores.ranks))].sum() / scores.ranks.sum())


def _of_class(name: str, found: ClassAreas, k: int, *, level: float) -> Estimate:
    value, error, areas = float(found.values[k]), float(found.errors[k]), found.areas[k]
    if math.isnan(value):
        return undefined(UNDEFINED_IN_CLASS[name], level=level)
    if name == "roc_auc":
        return _roc_auc(areas, level=level)
    lean = float(found.leans[k])
    return average_precision_interval(value, error=error, lean=lean, positives=areas.positives, level=level)


def _roc_auc(areas: Areas, *, level: float) -> Estimate:
    return roc_auc_interval(
        areas.roc_auc,
        error=areas.roc_auc_error,
        lean=areas.roc_auc_lean,
        positives=areas.positives,
        negatives=areas.negatives,
        level=level,
    )


def _macro(
    name: str, found: ClassAreas, per_class: list[Estimate], statistics: Statistics, *, level: float
) -> Estimate:
    if math.isnan(found.macro):
        return undefined(why_undefined(name), level=level)
    if statistics.num_classes == 2 and name == "roc_auc":
        return per_class[1]
    if 0 < found.macro < 1 and found.macro_error > 0:
        method = "influence of rows" + (", covariance bounded" if found.is_bound else "")
        error, lean = found.macro_error, found.macro_lean
        macro = area_interval(found.macro, error=error, lean=lean, level=level, method=method)
    else:
        ends = [(e.low, e.high) for e in per_class if e.low is not None and e.high is not None]
        low, high = np.mean(ends, axis=0)
        macro = Estimate(
            value=found.macro, low=float(low), high=float(high), method="mean of the classes' intervals", level=level
        )
    return with_note(macro, found.values, statistics.class_names)


def _mean(moments: Moments, *, level: float, highest: float = math.inf) -> Estimate:
    return mean_interval(
        moments.mean,
        variance=moments.variance,
        skewness=moments.skewness,
        rows=moments.count,
        level=level,
        highest=highest,
    )
