"""A short trial on the real rows: which mode is fastest here, seconds per step and seconds per validation.

The trial works on copies of the network: it changes nothing in the run that follows, except that the mode it chose
decides the last bits of the weights. Its outcome is written down, and followed when a run is repeated or continued.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trimtab.training.mode import Mode
from trimtab.training.rows import Rows
from trimtab.training.stepper import Stepper, validate

_MARGIN = 1.03  # the trial is short, and short is fast: caches are warm, nothing else is done
_CLEARLY_FASTER = 0.97  # of the time of eager float32, or it is eager float32
_WARM_STEPS = 2  # kernels are still made in the second
_ROUNDS_LEAST, _ROUNDS_MOST = 2, 25
_TRIAL_SHARE = (0.04, 0.01)  # of the time left that comparing modes may cost: of little time, and of much
_TRIAL_SECONDS = 10.0  # between the two
_ROWS_LEAST = 16  # to compare modes with
_VALIDATED = 1024  # rows that the time of a validation is taken from
_COMPILATION_SECONDS = 60.0  # of a small network: 40 to 75 on two free cores, 200 on busy ones
_COMPILATION_SHARE = 0.01  # of the time left that compiling may cost; it seldom pays on a processor

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How fast one mode was.

    Attributes
    ----------
    mode
        The mode.
    rows
        Of a step of the trial; a batch may have more.
    step_seconds, processor_seconds
        Medians for such a step: by the clock on the wall, and summed over the threads of this process.
    ratio
        Of the time to that of the mode it was compared with, in the same rounds; the worse of wall and processor.
    """

    mode: Mode
    rows: int
    step_seconds: float
    processor_seconds: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is known before the first step.

    Attributes
    ----------
    mode
        The one to train in.
    reason
        Why that one, for a reader.
    step_seconds, validation_seconds
        What one of each will take; ``None`` where no clock decides.
    trials
        What was compared.
    """

    mode: Mode
    reason: str
    step_seconds: float | None = None
    validation_seconds: float | None = None
    trials: tuple[Trial, ...] = ()


def probe(
    stepper: Stepper,
    validation: Rows,
    *,
    seconds: float,
    seconds_left: float,
    mode: Mode | None = None,
    clock: Clock = time.perf_counter,
    processor_clock: Clock = time.process_time,
) -> Probe:
    """Choose the mode and time its steps.

    The modes of the stepper take steps in turn, so that a busy machine slows all of them. One is chosen over eager
    float32 only if it is clearly faster both by the clock on the wall and in processor time: the one alone is
    fooled by other processes, the other by threads that wait.

    Parameters
    ----------
    stepper
        The network, its optimizer and rows; not changed.
    validation
        Rows whose validation is timed.
    seconds
        What the trial may take, once the networks are warm; compilation comes on top.
    seconds_left
        For the whole training: neither modes nor compilation are tried where that would cost much of it.
    mode
        Decided before: it is only timed.
    clock, processor_clock
        Seconds from any start: on the wall, and used by all threads of this process.
    """
    stopwatch = _Stopwatch(clock, processor_clock, seconds)
    if mode:
        twin, reason, trials = stepper.copy(mode), "as decided before", list[Trial]()
    else:
        twin, reason, trials = _choose(stepper, seconds_left, stopwatch)
        twin, note, compiled = _with_compilation(twin, seconds_left, stopwatch)
        trials, reason = [*trials, *compiled], f"{reason}; {note}"
    whole = [trial for trial in trials if trial.mode == twin.mode and trial.rows == stepper.recipe.batch_size]
    step_seconds = whole[-1].step_seconds if whole else stopwatch.time_whole_steps(twin)
    return Probe(
        mode=twin.mode,
        reason=reason,
        step_seconds=step_seconds * _MARGIN,
        validation_seconds=_time_validation(twin, validation, step_seconds, stopwatch),
        trials=tuple(trials),
    )


def _choose(stepper: Stepper, seconds_left: float, stopwatch: _Stopwatch) -> tuple[Stepper, str, list[Trial]]:
    """Return a twin in the fastest mode, the first unless one is clearly faster, with why; and all trials.

    Without a trial, where one step of a few rows shows that there is no time for it, float32 it is: bfloat16 may be
    the slowest by far even where there are instructions for it, with two threads among busy processes.
    """
    modes = stepper.modes()
    if len(modes) == 1:
        return stepper.copy(modes[0]), "there is nothing to choose from", []
    twins = [stepper.copy(each) for each in modes]
    rows = min(_ROWS_LEAST, stepper.recipe.batch_size)
    first = stopwatch.time(twins[0], 0, rows)[0]
    affordable, steps = _affordable(seconds_left), len(modes) * (_WARM_STEPS + _ROUNDS_LEAST)
    if steps * first > affordable:
        safe = [twin for twin in twins if twin.mode.precision == "float32"][-1]
        return safe, "there is too little time to compare modes: this one was never seen to be slower", []
    seconds = sum(max(stopwatch.warm_up(twin, rows)) for twin in twins)  # of a round
    more = affordable / max(1e-9, (_WARM_STEPS + _ROUNDS_LEAST) * seconds)
    rows = stepper.recipe.batch_size if stepper.recipe.shards else int(rows * max(1.0, more))
    trials = stopwatch.compare(twins, min(rows, stepper.recipe.batch_size))
    best = min(range(len(trials)), key=lambda index: trials[index].ratio)
    if trials[best].ratio > _CLEARLY_FASTER:
        return twins[0], f"nothing was clearly faster than {modes[0]}", trials
    return twins[best], f"a step takes {100 * trials[best].ratio:.0f}% of the time of {modes[0]}", trials


def _affordable(seconds_left: float) -> float:
    """Return the seconds that comparing modes may take: a larger share of little time, where less tells nothing."""
    most, least = (share * seconds_left for share in _TRIAL_SHARE)
    return max(min(most, _TRIAL_SECONDS), least)


def _with_compilation(twin: Stepper, seconds_left: float, stopwatch: _Stopwatch) -> tuple[Stepper, str, list[Trial]]:
    """Return a compiled twin where it can pay and does, with what to say about it and the trials that were made."""
    obstacle = twin.compilation_obstacle()
    if obstacle is None and seconds_left * _COMPILATION_SHARE < _COMPILATION_SECONDS:
        obstacle = f"that takes a minute, more than {_COMPILATION_SHARE:.0%} of the {seconds_left:.0f} s left"
    if obstacle is not None:
        return twin, f"not compiled: {obstacle}", []
    started = stopwatch.wall()
    try:
        other = twin.copy(replace(twin.mode, is_compiled=True))
        _, compiled = stopwatch.compare([twin, other], twin.recipe.batch_size)
    except RuntimeError as error:  # what torch raises, whatever went wrong in the compiler
        return twin, f"not compiled: that failed ({str(error).splitlines()[0][:100]})", []
    cost = f"compiling took {stopwatch.wall() - started:.0f} s, and steps then {100 * compiled.ratio:.0f}% of the time"
    if compiled.ratio > _CLEARLY_FASTER:
        return twin, f"not compiled: {cost}", [compiled]
    return other, cost, [compiled]


@dataclass(frozen=True)
class _Stopwatch:
    """Times steps on both clocks, for about so many ``seconds`` once the networks are warm."""

    wall: Clock
    processor: Clock
    seconds: float

    def warm_up(self, twin: Stepper, rows: int | None = None) -> list[float]:
        """Do the first steps, in which memory is taken and kernels are made; return their seconds on the wall."""
        return [self.time(twin, step, rows)[0] for step in range(_WARM_STEPS)]

    def time(self, twin: Stepper, step: int, rows: int | None = None) -> tuple[float, float]:
        """Do one step that learns nothing, on so many rows of its batch; return its seconds on both clocks."""
        wall, processor = self.wall(), self.processor()
        if rows is None or rows >= twin.recipe.batch_size:
            twin.step(step, 0.0)
        else:
            twin.zero_grad()
            twin.add_gradients(step, slice(0, rows), seed=step)
            twin.update(0.0)
        return self.wall() - wall, self.processor() - processor

    def time_whole_steps(self, twin: Stepper) -> float:
        """Return the median seconds on the wall of warm steps, as many as fit; of the first ones, if no more do."""
        start, times = self.wall(), [self.time(twin, 0)[0]]
        while len(times) < _ROUNDS_MOST and self.wall() - start + times[-1] < self.seconds:
            times.append(self.time(twin, len(times))[0])
        return statistics.median(times[_WARM_STEPS:]) if len(times) > _WARM_STEPS else min(times)

    def compare(self, twins: Sequence[Stepper], rows: int) -> list[Trial]:
        """Warm the twins up and let them take steps in turn, back and forth; ratios are to the first of them."""
        for twin in twins:
            self.warm_up(twin, rows)
        times: list[list[tuple[float, float]]] = [[] for _ in twins]
        start, rounds = self.wall(), 0
        while rounds < _ROUNDS_LEAST or (self.wall() - start < self.seconds and rounds < _ROUNDS_MOST):
            rounds += 1
            for index in range(len(twins)) if rounds % 2 else reversed(range(len(twins))):
                times[index].append(self.time(twins[index], _WARM_STEPS + rounds, rows))
        return [_trial(twin, own, times[0], rows) for twin, own in zip(twins, times, strict=True)]


def _trial(
    twin: Stepper, times: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]], rows: int
) -> Trial:
    """Return what these times on both clocks say beside the others, round by round."""
    walls, processors = (list(each) for each in zip(*times, strict=True))
    other_walls, other_processors = (list(each) for each in zip(*others, strict=True))
    return Trial(
        mode=twin.mode,
        rows=rows,
        step_seconds=statistics.median(walls),
        processor_seconds=statistics.median(processors),
        ratio=max(_ratio(walls, other_walls), _ratio(processors, other_processors)),
    )


def _ratio(times: Sequence[float], others: Sequence[float]) -> float:
    """Return the median ratio over the rounds; 1 where the clock is too coarse to tell."""
    return statistics.median(a / b if b > 0 else 1.0 for a, b in zip(times, others, strict=True))


def _time_validation(twin: Stepper, rows: Rows, step_seconds: float, stopwatch: _Stopwatch) -> float:
    """Return the seconds for all rows, from as many as should take no longer than the trial of the steps did."""
    affordable = twin.recipe.batch_size * stopwatch.seconds / max(step_seconds, 1e-9)
    sample = rows.first(int(max(64, min(_VALIDATED, affordable))))
    start = stopwatch.wall()
    validate(twin, sample)
    return (stopwatch.wall() - start) * len(rows) / len(sample)
