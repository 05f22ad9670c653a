"""Trials: the run's training done again with one change, paired with trainings without it.

Every training takes the run's own training rows; the validation rows judge, the test rows are not touched. The same
seeds give weights, order and augmentation to the baseline and to each trial. How recorded answers are judged without
letting a row judge what it chose is in `trimtab.generalization.evidence`.

Legend: ``N`` validation rows, ``M`` watched training rows, ``E`` validations in a training, ``S`` seeds, ``K`` classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import TrainingError
from trimtab.generalization.evidence import Judged, judge
from trimtab.generalization.material import Material, SetupOf
from trimtab.generalization.remedies import Remedy
from trimtab.training.loop import train
from trimtab.training.mode import Mode
from trimtab.training.stepper import score_logits
from trimtab.training.watch import Watch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """What a training said.

    Attributes
    ----------
    validation
        float32 [E, N, K], logits at each validation.
    training
        float32 [E, M, K], those of the training rows that were watched.
    seconds
        That it took.
    """

    validation: NDArray[np.float32]
    training: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What came of one remedy.

    Attributes
    ----------
    remedy
        That was tried.
    gains
        float64 [S, N]: log loss of the baseline less that of the trial; empty when training diverged.
    right_gains
        float64 [S, N]: 1 where only the trial is right, -1 where only the baseline is.
    training_gain
        Mean log loss on watched training rows, baseline less trial, both in the end.
    seconds
        That it took.
    """

    remedy: Remedy
    gains: FloatArray
    right_gains: FloatArray
    training_gain: float
    seconds: float

    @property
    def has_diverged(self) -> bool:
        """Whether there is nothing to compare."""
        return len(self.gains) == 0


