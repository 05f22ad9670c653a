"""Every figure of a classifier on labelled rows, each with its interval: from arrays, or from merged statistics.

Plots are in `trimtab.evaluation.plots`, the comparison of two models in `trimtab.evaluation.compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.evaluation.class_areas import class_areas
from trimtab.evaluation.count_estimates import class_estimates, count_estimates
from trimtab.evaluation.grouped import grouped_counts, grouped_scores
from trimtab.evaluation.labels import check_groups, check_labels, check_probabilities, encode, refuse_missing
from trimtab.evaluation.multilabel import evaluate_multilabel
from trimtab.evaluation.notes import notes_of
from trimtab.evaluation.result import Evaluation
from trimtab.evaluation.score_estimates import calibration_estimate, score_estimates
from trimtab.evaluation.score_metrics import two_columns
from trimtab.evaluation.statistics import Statistics

__all__ = ["Evaluation", "evaluate", "evaluate_statistics"]


def evaluate(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Return all figures with their intervals.

    Parameters
    ----------
    labels
        Class numbers, integers [N] in 0 to K - 1, or class names [N]; zeros and ones [N, L] when rows have several
        labels, see `trimtab.evaluation.multilabel`.
    predictions
        Probabilities, float [N, K], each row summing to one; float [N], that of the second of two classes; or only
        the predicted classes, numbers or names [N]. The class predicted is the first of the largest probability.
    class_names
        K different names, two at least; by default the numbers, or the names that occur, sorted.
    groups
        [N], anything that can be sorted: rows of the same group (patient, day, author) are not independent of each
        other. Whole groups are resampled then, and all intervals widen accordingly.
    level
        The share of intervals that hold the true value, in (0, 1).
    seed
        Of the resampling.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a value is not what it should be.
    """
    if np.ndim(labels) == 2:
        return evaluate_multilabel(labels, predictions, class_names=class_names, groups=groups, level=level)
    given, answers = np.asarray(labels), np.asarray(predictions)
    is_probability = answers.dtype.kind == "f"
    answers = two_columns(answers) if is_probability else answers
    names = _check_names(_names(given, answers, is_probability) if class_names is None else class_names, level)
    numbers = _numbers(given, names)
    units = None if groups is None else check_groups(np.asarray(groups), rows=len(numbers))
    if is_probability:
        probabilities = check_probabilities(answers, rows=len(numbers), num_classes=len(names))
        statistics = Statistics.of(numbers, probabilities, class_names=names, groups=units)
    else:
        chosen = _numbers(answers, names)
        if len(chosen) != len(numbers):
            raise ValueError(f"there are {len(numbers)} labels and {len(chosen)} predictions; expected one for each.")
        statistics = Statistics.of_predictions(numbers, chosen, class_names=names, groups=units)
    return evaluate_statistics(statistics, level=level, seed=seed)


def evaluate_statistics(
    statistics: Statistics, *, level: float = 0.95, seed: int = 0, has_calibration: bool = True
) -> Evaluation:
    """Return all figures of what was merged from parts; see `evaluate`.

    Parameters
    ----------
    statistics
        Of all rows.
    level, seed
        As for `evaluate`.
    has_calibration
        Whether the calibration error is among the figures; its interval alone takes up to a second.
    """
    scores, rows = statistics.scores, statistics.rows
    notes: tuple[str, ...] = ()
    if rows is not None and rows.groups is not None:
        groups = np.unique(rows.groups, return_inverse=True)[1].astype(np.int64)
        metrics, per_class = grouped_counts(statistics, rows, groups, level=level, seed=seed)
        if scores is not None:
            more, areas = grouped_scores(statistics, scores, rows, groups, level=level)
            metrics, per_class = metrics | more, per_class | areas
    else:
        metrics = count_estimates(statistics, level=level, seed=seed)
        per_class = class_estimates(statistics.counts, level=level)
        if scores is not None:
            found = class_areas(statistics)
            more, areas = score_estimates(statistics, scores, found, level=level)
            metrics, per_class = metrics | more, per_class | areas
        notes = notes_of(statistics, None if scores is None else found)
    if scores is not None and has_calibration:
        metrics["smooth_ece"] = calibration_estimate(statistics, scores, level=level, seed=seed)
    names, support = statistics.class_names, statistics.confusion.sum(axis=1)
    return Evaluation(
        rows=statistics.num_rows,
        class_names=names,
        metrics=metrics,
        per_class={name: {m: each[k] for m, each in per_class.items()} for k, name in enumerate(names)},
        support={name: int(count) for name, count in zip(names, support, strict=True)},
        confusion=statistics.confusion,
        notes=notes,
        statistics=statistics,
    )


def _names(labels: NDArray[Any], answers: NDArray[Any], is_probability: bool) -> Sequence[str]:
    """Return the names of classes that nobody named."""
    if is_probability:
        count = answers.shape[1] if answers.ndim == 2 else 0
        is_number = labels.dtype.kind in "iub"
        return [str(number) for number in range(count)] if is_number else [str(name) for name in np.unique(labels)]
    encoded = encode(labels, answers)
    return [str(name) for name in encoded.classes]


def _numbers(labels: NDArray[Any], names: Sequence[str]) -> NDArray[np.integer]:
    """Return class numbers [N]; names are looked up."""
    if labels.dtype.kind in "iub" or not labels.size:
        return check_labels(labels, num_classes=len(names))
    refuse_missing(labels, "labels")
    place = {name: number for number, name in enumerate(names)}
    distinct, inverse = np.unique(labels.astype(str), return_inverse=True)
    unknown = [name for name in distinct if name not in place]
    if unknown:
        raise ValueError(
            f"the label '{unknown[0]}' is not among the classes {', '.join(names[:10])}; expected one of them; add "
            "the class, with probabilities of zero if the model does not know it."
        )
    return check_labels(np.array([place[name] for name in distinct])[inverse], num_classes=len(names))


def _check_names(class_names: Sequence[str], level: float) -> tuple[str, ...]:
    names = tuple(class_names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"class_names has {len(names)} names, {len(set(names))} of them different; expected two or more, "
            "each different; give one name for each column of the probabilities."
        )
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1; give 0.95 for 95%.")
    return names
