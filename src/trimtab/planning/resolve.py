"""Decide everything a plan leaves open, from facts about the data and the machine, and say why.

The rules use nominal speeds, not a stopwatch: the same data, budget and machine give the same plan every time.
How long training really takes is the training room's business, which follows the clock.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from trimtab.models import accepts
from trimtab.plan import Plan
from trimtab.planning.checks import check_request, check_resolved
from trimtab.planning.facts import Facts
from trimtab.planning.pictures import image_decisions
from trimtab.planning.tables import table_decisions


def resolve(plan: Plan, facts: Facts) -> tuple[Plan, dict[str, str]]:
    """Return the plan with every decision made, and the reason of each decision by field name.

    Raises
    ------
    InputError
        If a setting that the user made is not possible.
    """
    check_request(plan, facts)
    decisions = image_decisions(plan, facts) if facts.kind == "image" else table_decisions(plan, facts)
    decided: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, (value, reason) in decisions.items():
        current = getattr(plan, name)
        if current is None or (name == "options" and not current):
            decided[name], reasons[name] = value, reason
    resolved = dataclasses.replace(plan, **decided)
    check_resolved(resolved, facts, model_kwargs(resolved, facts, in_features=12 * max(1, facts.columns)))
    return resolved, reasons


def model_kwargs(plan: Plan, facts: Facts, *, in_features: int | None = None) -> dict[str, Any]:
    """Return the builder's keyword arguments; ``in_features`` of a table is known once its encoder is fitted."""
    shared: dict[str, Any] = {"num_classes": facts.classes, "dropout": plan.dropout}
    if plan.stochastic_depth and accepts(str(plan.model), "stochastic_depth"):
        shared["stochastic_depth"] = plan.stochastic_depth
    shared |= plan.options
    if facts.kind == "image":
        return {"in_channels": facts.channels, "image_size": plan.image_size, **shared}
    return {"in_features": in_features, **shared}