@final
@dataclass(kw_only=True, eq=False)
class Bench:
    """Where trials are made: the material, the seeds, the time, and what has been done so far.

    Attributes
    ----------
    material, setup_of
        The rows, and what a training on them is made of.
    seeds
        Two or more.
    mode
        That the run computed in.
    seconds_left
        Until all trials must be over; asked at every step.
    training_seconds
        Of one baseline: estimated, and measured once there is one.
    baselines, recorded
        Judged answers of the baseline, one per seed, and the answers themselves.
    outcomes, untried
        Of remedies that were tried, and remedies that there was no time for.
    """

    material: Material
    setup_of: SetupOf
    seeds: Sequence[int]
    mode: Mode | None
    seconds_left: Callable[[], float]
    training_seconds: float
    clock: Callable[[], float] = time.perf_counter
    baselines: list[Judged] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    untried: list[Remedy] = field(default_factory=list)

    def fits(self, trainings: float) -> bool:
        """Return whether there is time for so many trainings of the baseline's length."""
        return trainings * self.training_seconds <= self.seconds_left()

    def run_baselines(self) -> bool:
        """Train the baseline with each seed that it was not trained with yet; return whether there was time for all.

        Raises
        ------
        TrainingError
            If training diverges.
        """
        for seed in self.seeds[len(self.baselines) :]:
            recorded = self.record({}, seed)
            if recorded is None:
                return False
            self.recorded.append(recorded)
            self.baselines.append(self.judged(recorded))
            self.training_seconds = max(each.seconds for each in self.recorded)
        return True

    def attempt(self, remedy: Remedy, labels: IntArray | None = None) -> Outcome | None:
        """Try a remedy with one seed after the other, as long as it gains something on the whole.

        Giving up early can only hide a gain, never invent one. Training with other labels is never given up: what it
        gains shows on trusted rows only, and which these are is not known here.

        Parameters
        ----------
        remedy
            The change.
        labels
            That the training rows have instead of their own.

        Returns
        -------
        Outcome or None
            ``None`` when there was no time for a single training; the remedy is then noted as untried.
        """
        started, pairs, learned = self.clock(), list[tuple[FloatArray, FloatArray]](), list[float]()
        try:
            while len(pairs) < len(self.seeds) and self.fits(remedy.work) and _is_promising(remedy, pairs):
                index = len(pairs)
                recorded = self.record(remedy.settings, self.seeds[index], labels=labels)
                if recorded is None:
                    break
                learned.append(self._training_loss(self.recorded[index]) - self._training_loss(recorded))
                pairs.append(self._compared(recorded, index))
        except TrainingError:
            pairs, learned = [], []
        else:
            if not pairs:
                self.untried.append(remedy)
                return None
        shape = (len(pairs), len(self.material.validation))
        outcome = Outcome(
            remedy=remedy,
            gains=np.array([losses for losses, _ in pairs]).reshape(shape),
            right_gains=np.array([right for _, right in pairs]).reshape(shape),
            training_gain=sum(learned) / max(1, len(learned)),
            seconds=self.clock() - started,
        )
        self.outcomes.append(outcome)
        return outcome

    def _compared(self, recorded: Recorded, index: int) -> tuple[FloatArray, FloatArray]:
        """Return what a training gained over the baseline of the same seed: losses [N], right answers [N]."""
        own, base = self.judged(recorded), self.baselines[index]
        return base.losses - own.losses, own.is_right.astype(np.float64) - base.is_right

    def judged(self, recorded: Recorded) -> Judged:
        """Return how the validation rows judge a training."""
        return judge(recorded.validation, self.material.validation.labels, self.material.folds)

    def _training_loss(self, recorded: Recorded) -> float:
        """Return the mean log loss of the watched rows after the last step; 0 where none are watched."""
        if len(self.material.watched) == 0:
            return 0.0
        return score_logits(recorded.training[-1], self.material.training.labels[self.material.watched])[0]

    def history(self, passes: float) -> list[dict[str, float]]:
        """Return a row per validation of the first baseline, for learning curves; ``passes`` is its whole length."""
        recorded, labels = self.recorded[0], self.material.training.labels[self.material.watched]
        rows = []
        for index, (held_out, own) in enumerate(zip(recorded.validation, recorded.training, strict=True)):
            loss, accuracy = score_logits(held_out, self.material.validation.labels)
            values = {"train_loss": score_logits(own, labels)[0], "validation_loss": loss}
            epoch = passes * (index + 1) / len(recorded.validation)
            rows.append({"epoch": epoch, **values, "validation_accuracy": accuracy})
        return rows

    def record(
        self,
        settings: Mapping[str, Any],
        seed: int,
        places: IntArray | None = None,
        watched: IntArray | None = None,
        labels: IntArray | None = None,
    ) -> Recorded | None:
        """Train once, and return what the network said at each validation; ``None`` when the time was up.

        Parameters
        ----------
        settings
            Fields of the plan that differ from the run's.
        seed
            Of weights, order, augmentation and dropout.
        places
            Of the training rows that are trained on, in as many passes as the baseline makes; all unless given.
        watched
            Places of the training rows whose answers are recorded; those of the material unless given.
        labels
            That all training rows have instead of their own.

        Raises
        ------
        TrainingError
            If training diverges.
        """
        setup, material, answers = self.setup_of(settings), self.material, list[NDArray[np.float32]]()
        rows = material.training if places is None else material.part(places)
        rows = rows if labels is None else replace(rows, labels=labels)
        steps = max(1, round((setup.recipe.steps or 1) * len(rows) / len(material.training)))
        started = self.clock()
        train(
            setup.builder,
            setup.kwargs,
            rows,
            material.answering(material.watched if watched is None else watched),
            replace(setup.recipe, seed=seed, steps=steps),
            watch=Watch(
                on_validation=lambda logits: answers.append(np.array(logits)),
                wants_to_stop=lambda: self.seconds_left() <= 0,
            ),
            mode=self.mode,
        )
        if self.seconds_left() <= 0:
            return None
        own, others = np.split(np.stack(answers), [len(material.validation)], axis=1)
        return Recorded(validation=own, training=others, seconds=self.clock() - started)


def _is_promising(remedy: Remedy, pairs: Sequence[tuple[FloatArray, FloatArray]]) -> bool:
    """Return whether the seeds so far have gained anything, in loss or in accuracy."""
    if not pairs or remedy.cause == "LABEL_NOISE":
        return True
    return max(sum(float(gains[part].mean()) for gains in pairs) for part in (0, 1)) > 0
