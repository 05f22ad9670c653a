"""The areas under both curves for each class against the rest, and their mean, with standard errors.

Errors of single classes come from one pass over sorted scores; that of the mean needs the covariance between the
classes, and so the influence of each row. Where there are too many rows for that, or only a histogram is left, the
mean of the classes' errors takes its place: an upper bound, whatever the covariance.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trimtab.evaluation.counts import FloatArray, IntArray, mean_of_defined
from trimtab.evaluation.ranking import Ranks, error_and_lean
from trimtab.evaluation.sorted_scores import Areas, SortedScores
from trimtab.evaluation.statistics import Rows, Statistics

_MOST_INFLUENCES = 2**24  # N * K for which the influence of each row is worked out


@dataclass(frozen=True, kw_only=True)
class ClassAreas:
    """One kind of area.

    Attributes
    ----------
    areas
        Of each class, the pass over its scores. Of two classes the first mirrors the second.
    values, errors, leans
        float64 [K]; NaN for a class that has no area. The lean is that of `Areas`.
    macro, macro_error, macro_lean
        The mean over the classes that have one.
    is_bound
        Whether ``macro_error`` is only an upper bound.
    """

    areas: tuple[Areas, ...]
    values: FloatArray
    errors: FloatArray
    leans: FloatArray
    macro: float
    macro_error: float
    macro_lean: float
    is_bound: bool


def class_areas(statistics: Statistics, groups: IntArray | None = None) -> dict[str, ClassAreas]:
    """Return the areas by name, ``roc_auc`` and ``average_precision``.

    Parameters
    ----------
    statistics
        With scores.
    groups
        int64 [N] of the kept rows, from 0 up; ``None`` when rows are independent.
    """
    areas = tuple(_areas_of_classes(statistics))
    values = {name: np.array([getattr(area, name) for area in areas]) for name in ("roc_auc", "average_precision")}
    errors = {name: np.array([getattr(area, f"{name}_error") for area in areas]) for name in values}
    rows = statistics.rows
    is_bound = rows is None or (groups is None and statistics.num_rows * statistics.num_classes > _MOST_INFLUENCES)
    leans = {name: np.array([getattr(area, f"{name}_lean") for area in areas]) for name in values}
    macro_errors = {name: (float(mean_of_defined(each)), 0.0) for name, each in errors.items()}
    if rows is not None and not is_bound:
        found = _errors_of_rows(rows, groups)
        macro_errors = {name: each.macro for name, each in found.items()}
        if groups is not None:
            errors = {name: np.where(np.isnan(values[name]), np.nan, each.errors) for name, each in found.items()}
            leans = {name: each.leans for name, each in found.items()}
    return {
        name: ClassAreas(
            areas=areas,
            values=values[name],
            errors=errors[name],
            leans=leans[name],
            macro=float(mean_of_defined(values[name])),
            macro_error=macro_errors[name][0],
            macro_lean=macro_errors[name][1],
            is_bound=is_bound,
        )
        for name in values
    }


def _areas_of_classes(statistics: Statistics) -> Iterator[Areas]:
    rows, scores = statistics.rows, statistics.scores
    for k in range(statistics.num_classes):
        if rows is not None and rows.probabilities is not None:
            yield SortedScores(rows.labels == k, rows.probabilities[:, k]).areas()
        elif scores is not None and scores.histogram is not None:
            yield scores.histogram.areas(k)


@dataclass(frozen=True, kw_only=True)
class _RowErrors:
    """Errors and leans of one kind of area: of each class, float64 [K], and (error, lean) of the mean."""

    errors: FloatArray
    leans: FloatArray
    macro: tuple[float, float]


def _errors_of_rows(rows: Rows, groups: IntArray | None) -> dict[str, _RowErrors]:
    assert rows.probabilities is not None  # noqa: S101 - the caller looked
    total = {"roc_auc": np.zeros(len(rows.labels)), "average_precision": np.zeros(len(rows.labels))}
    spreads: dict[str, list[tuple[float, float]]] = {name: [] for name in total}
    counted = dict.fromkeys(total, 0)
    for k in range(rows.probabilities.shape[1]):
        ranks = Ranks.of(rows.labels == k, rows.probabilities[:, k])
        found = {"roc_auc": ranks.roc_auc(), "average_precision": ranks.average_precision()}
        for name, (value, influence) in found.items():
            spreads[name].append(error_and_lean(influence, groups))
            total[name] += influence
            counted[name] += not np.isnan(value)
    results = {}
    for name, of_classes in spreads.items():
        error, lean = error_and_lean(total[name], groups)
        errors, leans = (np.array(side) for side in zip(*of_classes, strict=True))
        results[name] = _RowErrors(errors=errors, leans=leans, macro=(error / max(counted[name], 1), lean))
    return results
