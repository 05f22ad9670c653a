"""The training loop: steps, validation at the end of every epoch, a schedule that ends when the time does.

An *epoch* here is the stretch between two validations: one pass over the rows, several where passes are short, a
part of one where they are long. At its end the loop validates, remembers the best weights and writes a checkpoint.
There, and a few times in between, it corrects the planned length if the machine turned out faster or slower. The
corrections, not the clock, decide the weights: given again as ``replay`` they give the same weights bit for bit.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.errors import TrainingError
from trimtab.training.batches import Rows, steps_per_epoch
from trimtab.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from trimtab.training.probe import Probe, probe
from trimtab.training.recipe import Recipe
from trimtab.training.schedules import Correction, Timeline, learning_rate_factor
from trimtab.training.stepper import Arrays, Stepper, make_stepper, using_threads, validate
from trimtab.training.watch import HISTORY_COLUMNS, HistoryRow, Watch

_CHECKPOINT_SECONDS = 2.0  # not more often than this; a checkpoint changes no weights
_EPOCHS_AT_LEAST, _EPOCHS_AT_MOST = 8, 40  # validations in a run
_PROBE_REASON = "the probe took"
_PACE_REASONS = _SLOWER, _FASTER = "steps were slower than planned", "steps were faster than planned"
_STRETCHES_PER_EPOCH = 4  # looks at the clock between two validations


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome: the best weights (float32, by torch's names and layouts), the history, and what repeats them."""

    arrays: Arrays
    history: list[HistoryRow]
    corrections: list[Correction]
    precision: str
    seconds: float

    @property
    def ending(self) -> str:
        """Why training ended when it did; a run that only followed the clock used its time up."""
        reason = self.corrections[-1].reason
        return "the time was used up" if reason in _PACE_REASONS or reason.startswith(_PROBE_REASON) else reason


def train(
    builder: str,
    kwargs: Mapping[str, Any],
    training: Rows,
    validation: Rows,
    recipe: Recipe,
    *,
    watch: Watch | None = None,
    checkpoints: Path | None = None,
    replay: Sequence[Correction] | None = None,
    precision: str | None = None,
) -> Trained:
    """Train a network until its steps are done, its time is up, or validation stops improving.

    Parameters
    ----------
    builder, kwargs
        What to build, as in `trimtab.models.build`.
    training, validation
        The rows that give gradients, and the rows that choose the best weights.
    recipe
        Everything else; ``recipe.steps`` fixed means that no clock is consulted.
    watch
        Whom to ask for the time and to tell what happens.
    checkpoints
        A directory to write to and, when it holds a checkpoint, to continue from.
    replay
        The corrections of an earlier run, followed instead of the clock.
    precision
        What an earlier run was trained in; otherwise the probe of a timed run may turn bfloat16 down.

    Raises
    ------
    TrainingError
        If the loss is not a number before the first validation.
    ModuleNotFoundError
        If the recipe's engine is not installed.
    """
    with using_threads(recipe.engine, recipe.threads):
        stepper = make_stepper(builder, kwargs, training, recipe)
        return run_stepper(
            stepper,
            len(training),
            validation,
            watch=watch,
            checkpoints=checkpoints,
            replay=replay,
            precision=precision,
        )


def run_stepper(
    stepper: Stepper,
    training_rows: int,
    validation: Rows,
    *,
    watch: Watch | None = None,
    checkpoints: Path | None = None,
    replay: Sequence[Correction] | None = None,
    precision: str | None = None,
) -> Trained:
    """Train whatever ``stepper`` steps, on ``training_rows`` rows; the rest is as in `train`."""
    loop = _Loop(stepper, training_rows, validation, watch or Watch(), checkpoints)
    loop.replay = None if replay is None else list(replay)
    if not loop.resume():
        loop.begin(precision)
    return loop.run()


