"""The finding LEAKAGE: a column that knows the answer, or an identifier or time that goes with it.

A column leaks, as far as data can show, when it alone removes nearly all mistakes that guessing makes while all other
columns together do clearly worse (a paired test): nothing else in the data explains what it knows. Columns that are
each other under other names count as one. On an easy problem several columns predict nearly everything, and none is
named; so it is with an answer that stands in two columns in different words. Whether a column is known when a
prediction is made is a question to people; the finding says which column to ask about.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset
from trimtab.evaluation import Comparison, compare_accuracy
from trimtab.evaluation.intervals import Estimate, normal_quantile, wilson
from trimtab.findings import Finding
from trimtab.generalization.quick_model import out_of_fold, quick_inputs
from trimtab.generalization.single_columns import single_column_probabilities

Rows = NDArray[np.int64]
Probabilities = NDArray[np.float64]
_NEARLY_ALL = 0.8  # share of the mistakes of guessing, lower bound
_LEAD = 0.1  # share of the same by which all other columns together must do worse, lower bound
_SURE = 0.999  # level at which a name like that of an identifier is called telling
_IDENTIFIER = re.compile(r"(?i:(.*[_\-. ])?(id|uuid|guid|index))|.*[a-z]I[dD]")
_TIME = re.compile(r"(.*[_\-. ])?(date|timestamp|datetime|created|updated)([_ ]at)?", re.IGNORECASE)
_SHOWN = 5
_METHOD = "accuracy of one column out of fold (Wilson) against guessing, and against all other columns (paired)"


def leakage_finding(dataset: Dataset, *, seed: int = 0, units: Rows | None = None) -> Finding:
    """Return the finding; not applicable to pictures, whose copies are under DUPLICATES.

    Parameters
    ----------
    dataset
        ``N`` rows.
    seed, units
        Of the folds, as of `out_of_fold`.
    """
    if dataset.table is None:
        summary = "Pictures have no columns that could know the answer; copies in several parts are under DUPLICATES."
        return Finding(code="LEAKAGE", state="not applicable", summary=summary)
    labels, num_classes = dataset.labels, dataset.num_classes
    alone = single_column_probabilities(dataset.table, labels, num_classes, seed=seed, units=units)
    removed = {name: removed_mistakes(labels, found) for name, found in alone.items()}
    ranked = sorted(alone, key=lambda name: -(removed[name].value or 0.0))
    evidence: dict[str, Any] = {"columns": [{"name": name, **_plain(removed[name])} for name in ranked[:_SHOWN]]}
    best = ranked[0]
    is_suspicious = (removed[best].low or 0.0) >= _NEARLY_ALL
    same = [name for name in ranked if are_same(dataset.table.columns[best], dataset.table.columns[name])]
    telling = [name for name in ranked if _looks_outside(name) and tells(labels, alone[name])]
    if is_suspicious and len(same) < len(ranked):
        inputs = quick_inputs(dataset, without=same)
        others = out_of_fold(inputs, labels, num_classes, seed=seed, units=units)
        lead = compare_accuracy(labels, others, alone[best])
        evidence |= {"suspicious": same, "lead_over_others": lead.to_dict()}
        if lead.low > _LEAD * _guessing(labels):
            return _knows_the_answer(same, removed[best], lead, evidence)
    if telling:
        return _identifies(telling, removed[telling[0]], evidence)
    return Finding(
        code="LEAKAGE",
        state="not found",
        summary=_harmless(best, removed[best], is_easy=is_suspicious and len(ranked) > 1),
        evidence=evidence,
        method=_METHOD,
        value=removed[best].value,
        low=removed[best].low,
        high=removed[best].high,
    )


def are_same(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Return whether two columns [N] of few values have the same content under other names."""
    codes, others = (np.unique(values, return_inverse=True)[1] for values in (first, second))
    counts = int(codes.max()) + 1, int(others.max()) + 1
    if first is second:
        return True
    is_coarse = max(counts) <= max(2, len(codes) // 10)
    return is_coarse and counts[0] == counts[1] == len(np.unique(codes * counts[1] + others))


def removed_mistakes(labels: Rows, probabilities: Probabilities, *, level: float = 0.95) -> Estimate:
    """Return the share of the mistakes of guessing that probabilities [N, K] avoid, with its interval.

    Guessing always names the largest class; below 0 is worse than that.
    """
    guessing = _guessing(labels)
    mistakes = wilson(float((probabilities.argmax(axis=1) != labels).mean()), len(labels), level=level)
    value, low, high = (1 - (end or 0.0) / guessing for end in (mistakes.value, mistakes.high, mistakes.low))
    return Estimate(value=value, low=low, high=high, method=mistakes.method, level=level)


def _guessing(labels: Rows) -> float:
    """Return the share of mistakes of always naming the largest class."""
    return 1 - float(np.bincount(labels).max()) / len(labels)


def tells(labels: Rows, probabilities: Probabilities) -> bool:
    """Return whether probabilities [N, K] are surely nearer to the labels than the classes' shares, by log loss."""
    shares = np.bincount(labels, minlength=probabilities.shape[1]) / len(labels)
    own = probabilities[np.arange(len(labels)), labels]
    gains = np.log(np.maximum(own, 1e-12)) - np.log(shares[labels])
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean()) > normal_quantile(_SURE) * error


def _looks_outside(name: str) -> bool:
    """Return whether the name is that of an identifier or a time, which say who or when and not what."""
    return bool(_IDENTIFIER.fullmatch(name) or _TIME.fullmatch(name))


def _knows_the_answer(names: list[str], removed: Estimate, lead: Comparison, evidence: dict[str, Any]) -> Finding:
    column = _quote(names)
    share = f"{100 * (removed.value or 0):.3g}%"
    return Finding(
        code="LEAKAGE",
        state="found",
        severity="critical",
        summary=f"The column '{names[0]}' alone avoids {share} of the mistakes of guessing, and is right in "
        f"{100 * lead.difference:.3g} points more than all other columns together.",
        evidence=evidence,
        method=_METHOD,
        remedy=f"Ask whether {column} is known when a prediction is made; if not, remove it from the data and train "
        "again.",
        value=removed.value,
        low=removed.low,
        high=removed.high,
    )


def _identifies(names: list[str], removed: Estimate, evidence: dict[str, Any]) -> Finding:
    verb = "looks like an identifier or a time and tells" if len(names) == 1 else "look like identifiers and tell"
    word = "column" if len(names) == 1 else "columns"
    return Finding(
        code="LEAKAGE",
        state="found",
        severity="warning",
        summary=f"The {word} {_quote(names)} {verb} the classes apart; in new data such values are new.",
        evidence={**evidence, "identifiers": names},
        method=f"log loss of one column out of fold against the classes' shares, at {_SURE:.1%}",
        remedy=f"Remove {_quote(names)}, or keep rows together that share a value with --group.",
        value=removed.value,
        low=removed.low,
        high=removed.high,
    )


def _harmless(best: str, removed: Estimate, *, is_easy: bool) -> str:
    share = f"{100 * max(removed.value or 0.0, 0.0):.3g}%"
    start = f"The column that tells most by itself, '{best}', avoids {share} of the mistakes of guessing"
    return f"{start}; the others together do as well without it." if is_easy else f"{start}."


def _plain(estimate: Estimate) -> dict[str, float]:
    return {name: round(float(getattr(estimate, name) or 0.0), 4) for name in ("value", "low", "high")}


def _quote(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
