"""Findings that are seen without training anything: no signal in the answers, too few test rows."""

from __future__ import annotations

import math
from typing import Any

from trimtab.evaluation.intervals import Estimate
from trimtab.findings import Finding
from trimtab.generalization.evidence import Signal

CHANCE = 0.01
"""That signal is seen where there is none: who relies on signal that is none loses most."""


def find_no_signal(signal: Signal, *, rows: int, answers_of: str) -> Finding:
    """Return whether the answers on held-out rows have nothing to do with their labels.

    That none is shown is no proof that there is none: the interval says how much there may be.

    Parameters
    ----------
    signal
        What the answers know.
    rows
        Held-out rows.
    answers_of
        Whose answers, in words.
    """
    found = signal.estimate
    interval = "" if found.low is None or found.high is None else f" ({found.low:.3g} to {found.high:.3g})"
    amount = f"{found.value or 0.0:.3g} nats{interval}, p = {_p(signal.p_value)}"
    fields: dict[str, Any] = {
        "code": "NO_SIGNAL",
        "evidence": {"p_value": signal.p_value, "rows": rows, "answers_of": answers_of},
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "method": f"{found.method}; {signal.method}",
    }
    if signal.p_value <= CHANCE:
        text = f"on {rows:,} held-out rows the true class is likelier than one of a random row, by {amount}."
        return Finding(state="not found", summary=text, **fields)
    return Finding(
        state="found",
        severity="critical",
        summary=f"on {rows:,} held-out rows the true class is not shown to be likelier than one of a random row: "
        f"{amount}.",
        remedy="Check that features and labels belong together, look for better features, or collect more rows.",
        **fields,
    )


def find_test_too_small(accuracy: Estimate, *, rows: int, wanted: float) -> Finding:
    """Return whether the test rows are too few to see a difference that matters.

    Parameters
    ----------
    accuracy
        On the test rows.
    rows
        How many they are.
    wanted
        The difference, a share such as 0.02.
    """
    if accuracy.low is None or accuracy.high is None:
        text = f"accuracy has no interval: {accuracy.method}."
        return Finding(code="TEST_TOO_SMALL", state="not applicable", summary=text)
    half = (accuracy.high - accuracy.low) / 2
    enough = math.ceil(rows * (half / wanted) ** 2)
    fields: dict[str, Any] = {
        "code": "TEST_TOO_SMALL",
        "evidence": {"test_rows": rows, "half_width": half, "wanted": wanted, "enough_rows": enough},
        "value": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "method": accuracy.method,
    }
    known = f"{rows:,} test rows tell accuracy to {100 * half:.2g} points either way"
    if half <= wanted:
        return Finding(state="not found", summary=f"{known}; {100 * wanted:g} points were asked for.", **fields)
    return Finding(
        state="found",
        severity="warning" if half > 2 * wanted else "note",
        summary=f"{known}, so a difference of {100 * wanted:g} points cannot be seen; about {enough:,} rows would do.",
        remedy=f"Collect about {enough - rows:,} more rows to test on, or compare by cross-validation, which tests on "
        "every row.",
        **fields,
    )


def _p(p_value: float) -> str:
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.1g}"
