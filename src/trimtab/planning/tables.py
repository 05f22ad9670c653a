"""Decisions for tables."""

from __future__ import annotations

from trimtab.models import measure_size
from trimtab.plan import Plan
from trimtab.planning.decisions import Decisions, file_megabytes, power_of_two, shared_decisions
from trimtab.planning.facts import Facts
from trimtab.planning.measured import MEASURED


def table_decisions(plan: Plan, facts: Facts) -> Decisions:
    """Return every decision for a table."""
    cells = facts.rows * max(1, facts.columns)
    minutes = 0.5 if cells < 100_000 else 1.0 if cells < 2_000_000 else 3.0
    width, why = _table_width(plan, facts)
    measured = MEASURED["mlp"]
    batch = power_of_two(facts.rows / 60, 16, 512)
    return shared_decisions(plan, facts, minutes) | {
        "model": ("mlp", "the network for tables"),
        "options": ({"hidden": [width, width // 2]}, why),
        "epochs_at_most": (max(20, min(200, 400_000 // facts.rows)), "more passes only fit the noise"),
        "batch_size": (batch, "about 60 steps a pass"),
        "optimizer": (measured["optimizer"], "robust over learning rates and model kinds"),
        "learning_rate": (measured["learning_rate"], "fits AdamW at this batch size"),
        "weight_decay": (measured["weight_decay"], "tables overfit quickly"),
        "label_smoothing": (measured["label_smoothing"], "keeps the probabilities calibrated"),
        "schedule": (measured["schedule"], "best of those tried for short budgets"),
        "dropout": (0.4 if facts.rows >= 5000 else 0.2, "tables overfit quickly"),
        "augment": (measured["augment"], "a table has no pictures to shift"),
        "flip": (False, "a table has no pictures to mirror"),
        "test_time": ("none", "a table has no mirror image"),
        "patience": (8, "the best weights are kept anyway"),
    }


def _table_width(plan: Plan, facts: Facts) -> tuple[int, str]:
    """Return the widest first layer that the size limit allows; 12 features a column is typical after encoding."""
    widths = [256, 128, 64, 32, 16, 8] if facts.rows >= 3000 else [64, 32, 16, 8]
    if plan.megabytes is None:
        return widths[0], "wide enough for this many rows"
    for width in widths:
        kwargs = {"in_features": 12 * facts.columns, "hidden": [width, width // 2], "num_classes": facts.classes}
        size = file_megabytes(measure_size("mlp", kwargs, (12 * facts.columns,)).parameters, 1 if plan.quantize else 4)
        if size <= plan.megabytes:
            return width, f"the widest that should fit into {plan.megabytes:g} MB"
    return widths[-1], f"the narrowest; even so {plan.megabytes:g} MB will hardly be met"
