"""Every figure of a classifier of rows with several labels each, or none, with its interval.

Labels are zeros and ones, a column per label; nothing here is resampled, and probabilities of a row need not sum to
one. Rows with one class each are in `trimtab.evaluation.evaluate`.

Legend: ``N`` rows, ``L`` labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from trimtab.evaluation.counts import IntArray
from trimtab.evaluation.intervals import Estimate, wilson
from trimtab.evaluation.labels import check_groups, check_indicators, check_shares, indicators
from trimtab.evaluation.multilabel_estimates import Sums, average_estimates, label_estimates
from trimtab.evaluation.multilabel_score_estimates import area_estimates, loss_estimates
from trimtab.evaluation.multilabel_statistics import MultilabelStatistics
from trimtab.evaluation.ranking import standard_error
from trimtab.evaluation.result import Evaluation

__all__ = ["MultilabelStatistics", "evaluate_multilabel", "evaluate_multilabel_statistics"]


def evaluate_multilabel(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Evaluation:
    """Return all figures with their intervals.

    Parameters
    ----------
    labels
        Zeros and ones [N, L], a column per label.
    predictions
        Probabilities, float [N, L], where a label above one half is predicted; or only the predicted labels, bool or
        integers 0 and 1 [N, L].
    class_names
        L different names of the labels; by default their numbers.
    groups
        [N], anything that can be sorted: rows of the same group are not independent of each other.
    level
        The share of intervals that hold the true value, in (0, 1).

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a value is not what it should be.
    """
    given, answers = np.asarray(labels), np.asarray(predictions)
    if given.ndim != 2 or given.shape != answers.shape or not given.size:
        raise ValueError(
            f"labels have shape {given.shape} and predictions {answers.shape}; expected both [N, L], a row at least "
            "and a column per label; give one row of predictions for each row of labels."
        )
    names = _check_names(class_names, given.shape[1], level)
    units = None if groups is None else check_groups(np.asarray(groups), rows=len(given))
    if answers.dtype.kind == "f":
        check_shares(answers)
        true = indicators(given, "labels")
        statistics = MultilabelStatistics.of(true, answers, class_names=names, groups=units)
    else:
        true, predicted = check_indicators(given, answers)
        statistics = MultilabelStatistics.of_predictions(true, predicted, class_names=names, groups=units)
    return evaluate_multilabel_statistics(statistics, level=level)


def evaluate_multilabel_statistics(statistics: MultilabelStatistics, *, level: float = 0.95) -> Evaluation:
    """Return all figures of what was merged from parts.

    Its metrics are ``accuracy`` (rows with all labels right), ``hamming_loss``, precision, recall and F1 as
    ``_macro`` and ``_micro``, ``precision_weighted``, ``f1_weighted``; with probabilities also ``roc_auc_macro``,
    ``average_precision_macro``, and ``log_loss`` and ``brier_score`` as means over rows and labels. Its ``confusion``
    is int64 [L, 2, 2], for each label rows without and with it, columns the same of the predictions.
    """
    rows, groups = statistics.rows, None
    sums = Sums.of_rows(statistics)
    if rows is not None and rows.groups is not None:
        groups = np.unique(rows.groups, return_inverse=True)[1].astype(np.int64)
        sums = Sums.of_groups(statistics, rows.labels, rows.predictions, groups)
    per_label = label_estimates(sums, level=level)
    metrics = {"accuracy": _all_right(statistics, sums, groups, level=level)}
    metrics |= average_estimates(sums, per_label, statistics.class_names, level=level)
    if statistics.losses is not None:
        more, areas = area_estimates(statistics, groups, level=level)
        metrics, per_label = metrics | more | loss_estimates(statistics, groups, level=level), per_label | areas
    names, support = statistics.class_names, statistics.counts.actual
    return Evaluation(
        rows=statistics.num_rows,
        class_names=names,
        metrics=metrics,
        per_class={name: {m: each[k] for m, each in per_label.items()} for k, name in enumerate(names)},
        support={name: int(count) for name, count in zip(names, support, strict=True)},
        confusion=statistics.confusion,
    )


def _all_right(statistics: MultilabelStatistics, sums: Sums, groups: IntArray | None, *, level: float) -> Estimate:
    share, rows = statistics.right / statistics.num_rows, statistics.rows
    if groups is None or rows is None:
        return wilson(share, statistics.num_rows, level=level)
    is_right = (rows.labels == rows.predictions).all(axis=1)
    error = standard_error((is_right - share) / len(is_right), groups)
    return sums.interval(share, error, units=sums.num_units, level=level)


def _check_names(class_names: Sequence[str] | None, count: int, level: float) -> tuple[str, ...]:
    names = tuple(map(str, range(count))) if class_names is None else tuple(class_names)
    if len(names) != count or len(set(names)) < count:
        raise ValueError(
            f"class_names has {len(names)} names, {len(set(names))} of them different; expected {count}, each "
            "different; give one name for each column of the labels."
        )
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1; give 0.95 for 95%.")
    return names
