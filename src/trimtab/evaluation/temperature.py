"""One number that makes probabilities as sure as they should be: softmax(logits / T) instead of softmax(logits).

A temperature above one makes a model less sure of everything it says, below one surer; the order of the classes
stays. It is fitted on rows that trained nothing, judged on rows that did not fit it, and dropped unless it is shown
to help. One number cannot repair a model that is too sure of some classes and not sure enough of others.

Log probabilities serve as logits: they differ by a constant per row, which the softmax takes out again.

Legend: ``N`` rows, ``K`` classes, ``G`` groups.

References
----------
Guo, Pleiss, Sun, Weinberger (2017), ICML, section 4.2 (temperature scaling).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import FloatArray, IntArray
from trimtab.evaluation.intervals import student_quantile
from trimtab.evaluation.labels import check_labels, check_probabilities
from trimtab.evaluation.student import two_sided_p

LOWEST, HIGHEST = 0.1, 10.0
"""Bounds of the search. Beyond them probabilities that float32 holds no longer tell the logits that made them."""

_FOLDS = 5
_LEAST_ROWS, _LEAST_WRONG, _LEAST_GROUPS = 100, 20, 10
_TOLERANCE = 1e-10  # relative, of the fitted value
_BLOCK = 4096  # rows at a time: what is computed on the way stays in the cache
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True)
class TemperatureChoice:
    """A temperature, and the evidence for it or against it.

    Attributes
    ----------
    temperature
        The one to use: 1 when the fitted one is not kept.
    is_kept
        Whether the fitted one is used.
    reason
        Why, in words, without a full stop.
    rows
        N.
    log_loss_before
        Mean over all rows, nats.
    level
        Of the interval; the temperature is kept when the whole interval lies below zero.
    fitted_temperature
        What all rows together ask for; ``None`` when it was not fitted.
    log_loss_after
        The same with temperatures that were fitted without the row they judge; ``None`` without a test.
    difference, low, high
        Mean of after minus before with its interval; negative is better; ``None`` without a test.
    p_value
        Two-sided, of the hypothesis that the mean difference is zero; ``None`` without a test.
    method
        Of the interval and the test.
    """

    temperature: float
    is_kept: bool
    reason: str
    rows: int
    log_loss_before: float
    level: float
    fitted_temperature: float | None = None
    log_loss_after: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    method: str = "none"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TemperatureChoice:
        """Return the choice that `to_dict` gave; what else stands beside its fields is ignored."""
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})


def choose_temperature(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    groups: IntArray | None = None,
    seed: int,
    level: float = 0.95,
) -> TemperatureChoice:
    """Return the temperature for a model with these probabilities, or 1 when it is not shown to help.

    Each row's log loss is judged with a temperature that was fitted without the row (cross-fitting), and the paired
    test is on the differences row by row; the temperature that is used is fitted on all rows. Where few rows are
    predicted wrong, their losses decide all, a test of means is unreliable, and what it keeps helps new rows as often
    as it harms them: nothing is fitted then. A class with few rows is no obstacle: all classes share the one number.

    Parameters
    ----------
    probabilities
        float [N, K] of the model, on rows that did not train it.
    labels
        Class numbers, integers [N].
    groups
        int [N]; rows of a group share a fold, and only groups count as independent. Each row by itself unless given.
    seed
        Of the division into folds.
    level
        Of the interval, in (0, 1).

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a value is not what it should be.
    """
    labels = check_labels(labels, num_classes=np.shape(probabilities)[-1])
    probabilities = check_probabilities(probabilities, rows=len(labels), num_classes=probabilities.shape[-1])
    units = _units(groups, len(labels))
    logits = np.log(np.maximum(probabilities.astype(np.float64), _TINY))
    least = math.log(np.finfo(probabilities.dtype).eps)  # `log_loss` of the same numbers clips there
    before = _losses(logits, labels, 1.0, least)
    wrong = int(np.sum(probabilities.argmax(axis=1) != labels))
    choice = TemperatureChoice(
        temperature=1.0,
        is_kept=False,
        reason=_refusal(wrong, len(labels), int(units.max()) + 1),
        rows=len(labels),
        log_loss_before=float(before.mean()),
        level=level,
    )
    if choice.reason:
        return choice
    fitted = fit_temperature(logits, labels)
    choice = replace(choice, fitted_temperature=fitted)
    if fitted in (LOWEST, HIGHEST):
        return replace(choice, reason="it lies at the bound of the search: the validation rows do not determine it")
    folds = deal_folds(labels, None if groups is None else units, count=_FOLDS, rng=np.random.default_rng(seed))
    after = _held_out_losses(logits, labels, folds, start=fitted, least=least)
    return _decided(choice, fitted, after, before, units)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer], *, start: float = 1.0) -> float:
    """Return the temperature with the smallest mean log loss, between `LOWEST` and `HIGHEST`.

    The loss is convex in 1 / T, so there is one smallest: Newton's method finds it, kept inside a bracket.

    Parameters
    ----------
    logits
        float [N, K], or log probabilities; finite.
    labels
        int64 [N], 0 to K - 1.
    start
        A guess, within the bounds.

    Raises
    ------
    ValueError
        If a logit is not finite, or there are no rows.
    """
    if not len(logits) or not np.isfinite(logits).all():
        raise ValueError("the logits hold NaN or infinity, or no row; expected finite float [N, K]; check the model.")
    shifted = logits.astype(np.float64) - np.max(logits, axis=1, keepdims=True)
    low, high, inverse = 1 / HIGHEST, 1 / LOWEST, 1 / start
    if _derivatives(shifted, labels, low)[0] >= 0:
        return HIGHEST
    if _derivatives(shifted, labels, high)[0] <= 0:
        return LOWEST
    while high - low > _TOLERANCE * low:
        slope, curvature = _derivatives(shifted, labels, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        before, inverse = inverse, inverse - slope / curvature if curvature > 0 else low
        if abs(inverse - before) <= _TOLERANCE * before:
            break
        if not low < inverse < high:
            inverse = math.sqrt(low * high)
    return 1 / inverse


def apply_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Return p ** (1 / T), normalized: the softmax of the logits divided by T; [N, K] of the dtype given.

    A probability of zero stays zero.

    Parameters
    ----------
    probabilities
        float [N, K].
    temperature
        T, above 0.

    Raises
    ------
    ValueError
        If the temperature is not above 0.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"the temperature is {temperature}; expected a number above 0; 1 changes nothing.")
    if temperature == 1:
        return probabilities.copy()
    relative = probabilities / probabilities.max(axis=1, keepdims=True).astype(np.float64)
    powers = relative ** (1 / temperature)
    powers /= powers.sum(axis=1, keepdims=True)
    return np.asarray(powers, dtype=probabilities.dtype)


def deal_folds(labels: IntArray, groups: IntArray | None, *, count: int, rng: np.random.Generator) -> IntArray:
    """Return the fold of each row [N]: classes spread evenly; groups kept together, the largest dealt out first.

    Parameters
    ----------
    labels
        int64 [N].
    groups
        int64 [N] from 0 up, or ``None`` when rows are independent.
    count
        Of folds.
    rng
        Decides ties and the order within classes.
    """
    if groups is None:
        order = rng.permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        folds = np.empty(len(labels), np.int64)
        folds[order] = np.arange(len(labels)) % count
        return folds
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    fold_of_group, filled = np.empty(len(sizes), np.int64), np.zeros(count, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of_group[group] = filled.argmin()
        filled[fold_of_group[group]] += sizes[group]
    return fold_of_group[groups]


def _units(groups: IntArray | None, rows: int) -> IntArray:
    """Return the number of the independent unit that each row belongs to [N]."""
    if groups is None:
        return np.arange(rows)
    if np.shape(groups) != (rows,):
        raise ValueError(f"groups have shape {np.shape(groups)}; expected ({rows},); give the group of each row.")
    units: IntArray = np.unique(groups, return_inverse=True)[1]
    return units


def _refusal(wrong: int, rows: int, units: int) -> str:
    """Return why there is nothing to fit, or an empty text."""
    if rows < _LEAST_ROWS:
        return f"{rows} validation rows are too few, at least {_LEAST_ROWS} are needed"
    if units < _LEAST_GROUPS:
        return f"{units} groups of validation rows are too few, at least {_LEAST_GROUPS} are needed"
    if wrong < _LEAST_WRONG:
        return f"{wrong} validation rows predicted wrong are too few, at least {_LEAST_WRONG} are needed"
    return ""


def _derivatives(shifted: FloatArray, labels: NDArray[np.integer], inverse: float) -> tuple[float, float]:
    """Return the first and second derivative of the summed log loss in 1 / T; logits [N, K] with a row maximum of 0."""
    slope = curvature = 0.0
    for start in range(0, len(labels), _BLOCK):
        block, true = shifted[start : start + _BLOCK], labels[start : start + _BLOCK]
        weights = np.exp(block * inverse)
        weights /= weights.sum(axis=1, keepdims=True)
        weighted = weights * block
        means = weighted.sum(axis=1)
        slope += float(means.sum() - block[np.arange(len(true)), true].sum())
        curvature += float(np.einsum("nk,nk->", weighted, block) - means @ means)
    return slope, curvature


def _held_out_losses(
    logits: FloatArray, labels: IntArray, folds: IntArray, *, start: float, least: float
) -> FloatArray:
    """Return each row's loss under the temperature that the other folds ask for: float64 [N]."""
    losses = np.empty(len(labels))
    for fold in range(_FOLDS):
        is_held_out = folds == fold
        temperature = fit_temperature(logits[~is_held_out], labels[~is_held_out], start=start)
        losses[is_held_out] = _losses(logits[is_held_out], labels[is_held_out], temperature, least)
    return losses


