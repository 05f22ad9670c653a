"""What estimates are made from, and what estimates for rows and for groups have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray
from trimtab.evaluation.intervals import Estimate, positive_interval

Estimates = tuple[dict[str, Estimate], dict[str, dict[str, Estimate]]]  # by metric; by class, then metric

WHY_UNDEFINED = {
    "precision": "the class was never predicted",
    "recall": "no row is of the class",
    "f1": "no row is of the class or predicted as it",
    "roc_auc": "no row, or every row, is of the class",
}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What the estimates are made from.

    Attributes
    ----------
    labels, predictions
        int64 [N].
    probabilities
        float [N, K].
    losses
        float64 [N], nats.
    confusion
        int64 [K, K].
    class_names
        K names.
    level
        Of the intervals.
    seed
        Of the resampling.
    """

    labels: IntArray
    predictions: IntArray
    probabilities: NDArray[np.floating]
    losses: FloatArray
    confusion: IntArray
    class_names: tuple[str, ...]
    level: float
    seed: int

    @property
    def counts(self) -> ClassCounts:
        """The counts of each class."""
        return ClassCounts.of(self.confusion)

    @property
    def accuracy(self) -> float:
        """The share of rows predicted right."""
        return float(np.trace(self.confusion) / len(self.labels))


def loss_estimate(scored: Scored, error: float, *, method: str, units: int | None) -> Estimate:
    """Return the mean loss with its interval, or without one when there is no spread.

    Parameters
    ----------
    scored
        The rows.
    error
        Standard error of the mean loss.
    method
        How it was found.
    units
        From how many independent units, when these are few.
    """
    value = float(scored.losses.mean())
    if not error > 0 or (units is not None and units < 2):
        why = "no interval: nothing to see a spread between"
        return Estimate(value=value, low=None, high=None, method=why, level=scored.level)
    return positive_interval(value, error, level=scored.level, method=method, units=units)


def with_note(estimate: Estimate, values: FloatArray, class_names: Sequence[str]) -> Estimate:
    """Name the classes that a macro average had to leave out."""
    missing = [name for name, value in zip(class_names, values, strict=True) if math.isnan(value)]
    if not missing or estimate.value is None:
        return estimate
    named = ", ".join(repr(name) for name in missing[:3]) + (" and others" if len(missing) > 3 else "")
    note = f"mean over {len(values) - len(missing)} of {len(values)} classes, undefined for {named}"
    return replace(estimate, method=f"{estimate.method}; {note}")


def by_class(class_names: Sequence[str], per_metric: dict[str, list[Estimate]]) -> dict[str, dict[str, Estimate]]:
    """Turn metric -> estimates [K] into class name -> metric -> estimate."""
    return {
        name: {metric: estimates[k] for metric, estimates in per_metric.items()} for k, name in enumerate(class_names)
    }
