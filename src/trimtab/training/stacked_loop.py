"""The training loop for several small networks that take each step together.

It is `trimtab.training.loop` for many: one schedule and one clock for all, and for each network its own validation,
history and best weights. There are no checkpoints: what is small enough to be trained so is trained again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import TrainingError
from trimtab.training.loop import Trained
from trimtab.training.memory import keeping_memory
from trimtab.training.mode import Mode
from trimtab.training.pace import Pace
from trimtab.training.probe import Probe
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows
from trimtab.training.schedules import learning_rate_factor
from trimtab.training.stepper import Arrays, score_logits, using_threads
from trimtab.training.watch import HISTORY_COLUMNS, HistoryRow, Watch

_WARM_STEPS, _TIMED_STEPS, _MARGIN = 3, 25, 1.03  # of the trial that plans a timed run


@dataclass(frozen=True, kw_only=True)
class Member:
    """One of several networks: the arguments of `trimtab.models.mlp`, its training rows, and those that choose."""

    kwargs: Mapping[str, Any]
    training: Rows
    validation: Rows


class Together(Protocol):
    """Networks that step together; see `trimtab.training.torch_stacked.Stacked`."""

    def copy(self) -> Together:
        """Return a twin for trials."""

    def step(self, step: int, rate: float) -> NDArray[np.float32]:
        """Do a step of all networks; return their losses [M]."""

    def logits(self, parts: Sequence[Rows]) -> list[NDArray[np.float32]]:
        """Return the output of each network for its own rows."""

    def weights(self, member: int) -> Arrays:
        """Return copies of the weights of one network."""


def train_together(members: Sequence[Member], recipe: Recipe, *, watch: Watch | None = None) -> list[Trained]:
    """Train several multi-layer perceptrons, each as it would be trained alone, and return what came of each.

    With the number of steps fixed, each is what `trimtab.training.loop.train` gives with the same recipe, but for the
    last bits of sums, if a pass over its rows has as many steps as that of the others. What a watch is told of is the
    common clock: steps, corrections and the probe; histories are in the results. Patience ends the training when no
    network gets better any more.

    Parameters
    ----------
    members
        See `trimtab.training.stacking.how_many_together` for what can be trained so.
    recipe
        Of each.
    watch
        Whom to ask for the time and to tell what happens.

    Raises
    ------
    TrainingError
        If one of them had no finite loss at any validation.
    """
    with using_threads(recipe.engine, recipe.threads), keeping_memory():
        network: Together = import_module(f"trimtab.training.{recipe.engine}_stacked").make_stacked(members, recipe)
        return _Loop(network, members, recipe, watch or Watch()).run()


class _Loop:
    """The state of one run of several networks."""

    def __init__(self, network: Together, members: Sequence[Member], recipe: Recipe, watch: Watch) -> None:
        self.network, self.recipe, self.watch = network, recipe, watch
        self.validation = [member.validation for member in members]
        rows = min(len(member.training) for member in members)
        self.pace = Pace(recipe, rows, max(map(len, self.validation)), watch, None)
        self.results = [_Result() for _ in members]
        self.step, self.started = 0, watch.clock()
        self.losses: list[NDArray[np.float32]] = []  # [M] of each step since the last validation

    def run(self) -> list[Trained]:
        """Do steps until the timeline ends."""
        pace, trial = self.pace, self._probe()
        self.watch.on_probe(trial)
        pace.begin(trial)
        while self.step < pace.total_steps:
            progress = pace.timeline.progress(self.step)
            rate = self.recipe.learning_rate * learning_rate_factor(self.recipe.schedule, progress)
            self.losses.append(self.network.step(self.step, rate))
            self.step += 1
            self.watch.on_step(self.step, pace.total_steps)
            pace.end_early(self.step)
            if self.step >= min(pace.epoch_end, pace.total_steps):
                self._end_epoch(rate)
            elif pace.is_stretch_over(self.step):
                pace.end_stretch(self.step)
                pace.follow_the_clock(self.step)
        return [self._trained(result) for result in self.results]

    def _probe(self) -> Probe:
        """Time steps and a validation of a twin, where the clock decides how many there are."""
        mode, reason = Mode.of(self.recipe), "several networks share each step, which has one mode"
        if not self.pace.is_timed:
            return Probe(mode=mode, reason=reason)
        twin, times, end = self.network.copy(), list[float](), self.watch.clock() + self.watch.seconds_left() / 40
        while len(times) < _WARM_STEPS or (self.watch.clock() < end and len(times) < _TIMED_STEPS):
            started = self.watch.clock()
            twin.step(len(times), 0.0)
            times.append(self.watch.clock() - started)
        started = self.watch.clock()
        self._judge(twin)
        return Probe(
            mode=mode,
            reason=reason,
            step_seconds=_MARGIN * statistics.median(times[_WARM_STEPS - 1 :]),
            validation_seconds=self.watch.clock() - started,
        )

    def _judge(self, network: Together) -> list[tuple[float, float]]:
        """Return the validation loss and accuracy of each network."""
        pairs = zip(network.logits(self.validation), self.validation, strict=True)
        return [score_logits(logits, rows.labels) for logits, rows in pairs]

    def _end_epoch(self, rate: float) -> None:
        self.pace.end_stretch(self.step)
        train_losses = np.stack(self.losses).mean(axis=0, dtype=np.float64).tolist()
        judged = self._judge(self.network)
        for member, ((loss, accuracy), train_loss) in enumerate(zip(judged, train_losses, strict=True)):
            weights = self.network.weights(member) if loss < self.results[member].best_loss else {}
            self.results[member].note(loss, train_loss, weights)
            self.results[member].history.append(self._row(train_loss, loss, accuracy, rate))
        self.pace.end_epoch(self.step, min(result.since_best for result in self.results))
        if not any(math.isfinite(loss) for loss, _ in judged):
            reason = "the losses were not numbers any more: the best weights before that are kept"
            self.pace.correct(self.step, self.step, reason)
        self.losses = []
        self.pace.start_epoch(self.step)

    def _row(self, train_loss: float, loss: float, accuracy: float, rate: float) -> HistoryRow:
        watch = self.watch
        spent = watch.seconds_spent() if watch.seconds_spent else watch.clock() - self.started
        left = watch.budget_left() if watch.budget_left else watch.seconds_left()
        epoch = round(self.step / self.pace.pass_steps, 2)
        values = (epoch, self.step, train_loss, loss, accuracy, rate, spent, left)
        finite = [value if math.isfinite(value) else None for value in values]  # JSON has no NaN
        return dict(zip(HISTORY_COLUMNS, finite, strict=True))

    def _trained(self, result: _Result) -> Trained:
        if not result.best:
            raise TrainingError(
                f"training diverged: after {self.step} steps with learning rate {self.recipe.learning_rate:g} no "
                "weights were finite",
                "a loss that falls",
                "lower it with --learning-rate or look for wrong values in the data",
            )
        return Trained(
            arrays=result.best,
            history=result.history,
            corrections=self.pace.timeline.corrections,
            mode=Mode.of(self.recipe),
            seconds=self.watch.clock() - self.started,
            stepping_seconds=self.pace.stepping_seconds,
        )


class _Result:
    """What is known of one network so far."""

    def __init__(self) -> None:
        self.history: list[HistoryRow] = []
        self.best: Arrays = {}
        self.best_loss, self.since_best = math.inf, 0

    def note(self, loss: float, train_loss: float, weights: Arrays) -> None:
        """Keep weights that are finite and validated better than those before."""
        are_finite = math.isfinite(loss) and math.isfinite(train_loss)
        if weights and are_finite and all(np.isfinite(array).all() for array in weights.values()):
            self.best, self.best_loss, self.since_best = weights, loss, 0
        else:
            self.since_best += 1
