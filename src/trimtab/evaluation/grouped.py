"""Which interval each metric gets when only groups of rows are independent. Arguments are taken as checked."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray, mean_of_defined
from trimtab.evaluation.intervals import Estimate, logit_interval, undefined, wilson
from trimtab.evaluation.ranking import one_vs_rest
from trimtab.evaluation.resampling import COUNT_METRICS, group_replicates, spread
from trimtab.evaluation.scored import WHY_UNDEFINED, Estimates, Scored, by_class, loss_estimate, with_note


def estimate_groups(scored: Scored, groups: IntArray) -> Estimates:
    """Return all estimates when only the groups are independent of each other.

    Parameters
    ----------
    scored
        The rows.
    groups
        int64 [N], from 0 up to the number of groups - 1, each of them present.
    """
    counts, level, num_groups = scored.counts, scored.level, int(groups.max()) + 1
    replicates, losses = _replicates(scored, groups)
    present = _groups_with(groups, scored)
    method = "resampled groups"
    metrics = {
        "accuracy": _of_groups(scored.accuracy, spread(_accuracies(replicates)), num_groups, method=method, level=level)
    }
    per_class: dict[str, list[Estimate]] = {}
    for name in COUNT_METRICS:
        values, drawn = getattr(counts, name), getattr(replicates, name)  # [K], [R, K]
        macro = _of_groups(
            float(mean_of_defined(values)),
            spread(mean_of_defined(drawn)),
            num_groups,
            method=method,
            level=level,
        )
        metrics[f"{name}_macro"] = with_note(macro, values, scored.class_names)
        per_class[name] = [
            _of_groups(float(values[k]), spread(drawn[:, k]), present[name][k], method=method, level=level, metric=name)
            for k in range(len(values))
        ]
    metrics["roc_auc_macro"], per_class["roc_auc"] = _ranking_of_groups(scored, groups, present["roc_auc"])
    metrics["log_loss"] = loss_estimate(scored, spread(losses), method=method, units=num_groups)
    return metrics, by_class(scored.class_names, per_class)


def _ranking_of_groups(scored: Scored, groups: IntArray, present: FloatArray) -> tuple[Estimate, list[Estimate]]:
    ranking = one_vs_rest(scored.labels, scored.probabilities, groups=groups)
    method, level = "DeLong summed within groups", scored.level
    per_class = [
        _of_groups(float(area), float(error), units, method=method, level=level, metric="roc_auc")
        for area, error, units in zip(ranking.areas, ranking.errors, present, strict=True)
    ]
    if len(per_class) == 2:
        return per_class[1], per_class
    macro = _of_groups(ranking.macro_area, ranking.macro_error, int(groups.max()) + 1, method=method, level=level)
    return with_note(macro, ranking.areas, scored.class_names), per_class


def _of_groups(
    value: float, error: float, units: float, *, method: str, level: float, metric: str | None = None
) -> Estimate:
    """Return the interval of a value in [0, 1] from the spread between ``units`` groups that bear on it."""
    if math.isnan(value):
        return undefined(WHY_UNDEFINED[metric] if metric else "it is for every class", level=level)
    if 0 < value < 1 and units > 1 and error > 0:
        return logit_interval(value, error, level=level, method=method, units=int(units))
    estimate = wilson(value, max(units, 1), level=level)
    return replace(estimate, method=f"{estimate.method} over groups")


def _replicates(scored: Scored, groups: IntArray) -> tuple[ClassCounts, FloatArray]:
    chunks = list(
        group_replicates(
            groups,
            scored.labels,
            scored.predictions,
            scored.losses,
            num_classes=len(scored.class_names),
            seed=scored.seed,
        )
    )
    counts = ClassCounts(
        hits=np.concatenate([counts.hits for counts, _ in chunks]),
        actual=np.concatenate([counts.actual for counts, _ in chunks]),
        predicted=np.concatenate([counts.predicted for counts, _ in chunks]),
    )
    return counts, np.concatenate([losses for _, losses in chunks])


def _groups_with(groups: IntArray, scored: Scored) -> dict[str, FloatArray]:
    """Return in how many groups each class occurs [K], as each metric per class needs it."""
    classes = range(len(scored.class_names))
    total = int(groups.max()) + 1

    def count(rows: NDArray[np.bool_]) -> float:
        return float(len(np.unique(groups[rows])))

    is_label = [scored.labels == k for k in classes]
    is_predicted = [scored.predictions == k for k in classes]
    return {
        "recall": np.array([count(is_label[k]) for k in classes]),
        "precision": np.array([count(is_predicted[k]) for k in classes]),
        "f1": np.array([count(is_label[k] | is_predicted[k]) for k in classes]),
        "roc_auc": np.array([min(count(is_label[k]), count(~is_label[k]), total) for k in classes]),
    }


def _accuracies(counts: ClassCounts) -> FloatArray:
    return np.asarray(counts.hits.sum(axis=-1) / counts.actual.sum(axis=-1), dtype=np.float64)