def _losses(logits: FloatArray, labels: IntArray, temperature: float, least: float) -> FloatArray:
    """Return the loss of each row in nats [N], none larger than minus ``least``."""
    scaled = logits / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    of_true_class = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
    losses: FloatArray = -np.maximum(of_true_class, least)
    return losses


def _decided(
    choice: TemperatureChoice, fitted: float, after: FloatArray, before: FloatArray, units: IntArray
) -> TemperatureChoice:
    """Return the choice with the paired test on row losses [N], from sums over independent units."""
    differences, count = after - before, int(units.max()) + 1
    mean = float(differences.mean())
    deviations = np.bincount(units, weights=differences - mean)  # [G]
    error = math.sqrt(count / (count - 1) * float(deviations @ deviations)) / len(differences)
    reach = student_quantile(choice.level, count - 1) * error
    is_kept, p_value = mean + reach < 0, two_sided_p(mean / error, count - 1) if error > 0 else float(mean == 0)
    found = f"log loss on held-out validation rows {before.mean():.4g} -> {after.mean():.4g} (p = {p_value:.2g})"
    return replace(
        choice,
        temperature=fitted if is_kept else 1.0,
        is_kept=is_kept,
        reason=found if is_kept else f"no significant gain, {found}",
        log_loss_after=float(after.mean()),
        difference=mean,
        low=mean - reach,
        high=mean + reach,
        p_value=p_value,
        method=f"paired t test over {count:,} {'rows' if count == len(after) else 'groups'}, {_FOLDS} folds",
    )
