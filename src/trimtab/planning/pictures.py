"""Decisions for pictures: size, network, and how to train it."""

from __future__ import annotations

import math

from trimtab.plan import Plan
from trimtab.planning.decisions import Decisions, power_of_two, shared_decisions
from trimtab.planning.facts import Facts
from trimtab.planning.measured import LEARNING_RATES, MEASURED, MUON_ROWS, WEIGHT_DECAYS
from trimtab.planning.networks import Network, choose_network, choose_size, choose_test_time

_OPTIMIZER_REASONS = {
    "muon": "learned more from the same rows than AdamW, with this network on CIFAR-10",
    "adamw": "robust over learning rates and model kinds",
}


def image_decisions(plan: Plan, facts: Facts) -> Decisions:
    """Return every decision for pictures."""
    minutes = plan.minutes or _image_minutes(facts)
    size, size_reason = choose_size(plan, facts, minutes)
    size = plan.image_size or size
    model, options, reason = choose_network(plan, facts, size, minutes)
    is_small = facts.rows < 20_000
    shared = shared_decisions(plan, facts, minutes)
    return (
        shared
        | _optimization(plan, facts, model)
        | {
            "image_size": (size, size_reason),
            "model": (model, reason),
            "options": (options, reason),
            "epochs_at_most": (max(40, min(200, 4_000_000 // facts.rows)), "more passes gain little"),
            "dropout": (0.1 if is_small else 0.0, "less data, more dropout"),
            "augment": (MEASURED[plan.model or model]["augment"], "shifts, which hardly any picture minds"),
            "flip": _flip(facts),
            "test_time": _test_time(plan, facts, size, (model, options)),
            "patience": (0, "the learning rate ends with the time, and validation is best there"),
        }
    )


def _optimization(plan: Plan, facts: Facts, model: str) -> Decisions:
    """Return optimizer, batch and rates, which belong together."""
    measured = MEASURED[model]
    optimizer = plan.optimizer or measured["optimizer"]
    batch = plan.batch_size or _batch_size(facts, optimizer)
    return {
        "optimizer": (optimizer, _OPTIMIZER_REASONS.get(optimizer, "as asked for")),
        "batch_size": (batch, "enough steps a pass"),
        "learning_rate": (_learning_rate(optimizer, batch), f"fits {optimizer} at this batch size"),
        "weight_decay": (WEIGHT_DECAYS[optimizer], f"as usual for {optimizer}"),
        "label_smoothing": (measured["label_smoothing"], "against overconfidence"),
        "schedule": (measured["schedule"], "best of those tried for short budgets"),
    }


def _batch_size(facts: Facts, optimizer: str) -> int:
    """Return the rows of a step; those of Muon cost more besides their rows, so it takes fewer and larger ones."""
    if optimizer == "muon":
        return power_of_two(facts.rows / 20, 64, 512)
    return power_of_two(facts.rows / 60, 32, 64 if facts.rows < 20_000 else 128)


def _learning_rate(optimizer: str, batch: int) -> float:
    """Return the peak; Muon's was measured at so many rows, and noise grows as their root falls."""
    scale = math.sqrt(batch / MUON_ROWS) if optimizer == "muon" else 1.0
    return float(f"{LEARNING_RATES[optimizer] * scale:.3g}")


def _flip(facts: Facts) -> tuple[bool, str]:
    if facts.channels == 3:
        return True, "color pictures: mirror images are usually still right"
    return False, "grey pictures: signs and digits must not be mirrored"


def _test_time(plan: Plan, facts: Facts, size: int, network: Network) -> tuple[str, str]:
    is_mirrored = plan.augment != "none" and (_flip(facts)[0] if plan.flip is None else plan.flip)
    return choose_test_time(plan, facts, size, network, is_mirrored=is_mirrored)


def _image_minutes(facts: Facts) -> float:
    pixels = facts.rows * min(facts.side, 64) ** 2
    return 0.5 if pixels < 1e6 else 3.0 if pixels < 1e7 else 10.0
