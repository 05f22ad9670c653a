"""A short trial on the real rows: seconds per step and per validated row, and whether bfloat16 pays here.

The trial works on a copy of the network: it changes nothing in the run that follows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from trimtab.training.batches import Rows
from trimtab.training.stepper import Stepper, validate

_MARGIN = 1.03  # the trial is short, and short is fast: caches are warm, nothing else is done
_MUCH_SLOWER = 2.0
_VALIDATED = 1024  # rows that the time of a validation is taken from


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

    bfloat16, when the recipe asks for it, is compared with float32 first and dropped where it is much slower, as it
    is without the instructions for it, by up to hundreds of times. The threshold is far from what a busy machine
    does to three steps, so that the same plan gets the same precision every time. ``precision`` skips the trial.
    """
    chosen = precision or stepper.recipe.precision
    if precision is None and chosen == "bfloat16":
        plain, half = (_time_steps(stepper.copy(name), 0.0, clock) for name in ("float32", "bfloat16"))
        chosen = "float32" if half > _MUCH_SLOWER * plain else "bfloat16"
    twin = stepper.copy(chosen)
    step_seconds = _time_steps(twin, seconds, clock)
    sample = validation.first(_VALIDATED)
    start = clock()
    validate(twin, sample)
    validation_seconds = (clock() - start) * len(validation) / len(sample)
    return Probe(step_seconds=step_seconds * _MARGIN, validation_seconds=validation_seconds, precision=chosen)


def _time_steps(twin: Stepper, seconds: float, clock: Callable[[], float]) -> float:
    """Return the median seconds of a step, over three steps or ``seconds``, the first one not counted."""
    twin.step(0, 0.0)
    times: list[float] = []
    start = clock()
    while len(times) < 3 or (clock() - start < seconds and len(times) < 500):
        before = clock()
        twin.step(len(times) + 1, 0.0)
        times.append(clock() - before)
    return statistics.median(times)
