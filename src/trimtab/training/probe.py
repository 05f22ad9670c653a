"""A short trial on the real rows: seconds per step and per validated row, and whether bfloat16 pays here.

The trial works on a copy of the model: it changes nothing in the run that follows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from trimtab.training.batches import Rows
from trimtab.training.steps import Stepper, validate

_MARGIN = 1.03  # the trial is short, and short is fast: caches are warm, nothing else is done


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the trial measured; ``precision`` is the one to train in."""

    step_seconds: float
    validation_seconds: float
    precision: str


def probe(
    stepper: Stepper,
    validation: Rows,
    *,
    seconds: float,
    precision: str | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Probe:
    """Time steps for about ``seconds``.

    bfloat16, when the recipe asks for it, is compared with float32 first and dropped where it is slower: without
    the instructions for it, it can be hundreds of times slower. ``precision`` skips that comparison.
    """
    chosen = precision or stepper.recipe.precision
    if precision is None and chosen == "bfloat16":
        trials = {name: _time_steps(stepper.copy(name), 0.0, clock) for name in ("float32", "bfloat16")}
        chosen = min(trials, key=lambda name: trials[name])
    twin = stepper.copy(chosen)
    step_seconds = _time_steps(twin, seconds, clock)
    start = clock()
    validate(twin.model, validation, chosen)
    return Probe(step_seconds=step_seconds * _MARGIN, validation_seconds=clock() - start, precision=chosen)


def _time_steps(twin: Stepper, seconds: float, clock: Callable[[], float]) -> float:
    """Return the median seconds of a step, over three steps or ``seconds``, the first one not counted."""
    twin.step(0, 0.0)
    times: list[float] = []
    start = clock()
    while len(times) < 3 or (clock() - start < seconds and len(times) < 500):
        before = clock()
        twin.step(len(times) + 1, 0.0)[0].item()
        times.append(clock() - before)
    return statistics.median(times)
