"""What is decided alike for pictures and tables: each decision is a value and its reason."""

from __future__ import annotations

from typing import Any

from trimtab.plan import Plan
from trimtab.planning.facts import Facts

Decisions = dict[str, tuple[Any, str]]


def shared_decisions(plan: Plan, facts: Facts, minutes: float) -> Decisions:
    """Return what does not depend on the kind of data, or has one default for every kind."""
    share, why_share = _share(facts)
    return {
        "minutes": (minutes, f"the default for {facts.rows:,} rows of this kind"),
        "engine": engine_of(plan, facts),
        "precision": precision_of(plan, facts),
        "validation_fraction": (share, why_share),
        "test_fraction": (share, why_share),
        "l1": (0.0, "no use for weights that are zero"),
        "l2": (0.0, "weight decay does it"),
        "ema": (0.0, "the schedule ends at zero, which averages already"),
        "mixup": (0.0, "not tried unless asked for"),
        "cutmix": (0.0, "not tried unless asked for"),
        "stochastic_depth": (0.0, "the networks are not deep"),
        "remedies": (False, "with the settings decided here, trials took time and found nothing to take over"),
        "threads": (facts.threads, "all that this process may use"),
    }


def _share(facts: Facts) -> tuple[float, str]:
    """Return the share of the rows for each of validation and test: the more rows, the smaller a share will do."""
    if facts.rows < 5_000:
        return 0.15, "few rows: the figures need their share"
    if facts.rows < 20_000:
        return 0.1, "a middling data set"
    return 0.05, "many rows: a twentieth gives figures to about a point, and the rest teaches"


def engine_of(plan: Plan, facts: Facts) -> tuple[str, str]:
    """Return the engine that trains, and why."""
    if plan.engine:
        return plan.engine, "as asked for"
    return ("torch", "it is installed") if facts.has_torch else ("numpy", "torch is not installed")


def precision_of(plan: Plan, facts: Facts) -> tuple[str, str]:
    """Return what is multiplied in, and why."""
    if engine_of(plan, facts)[0] == "numpy":
        return "float32", "the NumPy engine computes in float32"
    if facts.kind == "table":
        return "float32", "small layers gain nothing from bfloat16"
    if not facts.has_bfloat16:
        return "float32", "this processor does not multiply bfloat16"
    if facts.side < 16:
        return "float32", "too little work per picture for bfloat16 to pay"
    return "bfloat16", "this processor multiplies bfloat16, about twice as fast"


def power_of_two(value: float, low: int, high: int) -> int:
    """Return the largest power of two that is not above ``value``, within the bounds."""
    return int(max(low, min(high, 2 ** (max(1, int(value)).bit_length() - 1))))


def file_megabytes(parameters: int, bytes_each: int) -> float:
    """Return the estimated size of a delivered file of so many numbers."""
    return (1.05 * parameters * bytes_each + 20_000) / 1e6
