"""What is tried against each cause: settings of a plan, derived from those that the run had.

Legend: a remedy's work is its training time as a multiple of the run's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trimtab.models import accepts
from trimtab.plan import Plan

_SHRUNK = 0.02  # how far L1 moves a weight towards zero over a whole run: as far as small weights are from it
_DECAYED = 1.0  # weight decay then leaves 1 / e of a weight that nothing else holds up
_WIDTHS = ("hidden", "channels", "width")


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One change to a training.

    Attributes
    ----------
    cause
        The code of the finding that it would verify.
    name
        Short, such as ``"dropout 0.5"``.
    settings
        Fields of `Plan` that carry it out; empty when it is none of these.
    work
        Training time as a multiple of the run's, roughly.
    """

    cause: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    work: float = 1.0


def overfit_remedies(plan: Plan, *, steps: int) -> list[Remedy]:
    """Return what is tried against overfitting, what usually helps most first.

    Each is a step that is large enough to be seen, from where the run stood. What the run's network or data cannot
    have is left out.

    Parameters
    ----------
    plan
        Resolved.
    steps
        That the run trained for.
    """
    return [
        Remedy(cause="OVERFIT", name=name, settings=settings, work=work)
        for name, settings, work in _regularized(plan, steps)
    ]


def underfit_remedies(plan: Plan, *, steps: int) -> list[Remedy]:
    """Return what is tried against underfitting: twice the steps, twice the width."""
    remedies = [Remedy(cause="UNDERFIT", name="twice the steps", settings={"steps": 2 * steps}, work=2.0)]
    options = scaled_widths(plan.options, 2.0)
    if options != plan.options:
        remedies.append(Remedy(cause="UNDERFIT", name="twice the width", settings={"options": options}, work=2.5))
    return remedies


def run_remedies(
    plan: Plan, *, steps: int, pass_steps: int, hold_back: bool, give_more: bool, is_limited_in_size: bool
) -> list[Remedy]:
    """Return what a run tries of its own accord before it delivers: lengths are in passes, which any clock can stop.

    Parameters
    ----------
    plan
        Resolved.
    steps, pass_steps
        That the run planned, and those of a pass over its rows.
    hold_back, give_more
        Whether to try what works against overfitting, and twice the width.
    is_limited_in_size
        Whether a limit of size or latency forbids a wider network.
    """
    overfit = overfit_remedies(plan, steps=steps) if hold_back else []
    wider = [] if is_limited_in_size or not give_more else underfit_remedies(plan, steps=steps)
    return [_in_passes(remedy, pass_steps) for remedy in overfit] + [
        each for each in wider if "options" in each.settings
    ]


def _in_passes(remedy: Remedy, pass_steps: int) -> Remedy:
    if "steps" not in remedy.settings:
        return remedy
    passes = max(1, math.ceil(remedy.settings["steps"] / pass_steps))
    return replace(remedy, name=f"at most {passes} passes", settings={"epochs_at_most": passes})


def scaled_widths(options: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return a builder's options with every width multiplied, none below 2; heads follow the width of a `vit`."""
    scaled = dict(options)
    for name in _WIDTHS:
        if name in options:
            scaled[name] = _times(options[name], factor)
    if "heads" in options and "width" in options:
        heads = max(1, round(options["heads"] * factor))
        scaled |= {"heads": heads, "width": heads * (options["width"] // options["heads"])}
    return scaled


def _times(width: Any, factor: float) -> Any:
    if isinstance(width, list | tuple):
        return [_times(each, factor) for each in width]
    return max(2, round(width * factor))


def _regularized(plan: Plan, steps: int) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yield name, settings and work of each remedy against overfitting."""
    if steps >= 3:
        yield "a third of the steps", {"steps": steps // 3}, 0.4
    travelled = (plan.learning_rate or 0.001) * steps / 2  # the learning rates of all steps added up, about
    decay = _rounded(10 * plan.weight_decay if plan.weight_decay else _DECAYED / travelled)
    yield f"weight decay {decay:g}", {"weight_decay": decay}, 1.0
    if accepts(str(plan.model), "dropout"):
        dropout = round(min(0.8, (plan.dropout or 0.0) + 0.3), 2)
        yield f"dropout {dropout:g}", {"dropout": dropout}, 1.0
    yield from _augmented(plan)
    factor = 0.25 if "hidden" in plan.options else 0.5
    options = scaled_widths(plan.options, factor)
    if options != plan.options:
        yield f"{'a quarter' if factor < 0.5 else 'half'} of the width", {"options": options}, 0.8
    l1 = _rounded((plan.l1 or 0.0) + _SHRUNK / travelled)
    yield f"L1 {l1:g}", {"l1": l1}, 1.1
    smoothing = 0.1 if (plan.label_smoothing or 0.0) < 0.1 else 0.2
    if smoothing > (plan.label_smoothing or 0.0):
        yield f"label smoothing {smoothing:g}", {"label_smoothing": smoothing}, 1.0
    if not plan.ema:
        yield "EMA 0.99", {"ema": 0.99}, 1.1


def _augmented(plan: Plan) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yield stronger augmentation: of pictures the next level, of tables mixing rows."""
    if plan.image_size is None:
        if not plan.mixup:
            yield "mixup 0.4", {"mixup": 0.4}, 1.1
        return
    stronger = {"none": "light", "light": "strong"}.get(str(plan.augment))
    if stronger:
        yield f"{stronger} augmentation", {"augment": stronger}, 1.2
    elif not plan.mixup:
        yield "mixup 0.2", {"mixup": 0.2}, 1.1


def _rounded(value: float) -> float:
    """Return the value with two significant digits."""
    return float(f"{value:.2g}")
