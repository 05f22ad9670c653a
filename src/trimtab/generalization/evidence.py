"""What answers that were recorded while a network trained are evidence of; nothing is trained here.

A validation row must not judge weights that it chose. So the validation rows are dealt into folds, and each row is
judged by the weights (of all validations of one training), and at the temperature, that the rows of the other folds
choose. One training thus judges every validation row, and no row has a say in what it judges.

Legend: ``E`` validations in a training, ``S`` seeds, ``N`` validation rows, ``M`` training rows, ``K`` classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.intervals import Estimate, student_quantile
from trimtab.evaluation.temperature import fit_temperature
from trimtab.generalization.gains import FloatArray, IntArray, mean_gain

FOLDS = 5
"""Folds of the validation rows."""

LEAST_WRONG = 20
"""Wrong answers below which neither a temperature is fitted nor a remedy judged: so few rows decide nothing."""

_COOLEST, _HOTTEST = 0.5, 10.0  # a temperature near zero would stake everything on rows that happened to be right
_LEAST_LOG = math.log(np.finfo(np.float32).eps)  # of a probability, as in `trimtab.evaluation.log_loss`
_PERMUTATIONS = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """How one training did on rows that chose nothing about it.

    Attributes
    ----------
    log_probabilities
        float64 [N, K], at the temperature that the other folds ask for.
    losses
        float64 [N], nats, of these.
    raw_losses
        float64 [N], at temperature 1.
    is_right
        bool [N].
    epochs
        int64 [N], the validation (0 to E - 1) whose weights the other folds chose.
    """

    log_probabilities: FloatArray
    losses: FloatArray
    raw_losses: FloatArray
    is_right: NDArray[np.bool_]
    epochs: IntArray

    @property
    def usual_epoch(self) -> int:
        """The validation that most rows were judged at."""
        return int(np.bincount(self.epochs).argmax())


def judge(recorded: NDArray[np.floating], labels: IntArray, folds: IntArray) -> Judged:
    """Return how each row does under the weights and the temperature that the other folds choose.

    Parameters
    ----------
    recorded
        float [E, N, K], logits at each validation; a validation that is not finite is never chosen.
    labels, folds
        int64 [N], of at least two folds.
    """
    by_epoch = np.stack([_losses(log_softmax(logits), labels) for logits in recorded])  # [E, N]
    by_epoch[~np.isfinite(recorded).all(axis=(1, 2))] = math.inf
    judged = np.empty(recorded.shape[1:], np.float64)
    epochs = np.empty(len(labels), np.int64)
    for fold in np.unique(folds):
        is_own = folds == fold
        epoch = int(by_epoch[:, ~is_own].mean(axis=1).argmin())
        logs = log_softmax(recorded[epoch])
        judged[is_own] = log_softmax(logs[is_own] / _temperature(logs[~is_own], labels[~is_own]))
        epochs[is_own] = epoch
    return Judged(
        log_probabilities=judged,
        losses=_losses(judged, labels),
        raw_losses=by_epoch[epochs, np.arange(len(labels))],
        is_right=judged.argmax(axis=1) == labels,
        epochs=epochs,
    )


def judge_fixed(probabilities: NDArray[np.floating], labels: IntArray) -> Judged:
    """Return the same for finished probabilities [N, K], whose weights these rows may have chosen."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
    losses = _losses(logs, labels)
    return Judged(
        log_probabilities=logs,
        losses=losses,
        raw_losses=losses,
        is_right=logs.argmax(axis=1) == labels,
        epochs=np.zeros(len(labels), np.int64),
    )


def log_softmax(logits: NDArray[np.floating]) -> FloatArray:
    """Return log probabilities of logits [N, K]; where a logit is not finite they are no numbers."""
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _losses(log_probabilities: FloatArray, labels: IntArray) -> FloatArray:
    of_true = log_probabilities[np.arange(len(labels)), labels]
    losses: FloatArray = -np.maximum(of_true, _LEAST_LOG)
    return losses