class _Loop:
    """The state of one run."""

    def __init__(
        self, stepper: Stepper, training_rows: int, validation: Rows, watch: Watch, checkpoints: Path | None
    ) -> None:
        self.stepper, self.recipe = stepper, stepper.recipe
        self.validation, self.watch, self.checkpoints = validation, watch, checkpoints
        self.pass_steps = steps_per_epoch(training_rows, self.recipe.batch_size)
        self.steps_at_most = self.recipe.steps or self.recipe.epochs_at_most * self.pass_steps
        self.timeline = Timeline()
        self.replay: list[Correction] | None = None
        self.history: list[HistoryRow] = []
        self.best: Arrays = {}
        self.best_loss, self.since_best = math.inf, 0
        self.is_winding_down = False
        self.step, self.spent, self.epoch_end = 0, 0.0, 0
        self.step_seconds: list[float] = []  # a step, over the last few stretches
        self.validation_seconds = 0.0
        self.epoch_losses: list[float] = []
        self.started = self.last_checkpoint = self.stretch_started = watch.clock()
        self.stretch_start = 0

    # ---- beginning, or going on ----

    def begin(self, precision: str | None) -> None:
        """Plan the length of the run: as told, as before, or as long as the time that is left allows."""
        watch = self.watch
        is_timed = self.recipe.steps is None and self.replay is None and not math.isinf(watch.seconds_left())
        seconds = min(1.0, watch.seconds_left() / 50) if is_timed else 0.0
        if not is_timed:  # no clock may decide anything
            precision = precision or self.recipe.precision
        trial = probe(self.stepper, self.validation, seconds=seconds, precision=precision, clock=watch.clock)
        watch.on_probe(trial)
        self.stepper.precision = trial.precision
        self.validation_seconds = trial.validation_seconds
        if self.replay is not None:
            self._correct_as_before()
        elif is_timed:
            self._plan_for_the_time(trial)
        else:
            self._correct(self.steps_at_most, "as many steps as the plan says")
        self._start_epoch()

    def _plan_for_the_time(self, trial: Probe) -> None:
        left = self.watch.seconds_left() - _EPOCHS_AT_LEAST * trial.validation_seconds
        each = max(1e-9, trial.step_seconds + trial.validation_seconds / self.pass_steps)
        steps = max(1, int(left / each))
        if steps < self.steps_at_most:
            self._correct(steps, f"{_PROBE_REASON} {1000 * trial.step_seconds:.1f} ms a step")
        else:
            self._correct(self.steps_at_most, f"{self.recipe.epochs_at_most} passes over the data are the limit")

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint; return whether there was one."""
        checkpoint = load_checkpoint(self.checkpoints) if self.checkpoints else None
        if checkpoint is None:
            return False
        state = checkpoint.state
        self.stepper.load_weights(checkpoint.model)
        self.stepper.load_optimizer(checkpoint.optimizer)
        self.stepper.precision = state["precision"]
        self.best = checkpoint.best
        self.best_loss, self.since_best = state["best_loss"], state["since_best"]
        self.is_winding_down, self.step_seconds = state["is_winding_down"], state["step_seconds"]
        self.validation_seconds = state["validation_seconds"]
        self.step, self.spent, self.history = checkpoint.step, state["seconds"], state["history"]
        self.timeline = Timeline.of(Correction(**entry) for entry in state["corrections"])
        if self.replay is not None:
            self.replay = [correction for correction in self.replay if correction.step > self.step]
        self.watch.on_resume(list(self.history), self.step)
        self._start_epoch()
        return True

    # ---- running ----

    def run(self) -> Trained:
        """Do steps until the timeline ends."""
        while self.step < self.timeline.total_steps:
            rate = self._learning_rate()
            self.epoch_losses.append(self.stepper.step(self.step, rate))
            self.step += 1
            self.watch.on_step(self.step, self.timeline.total_steps)
            self._end_early()
            if self.step >= min(self.epoch_end, self.timeline.total_steps):
                self._end_epoch(rate)
            elif self.step - self.stretch_start >= self._epoch_steps() // _STRETCHES_PER_EPOCH:
                self._end_stretch()
                self._follow_the_clock()
        self._check_best()
        return Trained(
            arrays=self.best,
            history=self.history,
            corrections=self.timeline.corrections,
            precision=self.stepper.precision,
            seconds=self._seconds(),
        )

    def _learning_rate(self) -> float:
        progress = self.timeline.progress(self.step)
        return self.recipe.learning_rate * learning_rate_factor(self.recipe.schedule, progress)

    def _start_epoch(self) -> None:
        self.epoch_end, self.epoch_losses = self.step + self._epoch_steps(), []
        self.stretch_start, self.stretch_started = self.step, self.watch.clock()

    def _end_stretch(self) -> None:
        """Measure the steps since the last validation or measurement."""
        now = self.watch.clock()
        if self.step > self.stretch_start:
            seconds = (now - self.stretch_started) / (self.step - self.stretch_start)
            self.step_seconds = [*self.step_seconds[-2:], seconds]
        self.stretch_start, self.stretch_started = self.step, now

    def _epoch_steps(self) -> int:
        """Return the steps until the next validation, for the length that is planned now."""
        total = self.timeline.total_steps
        passes = total / self.pass_steps
        if passes < _EPOCHS_AT_LEAST:
            return max(1, math.ceil(total / _EPOCHS_AT_LEAST))
        return self.pass_steps * math.ceil(passes / _EPOCHS_AT_MOST)

    def _end_epoch(self, rate: float) -> None:
        self._end_stretch()
        loss, accuracy = validate(self.stepper, self.validation)
        train_loss = sum(self.epoch_losses) / len(self.epoch_losses)
        self._remember_best(loss, train_loss)
        self._write_history(train_loss, loss, accuracy, rate)
        self.validation_seconds = self.watch.clock() - self.stretch_started
        if self.replay is None:
            self._shorten_when_stalled()
        self._follow_the_clock()
        self._start_epoch()
        self._save()

    def _write_history(self, train_loss: float, loss: float, accuracy: float, rate: float) -> None:
        watch = self.watch
        spent = watch.seconds_spent() if watch.seconds_spent else self._seconds()
        left = watch.budget_left() if watch.budget_left else watch.seconds_left()
        epoch = round(self.step / self.pass_steps, 2)
        values = (epoch, self.step, train_loss, loss, accuracy, rate, spent, left)
        finite = [value if math.isfinite(value) else None for value in values]  # JSON has no NaN
        self.history.append(dict(zip(HISTORY_COLUMNS, finite, strict=True)))
        watch.on_epoch(self.history[-1])

    def _remember_best(self, loss: float, train_loss: float) -> None:
        """Keep the weights when they are finite and validate better; end the run when the loss is no number."""
        weights = self.stepper.weights()
        is_finite = math.isfinite(loss) and math.isfinite(train_loss)
        if is_finite and loss < self.best_loss and all(np.isfinite(array).all() for array in weights.values()):
            self.best, self.best_loss, self.since_best = weights, loss, 0
            return
        self.since_best += 1
        if not is_finite:
            self._check_best()
            if self.replay is None:
                self._correct(self.step, "the loss was not a number any more: the best weights before that are kept")

    def _check_best(self) -> None:
        """Refuse to end without finite weights."""
        if not self.best:
            raise TrainingError(
                f"training diverged: after {self.step} steps with learning rate {self.recipe.learning_rate:g} no "
                "weights were finite",
                "a loss that falls",
                "lower it with --learning-rate or look for wrong values in the data",
            )

    # ---- the length of the run ----

    def _correct(self, total_steps: int, reason: str) -> None:
        self.watch.on_correction(self.timeline.correct(self.step, total_steps, reason))

    def _correct_as_before(self) -> None:
        """Repeat the corrections that the earlier run made after this step, each once."""
        while self.replay and self.replay[0].step == self.step:
            correction = self.replay.pop(0)
            self._correct(correction.total_steps, correction.reason)

    def _end_early(self) -> None:
        """End after this step when the user asked for it, the earlier run did, or the time is over."""
        if self.step < self.timeline.total_steps and self.watch.wants_to_stop():
            self._correct(self.step, "stopped by the user")
        elif self.replay is not None:
            self._correct_as_before()
        elif self.recipe.steps is None and self.watch.seconds_left() < 0 and self.step < self.timeline.total_steps:
            self._correct(self.step, "the time was up")

    def _shorten_when_stalled(self) -> None:
        """Bring the learning rate down to zero over the next two epochs when validation has stopped improving."""
        end = self.step + 2 * self._epoch_steps()
        is_stalled = self.recipe.patience and self.since_best >= self.recipe.patience
        if is_stalled and not self.is_winding_down and end < self.timeline.total_steps:
            self.is_winding_down = True
            self._correct(end, f"no better validation loss for {self.since_best} epochs")

    def _follow_the_clock(self) -> None:
        """Lengthen or shorten the run when it would end more than 2% away from the time that is left."""
        left = self.watch.seconds_left()
        remaining = self.timeline.total_steps - self.step
        is_timed = self.recipe.steps is None and self.replay is None and not math.isinf(left)
        if not is_timed or remaining <= 0:
            return
        pace = max(1e-9, self.step_seconds[-1], statistics.median(self.step_seconds))
        pace += self.validation_seconds / self._epoch_steps()
        possible = max(0, min(int(left / pace), self.steps_at_most - self.step))
        if possible < 0.98 * remaining:
            self._correct(self.step + possible, _SLOWER)
        elif possible > 1.02 * remaining and not self.is_winding_down:
            self._correct(self.step + possible, _FASTER)

    def _seconds(self) -> float:
        return self.spent + self.watch.clock() - self.started

    # ---- checkpoints ----

    def _save(self) -> None:
        now = self.watch.clock()
        is_due = now - self.last_checkpoint >= _CHECKPOINT_SECONDS or self.step >= self.timeline.total_steps
        if self.checkpoints is None or not is_due:
            return
        save_checkpoint(
            self.checkpoints,
            Checkpoint(
                step=self.step,
                model=self.stepper.weights(),
                optimizer=self.stepper.optimizer_arrays(),
                best=self.best,
                state={
                    "history": self.history,
                    "corrections": [asdict(correction) for correction in self.timeline.corrections],
                    "precision": self.stepper.precision,
                    "best_loss": self.best_loss,
                    "since_best": self.since_best,
                    "is_winding_down": self.is_winding_down,
                    "step_seconds": self.step_seconds,
                    "validation_seconds": self.validation_seconds,
                    "seconds": self._seconds(),
                },
            ),
        )
        self.last_checkpoint = now
