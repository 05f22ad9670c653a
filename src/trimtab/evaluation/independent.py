"""Which interval each metric gets when rows are independent of each other. Arguments are taken as checked."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from trimtab.evaluation.counts import FloatArray, mean_of_defined
from trimtab.evaluation.intervals import (
    Estimate,
    logit_interval,
    undefined,
    wilson,
    wilson_f1,
    zero_error_bound_of_mean,
)
from trimtab.evaluation.ranking import one_vs_rest
from trimtab.evaluation.resampling import COUNT_METRICS, macro_errors
from trimtab.evaluation.scored import WHY_UNDEFINED, Estimates, Scored, by_class, loss_estimate, with_note


def estimate_rows(scored: Scored) -> Estimates:
    """Return all estimates when rows are independent of each other."""
    counts, level = scored.counts, scored.level
    trials = {"precision": counts.predicted, "recall": counts.actual, "f1": counts.union}
    errors, method = macro_errors(scored.confusion, seed=scored.seed)
    metrics = {"accuracy": wilson(scored.accuracy, len(scored.labels), level=level)}
    per_class: dict[str, list[Estimate]] = {}
    for name in COUNT_METRICS:
        values = getattr(counts, name)
        metrics[f"{name}_macro"] = _macro_of_rows(values, trials[name], errors[name], method, scored)
        interval = wilson_f1 if name == "f1" else wilson
        per_class[name] = [
            undefined(WHY_UNDEFINED[name], level=level)
            if math.isnan(value)
            else interval(float(value), float(rows), level=level)
            for value, rows in zip(values, trials[name], strict=True)
        ]
    metrics["roc_auc_macro"], per_class["roc_auc"] = _ranking_of_rows(scored)
    rows = len(scored.losses)
    error = float(scored.losses.std(ddof=1)) / math.sqrt(rows) if rows > 1 else 0.0
    metrics["log_loss"] = loss_estimate(scored, error, method="central limit theorem", units=None)
    return metrics, by_class(scored.class_names, per_class)


def _macro_of_rows(values: FloatArray, trials: FloatArray, error: float, method: str, scored: Scored) -> Estimate:
    value, level = float(mean_of_defined(values)), scored.level
    if math.isnan(value):
        return undefined("it is for every class", level=level)
    if 0 < value < 1:
        estimate = logit_interval(value, error, level=level, method=method)
    else:
        bound = zero_error_bound_of_mean(trials[~np.isnan(values)], level=level)
        estimate = _one_sided(value, bound, level=level)
    return with_note(estimate, values, scored.class_names)


def _ranking_of_rows(scored: Scored) -> tuple[Estimate, list[Estimate]]:
    ranking, level = one_vs_rest(scored.labels, scored.probabilities), scored.level
    per_class = [
        _area(float(area), float(error), int(pairs), level=level)
        for area, error, pairs in zip(ranking.areas, ranking.errors, ranking.pairs, strict=True)
    ]
    defined = ranking.pairs > 0
    if len(per_class) == 2 or not defined.any():
        return per_class[1], per_class
    pairs = ranking.pairs[defined]
    if 0 < ranking.macro_area < 1 and ranking.macro_error > 0:
        macro = logit_interval(ranking.macro_area, ranking.macro_error, level=level, method="DeLong")
    elif 0 < ranking.macro_area < 1:
        macro = _area(ranking.macro_area, 0.0, int(pairs.min()), level=level)
    else:  # all classes perfect at once is no likelier than any one of them
        bound = float(np.mean((1 - level) ** (1 / pairs)))
        macro = _one_sided(ranking.macro_area, bound, level=level)
    return with_note(macro, ranking.areas, scored.class_names), per_class


def _area(area: float, error: float, pairs: int, *, level: float) -> Estimate:
    """Return the interval of one area; where DeLong's error says nothing, from pairs that share no row.

    Coverage falls below the level for areas above 0.97 with fewer than about 20 rows on the smaller side.
    """
    if math.isnan(area):
        return undefined(WHY_UNDEFINED["roc_auc"], level=level)
    if 0 < area < 1 and pairs > 1 and error > 0:
        return logit_interval(area, error, level=level, method="DeLong", units=pairs)
    estimate = wilson(area, pairs, level=level)
    return replace(estimate, method=f"{estimate.method} over disjoint pairs")


def _one_sided(value: float, bound: float, *, level: float) -> Estimate:
    low, high = (bound, 1.0) if value >= 0.5 else (0.0, 1 - bound)
    return Estimate(value=value, low=low, high=high, method="exact one-sided bound", level=level)