def _temperature(log_probabilities: FloatArray, labels: IntArray) -> float:
    if int((log_probabilities.argmax(axis=1) != labels).sum()) < LEAST_WRONG:
        return 1.0
    return min(max(fit_temperature(log_probabilities, labels), _COOLEST), _HOTTEST)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How much better a model does on rows that it was trained on.

    Attributes
    ----------
    training, held_out
        Mean log loss, nats.
    estimate
        Of held out minus training, with its interval.
    """

    training: float
    held_out: float
    estimate: Estimate

    @property
    def share(self) -> float:
        """The gap as a share of the loss on held-out rows, 0 or above."""
        return max(0.0, 1 - self.training / self.held_out) if self.held_out > 0 else 0.0

    @property
    def is_there(self) -> bool:
        """Whether the gap is beyond its sampling error."""
        return self.estimate.low is not None and self.estimate.low > 0


def gap_of(
    judged: Sequence[Judged], training: Sequence[NDArray[np.floating]], labels: IntArray, *, level: float = 0.95
) -> Gap:
    """Return the gap between training rows and held-out rows, at temperature 1 and the weights that validation chose.

    Parameters
    ----------
    judged
        One per seed.
    training
        float [E, M, K] per seed: logits of a sample of the training rows.
    labels
        int64 [M], of that sample.
    level
        Of the interval (Welch), in (0, 1). Groups are not allowed for: it only says where to look.
    """
    held_out = np.mean([each.raw_losses for each in judged], axis=0)
    own = np.mean(
        [_losses(log_softmax(logits[each.usual_epoch]), labels) for each, logits in zip(judged, training, strict=True)],
        axis=0,
    )
    parts = [float(losses.var(ddof=1)) / len(losses) for losses in (held_out, own)]
    variance = sum(parts)
    value = float(held_out.mean() - own.mean())
    low = high = value
    if variance > 0:
        rest = sum(part**2 / (len(losses) - 1) for part, losses in zip(parts, (held_out, own), strict=True))
        reach = student_quantile(level, max(1, int(variance**2 / rest))) * math.sqrt(variance)
        low, high = value - reach, value + reach
    estimate = Estimate(value=value, low=low, high=high, method="Welch's t", level=level)
    return Gap(training=float(own.mean()), held_out=float(held_out.mean()), estimate=estimate)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Whether answers have anything to do with the labels.

    Attributes
    ----------
    estimate
        Nats by which the true class is likelier than a class drawn from the labels' shares, with its interval.
    p_value
        One-sided, of the hypothesis that labels and answers are independent.
    method
        Of the p-value.
    """

    estimate: Estimate
    p_value: float
    method: str


def signal_of(
    log_probabilities: FloatArray,
    labels: IntArray,
    *,
    units: IntArray | None = None,
    rng: np.random.Generator,
    level: float = 0.95,
) -> Signal:
    """Return how far the answers know the labels of rows that they did not see, against labels in random order.

    Labels in random order are what a model without any signal has: what it says is then as likely for one label as
    for another. Shares of the classes, overconfidence and a bias towards a class do not count as signal.

    Parameters
    ----------
    log_probabilities
        float64 [N, K].
    labels
        int64 [N].
    units
        int64 [N], when only units of rows are independent; the test is then Student's t over units.
    rng
        Of the permutations.
    level
        Of the interval, in (0, 1).
    """
    rows, logs = np.arange(len(labels)), np.maximum(log_probabilities, _LEAST_LOG)
    shares = np.bincount(labels, minlength=logs.shape[1]) / len(labels)
    advantages = logs[rows, labels] - logs @ shares
    gain = mean_gain(advantages[None], None, units=units)
    reach = gain.reach(level)
    has_interval = math.isfinite(reach)
    estimate = Estimate(
        value=gain.value,
        low=gain.value - reach if has_interval else None,
        high=gain.value + reach if has_interval else None,
        method="t of the rows' advantages" if units is None else "t of the groups' advantages",
        level=level,
    )
    if units is not None:
        p_value = gain.p_value / 2 if gain.value > 0 else 1 - gain.p_value / 2
        return Signal(estimate=estimate, p_value=p_value, method="t over groups")
    observed = float(logs[rows, labels].sum())
    permuted = np.array([float(logs[rows, rng.permutation(labels)].sum()) for _ in range(_PERMUTATIONS)])
    p_value = (1 + int((permuted >= observed).sum())) / (1 + _PERMUTATIONS)
    return Signal(estimate=estimate, p_value=p_value, method=f"{_PERMUTATIONS:,} permutations of the labels")


def best_epoch(recorded: NDArray[np.floating], labels: IntArray) -> int:
    """Return the validation, of logits [E, N, K], with the least mean log loss of labels [N]."""
    means = [float(_losses(log_softmax(logits), labels).mean()) for logits in recorded]
    return int(np.nanargmin(means))
