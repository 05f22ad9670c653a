"""What a reader of the intervals should know: where so few rows decide a figure that no method holds its level.

A sentence each, which begins with the names of the figures. The regions are those that `benchmarks/coverage.py` found
outside of 93.5 to 96.5%; what to do about them is always the same: more rows of the small class.
"""

from __future__ import annotations

import math

import numpy as np

from trimtab.evaluation.area_interval import weakness_of_average_precision, weakness_of_roc_auc
from trimtab.evaluation.class_areas import ClassAreas
from trimtab.evaluation.exact import Moments
from trimtab.evaluation.mean_interval import leans_too_far
from trimtab.evaluation.sorted_scores import Areas
from trimtab.evaluation.statistics import Statistics

_FEW_ERRORS = 5
_FEW_ROWS = 15  # of a class
_FEW_OUTCOMES = 25  # errors or hits that calibration is seen by
_MOST_NAMED = 3


def notes_of(statistics: Statistics, areas: dict[str, ClassAreas] | None) -> tuple[str, ...]:
    """Return the notes on figures whose rows are independent of each other.

    Parameters
    ----------
    statistics
        Of the rows.
    areas
        As `class_areas` returns them; ``None`` without scores.
    """
    notes = [_few_errors(statistics), _few_rows(statistics)]
    if areas is not None and statistics.scores is not None:
        notes += [_areas(name, found, statistics.class_names) for name, found in areas.items()]
        notes += [_losses("log_loss", statistics.scores.losses), _losses("brier_score", statistics.scores.squares)]
        notes.append(_calibration(statistics))
    return tuple(note for note in notes if note)


def _few_errors(statistics: Statistics) -> str:
    """Return a note on Wilson's interval where hardly a row is wrong, or right."""
    right = int(np.trace(statistics.confusion))
    if min(right, statistics.num_rows - right) >= _FEW_ERRORS:
        return ""
    what = "wrong" if right > statistics.num_rows / 2 else "right"
    return f"accuracy: fewer than {_FEW_ERRORS} rows are {what}; intervals of 95% hold it in 88 to 99% of the cases"


def _few_rows(statistics: Statistics) -> str:
    """Return a note on classes with few rows, predicted or true: proportions of them take few values."""
    counts = statistics.counts
    fewest = np.minimum(counts.actual, counts.predicted)
    named = _named([name for name, rows in zip(statistics.class_names, fewest, strict=True) if rows < _FEW_ROWS])
    if not named:
        return ""
    return (
        "precision, recall, f1, balanced_accuracy, precision_macro, recall_macro, f1_macro, matthews_corrcoef, "
        f"cohen_kappa: fewer than {_FEW_ROWS} rows are of {named} or predicted so; such figures take few values, and "
        "intervals of 95% hold them in 73 to 100% of the cases"
    )


def _areas(name: str, found: ClassAreas, class_names: tuple[str, ...]) -> str:
    weak = [
        class_name
        for class_name, areas in zip(class_names, found.areas, strict=True)
        if not math.isnan(getattr(areas, name)) and _is_weak(name, areas)
    ]
    if not weak:
        return ""
    return (
        f"{name}, {name}_macro: so few rows are out of order, or of one side, for {_named(weak)} that the interval "
        "is a cautious guess; intervals of 95% hold the area in 93 to 100% of the cases"
    )


def _is_weak(name: str, areas: Areas) -> bool:
    if name == "roc_auc":
        why = weakness_of_roc_auc(error=areas.roc_auc_error, positives=areas.positives, negatives=areas.negatives)
    else:
        value, error = areas.average_precision, areas.average_precision_error
        why = weakness_of_average_precision(value, error=error, positives=areas.positives)
    return why is not None


def _losses(name: str, moments: Moments) -> str:
    if not leans_too_far(skewness=moments.skewness, rows=max(moments.count, 1)):
        return ""
    return (
        f"{name}: a few confident mistakes carry most of it, and others may not have shown up yet; intervals of 95% "
        "hold it in 60 to 98% of the cases"
    )


def _calibration(statistics: Statistics) -> str:
    assert statistics.scores is not None  # noqa: S101 - the caller looked
    reliability = statistics.scores.reliability
    hits, rows = int(reliability.hits.sum()), reliability.rows
    if min(hits, rows - hits) >= _FEW_OUTCOMES:
        return ""
    what = "right" if hits < rows - hits else "wrong"
    return (
        f"smooth_ece: only {min(hits, rows - hits)} answers were {what} (or, of two classes, of one class), too few to "
        "see calibration by; its interval is a cautious guess"
    )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(repr(name) for name in names[:_MOST_NAMED]) + more
