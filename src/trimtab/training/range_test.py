"""The learning-rate range test: a short sweep over learning rates that shows which ones train and which diverge.

Not here: the decision. What the test suggests is a start for a search, not its end: it sees some hundred steps of
fresh weights, and neither the schedule nor the length of the run.

References
----------
Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from trimtab.training.stepper import Stepper

_SMOOTHING = 0.9  # share of the running mean of the losses that a step leaves
_DIVERGED = 4.0  # times the lowest loss
_ABOVE = 4.0  # how many times too high the rate with the lowest loss is taken to be


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """What the sweep found.

    Attributes
    ----------
    rates
        The learning rate of each step, ascending.
    losses
        The running mean of the training loss at each of them; finite.
    suggestion
        A learning rate to start from, as the peak of a schedule: a quarter of the one at which the loss was lowest.
        There the loss falls no more, and the rates just below it are already on the edge; on handwritten digits, with
        each optimizer, it was 2 to 15 times the rate that gave the best network after a full schedule.
    has_diverged
        Whether the loss rose so far that the sweep ended before its highest rate.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float
    has_diverged: bool


def learning_rate_range_test(
    stepper: Stepper,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    low: float = 1e-5,
    high: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> RangeTest:
    """Train a copy of ``stepper`` from its weights as they are, at a learning rate that grows exponentially.

    It ends at the highest rate, or when the running mean of the loss is four times its lowest value or not a number.

    Parameters
    ----------
    stepper
        Left as it is.
    steps, seconds
        How many steps to take, or for how long; one of the two. With steps, the outcome is a function of the recipe.
    low, high
        The first and the last learning rate.
    clock
        Seconds from any start.

    Raises
    ------
    ValueError
        If not exactly one of ``steps`` and ``seconds`` is given, or the rates are not in order.
    """
    _check(steps, seconds, low, high)
    rates: list[float] = []
    losses: list[float] = []
    has_diverged = False
    for rate, loss in _sweep(stepper.copy(stepper.mode), _shares(steps, seconds, clock), low, high):
        has_diverged = not math.isfinite(loss) or loss > _DIVERGED * min(losses, default=math.inf)
        if has_diverged:
            break
        rates.append(rate)
        losses.append(loss)
    lowest = rates[losses.index(min(losses))] if losses else low
    suggestion = max(low, lowest / _ABOVE)
    return RangeTest(rates=rates, losses=losses, suggestion=suggestion, has_diverged=has_diverged)


def _sweep(twin: Stepper, shares: Iterable[float], low: float, high: float) -> Iterator[tuple[float, float]]:
    """Do a step for each share of the way; yield its learning rate and the running mean of the loss."""
    mean = 0.0
    for step, share in enumerate(shares):
        rate = low * (high / low) ** share
        mean += (1 - _SMOOTHING) * (twin.step(step, rate) - mean)
        yield rate, mean / (1 - _SMOOTHING ** (step + 1))  # without the zero that the mean began with


def _shares(steps: int | None, seconds: float | None, clock: Callable[[], float]) -> Iterator[float]:
    """Yield for each step how far the sweep is, from 0 to 1: by steps, or by the time that is over."""
    if seconds is None:
        yield from (step / ((steps or 2) - 1) for step in range(steps or 2))
        return
    start, share = clock(), 0.0
    while share < 1:
        yield share
        share = (clock() - start) / seconds


def _check(steps: int | None, seconds: float | None, low: float, high: float) -> None:
    is_long_enough = (steps is None or steps >= 2) and (seconds is None or seconds > 0)
    if (steps is None) == (seconds is None) or not is_long_enough:
        raise ValueError(f"steps is {steps} and seconds {seconds}; expected one: 2 steps or more, or time; give one.")
    if not 0 < low < high:
        raise ValueError(f"the rates are {low:g} to {high:g}; expected 0 < low < high; change them.")
