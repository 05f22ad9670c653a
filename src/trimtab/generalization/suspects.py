"""Rows whose labels are suspect, and the finding LABEL_NOISE: how many labels are wrong, as far as that can be told.

Confident learning (Northcutt and others) in a few lines of NumPy: cleanlab, where it comes from, brings more packages
than all of trimtab needs. A class is usually given some probability to rows that are labeled so; a row is suspect when
a model that was trained without it gives another class at least what is usual for that one, and more than it gives the
label. Suspects are candidates for a second look, not proven mistakes: a weak model suspects hard rows.

How many labels are wrong cannot be read off the suspects. It is read off the surest tenth of the rows: where a model
is surest, clean rows hardly ever have another label, so a tenth that still disagrees holds wrong labels at their rate
in the data (the anchor points of Liu and Tao). This needs a problem that is easy for the quick model apart from wrong
labels; where it is not, hard rows look the same and the finding says so.

Legend: ``N`` rows, ``K`` classes.

References
----------
Northcutt, Jiang, Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, section 3.
Liu, Tao (2016), "Classification with Noisy Labels by Importance Reweighting", IEEE TPAMI 38(3), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset
from trimtab.evaluation.intervals import Estimate, undefined, wilson
from trimtab.findings import Finding, Severity

Rows = NDArray[np.int64]
Probabilities = NDArray[np.floating]
_SUREST = 0.1  # share of the rows
_FEWEST = 20  # rows that share must hold
_HARDEST = 0.3  # share of hard rows up to which wrong labels can be told from them
_CAUTION = 0.8  # level of the bound that the share of hard rows is reckoned with
_RATE = 0.01  # of wrong labels that is worth a finding
_SEVERITIES: tuple[tuple[float, Severity], ...] = ((0.1, "critical"), (0.03, "warning"), (0.0, "note"))
_SHOWN = 24
_METHOD = "out-of-fold confident learning; disagreement among the surest tenth"


@dataclass(frozen=True, kw_only=True, eq=False)
class Doubts:
    """Labels against what a model says that did not see them.

    Attributes
    ----------
    is_suspect
        bool [N].
    suggested
        int64 [N], the class that the model gives instead; the label itself where that is not suspect.
    margins
        float64 [N], probability of the suggested class less that of the label.
    """

    is_suspect: NDArray[np.bool_]
    suggested: Rows
    margins: NDArray[np.float64]

    @property
    def share(self) -> float:
        """Share of suspects."""
        return float(self.is_suspect.mean()) if len(self.is_suspect) else 0.0

    @property
    def surest(self) -> Rows:
        """The numbers of the suspect rows, the surest first."""
        rows = np.flatnonzero(self.is_suspect)
        surest: Rows = rows[np.argsort(-self.margins[rows], kind="stable")].astype(np.int64)
        return surest


@dataclass(frozen=True, kw_only=True)
class NoiseEstimate:
    """How many labels are wrong, and whether that can be told.

    Attributes
    ----------
    rate
        Share of wrong labels, with its interval.
    hard_share
        Share of the rows that the model could only guess, apart from wrong labels, at most; above 0.3 the rate tells
        nothing.
    surest
        Rows that the rate was read off.
    """

    rate: Estimate
    hard_share: float
    surest: int

    @property
    def can_tell(self) -> bool:
        """Whether there are enough sure rows to tell wrong labels from hard rows."""
        return self.surest >= _FEWEST and self.hard_share <= _HARDEST


def usual_confidence(labels: Rows, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the mean probability of each class over the rows that are labeled so, float64 [K].

    A class without a row gets infinity: nothing is confidently of a class that nobody has seen.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def doubt(labels: Rows, probabilities: Probabilities, usual: NDArray[np.float64] | None = None) -> Doubts:
    """Return which labels a model doubts that was not trained on these rows.

    Parameters
    ----------
    labels
        int64 [N].
    probabilities
        float [N, K] of a model that did not see the rows.
    usual
        float64 [K], from other rows; from these unless given.
    """
    usual = usual_confidence(labels, probabilities) if usual is None else usual
    rows, given = np.arange(len(labels)), probabilities.astype(np.float64)
    likeliest = np.where(given >= usual, given, -1.0).argmax(axis=1)  # of the classes that reach what is usual
    is_suspect = (given[rows, likeliest] >= usual[likeliest]) & (given[rows, likeliest] > given[rows, labels])
    suggested = np.where(is_suspect, likeliest, labels).astype(np.int64)
    return Doubts(is_suspect=is_suspect, suggested=suggested, margins=given[rows, suggested] - given[rows, labels])


def estimate_noise(labels: Rows, probabilities: Probabilities, *, level: float = 0.95) -> NoiseEstimate:
    """Return how many labels are wrong, read off the surest tenth of the rows of each predicted class.

    Parameters
    ----------
    labels, probabilities
        As of `doubt`.
    level
        Of the interval.
    """
    best = probabilities.argmax(axis=1)
    is_wrong = best != labels
    surest = _surest(best, probabilities.max(axis=1))
    if not len(surest):
        return NoiseEstimate(rate=undefined("no rows", level=level), hard_share=1.0, surest=0)
    rate = float(is_wrong[surest].mean())
    guessing = 1 - float(np.bincount(labels).max()) / len(labels)
    estimate = wilson(rate, len(surest), level=level)
    least = wilson(rate, len(surest), level=_CAUTION).low or 0.0
    hard = (float(is_wrong.mean()) - least) / (guessing - least) if guessing > least else 1.0
    return NoiseEstimate(rate=estimate, hard_share=float(np.clip(hard, 0.0, 1.0)), surest=len(surest))


def label_noise_finding(dataset: Dataset, probabilities: Probabilities) -> Finding:
    """Return the finding.

    Parameters
    ----------
    dataset
        ``N`` rows.
    probabilities
        [N, K] out of fold.
    """
    doubts, noise = doubt(dataset.labels, probabilities), estimate_noise(dataset.labels, probabilities)
    suspects = int(doubts.is_suspect.sum())
    evidence = {
        "suspects": suspects,
        "surest_rows": noise.surest,
        "hard_share": noise.hard_share,
        "quick_model_accuracy": float((probabilities.argmax(axis=1) == dataset.labels).mean()),
        "suspects_shown": _shown(dataset, doubts),
    }
    look = f"{suspects:,} labels are contradicted by a quick model that did not see them"
    rate = noise.rate
    if not noise.can_tell:
        why = "the rows are few" if noise.surest < _FEWEST else "many rows are hard for it"
        summary = f"{look}, but {why}, so wrong labels cannot be told from hard rows."
        return Finding(code="LABEL_NOISE", state="not applicable", summary=summary, evidence=evidence, method=_METHOD)
    is_found = rate.low is not None and rate.low > _RATE
    share = f"{100 * (rate.value or 0):.2g}% ({100 * (rate.low or 0):.2g}% to {100 * (rate.high or 0):.2g}%)"
    return Finding(
        code="LABEL_NOISE",
        state="found" if is_found else "not found",
        severity=_severity(rate.value or 0.0) if is_found else None,
        summary=f"{look}; among the rows it is surest of, {share} have another label.",
        evidence=evidence,
        value=rate.value,
        low=rate.low,
        high=rate.high,
        method=_METHOD,
        remedy="Look at the suspects, the surest first, and correct those that are wrong." if is_found else "",
    )


def _surest(best: Rows, confidence: Probabilities) -> Rows:
    """Return the surest tenth of the rows of each predicted class."""
    order = np.lexsort((-confidence, best))
    counts = np.bincount(best)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    within = np.arange(len(best)) - starts
    surest: Rows = order[within < np.ceil(_SUREST * counts)[best[order]]]
    return surest


def _severity(rate: float) -> Severity:
    return next(severity for least, severity in _SEVERITIES if rate >= least)


def _shown(dataset: Dataset, doubts: Doubts) -> list[dict[str, object]]:
    return [
        {
            "row": int(row),
            "name": dataset.row_names[int(row)],
            "label": dataset.class_names[int(dataset.labels[row])],
            "suggested": dataset.class_names[int(doubts.suggested[row])],
            "margin": round(float(doubts.margins[row]), 4),
        }
        for row in doubts.surest[:_SHOWN]
    ]
