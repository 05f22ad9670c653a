"""Learning-rate schedules that are functions of the step, and the timeline that ties steps to the clock.

A schedule sees only ``progress`` in [0, 1]. A `Timeline` turns a step into progress; when the machine turns out
faster or slower than expected it takes a correction, and from there on runs evenly to 1 at the new last step.
Repeating a run means repeating its corrections: no clock is read here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

_RISE = 0.2  # share of a one-cycle run that the learning rate rises
_WARM_UP, _DECAY = 0.05, 0.2  # of a run with a plateau
_START = 0.01  # of a run: how far it counts as risen at its first step


def learning_rate_factor(schedule: str, progress: float) -> float:
    """Return the learning rate as a fraction of its peak: 1 at the highest, and 0 at the end unless it is constant.

    Parameters
    ----------
    schedule
        ``"one-cycle"``: up to the peak in a straight line, then down in one (Smith and Topin, 2018); the peak is
        after a fifth of the run. ``"linear"``: down only (Li et al., Budgeted Training, ICLR 2020). ``"cosine"``:
        half a cosine down (Loshchilov and Hutter, 2017). ``"warm-up-stable-decay"``: a short way up, a plateau, and
        over the last fifth down in a straight line (Hägele et al., Scaling Laws and Compute-Optimal Training Beyond
        Fixed Training Durations, NeurIPS 2024). ``"constant"``.
    progress
        Share of the run that is done, in [0, 1].

    Raises
    ------
    ValueError
        If there is no schedule of that name.
    """
    if schedule not in _FACTORS:
        raise ValueError(f"there is no schedule '{schedule}'; expected one of {', '.join(_FACTORS)}; pick one.")
    return _FACTORS[schedule](progress)


def _one_cycle(progress: float) -> float:
    return min(_rising(progress, _RISE), (1 - progress) / (1 - _RISE))


def _warm_up_stable_decay(progress: float) -> float:
    return min(_rising(progress, _WARM_UP), 1.0, (1 - progress) / _DECAY)


def _rising(progress: float, share: float) -> float:
    """Return a straight line to 1 at ``share``, from a little above zero, so that the first step does something."""
    return (progress + _START) / (share + _START)


_FACTORS: dict[str, Callable[[float], float]] = {
    "one-cycle": _one_cycle,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "warm-up-stable-decay": _warm_up_stable_decay,
    "constant": lambda progress: 1.0,
}


@dataclass(frozen=True, kw_only=True)
class Correction:
    """From ``step`` on, the run is planned to end after ``total_steps`` steps; ``reason`` is for the reader."""

    step: int
    total_steps: int
    reason: str


@dataclass(kw_only=True)
class Timeline:
    """The planned length of a run in steps, as corrected while it ran. The first correction starts it at step 0."""

    corrections: list[Correction] = field(default_factory=list)

    @classmethod
    def of(cls, corrections: Iterable[Correction]) -> Timeline:
        """Return a timeline with these corrections, in order of their steps."""
        return cls(corrections=sorted(corrections, key=lambda correction: correction.step))

    @property
    def total_steps(self) -> int:
        """The last step as planned now."""
        return self.corrections[-1].total_steps

    def correct(self, step: int, total_steps: int, reason: str) -> Correction:
        """Plan to end after ``total_steps``, from ``step`` on; return what was written down."""
        correction = Correction(step=step, total_steps=max(total_steps, step), reason=reason)
        self.corrections.append(correction)
        return correction

    def progress(self, step: int) -> float:
        """Return the share of the run that is done before ``step``, in [0, 1]; continuous across corrections."""
        done = 0.0
        for index, correction in enumerate(self.corrections):
            start, total = correction.step, correction.total_steps
            following = self.corrections[index + 1 : index + 2]
            end = min(step, following[0].step) if following else step
            if end > start:
                done += (1 - done) * min(1.0, (end - start) / max(1, total - start))
        return done
