"""The training loop: steps, validation at the end of every epoch, a schedule that ends when the time does.

An *epoch* here is the stretch between two validations: one pass over the rows, several where passes are short, a
part of one where they are long. At its end the loop validates, remembers the best weights and writes a checkpoint;
long epochs are saved in between, too. A few times an epoch a `trimtab.training.pace.Pace` corrects the planned length
if the machine turned out faster or slower. The corrections and the mode, not the clock, decide the weights: given
again as ``replay`` and ``mode`` they give the same weights bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import TrainingError
from trimtab.training.averages import Averaged
from trimtab.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from trimtab.training.memory import keeping_memory
from trimtab.training.mode import Mode
from trimtab.training.pace import Pace, follows_the_clock
from trimtab.training.probe import Probe, probe
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows
from trimtab.training.schedules import Correction, learning_rate_factor
from trimtab.training.stepper import Arrays, Stepper, make_stepper, score_logits, using_threads
from trimtab.training.watch import HISTORY_COLUMNS, HistoryRow, Watch

_CHECKPOINT_SECONDS = 2.0  # not more often than this; a checkpoint changes no weights
_UNSAVED_SECONDS = 20.0  # after so long a checkpoint is written between two validations
_SAVING_SHARE = 0.02  # of the time that such checkpoints may take
_PROBE_SECONDS = 3.0  # at most


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome: the best weights, the history, and what repeats them.

    Attributes
    ----------
    arrays
        The best weights, float32, by torch's names and layouts.
    history
        A row per validation.
    corrections, mode
        What gives the same weights again.
    seconds, stepping_seconds
        Of the whole training, earlier attempts included, and of its steps alone.
    """

    arrays: Arrays
    history: list[HistoryRow]
    corrections: list[Correction]
    mode: Mode
    seconds: float
    stepping_seconds: float

    @property
    def ending(self) -> str:
        """Why training ended when it did; a run that only followed the clock used its time up."""
        reason = self.corrections[-1].reason
        return "the time was used up" if follows_the_clock(reason) else reason


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
    mode: Mode | None = None,
    initial: Mapping[str, NDArray[Any]] | None = None,
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
    mode
        What an earlier run was trained in; otherwise the probe of a timed run chooses.
    initial
        Weights to start from, by torch's names; fresh ones unless given.

    Raises
    ------
    TrainingError
        If the loss is not a number before the first validation.
    ModuleNotFoundError
        If the recipe's engine is not installed.
    """
    with using_threads(recipe.engine, recipe.threads), keeping_memory():
        stepper = make_stepper(builder, kwargs, training, recipe)
        if initial is not None:
            stepper.load_weights(initial)
        return run_stepper(
            stepper,
            len(training),
            validation,
            watch=watch,
            checkpoints=checkpoints,
            replay=replay,
            mode=mode,
        )


def run_stepper(
    stepper: Stepper,
    training_rows: int,
    validation: Rows,
    *,
    watch: Watch | None = None,
    checkpoints: Path | None = None,
    replay: Sequence[Correction] | None = None,
    mode: Mode | None = None,
) -> Trained:
    """Train whatever ``stepper`` steps, on ``training_rows`` rows; the rest is as in `train`."""
    if stepper.recipe.ema:
        stepper = Averaged(stepper, stepper.recipe.ema)
    watch = watch or Watch()
    pace = Pace(stepper.recipe, training_rows, len(validation), watch, replay)
    loop = _Loop(stepper, validation, pace, watch, checkpoints)
    if not loop.resume():
        loop.begin(mode)
    return loop.run()


class _Loop:
    """The state of one run."""

    def __init__(self, stepper: Stepper, validation: Rows, pace: Pace, watch: Watch, checkpoints: Path | None) -> None:
        self.stepper, self.recipe, self.pace = stepper, stepper.recipe, pace
        self.validation, self.watch, self.checkpoints = validation, watch, checkpoints
        self.history: list[HistoryRow] = []
        self.best: Arrays = {}
        self.best_loss, self.since_best = math.inf, 0
        self.step, self.spent = 0, 0.0
        self.epoch_losses: list[float] = []
        self.started = self.last_checkpoint = watch.clock()
        self.unsaved_seconds = _UNSAVED_SECONDS

    # ---- beginning, or going on ----

    def begin(self, mode: Mode | None) -> None:
        """Decide the mode and plan the length of the run."""
        trial = self._probe(mode)
        self.watch.on_probe(trial)
        self.stepper.use(trial.mode)
        self.pace.begin(trial)

    def _probe(self, mode: Mode | None) -> Probe:
        if not self.pace.is_timed:
            reason = "as decided before" if mode else "no clock decides, for the same plan to give the same weights"
            return Probe(mode=mode or Mode.of(self.recipe), reason=reason)
        left = self.watch.seconds_left()
        seconds = min(_PROBE_SECONDS, left / 40)
        return probe(
            self.stepper, self.validation, seconds=seconds, seconds_left=left, mode=mode, clock=self.watch.clock
        )

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint; return whether there was one."""
        checkpoint = load_checkpoint(self.checkpoints) if self.checkpoints else None
        if checkpoint is None:
            return False
        state = checkpoint.state
        self.stepper.use(Mode(**state["mode"]))
        self.stepper.load_weights(checkpoint.model)
        self.stepper.load_optimizer(checkpoint.optimizer)
        self.best = checkpoint.best
        self.best_loss = math.inf if state["best_loss"] is None else state["best_loss"]
        self.since_best = state["since_best"]
        self.step, self.spent, self.history = checkpoint.step, state["seconds"], state["history"]
        self.epoch_losses = state["epoch_losses"]
        self.watch.on_resume(list(self.history), self.step)
        self.pace.resume(self.step, state["pace"])
        return True

    # ---- running ----

    def run(self) -> Trained:
        """Do steps until the timeline ends."""
        pace = self.pace
        while self.step < pace.total_steps:
            rate = self._learning_rate()
            self.epoch_losses.append(self.stepper.step(self.step, rate))
            self.step += 1
            self.watch.on_step(self.step, pace.total_steps)
            pace.end_early(self.step)
            if self.step >= min(pace.epoch_end, pace.total_steps):
                self._end_epoch(rate)
            elif pace.is_stretch_over(self.step):
                pace.end_stretch(self.step)
                pace.follow_the_clock(self.step)
            elif self.watch.clock() - self.last_checkpoint >= self.unsaved_seconds:
                self._save_between()
        self._check_best()
        return Trained(
            arrays=self.best,
            history=self.history,
            corrections=pace.timeline.corrections,
            mode=self.stepper.mode,
            seconds=self._seconds(),
            stepping_seconds=pace.stepping_seconds,
        )

    def _learning_rate(self) -> float:
        progress = self.pace.timeline.progress(self.step)
        return self.recipe.learning_rate * learning_rate_factor(self.recipe.schedule, progress)

    def _end_epoch(self, rate: float) -> None:
        self.pace.end_stretch(self.step)
        logits = self.stepper.logits(self.validation)
        self.watch.on_validation(logits)
        loss, accuracy = score_logits(logits, self.validation.labels)
        train_loss = sum(self.epoch_losses) / len(self.epoch_losses)
        self._remember_best(loss, train_loss)
        self._write_history(train_loss, loss, accuracy, rate)
        self.pace.end_epoch(self.step, self.since_best)
        self.epoch_losses = []
        self.pace.start_epoch(self.step)
        self._save()

    def _write_history(self, train_loss: float, loss: float, accuracy: float, rate: float) -> None:
        watch = self.watch
        spent = watch.seconds_spent() if watch.seconds_spent else self._seconds()
        left = watch.budget_left() if watch.budget_left else watch.seconds_left()
        epoch = round(self.step / self.pace.pass_steps, 2)
        values = (epoch, self.step, train_loss, loss, accuracy, rate, spent, left)
        finite = [value if math.isfinite(value) else None for value in values]  # JSON has no NaN
        self.history.append(dict(zip(HISTORY_COLUMNS, finite, strict=True)))
        watch.on_epoch(self.history[-1])

    def _remember_best(self, loss: float, train_loss: float) -> None:
        """Keep the weights when they are finite and validate better; end the run when the loss is no number."""
        weights = self.stepper.delivered_weights()
        is_finite = math.isfinite(loss) and math.isfinite(train_loss)
        if is_finite and loss < self.best_loss and all(np.isfinite(array).all() for array in weights.values()):
            self.best, self.best_loss, self.since_best = weights, loss, 0
            return
        self.since_best += 1
        if not is_finite:
            self._check_best()
            if self.pace.replay is None:
                self.pace.correct(
                    self.step, self.step, "the loss was not a number any more: the best weights before that are kept"
                )

    def _check_best(self) -> None:
        """Refuse to end without finite weights."""
        if not self.best:
            raise TrainingError(
                f"training diverged: after {self.step} steps with learning rate {self.recipe.learning_rate:g} no "
                "weights were finite",
                "a loss that falls",
                "lower it with --learning-rate or look for wrong values in the data",
            )

    def _seconds(self) -> float:
        return self.spent + self.watch.clock() - self.started

    # ---- checkpoints ----

    def _save_between(self) -> None:
        """Write a checkpoint in the middle of an epoch, the less often the longer that takes."""
        self.pace.end_stretch(self.step)
        started = self.watch.clock()
        self._save()
        self.unsaved_seconds = max(_UNSAVED_SECONDS, (self.watch.clock() - started) / _SAVING_SHARE)
        self.pace.start_stretch(self.step)

    def _save(self) -> None:
        now = self.watch.clock()
        is_due = now - self.last_checkpoint >= _CHECKPOINT_SECONDS or self.step >= self.pace.total_steps
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
                    "pace": self.pace.state(),
                    "mode": asdict(self.stepper.mode),
                    "best_loss": self.best_loss if self.best else None,
                    "epoch_losses": self.epoch_losses,
                    "since_best": self.since_best,
                    "seconds": self._seconds(),
                },
            ),
        )
        self.last_checkpoint = now
