"""The length of a run: planned for the time there is, corrected while it passes, or repeated from a record.

A `Pace` says after how many steps the run ends, when to validate and when to look at the clock. What the steps and
validations do is the loop's business; `trimtab.training.schedules` turns the length into learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from trimtab.training.order import steps_per_epoch
from trimtab.training.probe import Probe
from trimtab.training.recipe import Recipe
from trimtab.training.schedules import Correction, Timeline
from trimtab.training.watch import Watch

_EPOCHS_AT_LEAST, _EPOCHS_AT_MOST = 8, 40  # validations in a run
_VALIDATION_SHARE = 1 / 8  # of the work that validations may be, where passes are short of one
_VALIDATED_ROW = 1 / 3  # of the work of a row in a step, which goes forward and twice that backward
_STRETCHES_PER_EPOCH = 4  # looks at the clock between two validations
_STRETCHES_KEPT = 4  # that the time of a step is the mean of
_TOLERANCE = 0.05  # by which the end may be off before the plan is corrected
_PROBE_REASON = "the probe took"
_STALLED, _ALL_PASSES = "no better validation loss", "passes over the data are the limit"
_PACE_REASONS = _SLOWER, _FASTER = "steps were slower than planned", "steps were faster than planned"


def follows_the_clock(reason: str) -> bool:
    """Return whether a correction was made for no other reason than the time that there was."""
    return reason in _PACE_REASONS or reason.startswith(_PROBE_REASON)


def has_stalled(reason: str) -> bool:
    """Return whether a correction was made since validation did not get better any more."""
    return reason.startswith(_STALLED)


def has_done_all_passes(reason: str) -> bool:
    """Return whether a correction says that the passes that were allowed are done, and not the time."""
    return reason.endswith(_ALL_PASSES)


class Pace:
    """How long a run is and how its time passes.

    Parameters
    ----------
    recipe
        The settings; ``recipe.steps`` fixed means that no clock is consulted.
    training_rows, validation_rows
        How many there are.
    watch
        Whom to ask for the time, and to tell about corrections.
    replay
        The corrections of an earlier run, followed instead of the clock.

    Attributes
    ----------
    timeline
        The corrections so far.
    pass_steps
        Steps in one pass over the training rows.
    epoch_end
        The step after which the next validation is due.
    stepping_seconds
        Spent in steps so far.
    """

    def __init__(
        self,
        recipe: Recipe,
        training_rows: int,
        validation_rows: int,
        watch: Watch,
        replay: Sequence[Correction] | None,
    ) -> None:
        self.recipe, self.watch, self.timeline = recipe, watch, Timeline()
        self.replay = None if replay is None else list(replay)
        self.pass_steps = steps_per_epoch(training_rows, recipe.batch_size)
        self.epoch_end, self.stepping_seconds = 0, 0.0
        self._validation_work = _VALIDATED_ROW * validation_rows / min(recipe.batch_size, training_rows)  # in steps
        self._steps_at_most = recipe.steps or recipe.epochs_at_most * self.pass_steps
        self._is_winding_down = False
        self._step_seconds: list[float] = []  # of a step, over each of the last few stretches
        self._epoch_end_seconds = 0.0  # a validation, and what else is done then
        self._stretch_start, self._stretch_started = 0, watch.clock()

    # ---- beginning, or going on ----

    @property
    def is_timed(self) -> bool:
        """Whether the clock decides how many steps there are."""
        return self.recipe.steps is None and self.replay is None and not math.isinf(self.watch.seconds_left())

    def begin(self, trial: Probe) -> None:
        """Plan the length of the run: as before, as told, or as long as the time that is left allows."""
        self._epoch_end_seconds = trial.validation_seconds or 0.0
        if self.replay is not None:
            self._correct_as_before(0)
        elif self.is_timed and trial.step_seconds is not None:
            self._plan_for_the_time(trial.step_seconds)
        else:
            self.correct(0, self._steps_at_most, "as many steps as the plan says")
        self.start_epoch(0)

    def _plan_for_the_time(self, step_seconds: float) -> None:
        step_seconds = max(1e-9, step_seconds)
        epoch = self._epoch_steps(max(1, int(self.watch.seconds_left() / step_seconds)))
        steps = max(1, self._possible_steps(0, step_seconds, epoch))
        if steps < self._steps_at_most:
            self.correct(0, steps, f"{_PROBE_REASON} {1000 * step_seconds:.1f} ms a step")
        else:
            self.correct(0, self._steps_at_most, f"{self.recipe.epochs_at_most} {_ALL_PASSES}")

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold of this, for JSON."""
        return {
            "corrections": [asdict(correction) for correction in self.timeline.corrections],
            "is_winding_down": self._is_winding_down,
            "step_seconds": self._step_seconds,
            "epoch_end_seconds": self._epoch_end_seconds,
            "stepping_seconds": self.stepping_seconds,
            "epoch_end": self.epoch_end,
        }

    def resume(self, step: int, state: dict[str, Any]) -> None:
        """Go on after ``step`` with what `state` returned; later corrections of a replay are still to come."""
        self.timeline = Timeline.of(Correction(**entry) for entry in state["corrections"])
        self._is_winding_down, self._step_seconds = state["is_winding_down"], state["step_seconds"]
        self._epoch_end_seconds, self.stepping_seconds = state["epoch_end_seconds"], state["stepping_seconds"]
        if self.replay is not None:
            self.replay = [correction for correction in self.replay if correction.step > step]
        self.epoch_end = state["epoch_end"]
        self.start_stretch(step)

    # ---- epochs and stretches ----

    @property
    def total_steps(self) -> int:
        """The last step as planned now."""
        return self.timeline.total_steps

    def start_epoch(self, step: int) -> None:
        """Plan the next validation, and measure from here."""
        self.epoch_end = step + self._epoch_steps(self.total_steps)
        self.start_stretch(step)

    def start_stretch(self, step: int) -> None:
        """Measure from here: what was done since the last step was something else."""
        self._stretch_start, self._stretch_started = step, self.watch.clock()

    def end_epoch(self, step: int, since_best: int) -> None:
        """Take note of what was done after the last step, and correct the length of the run."""
        self._epoch_end_seconds = self.watch.clock() - self._stretch_started
        self._shorten_when_stalled(step, since_best)
        self.follow_the_clock(step, is_validated=True)

    def end_stretch(self, step: int) -> None:
        """Measure the steps since the last validation or measurement."""
        now = self.watch.clock()
        if step > self._stretch_start:
            seconds = now - self._stretch_started
            self.stepping_seconds += seconds
            latest = self._step_seconds[1 - _STRETCHES_KEPT :]
            self._step_seconds = [*latest, seconds / (step - self._stretch_start)]
        self._stretch_start, self._stretch_started = step, now

    def is_stretch_over(self, step: int) -> bool:
        """Return whether it is time to look at the clock: often within an epoch, and ever more often near the end."""
        remaining = self.total_steps - step
        stretch = min(self._epoch_steps(self.total_steps), remaining) // _STRETCHES_PER_EPOCH
        return step - self._stretch_start >= max(1, stretch)

    def _epoch_steps(self, total: int) -> int:
        """Return the steps until the next validation, in a run of so many.

        A function of counts only, so that a repetition validates where the run did.
        """
        passes = total / self.pass_steps
        if passes >= _EPOCHS_AT_LEAST:
            return self.pass_steps * math.ceil(passes / _EPOCHS_AT_MOST)
        worthwhile = min(total, self._validation_work / _VALIDATION_SHARE)
        return max(1, math.ceil(total / _EPOCHS_AT_LEAST), math.ceil(worthwhile))

    # ---- corrections ----

    def correct(self, step: int, total_steps: int, reason: str) -> None:
        """Plan to end after ``total_steps``, and tell so."""
        self.watch.on_correction(self.timeline.correct(step, total_steps, reason))

    def _correct_as_before(self, step: int) -> None:
        """Repeat the corrections that the earlier run made after this step, each once."""
        while self.replay and self.replay[0].step == step:
            correction = self.replay.pop(0)
            self.correct(step, correction.total_steps, correction.reason)

    def end_early(self, step: int) -> None:
        """End after this step when the user asked for it, the earlier run did, or only a validation fits any more."""
        if step < self.total_steps and self.watch.wants_to_stop():
            self.correct(step, step, "stopped by the user")
        elif self.replay is not None:
            self._correct_as_before(step)
        elif step < self.total_steps and self.is_timed and self.watch.seconds_left() < self._epoch_end_seconds:
            self.correct(step, step, "the time was up")

    def _shorten_when_stalled(self, step: int, since_best: int) -> None:
        """Bring the learning rate down to zero over the next two epochs when validation has stopped improving."""
        end = step + 2 * self._epoch_steps(self.total_steps)
        is_stalled = self.recipe.patience and since_best >= self.recipe.patience
        if self.replay is None and is_stalled and not self._is_winding_down and end < self.total_steps:
            self._is_winding_down = True
            self.correct(step, end, f"{_STALLED} for {since_best} epochs")

    def follow_the_clock(self, step: int, *, is_validated: bool = False) -> None:
        """Lengthen or shorten the run when it would end clearly too early or too late.

        It may end at once only if the weights are validated; otherwise another step comes first, and then validation.
        """
        remaining = self.total_steps - step
        if not self.is_timed or remaining <= 0:
            return
        pace = max(1e-9, sum(self._step_seconds) / len(self._step_seconds))
        until_validation = self._epoch_steps(self.total_steps) if is_validated else self.epoch_end - step
        possible = min(self._possible_steps(step, pace, until_validation), self._steps_at_most - step)
        if is_validated and possible == 0:
            self.correct(step, step, _SLOWER)
        elif possible < remaining - max(1, _TOLERANCE * remaining):
            self.correct(step, step + max(1, possible), _SLOWER)
        elif possible > remaining + max(1, _TOLERANCE * remaining) and not self._is_winding_down:
            self.correct(step, step + possible, _FASTER)

    def _possible_steps(self, step: int, pace: float, until_validation: int) -> int:
        """Return how many more steps fit into the time that is left, with the validations among and after them."""
        validation = self._epoch_end_seconds
        left = self.watch.seconds_left() - validation  # there is one at the end in any case
        if left < until_validation * pace:
            return max(0, int(left / pace))
        left -= until_validation * pace
        epoch = self._epoch_steps(step + until_validation + int(left / pace))
        epochs, rest = divmod(left, epoch * pace + validation)
        return until_validation + int(epochs) * epoch + max(0, int((rest - validation) / pace))
