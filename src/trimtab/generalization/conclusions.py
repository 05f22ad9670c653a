"""From the outcomes of all trials to what each has shown: one family of tests, corrected together.

Log loss judges remedies, at the temperature that other rows ask for, so that a gain is more than a different
sureness. On rows whose labels may be wrong it says little: a model that knows better than the label is punished. So
training with other labels for suspects is judged by accuracy on the validation rows whose own labels nobody doubts; a
sign test over rows has to agree.

Legend: ``S`` seeds, ``N`` validation rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.paired import mid_p_mcnemar
from trimtab.findings import Trial
from trimtab.generalization.gains import FloatArray, Gain, IntArray, SeedNoise, Verdict, judge_together, mean_gain
from trimtab.generalization.remedies import Remedy
from trimtab.generalization.trials import Outcome


@dataclass(frozen=True, kw_only=True)
class Concluded:
    """A remedy with what its trial has shown.

    Attributes
    ----------
    remedy
        That was tried.
    trial
        For a `Finding`.
    training_gain
        Log loss on training rows, baseline less trial.
    accuracy_gain
        Over all validation rows, a share of them; ``None`` where that is not known.
    """

    remedy: Remedy
    trial: Trial
    training_gain: float
    accuracy_gain: float | None


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A remedy that nothing had to be trained for, with its gain, tested in the same family."""

    remedy: Remedy
    metric: str
    gain: Gain


def conclude(
    outcomes: Sequence[Outcome],
    *,
    units: IntArray | None = None,
    is_trusted: NDArray[np.bool_] | None = None,
    extras: Sequence[Extra] = (),
    level: float = 0.95,
) -> list[Concluded]:
    """Return what each trial has shown, extras last.

    Parameters
    ----------
    outcomes
        Of remedies against one baseline.
    units
        int64 [N], the independent unit of each validation row; each row by itself unless given.
    is_trusted
        bool [N], validation rows whose labels are not suspect; needed when an outcome is about suspect labels.
    extras
        Gains of other kinds.
    level
        Of all intervals together, in (0, 1).
    """
    trained = [outcome for outcome in outcomes if not outcome.has_diverged]
    gains = [_gain(outcome, trained, units, is_trusted) for outcome in trained]
    verdicts = judge_together([*gains, *(extra.gain for extra in extras)], level=level)
    found: dict[int, tuple[Gain | None, Verdict | None]] = {
        id(outcome): (gain, verdict) for outcome, gain, verdict in zip(trained, gains, verdicts, strict=False)
    }
    concluded = [_concluded(outcome, *found.get(id(outcome), (None, None)), is_trusted) for outcome in outcomes]
    for extra, verdict in zip(extras, verdicts[len(trained) :], strict=True):
        trial = _trial(extra.remedy, extra.metric, extra.gain.value, verdict, seconds=0.0)
        concluded.append(Concluded(remedy=extra.remedy, trial=trial, training_gain=0.0, accuracy_gain=None))
    return concluded


def best_of(concluded: Sequence[Concluded]) -> Concluded | None:
    """Return the remedy shown to gain most among those that name no fewer validation rows right; ``None`` without one.

    A remedy that only makes a network less sure can lower the log loss and lose accuracy.
    """
    helped = [each for each in concluded if each.trial.has_helped and (each.accuracy_gain or 0.0) >= 0]
    return max(helped, key=lambda each: each.trial.gain, default=None)


def _gain(
    outcome: Outcome, outcomes: Sequence[Outcome], units: IntArray | None, is_trusted: NDArray[np.bool_] | None
) -> Gain:
    if outcome.remedy.cause != "LABEL_NOISE":
        noise = SeedNoise.of([each.gains for each in outcomes if each.remedy.cause != "LABEL_NOISE"])
        return mean_gain(outcome.gains, noise, units=units)
    trusted = np.ones(outcome.gains.shape[1], np.bool_) if is_trusted is None else is_trusted
    own_units = None if units is None else np.unique(units[trusted], return_inverse=True)[1].astype(np.int64)
    differences = outcome.right_gains[:, trusted]
    gain = mean_gain(differences, SeedNoise.of([each.right_gains[:, trusted] for each in outcomes]), units=own_units)
    return replace(gain, p_value_at_least=_sign_test(differences, own_units))


def _sign_test(differences: FloatArray, units: IntArray | None) -> float:
    """Return the mid-p value of as many units winning and losing, seeds added up."""
    totals = differences.sum(axis=0)
    totals = totals if units is None else np.bincount(units, weights=totals)
    return mid_p_mcnemar(int((totals < 0).sum()), int((totals > 0).sum()))


def _concluded(
    outcome: Outcome, gain: Gain | None, verdict: Verdict | None, is_trusted: NDArray[np.bool_] | None
) -> Concluded:
    rows = outcome.gains.shape[1]
    metric = f"log loss of {rows:,} validation rows"
    if outcome.remedy.cause == "LABEL_NOISE":
        trusted = rows if is_trusted is None else int(is_trusted.sum())
        metric = f"accuracy on {trusted:,} validation rows whose labels are not suspect"
    if gain is None or verdict is None:
        metric, gain = "none: training diverged", Gain(value=0.0, error=math.inf, freedom=1.0)
    trial = _trial(outcome.remedy, metric, gain.value, verdict, seconds=outcome.seconds)
    accuracy = None if outcome.has_diverged else float(outcome.right_gains.mean())
    return Concluded(remedy=outcome.remedy, trial=trial, training_gain=outcome.training_gain, accuracy_gain=accuracy)


def _trial(remedy: Remedy, metric: str, value: float, verdict: Verdict | None, *, seconds: float) -> Trial:
    has_interval = verdict is not None and verdict.low is not None
    return Trial(
        remedy=remedy.name,
        settings=dict(remedy.settings),
        metric=metric,
        gain=value,
        low=verdict.low if verdict else None,
        high=verdict.high if verdict else None,
        p_value=verdict.p_value if verdict and has_interval else None,
        has_helped=verdict is not None and verdict.is_shown,
        seconds=round(seconds, 3),
    )
