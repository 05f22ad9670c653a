"""The training loop: steps, validation at the end of every epoch, a schedule that ends when the time does.

An *epoch* here is the stretch between two validations: one pass over the rows, several where passes are short, a
part of one where they are long. At its end the loop validates, remembers the best weights, corrects the planned
length if the machine turned out faster or slower, and writes a checkpoint. The corrections, not the clock, decide
the weights: given again as ``replay`` they give the same weights bit for bit.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from trimtab.errors import TrainingError
from trimtab.training.batches import Rows, steps_per_epoch
from trimtab.training.checkpoints import (
    Checkpoint,
    Tensors,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from trimtab.training.probe import probe
from trimtab.training.recipe import Recipe
from trimtab.training.schedules import Correction, Timeline
from trimtab.training.steps import Stepper, validate

HistoryRow = dict[str, float | None]
HISTORY_COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
    "budget_left_seconds",
)
_CHECKPOINT_SECONDS = 2.0  # not more often than this; a checkpoint changes no weights
_EPOCHS_AT_LEAST, _EPOCHS_AT_MOST = 8, 40  # validations in a run


def _nothing(*_: Any) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What the loop asks and tells while it runs; the defaults ask and tell nobody.

    Attributes
    ----------
    seconds_left
        Seconds until training must be over.
    wants_to_stop
        Whether to finish with what there is (Ctrl-C).
    on_step
        Called with (steps done, steps planned).
    on_epoch
        Called with a row of the history.
    on_correction
        Called with a `Correction`.
    on_resume
        Called with the history and the step that a checkpoint continues from.
    clock
        Seconds, from any start.
    """

    seconds_left: Callable[[], float] = lambda: math.inf
    wants_to_stop: Callable[[], bool] = lambda: False
    on_step: Callable[[int, int], None] = _nothing
    on_epoch: Callable[[HistoryRow], None] = _nothing
    on_correction: Callable[[Correction], None] = _nothing
    on_resume: Callable[[list[HistoryRow], int], None] = _nothing
    clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome: the model with its best weights (float32), the history, and what repeats them."""

    model: torch.nn.Module
    history: list[HistoryRow]
    corrections: list[Correction]
    precision: str
    seconds: float

    @property
    def ending(self) -> str:
        """Why training ended when it did."""
        return self.corrections[-1].reason


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
        What an earlier run was trained in; otherwise a probe may turn bfloat16 down.

    Raises
    ------
    TrainingError
        If the loss is not a number before the first validation.
    """
    torch.set_num_threads(recipe.threads)
    loop = _Loop(builder, kwargs, training, validation, recipe, watch or Watch(), checkpoints)
    loop.replay = None if replay is None else list(replay)
    if not loop.resume():
        loop.begin(precision)
    return loop.run()


