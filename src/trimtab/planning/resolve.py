"""Decide everything a plan leaves open, from facts about the data and the machine, and say why.

The rules use nominal speeds, not a stopwatch: the same data, budget and machine give the same plan every time.
How long training really takes is the training room's business, which follows the clock.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trimtab.errors import InputError, nearest
from trimtab.models import MODELS, measure_size
from trimtab.plan import Plan
from trimtab.training import AUGMENTATIONS, ENGINES, OPTIMIZERS, PRECISIONS, SCHEDULES

# Multiplications per second and thread, forward and backward, of convolutions.
_TRAIN_MACS = {("torch", "float32"): 40e9, ("torch", "bfloat16"): 100e9, ("numpy", "float32"): 40e9}
_SEPARABLE_SLOWER = {"torch": 1, "numpy": 8}  # times, by multiplications, where each channel has its own filter
_LATENCY_MACS = 30e9  # per second on one thread in the delivered model, cautious
_LATENCY_SECONDS = 0.0005  # reading one picture and calling the model
_PASSES_LEAST, _PASSES_MOST, _VIEWS = 6, 40, 200_000  # see `_passes_wanted`
_SIDES = (32, 48, 64, 96, 128)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known before anything is spent.

    Attributes
    ----------
    kind
        ``"image"`` or ``"table"``.
    rows, classes, columns
        Counts; ``columns`` of a table without its target.
    side
        Pixels of the longer median side of the pictures; 0 for tables.
    is_one_size
        Whether all pictures have the same size.
    channels
        1 grey, 3 color; 0 for tables.
    threads
        Processor threads that this process may use.
    has_bfloat16
        Whether the processor multiplies bfloat16 in hardware.
    has_torch
        Whether torch is installed.
    """

    kind: str
    rows: int
    classes: int
    columns: int = 0
    side: int = 0
    is_one_size: bool = True
    channels: int = 0
    threads: int = 1
    has_bfloat16: bool = False
    has_torch: bool = True


def resolve(plan: Plan, facts: Facts) -> tuple[Plan, dict[str, str]]:
    """Return the plan with every decision made, and the reason of each decision by field name.

    Raises
    ------
    InputError
        If a setting that the user made is not possible.
    """
    _check(plan, facts)
    decisions = _image_decisions(plan, facts) if facts.kind == "image" else _table_decisions(plan, facts)
    decided: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, (value, reason) in decisions.items():
        current = getattr(plan, name)
        if current is None or (name == "options" and not current):
            decided[name], reasons[name] = value, reason
    resolved = dataclasses.replace(plan, **decided)
    _check_resolved(resolved, facts)
    return resolved, reasons


def model_kwargs(plan: Plan, facts: Facts, *, in_features: int | None = None) -> dict[str, Any]:
    """Return the builder's keyword arguments; ``in_features`` of a table is known once its encoder is fitted."""
    shared = {"num_classes": facts.classes, "dropout": plan.dropout, **plan.options}
    if facts.kind == "image":
        return {"in_channels": facts.channels, "image_size": plan.image_size, **shared}
    return {"in_features": in_features, **shared}


Decisions = dict[str, tuple[Any, str]]


def _shared_decisions(plan: Plan, facts: Facts, minutes: float) -> Decisions:
    share, size = (0.15, "small") if facts.rows < 20_000 else (0.1, "large")
    return {
        "minutes": (minutes, f"the default for {facts.rows:,} rows of this kind"),
        "engine": _engine(plan, facts),
        "precision": _precision(plan, facts),
        "validation_fraction": (share, f"a {size} data set"),
        "test_fraction": (share, f"a {size} data set"),
        "optimizer": ("adamw", "robust over learning rates and model kinds"),
        "schedule": ("one-cycle", "best of those tried for short budgets"),
        "threads": (facts.threads, "all that this process may use"),
    }


