"""Two models, or several, on the same rows: how much better, how sure, and what these rows could show at all.

Each metric's difference comes with an interval and a test that use the pairing: what both models get right or wrong
alike does not count as noise. Accuracy has McNemar's test and Tango's interval; the other metrics the differences of
the rows' influences, with Student's quantile; groups are added up first. A comparison of two training methods by
cross-validation is `trimtab.evaluation.crossvalidated`.

Legend: ``N`` rows, ``K`` classes.

References
----------
DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44(3). Holm (1979), Scandinavian Journal of Statistics 6(2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.evaluation.comparison import Difference, ManyCompared, PairedEvaluation
from trimtab.evaluation.counts import FloatArray, IntArray
from trimtab.evaluation.influences import Influence, count_influences, score_influences
from trimtab.evaluation.intervals import student_quantile
from trimtab.evaluation.labels import check_groups, check_labels, check_probabilities
from trimtab.evaluation.paired import compare_right
from trimtab.evaluation.paired_freedom import fewest_units, group_freedom, welch_freedom
from trimtab.evaluation.ranking import standard_error
from trimtab.evaluation.score_metrics import two_columns
from trimtab.evaluation.statistics import predicted_classes
from trimtab.evaluation.student import two_sided_p

_COUNTED = ("balanced_accuracy", "f1_macro", "matthews_corrcoef")
_PER_CLASS = ("balanced_accuracy", "f1_macro", "roc_auc_macro", "average_precision_macro")  # means over the classes
_ROUNDING = 8 * float(np.finfo(np.float64).eps)  # of a row's influence, relative to the metric


def compare(
    labels: ArrayLike,
    probabilities_a: ArrayLike,
    probabilities_b: ArrayLike,
    *,
    names: tuple[str, str] = ("a", "b"),
    groups: ArrayLike | None = None,
    level: float = 0.95,
    has_probabilities: bool = True,
) -> PairedEvaluation:
    """Return how model b differs from model a on the same rows, metric by metric.

    Parameters
    ----------
    labels
        Class numbers, integers [N] in 0 to K - 1.
    probabilities_a, probabilities_b
        float [N, K] of the two models for the same rows, or [N] for the second of two classes.
    names
        What the models are called in tables and sentences.
    groups
        [N], anything that can be sorted, when rows of the same group are not independent of each other.
    level
        Of the intervals, in (0, 1).
    has_probabilities
        False when they stand for predicted classes only: metrics of scores are left out.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a value is not what it should be.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1; give 0.95 for 95%.")
    a, b = (two_columns(np.asarray(given)) for given in (probabilities_a, probabilities_b))
    numbers = check_labels(np.asarray(labels), num_classes=a.shape[-1])
    a, b = (  # of one type: losses of impossible answers end at the type's resolution
        check_probabilities(given, rows=len(numbers), num_classes=a.shape[-1]).astype(np.float64, copy=False)
        for given in (a, b)
    )
    units = None
    if groups is not None:
        checked = check_groups(np.asarray(groups), rows=len(numbers))
        units = np.unique(checked, return_inverse=True)[1].astype(np.int64)
    chosen_a, chosen_b = predicted_classes(a), predicted_classes(b)
    metrics = {"accuracy": _accuracy(numbers, chosen_a, chosen_b, units, level=level)}
    found_a, found_b = (
        count_influences(numbers, chosen, _COUNTED, num_classes=a.shape[1]) for chosen in (chosen_a, chosen_b)
    )
    if has_probabilities:
        found_a |= score_influences(numbers, a)
        found_b |= score_influences(numbers, b)
    for name in found_a:
        metrics[name] = _difference(name, found_a[name], found_b[name], numbers, units, level=level)
    return PairedEvaluation(
        names=names, rows=len(numbers), groups=None if units is None else int(units.max()) + 1, metrics=metrics
    )


def compare_many(
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    has_probabilities: bool = True,
) -> ManyCompared:
    """Return all pairs of several models, with p-values that allow for the number of pairs (Holm).

    Parameters
    ----------
    labels, groups, level, has_probabilities
        As for `compare`.
    probabilities
        Name of a model to float [N, K].

    Raises
    ------
    ValueError
        If there are fewer than two models, or as for `compare`.
    """
    if len(probabilities) < 2:
        raise ValueError(f"there are {len(probabilities)} models; expected two or more; give another one.")
    pairs = [
        compare(
            labels,
            probabilities[a],
            probabilities[b],
            names=(a, b),
            groups=groups,
            level=level,
            has_probabilities=has_probabilities,
        )
        for a, b in combinations(probabilities, 2)
    ]
    adjusted = {name: holm([pair.metrics[name].p_value for pair in pairs]) for name in pairs[0].metrics}
    return ManyCompared(pairs=tuple(pairs), adjusted={name: tuple(values) for name, values in adjusted.items()})


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the same order: the chance of any false alarm stays the level.

    An adjusted value at or below the level is significant however many were looked at. NaN stays NaN and does not
    count.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted


def _accuracy(
    labels: IntArray,
    chosen_a: NDArray[np.integer],
    chosen_b: NDArray[np.integer],
    units: IntArray | None,
    *,
    level: float,
) -> Difference:
    right_a, right_b = chosen_a == labels, chosen_b == labels
    found = compare_right(right_a, right_b, groups=units, level=level)
    return Difference(
        metric="accuracy",
        value_a=float(right_a.mean()),
        value_b=float(right_b.mean()),
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        noise_floor=found.noise_floor,
        method=found.method,
        level=level,
    )


def _freedom(name: str, influence: FloatArray, labels: IntArray, units: IntArray | None) -> int:
    """Return the degrees of freedom; none where a class that the metric weighs has a single row or group."""
    if name in _PER_CLASS and fewest_units(labels, units) < 2:
        return 0
    if name in _PER_CLASS or name in _COUNTED:
        return welch_freedom(influence, labels, units)
    return len(labels) - 1 if units is None else group_freedom(units)


def _difference(
    name: str, a: Influence, b: Influence, labels: IntArray, units: IntArray | None, *, level: float
) -> Difference:
    value_a, value_b = a[0], b[0]
    values: dict[str, Any] = {"metric": name, "value_a": value_a, "value_b": value_b, "level": level}
    if math.isnan(value_a) or math.isnan(value_b):
        return Difference(**values, method="undefined for one of them", difference=math.nan, p_value=math.nan)
    influence = b[1] - a[1]
    difference, error = value_b - value_a, standard_error(influence, units)
    if error <= _ROUNDING * max(abs(value_a), abs(value_b)) / math.sqrt(len(labels)):
        why, p_value = "no test: one group, or all rows differ alike", math.nan
        if difference == 0:
            why, p_value = "no test: equal in all that this metric looks at", 1.0
        return Difference(**values, method=why, difference=difference, p_value=p_value)
    freedom = _freedom(name, influence, labels, units)
    if freedom < 1:
        why = "no test: a class of one row, or within one group"
        return Difference(**values, method=why, difference=difference, p_value=math.nan)
    reach = student_quantile(level, freedom) * error
    kind = "influence of groups" if units is not None else "influence of rows"
    return Difference(
        **values,
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        p_value=two_sided_p(difference / error, freedom),
        noise_floor=reach,
        method=f"paired {kind}, Student's t",
    )
