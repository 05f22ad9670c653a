"""One fold from its rows to its files: trained within its share of the time, its test rows answered.

The same in this process and in another one (`trimtab.stages.fold_worker`): it knows no job, console or ledger.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.artifact import Artifact
from trimtab.data import Dataset
from trimtab.generalization.fold_files import FoldFiles
from trimtab.generalization.folds import Fold
from trimtab.stages.following import rows_of
from trimtab.stages.learning import write_history
from trimtab.stages.reserve import Load
from trimtab.storage import write_bytes
from trimtab.training import Recipe
from trimtab.training.mode import Mode

if TYPE_CHECKING:
    from trimtab.training.loop import Trained
    from trimtab.training.probe import Probe
    from trimtab.training.watch import HistoryRow, Watch

_KEPT_AT_MOST = 1 / 3  # of the seconds left, for the end of the whole
_PREDICTING_MARGIN = 1.2  # the trial's rows were in the cache, and no other fold was predicting beside them


@dataclass(frozen=True)
class Kept:
    """What is kept for the end of the whole: it follows what other processes do meanwhile.

    Attributes
    ----------
    seconds
        That the end takes where no other process computes.
    load
        How much longer it will take as things are.
    """

    seconds: float
    load: Load = field(compare=False)

    def of(self, left: float) -> float:
        """Return the seconds to keep of those that were left, a third of them at most."""
        return min(self.seconds * self.load.contention(), _KEPT_AT_MOST * max(0.0, left))


@dataclass(kw_only=True)
class FoldClock:
    """When a training must be over, on the machine's clock, which all its processes share.

    Attributes
    ----------
    started, budget_end
        Of the whole cross-validation, as of ``time.monotonic``; without a budget infinite.
    begun
        When the fold, or the folds that are trained together, began.
    part
        Of the seconds that were left then, in (0, 1].
    kept
        What is not to be spent of those.
    predicting
        Seconds that predicting the test rows is expected to take.
    """

    started: float
    budget_end: float
    begun: float
    part: float
    kept: Kept
    predicting: float = field(default=0.0)

    def seconds(self) -> float:
        """Return the seconds of the cross-validation so far."""
        return time.monotonic() - self.started

    def seconds_left(self) -> float:
        """Return the seconds until training must be over."""
        left = self.budget_end - self.begun
        return self.begun + self.part * (left - self.kept.of(left)) - self.predicting - time.monotonic()

    def budget_left(self) -> float:
        """Return the seconds until the budget of the cross-validation is spent."""
        return self.budget_end - time.monotonic()

    def note(self, trial: Probe, folds: Sequence[Fold], meta: dict[str, Any]) -> None:
        """Keep the seconds for predicting the test rows, from what validating took in the trial."""
        if trial.validation_seconds is not None:
            times = 2 if meta.get("test_time") == "mirror" else 1
            share = sum(len(each.test) for each in folds) / max(1, sum(len(each.selection) for each in folds))
            self.predicting = _PREDICTING_MARGIN * times * share * trial.validation_seconds


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """What it takes to train one fold, beside the data and its rows.

    Attributes
    ----------
    directory
        Of the cross-validation.
    builder, kwargs, meta
        Of the network and its preprocessing.
    recipe
        Its threads are those of the process that trains.
    mode
        That other folds were trained in, if there are some.
    clock
        When it must be over.
    """

    directory: Path
    builder: str
    kwargs: dict[str, Any]
    meta: dict[str, Any]
    recipe: Recipe
    mode: Mode | None
    clock: FoldClock

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON, which knows no infinity."""
        clock = vars(self.clock) | {"kept": self.clock.kept.seconds}
        return {
            **vars(self),
            "directory": str(self.directory),
            "recipe": asdict(self.recipe),
            "mode": self.mode and asdict(self.mode),
            "clock": {name: None if math.isinf(value) else value for name, value in clock.items()},
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> FoldTask:
        """Return what `to_dict` gave; the load is that of the process that reads it."""
        clock: dict[str, Any] = {name: math.inf if value is None else value for name, value in fields["clock"].items()}
        clock["kept"] = Kept(clock["kept"], Load.from_now(threads=fields["recipe"]["threads"]))
        made = {
            "directory": Path(fields["directory"]),
            "recipe": Recipe(**fields["recipe"]),
            "mode": None if fields["mode"] is None else Mode(**fields["mode"]),
            "clock": FoldClock(**clock),
        }
        return cls(**{**fields, **made})


def train_fold(
    task: FoldTask,
    dataset: Dataset,
    fold: Fold,
    *,
    on_step: Callable[[int, int], None],
    on_probe: Callable[[Probe], None],
) -> dict[str, Any]:
    """Train a fold, or go on from its checkpoint, write its files, and return the fields of its entry in the ledger."""
    from trimtab.training.loop import train

    trained = train(
        task.builder,
        task.kwargs,
        rows_of(dataset, fold.learned, task.meta),
        rows_of(dataset, fold.selection, task.meta),
        task.recipe,
        watch=watch_of(task, [fold], on_step=on_step, on_probe=on_probe),
        checkpoints=FoldFiles(task.directory).checkpoints(fold.number),
        mode=task.mode,
    )
    return write_fold(task, dataset, fold, trained)


def watch_of(
    task: FoldTask, folds: Sequence[Fold], *, on_step: Callable[[int, int], None], on_probe: Callable[[Probe], None]
) -> Watch:
    """Return what a training asks and tells; several together tell their histories at the end."""
    from trimtab.training.watch import Watch

    history: list[HistoryRow] = []
    path = FoldFiles(task.directory).history(folds[0].number)

    def on_epoch(row: HistoryRow) -> None:
        history.append(row)
        write_history(history, path)

    def on_trial(trial: Probe) -> None:
        task.clock.note(trial, folds, task.meta)
        on_probe(trial)

    return Watch(
        seconds_left=task.clock.seconds_left,
        on_step=on_step,
        on_epoch=on_epoch,
        on_probe=on_trial,
        on_resume=lambda rows, step: history.extend(rows),
        seconds_spent=task.clock.seconds,
        budget_left=task.clock.budget_left,
    )


def write_fold(task: FoldTask, dataset: Dataset, fold: Fold, trained: Trained) -> dict[str, Any]:
    """Write the model of a fold and what it answers to the fold's test rows; return what the ledger is to say."""
    from trimtab.training.stepper import predict_probabilities

    files, recipe = FoldFiles(task.directory), task.recipe
    artifact = Artifact(builder=task.builder, kwargs=task.kwargs, arrays=trained.arrays, meta=task.meta)
    rows = rows_of(dataset, fold.test, task.meta)
    answers = predict_probabilities(artifact, rows, engine=recipe.engine, threads=recipe.threads)
    content = io.BytesIO()
    np.save(content, answers, allow_pickle=False)
    write_bytes(files.probabilities(fold.number), content.getvalue())
    write_history(trained.history, files.history(fold.number))
    artifact.save(files.model(fold.number))
    return {
        "number": fold.number,
        "repeat": fold.repeat,
        "seconds": round(trained.seconds, 3),
        "steps": trained.corrections[-1].total_steps,
        "mode": asdict(trained.mode),
        "weights_sha256": artifact.sha256,
        "right": float((answers.argmax(1) == rows.labels).mean()),
        "ending": trained.ending,
    }
