"""Findings about causes that have a remedy: what was seen, what was tried, and what that has shown.

A cause is found only when its remedy improves the judgment of held-out rows, with the lower bound of the gain above
zero after Holm's correction over all trials; what else was seen is evidence of where to look. What can be seen without
a trial is in `trimtab.generalization.observations`; nothing is computed in either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.evaluation.intervals import Estimate
from trimtab.findings import Finding, Severity, State
from trimtab.generalization.conclusions import Concluded
from trimtab.generalization.evidence import Gap

_GRAVE, _SMALL = 0.3, 0.05  # of the loss that a remedy takes away: critical above the one, a note below the other
_MANY_SUSPECTS = 0.1


@dataclass(frozen=True)
class Lack:
    """Why something was not looked at: the state of its finding, and a sentence that says what to do."""

    state: State
    why: str

    def of(self, code: str, evidence: Mapping[str, Any] | None = None) -> Finding:
        """Return the finding of this code."""
        return Finding(code=code, state=self.state, summary=self.why, evidence=evidence or {})


def find_overfit(concluded: Sequence[Concluded], gap: Gap, *, untried: int) -> Finding:
    """Return whether the model learned its training rows at the cost of others.

    Parameters
    ----------
    concluded
        Remedies of this cause.
    gap
        Between training and held-out rows.
    untried
        Remedies that there was no time for.
    """
    seen = _seen(gap)
    if not concluded and not untried:
        text = f"{seen}: too small a gap to be worth a remedy."
        return Finding(code="OVERFIT", state="not found", summary=text, evidence=_of_gap(gap))
    return _by_trials("OVERFIT", concluded, concluded, gap, untried)


def find_underfit(concluded: Sequence[Concluded], gap: Gap, *, untried: int) -> Finding:
    """Return whether a larger network or longer training does better, on training rows and held-out rows alike.

    Parameters as for `find_overfit`.
    """
    if not concluded and not untried:
        text = f"{_seen(gap)}: training rows are learned far better than others."
        return Finding(code="UNDERFIT", state="not found", summary=text, evidence=_of_gap(gap))
    learns_more = [each for each in concluded if each.training_gain > 0]
    return _by_trials("UNDERFIT", concluded, learns_more, gap, untried)


def find_label_noise(
    concluded: Sequence[Concluded], *, suspects: int, rows: int, listed: str, lack: Lack | None = None
) -> Finding:
    """Return whether training with likelier labels for the suspects names more rows right.

    It has to on validation rows whose own labels are not suspect, beyond chance, and on all of them on the whole: the
    trusted ones alone are the easier ones, which a model that has seen no hard ones may do well on.

    Parameters
    ----------
    concluded
        The trial with other labels, if there was one.
    suspects, rows
        Suspect training rows, of so many.
    listed
        Where the suspects are listed, in a sentence.
    lack
        Why there was no trial, if there should have been one.
    """
    evidence: dict[str, Any] = {"suspects": suspects, "training_rows": rows}
    seen = f"the labels of {suspects:,} of {rows:,} training rows ({suspects / rows:.1%}) are suspect"
    if lack is not None:
        return Lack(lack.state, f"{seen}; {lack.why}").of("LABEL_NOISE", evidence)
    if not concluded:
        text = f"{seen}: too few to tell anything by training with other ones."
        return Finding(code="LABEL_NOISE", state="not found", summary=text, evidence=evidence)
    trial, all_rows = concluded[0].trial, concluded[0].accuracy_gain or 0.0
    evidence |= {"accuracy_gain_on_all_rows": all_rows}
    gain = f"{_points(trial.gain)} on trusted validation rows, {_points(all_rows)} on all"
    if not (trial.has_helped and all_rows > 0):
        text = f"{seen}, but training with likelier ones is not shown to help: {gain}."
        return Finding(code="LABEL_NOISE", state="not found", summary=text, evidence=evidence, trials=(trial,))
    return Finding(
        code="LABEL_NOISE",
        state="found",
        severity="critical" if suspects > _MANY_SUSPECTS * rows else "warning",
        summary=f"{seen}, and a model trained with likelier ones names more right: {gain}.",
        evidence=evidence,
        value=trial.gain,
        low=trial.low,
        high=trial.high,
        method="accuracy, paired over rows and seeds, with a sign test, Holm over all trials",
        remedy=f"Look through the suspects, correct or remove what is wrong, and run again. {listed}",
        trials=(trial,),
    )


def find_uncalibrated(
    concluded: Sequence[Concluded], error: Estimate | None, *, reason: str, without_trial: State
) -> Finding:
    """Return whether a temperature would make the delivered probabilities truer.

    Parameters
    ----------
    concluded
        The trial of a temperature, if there was one.
    error
        The calibration error on the test rows.
    reason
        What there is to say when that did not help, without a full stop.
    without_trial
        The state when there was no trial.
    """
    evidence = {"test_smooth_ece": None if error is None else error.to_dict()}
    trials = tuple(each.trial for each in concluded)
    helped = [trial for trial in trials if trial.has_helped]
    if not helped:
        state: State = "not found" if trials else without_trial
        return Finding(code="UNCALIBRATED", state=state, summary=f"{reason}.", evidence=evidence, trials=trials)
    trial = helped[0]
    return Finding(
        code="UNCALIBRATED",
        state="found",
        severity="warning",
        summary=f"{trial.remedy} lowers the log loss of held-out rows by {_amount(trial.gain, trial.low, trial.high)}.",
        evidence=evidence,
        value=trial.gain,
        low=trial.low,
        high=trial.high,
        method="paired t test, cross-fitted temperatures, Holm over all trials",
        remedy="Run again with calibration on.",
        trials=trials,
    )


def _by_trials(
    code: str, concluded: Sequence[Concluded], counted: Sequence[Concluded], gap: Gap, untried: int
) -> Finding:
    """Return what the trials of a cause have shown; only ``counted`` ones can show it."""
    trials = tuple(each.trial for each in concluded)
    helped = [each.trial for each in counted if each.trial.has_helped]
    evidence = _of_gap(gap) | {"accuracy_gains": {each.remedy.name: each.accuracy_gain for each in concluded}}
    left = f" There was no time for {untried} more." if untried else ""
    if not trials:
        return Lack("not checked", f"{_seen(gap)}; there was no time for a remedy.").of(code, evidence)
    best = max(helped or trials, key=lambda trial: trial.gain)
    amount = _amount(best.gain, best.low, best.high)
    if not helped:
        text = f"{_seen(gap)}; of {_count(trials)} none is shown to help, the best, {best.remedy}, by {amount}.{left}"
        return Finding(code=code, state="not found", summary=text, evidence=evidence, trials=trials)
    return Finding(
        code=code,
        state="found",
        severity=_severity(best.gain / gap.held_out if gap.held_out > 0 else 0.0),
        summary=f"{_seen(gap)}, which {best.remedy} improves on by {amount}; {len(helped)} of {_count(trials)} "
        f"{'helps' if len(helped) == 1 else 'help'}.{left}",
        evidence=evidence,
        value=best.gain,
        low=best.low,
        high=best.high,
        method="log loss, paired over rows and seeds, Holm over all trials",
        remedy=f"Train with {best.remedy}.",
        trials=trials,
    )


def _seen(gap: Gap) -> str:
    return f"log loss is {gap.training:.3g} on training rows and {gap.held_out:.3g} on held-out rows"


def _of_gap(gap: Gap) -> dict[str, Any]:
    return {"training_loss": gap.training, "held_out_loss": gap.held_out, "gap": gap.estimate.to_dict()}


def _severity(share: float) -> Severity:
    return "critical" if share >= _GRAVE else "warning" if share >= _SMALL else "note"


def _count(trials: Sequence[Any]) -> str:
    return "1 remedy" if len(trials) == 1 else f"{len(trials)} remedies"


def _points(gain: float) -> str:
    return f"{100 * gain:+.2f} points of accuracy"


def _amount(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.3g}" if low is None or high is None else f"{value:.3g} ({low:.3g} to {high:.3g})"