class _Loop:
    """The state of one run of `train`."""

    def __init__(
        self,
        builder: str,
        kwargs: Mapping[str, Any],
        training: Rows,
        validation: Rows,
        recipe: Recipe,
        watch: Watch,
        checkpoints: Path | None,
    ) -> None:
        self.stepper = Stepper(builder, kwargs, training, recipe)
        self.validation, self.recipe, self.watch, self.checkpoints = validation, recipe, watch, checkpoints
        self.pass_steps = steps_per_epoch(len(training), recipe.batch_size)
        self.steps_at_most = recipe.steps or recipe.epochs_at_most * self.pass_steps
        self.timeline = Timeline()
        self.replay: list[Correction] | None = None
        self.history: list[HistoryRow] = []
        self.best: Tensors = {}
        self.best_loss, self.since_best = math.inf, 0
        self.step, self.spent = 0, 0.0
        self.started = self.last_checkpoint = watch.clock()
        self.epoch_losses: list[torch.Tensor] = []
        self.epoch_started = self.started

    # ---- beginning, or going on ----

    def begin(self, precision: str | None) -> None:
        """Plan the length of the run: as told, as before, or as long as the time that is left allows."""
        follows_clock = self.recipe.steps is None and self.replay is None
        left = self.watch.seconds_left() if follows_clock else 1.0
        trial = probe(self.stepper, self.validation, seconds=min(1.0, left / 50), precision=precision)
        self.stepper.precision = trial.precision
        if self.replay:
            self._correct_as_before()
        elif not follows_clock or math.isinf(left):
            self._correct(self.steps_at_most, "as many steps as the plan says")
        else:
            left = self.watch.seconds_left() - _EPOCHS_AT_LEAST * trial.validation_seconds
            steps = max(1, int(left / (trial.step_seconds + trial.validation_seconds / self.pass_steps)))
            if steps < self.steps_at_most:
                self._correct(steps, f"the probe took {1000 * trial.step_seconds:.1f} ms a step")
            else:
                self._correct(self.steps_at_most, f"{self.recipe.epochs_at_most} passes over the data are the limit")
        self.epoch_started = self.watch.clock()

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint; return whether there was one."""
        checkpoint = load_checkpoint(self.checkpoints) if self.checkpoints else None
        if checkpoint is None:
            return False
        state = checkpoint.state
        self.stepper.model.load_state_dict(checkpoint.model)
        restore_optimizer(self.stepper.optimizer, checkpoint.optimizer)
        self.stepper.precision = state["precision"]
        self.best, self.best_loss, self.since_best = checkpoint.best, state["best_loss"], state["since_best"]
        self.step, self.spent, self.history = checkpoint.step, state["seconds"], state["history"]
        self.timeline = Timeline.of(Correction(**entry) for entry in state["corrections"])
        self.watch.on_resume(list(self.history), self.step)
        return True

    # ---- running ----

    def run(self) -> Trained:
        """Do steps until the timeline ends."""
        while self.step < self.timeline.total_steps:
            loss, rate = self.stepper.step(self.step, self.timeline.progress(self.step))
            self.epoch_losses.append(loss)
            self.step += 1
            self.watch.on_step(self.step, self.timeline.total_steps)
            if not self._is_boundary():
                self._stop_if_asked()
            if self._is_boundary():
                self._end_epoch(rate)
        self.stepper.model.load_state_dict(self.best)
        return Trained(
            model=self.stepper.model,
            history=self.history,
            corrections=self.timeline.corrections,
            precision=self.stepper.precision,
            seconds=self._seconds(),
        )

    def _is_boundary(self) -> bool:
        return self.step % self._epoch_steps() == 0 or self.step >= self.timeline.total_steps

    def _epoch_steps(self) -> int:
        """Return the steps between two validations: from the first plan, so that corrections do not move them."""
        total = self.timeline.corrections[0].total_steps
        passes = total / self.pass_steps
        if passes < _EPOCHS_AT_LEAST:
            return max(1, math.ceil(total / _EPOCHS_AT_LEAST))
        return self.pass_steps * math.ceil(passes / _EPOCHS_AT_MOST)

    def _end_epoch(self, rate: float) -> None:
        loss, accuracy = validate(self.stepper.model, self.validation, self.stepper.precision)
        train_loss = float(torch.stack(self.epoch_losses).mean())
        self._remember_best(loss, train_loss)
        epoch, left = round(self.step / self.pass_steps, 2), self.watch.seconds_left()
        budget_left = None if math.isinf(left) else left
        row = (epoch, self.step, train_loss, loss, accuracy, rate, self._seconds(), budget_left)
        self.history.append(dict(zip(HISTORY_COLUMNS, row, strict=True)))
        self.watch.on_epoch(self.history[-1])
        if self.replay is not None:
            self._correct_as_before()
        else:
            self._shorten_when_stalled()
            self._follow_the_clock()
        self._save()
        self.epoch_losses, self.epoch_started = [], self.watch.clock()

    def _remember_best(self, loss: float, train_loss: float) -> None:
        if loss < self.best_loss:
            state = self.stepper.model.state_dict()
            self.best = {key: value.detach().clone() for key, value in state.items()}
            self.best_loss, self.since_best = loss, 0
            return
        self.since_best += 1
        if not (math.isfinite(loss) and math.isfinite(train_loss)):
            if not self.best:
                raise TrainingError(
                    f"the loss was {train_loss} after {self.step} steps with learning rate "
                    f"{self.recipe.learning_rate:g}",
                    "a finite number",
                    "lower it with --learning-rate or look for wrong values in the data",
                )
            self._correct(self.step, "the loss was not a number any more: the best weights before that are kept")

    # ---- the length of the run ----

    def _correct(self, total_steps: int, reason: str) -> None:
        self.watch.on_correction(self.timeline.correct(self.step, total_steps, reason))

    def _correct_as_before(self) -> None:
        """Repeat the corrections that the earlier run made after this step."""
        for correction in self.replay or []:
            if correction.step == self.step:
                self._correct(correction.total_steps, correction.reason)

    def _stop_if_asked(self) -> None:
        """End after this step when the user asked for it or the time is over."""
        if self.replay is not None:
            self._correct_as_before()
        elif self.watch.wants_to_stop():
            self._correct(self.step, "stopped by the user")
        elif self.recipe.steps is None and self.watch.seconds_left() < 0:
            self._correct(self.step, "the time was up")

    def _shorten_when_stalled(self) -> None:
        """Bring the learning rate down to zero over the next two epochs when validation has stopped improving."""
        end = self.step + 2 * self._epoch_steps()
        is_stalled = self.recipe.patience and self.since_best >= self.recipe.patience
        if is_stalled and end < self.timeline.total_steps:
            reason = f"no better validation loss for {self.since_best} epochs"
            self._correct(end, reason)

    def _follow_the_clock(self) -> None:
        """Lengthen or shorten the run when it would end more than 2% away from the time that is left."""
        left = self.watch.seconds_left()
        remaining = self.timeline.total_steps - self.step
        if self.recipe.steps is not None or math.isinf(left) or remaining <= 0:
            return
        possible = min(int(left / self._step_seconds()), self.steps_at_most - self.step)
        ends_early = self.timeline.total_steps < self.steps_at_most and self.since_best < self.recipe.patience
        if possible < 0.98 * remaining or (ends_early and possible > 1.02 * remaining):
            word = "slower" if possible < remaining else "faster"
            self._correct(self.step + possible, f"steps were {word} than planned")

    def _step_seconds(self) -> float:
        """Seconds per step of the last epochs, validation and checkpoints included."""
        ends = [(0.0, 0.0), *((row["step"] or 0.0, row["seconds"] or 0.0) for row in self.history)][-4:]
        rates = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(ends)]
        return max(1e-9, rates[-1], statistics.median(rates))

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
                model=dict(self.stepper.model.state_dict()),
                optimizer=optimizer_tensors(self.stepper.optimizer),
                best=self.best,
                state={
                    "history": self.history,
                    "corrections": [asdict(correction) for correction in self.timeline.corrections],
                    "precision": self.stepper.precision,
                    "best_loss": self.best_loss,
                    "since_best": self.since_best,
                    "seconds": self._seconds(),
                },
            ),
        )
        self.last_checkpoint = now
