"""Settings that a user made and that are not possible: named, with what is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trimtab.errors import InputError, nearest
from trimtab.models import MODELS, accepts, measure_size
from trimtab.plan import Plan
from trimtab.planning.facts import Facts
from trimtab.training import AUGMENTATIONS, ENGINES, OPTIMIZERS, PRECISIONS, SCHEDULES

TEST_TIMES = ("none", "mirror")


def check_request(plan: Plan, facts: Facts) -> None:
    """Refuse names that do not exist and numbers out of range.

    Raises
    ------
    InputError
        Naming the setting, what is possible, and what to do.
    """
    choices = {
        "model": [name for name in MODELS if (name == "mlp") == (facts.kind == "table")],
        "engine": ENGINES,
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "augment": AUGMENTATIONS,
        "precision": PRECISIONS,
        "test_time": TEST_TIMES if facts.kind == "image" else ("none",),
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
    if facts.kind == "table" and plan.cutmix:
        raise InputError(
            f"cutmix is {plan.cutmix:g} for a table", "0: a table has no area to paste", "leave it out, or use --mixup"
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
        "l1": (-1e-9, 100),
        "l2": (-1e-9, 100),
        "ema": (-1e-9, 0.99999),
        "mixup": (-1e-9, 100),
        "cutmix": (-1e-9, 100),
        "stochastic_depth": (-1e-9, 0.99),
        "accumulate": (0, 1e6),
        "label_smoothing": (-1e-9, 0.99),
        "dropout": (-1e-9, 0.99),
        "distill_weight": (-1e-9, 1),
        "distill_temperature": (0, 100),
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


def check_resolved(plan: Plan, facts: Facts, kwargs: Mapping[str, Any]) -> None:
    """Refuse what depends on several settings: shares of the rows, precision, the builder's own arguments.

    Raises
    ------
    InputError
        Naming the settings, what is possible, and what to do.
    """
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
    if plan.stochastic_depth and not accepts(str(plan.model), "stochastic_depth"):
        raise InputError(
            f"stochastic_depth is {plan.stochastic_depth:g} and model is '{plan.model}', which skips nothing",
            "a model with branches to skip, such as resnet with depth 3",
            "leave it out or change the model",
        )
    _check_options(plan, facts, kwargs)


def _check_options(plan: Plan, facts: Facts, kwargs: Mapping[str, Any]) -> None:
    """Build the network of shapes alone, to see that its arguments fit."""
    size = plan.image_size or 0
    shape = (facts.channels, size, size) if facts.kind == "image" else (kwargs["in_features"],)
    reason = None
    try:
        is_usable = measure_size(str(plan.model), kwargs, shape).parameters > 0
    except (TypeError, ValueError, IndexError) as error:
        is_usable, reason = False, error
    if is_usable:
        return
    said = re.fullmatch(r"(.+?); expected (.+?); (.+)\.", str(reason))  # the builder's own sentence
    if isinstance(reason, ValueError) and said:
        raise InputError(*said.groups())
    example = "{ channels = [16, 32] }" if facts.kind == "image" else "{ hidden = [64, 32] }"
    raise InputError(f"options are {plan.options}", f"arguments of {plan.model}, such as {example}", "correct them")