def _engine(plan: Plan, facts: Facts) -> tuple[str, str]:
    if plan.engine:
        return plan.engine, "as asked for"
    return ("torch", "it is installed") if facts.has_torch else ("numpy", "torch is not installed")


def _precision(plan: Plan, facts: Facts) -> tuple[str, str]:
    if _engine(plan, facts)[0] == "numpy":
        return "float32", "the NumPy engine computes in float32"
    if facts.kind == "table":
        return "float32", "small layers gain nothing from bfloat16"
    if not facts.has_bfloat16:
        return "float32", "this processor does not multiply bfloat16"
    if facts.side < 16:
        return "float32", "too little work per picture for bfloat16 to pay"
    return "bfloat16", "this processor multiplies bfloat16, about twice as fast"


# ---- tables ----


def _table_decisions(plan: Plan, facts: Facts) -> Decisions:
    cells = facts.rows * max(1, facts.columns)
    minutes = 0.5 if cells < 100_000 else 1.0 if cells < 2_000_000 else 3.0
    width, why = _table_width(plan, facts)
    batch = _power_of_two(facts.rows / 60, 16, 512)
    return _shared_decisions(plan, facts, minutes) | {
        "model": ("mlp", "the network for tables"),
        "options": ({"hidden": [width, width // 2]}, why),
        "epochs_at_most": (max(20, min(200, 400_000 // facts.rows)), "more passes only fit the noise"),
        "batch_size": (batch, "about 60 steps a pass"),
        "learning_rate": (0.001, "fits AdamW at this batch size"),
        "weight_decay": (0.1, "tables overfit quickly"),
        "label_smoothing": (0.0, "keeps the probabilities calibrated"),
        "dropout": (0.4 if facts.rows >= 5000 else 0.2, "tables overfit quickly"),
        "augment": ("none", "a table has no pictures to shift"),
        "patience": (8, "the best weights are kept anyway"),
    }


def _table_width(plan: Plan, facts: Facts) -> tuple[int, str]:
    """Return the widest first layer that the size limit allows; 12 features a column is typical after encoding."""
    widths = [256, 128, 64, 32, 16, 8] if facts.rows >= 3000 else [64, 32, 16, 8]
    if plan.megabytes is None:
        return widths[0], "wide enough for this many rows"
    for width in widths:
        kwargs = {"in_features": 12 * facts.columns, "hidden": [width, width // 2], "num_classes": facts.classes}
        size = _file_megabytes(measure_size("mlp", kwargs, (12 * facts.columns,)).parameters, 4)
        if size <= plan.megabytes:
            return width, f"the widest that should fit into {plan.megabytes:g} MB"
    return widths[-1], f"the narrowest; even so {plan.megabytes:g} MB will hardly be met"


# ---- pictures ----


def _image_decisions(plan: Plan, facts: Facts) -> Decisions:
    minutes = plan.minutes or _image_minutes(facts)
    size, size_reason = _image_size(plan, facts, minutes)
    size = plan.image_size or size
    model, options, reason = _image_model(plan, facts, size, minutes)
    has_color = facts.channels == 3
    small = facts.rows < 20_000
    augment = ("flip+shift", "color pictures: mirror images are usually still right")
    return _shared_decisions(plan, facts, minutes) | {
        "image_size": (size, size_reason),
        "model": (model, reason),
        "options": (options, reason),
        "epochs_at_most": (max(40, min(120, 400_000 // facts.rows)), "more passes gain little"),
        "batch_size": (_power_of_two(facts.rows / 60, 32, 64 if small else 128), "small batches learn more per pass"),
        "learning_rate": (0.003, "fits AdamW at this batch size"),
        "weight_decay": (0.05, "decoupled, as usual for AdamW"),
        "label_smoothing": (0.05, "a little, against overconfidence"),
        "dropout": (0.1 if small else 0.0, "less data, more dropout"),
        "augment": augment if has_color else ("shift", "grey pictures: signs and digits must not be mirrored"),
        "patience": (12, "the best weights are kept anyway"),
    }


def _image_minutes(facts: Facts) -> float:
    pixels = facts.rows * min(facts.side, 64) ** 2
    return 0.5 if pixels < 1e6 else 3.0 if pixels < 1e7 else 10.0


def _image_size(plan: Plan, facts: Facts, minutes: float) -> tuple[int, str]:
    """Return the largest usual size at which a middling network still gets enough passes; enlarge only below 8."""
    if facts.is_one_size and facts.side <= 64:
        return max(8, facts.side), "the size that the pictures have (at least 8)"
    best = min(_SIDES[0], max(8, facts.side))
    for side in _SIDES:
        if side <= facts.side and _is_possible(plan, facts, side, "cnn", _widths(24, side), minutes):
            best = side
    return best, f"what {minutes:g} minutes allow for {facts.rows:,} pictures"


def _image_model(plan: Plan, facts: Facts, size: int, minutes: float) -> tuple[str, dict[str, Any], str]:
    """Return the largest candidate that every limit allows, or the smallest of all."""
    candidates = [pair for pair in _image_candidates(size, facts) if plan.model in (None, pair[0])]
    for name, channels in candidates:
        if _is_possible(plan, facts, size, name, channels, minutes):
            return name, {"channels": channels}, "the largest that the limits and the minutes allow"
    name, channels = candidates[-1]
    return name, {"channels": channels}, "the smallest there is; even so a limit will hardly be met"


def _image_candidates(size: int, facts: Facts) -> Iterator[tuple[str, list[int]]]:
    """Yield (model, channels) from the most to the least work; few pictures do not ask for wide networks."""
    widest = 32 if facts.rows < 50_000 else 48
    for name, widths in (("cnn", (48, 32, 24, 16)), ("separable_cnn", (64, 48, 32, 16)), ("cnn", (12, 8))):
        for width in widths:
            if name != "cnn" or width <= widest:
                yield name, _widths(width, size)
    yield "separable_cnn", _widths(8, size)


def _is_possible(plan: Plan, facts: Facts, size: int, name: str, channels: list[int], minutes: float) -> bool:
    """Return whether, by estimate, the network meets every limit and sees the pictures often enough."""
    cost = measure_size(name, _image_kwargs(facts, size, channels), (facts.channels, size, size))
    is_quantized = plan.quantize and name == "cnn"  # separable networks often lose too much in int8
    megabytes = _file_megabytes(cost.parameters, 1 if is_quantized else 4)
    milliseconds = 1000 * (_LATENCY_SECONDS + cost.macs / _LATENCY_MACS)
    return (
        megabytes <= (plan.megabytes or math.inf)
        and milliseconds <= (plan.milliseconds or math.inf)
        and _passes(plan, facts, name, cost.macs, minutes) >= _passes_wanted(facts)
    )


def _file_megabytes(parameters: int, bytes_each: int) -> float:
    return (1.05 * parameters * bytes_each + 20_000) / 1e6


def _passes(plan: Plan, facts: Facts, name: str, macs: int, minutes: float) -> float:
    """Return how often each training picture would be seen; a tenth of the time goes to other things."""
    work = 3 * macs * 0.8 * facts.rows  # forward, and twice that backward
    engine, precision = _engine(plan, facts)[0], _precision(plan, facts)[0]
    speed = _TRAIN_MACS[engine, precision] / (_SEPARABLE_SLOWER[engine] if name == "separable_cnn" else 1)
    return 0.9 * minutes * 60 * facts.threads * speed / work


def _passes_wanted(facts: Facts) -> float:
    """Return how often a network should see each picture: about `_VIEWS` views in all, within bounds."""
    return max(_PASSES_LEAST, min(_PASSES_MOST, _VIEWS / facts.rows))


def _image_kwargs(facts: Facts, size: int, channels: list[int]) -> dict[str, Any]:
    return {"in_channels": facts.channels, "image_size": size, "channels": channels, "num_classes": facts.classes}


def _widths(width: int, size: int) -> list[int]:
    """Return the channels of the stem and of the stages, one stage per halving down to 4 pixels."""
    stages = max(1, min(5, (size // 4).bit_length() - 1))
    return [width * (index + 1) for index in range(stages + 1)]


def _power_of_two(value: float, low: int, high: int) -> int:
    return int(max(low, min(high, 2 ** (max(1, int(value)).bit_length() - 1))))


# ---- what the user asked for ----


def _check(plan: Plan, facts: Facts) -> None:
    choices = {
        "model": [name for name in MODELS if (name == "mlp") == (facts.kind == "table")],
        "engine": ENGINES,
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "augment": AUGMENTATIONS if facts.kind == "image" else ("none",),
        "precision": PRECISIONS,
    }
    for name, valid in choices.items():
        value = getattr(plan, name)
        if value is not None and value not in valid:
            raise InputError(
                f"{name} is '{value}'",
                f"one of {', '.join(valid)} for {'pictures' if facts.kind == 'image' else 'a table'}",
                f"{nearest(value, valid)}change it or leave it out",
            )
    if plan.engine == "torch" and not facts.has_torch:
        raise InputError(
            "engine is 'torch', which is not installed",
            "an engine that is",
            "pip install 'trimtab[train]', or change it to numpy or leave it out",
        )
    _check_ranges(plan)


def _check_ranges(plan: Plan) -> None:
    ranges = {
        "validation_fraction": (0, 0.9),
        "test_fraction": (0, 0.9),
        "image_size": (4, 1024),
        "steps": (0, 1e9),
        "epochs_at_most": (0, 1e6),
        "batch_size": (1, 1e6),
        "learning_rate": (0, 100),
        "weight_decay": (-1e-9, 100),
        "label_smoothing": (-1e-9, 0.99),
        "dropout": (-1e-9, 0.99),
        "patience": (-1, 1e6),
        "threads": (0, 4096),
        "minutes": (0, 1e6),
        "megabytes": (0, 1e6),
        "milliseconds": (0, 1e9),
        "seed": (-1, 2**32),
        "max_drop": (-1e-9, 100),
    }
    for name, (low, high) in ranges.items():
        value = getattr(plan, name)
        if value is not None and not low < value <= high:
            raise InputError(
                f"{name} is {value:g}", f"a number above {max(low, 0):g}, at most {high:g}", "change it or leave it out"
            )


def _check_resolved(plan: Plan, facts: Facts) -> None:
    """Check what depends on several settings: shares of the rows, precision, the builder's own arguments."""
    shares = (plan.validation_fraction or 0) + (plan.test_fraction or 0)
    if shares >= 0.95:
        raise InputError(
            f"validation_fraction and test_fraction add up to {shares:g}",
            "a sum below 0.95, so that something is left to train on",
            "lower one of them",
        )
    if (plan.engine, plan.precision) == ("numpy", "bfloat16"):
        raise InputError(
            "precision is 'bfloat16' and engine is 'numpy'",
            "float32, in which the NumPy engine computes",
            "change one of them or leave the precision out",
        )
    kwargs = model_kwargs(plan, facts, in_features=12 * max(1, facts.columns))
    size = plan.image_size or 0
    shape = (facts.channels, size, size) if facts.kind == "image" else (kwargs["in_features"],)
    try:
        is_usable = measure_size(str(plan.model), kwargs, shape).parameters > 0
    except (TypeError, ValueError, IndexError):
        is_usable = False
    if not is_usable:
        example = "{ channels = [16, 32] }" if facts.kind == "image" else "{ hidden = [64, 32] }"
        raise InputError(f"options are {plan.options}", f"arguments of {plan.model}, such as {example}", "correct them")
