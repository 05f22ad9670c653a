"""The figures of a cross-validation: each fold's own, and their mean with an interval that fits folds.

A figure of a fold is that of its model on its own test rows; rows that were predicted by different models are not
thrown together, since a model's probabilities are comparable only with its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation import (
    Estimate,
    accuracy,
    balanced_accuracy,
    brier_score,
    corrected_interval,
    f1,
    log_loss,
    matthews_corrcoef,
    roc_auc,
)
from trimtab.evaluation.intervals import zero_error_bound
from trimtab.evaluation.result import aligned

_Labels = NDArray[np.int64]
_Probabilities = NDArray[np.float32]
_SHARE, _LOSS = (0.0, 1.0), (0.0, math.inf)


@dataclass(frozen=True, kw_only=True)
class FoldFigure:
    """One figure over all folds.

    Attributes
    ----------
    estimate
        The mean over the folds that have a value, with its interval.
    per_fold
        In the order of the folds; ``None`` where it is undefined on a fold's test rows.
    """

    estimate: Estimate
    per_fold: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**self.estimate.to_dict(), "per_fold": list(self.per_fold)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> FoldFigure:
        """Return what `to_dict` gave."""
        estimate = {name: value for name, value in fields.items() if name != "per_fold"}
        return cls(estimate=Estimate.from_dict(estimate), per_fold=tuple(fields["per_fold"]))


def figures_of(
    answers: Sequence[tuple[_Labels, _Probabilities]], *, train_rows: float, test_rows: float, level: float = 0.95
) -> dict[str, FoldFigure]:
    """Return accuracy, balanced accuracy, F1, Matthews correlation, area, log loss and Brier score over the folds.

    Parameters
    ----------
    answers
        Of each fold: the classes of its test rows, int64 [n], and its probabilities, float32 [n, K].
    train_rows, test_rows
        Of a fold, in the mean.
    level
        Of the intervals.
    """
    rows = sum(len(labels) for labels, _ in answers)
    found = {}
    for name, (measure, bounds) in _METRICS.items():
        values = [measure(labels, probabilities) for labels, probabilities in answers]
        estimate = _estimate(values, train_rows, test_rows, level, bounds)
        if name == "accuracy" and estimate.value is not None and estimate.value in bounds:
            estimate = zero_error_bound(estimate.value, rows, level=level)
        per_fold = tuple(value if math.isfinite(value) else None for value in values)
        found[name] = FoldFigure(estimate=estimate, per_fold=per_fold)
    return found


def _estimate(
    values: Sequence[float], train_rows: float, test_rows: float, level: float, bounds: tuple[float, float]
) -> Estimate:
    defined = [value for value in values if math.isfinite(value)]
    if len(defined) < 2:
        mean = defined[0] if defined else None
        method = f"undefined: {len(defined)} of {len(values)} folds have a value"
        return Estimate(value=mean, low=None, high=None, method=method, level=level)
    found = corrected_interval(defined, train_rows=train_rows, test_rows=test_rows, level=level, bounds=bounds)
    if len(defined) == len(values):
        return found
    method = f"{found.method}; over {len(defined)} of {len(values)} folds, undefined in the others"
    return replace(found, method=method)


def _area(labels: _Labels, probabilities: _Probabilities) -> float:
    """Return the area; NaN where a class has no row, or every row: a mean over other classes is another figure."""
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    if not counts.all():
        return math.nan
    if probabilities.shape[1] == 2:
        return float(roc_auc(labels, probabilities[:, 1]))
    return float(roc_auc(labels, probabilities))


def _classes(probabilities: _Probabilities) -> NDArray[np.int64]:
    classes: NDArray[np.int64] = probabilities.argmax(axis=1)
    return classes


def _all(probabilities: _Probabilities) -> list[int]:
    return list(range(probabilities.shape[1]))


_Measure = Callable[[_Labels, _Probabilities], float]
_METRICS: Mapping[str, tuple[_Measure, tuple[float, float]]] = {
    "accuracy": (lambda y, p: accuracy(y, _classes(p)), _SHARE),
    "balanced_accuracy": (lambda y, p: balanced_accuracy(y, _classes(p)), _SHARE),
    "f1_macro": (lambda y, p: f1(y, _classes(p), average="macro"), _SHARE),
    "matthews_corrcoef": (lambda y, p: matthews_corrcoef(y, _classes(p)), (-1.0, 1.0)),
    "roc_auc_macro": (_area, _SHARE),
    "log_loss": (lambda y, p: log_loss(y, p, labels=_all(p)), _LOSS),
    "brier_score": (lambda y, p: brier_score(y, p, labels=_all(p)), (0.0, 2.0)),
}


def to_table(figures: Mapping[str, FoldFigure]) -> str:
    """Return the figures as aligned text: mean, interval, and the lowest and highest fold."""
    level = next(iter(figures.values())).estimate.level
    lines = [["metric", "mean", f"{100 * level:.4g}% interval", "folds, lowest to highest", "method"]]
    for name, figure in figures.items():
        estimate, values = figure.estimate, [value for value in figure.per_fold if value is not None]
        mean = "undefined" if estimate.value is None else f"{estimate.value:.4f}"
        low, high = estimate.low, estimate.high
        interval = "" if low is None or high is None else f"[{low:.4f}, {high:.4f}]"
        spread = f"{min(values):.4f} to {max(values):.4f}" if values else ""
        lines.append([name, mean, interval, spread, estimate.method])
    return aligned(lines)
