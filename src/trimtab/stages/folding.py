"""The folds of a cross-validation, trained within the minutes over one decoded data set.

Small networks are trained together where a cost model says that it pays (`trimtab.training.stacking`), others one
after the other in this process. A finished fold is in the ledger and is not trained again.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from trimtab.artifact import Artifact
from trimtab.data import Dataset, Split
from trimtab.data.audits import find_copies
from trimtab.generalization.fold_files import FoldFiles, load_folds, save_folds
from trimtab.generalization.folds import Fold, Folding, make_folds, rare_classes
from trimtab.stages.features import features_of
from trimtab.stages.following import rows_of
from trimtab.stages.job import Features, Job, mode_of
from trimtab.stages.learning import recipe_of, write_history
from trimtab.stages.reserve import Load, slowness
from trimtab.storage import write_bytes
from trimtab.training import Recipe
from trimtab.training.distributed import threads_of_a_worker
from trimtab.training.stacking import how_many_together

if TYPE_CHECKING:
    from trimtab.training.loop import Trained
    from trimtab.training.probe import Probe
    from trimtab.training.watch import HistoryRow, Watch

_AFTER_SECONDS = 1.4  # figures, pictures, page: five times what 1,800 rows took on the known machine of `reserve`
_MARGIN, _AFTER_SHARE = 1.5, 1 / 3  # what is kept for that, and at most of what is left
_LIBRARIES = ("jinja2", "matplotlib.backends.backend_svg", "matplotlib.figure", "pyarrow.parquet")


def divide_into_folds(job: Job, dataset: Dataset, split: Split, folding: Folding) -> list[Fold]:
    """Divide all rows outside the sealed test part into folds, or take those of an earlier attempt."""
    files = FoldFiles(job.directory.path)
    pool = np.sort(np.concatenate([split.train, split.validation]))
    if files.folds.exists():  # written last
        folds = load_folds(job.directory.path)
    else:
        fraction = job.plan.validation_fraction or 0.15
        copies = find_copies(dataset).numbers if job.copies is None else job.copies
        folds = make_folds(dataset, pool, folding, selection_fraction=fraction, seed=job.plan.seed, copies=copies)
        save_folds(job.directory.path, folding, folds)
    rare = rare_classes(dataset, pool, folding)
    if rare:
        named = ", ".join(f"'{name}'" for name in rare[:3]) + (" and others" if len(rare) > 3 else "")
        job.warn(f"there are fewer rows of {named} than folds: some folds are not tested on them")
    times = f", {folding.repeats} times" if folding.repeats > 1 else ""
    sealed = f"the {split.test_count:,} sealed test rows are in none of them"
    job.console.stage("folds", f"{len(folds)} of {len(pool):,} rows, {folding.kind}{times}; {sealed}")
    return folds


def train_folds(job: Job, dataset: Dataset, folds: Sequence[Fold]) -> None:
    """Train a model on each fold that has none, and keep it with its answers to the fold's test rows."""
    with Load.measured(threads=job.plan.threads or 1) as load:
        for name in (*_LIBRARIES, f"trimtab.training.{job.plan.engine}_steps"):
            import_module(name)  # now, so that the time that is left is the time to train
        after = _MARGIN * _AFTER_SECONDS * slowness()
    recipe = recipe_of(job)
    recipe = replace(recipe, threads=threads_of_a_worker(recipe, None))
    finished = {event["number"] for event in job.ledger.events("fold_trained")}
    if finished:
        job.console.note(f"{len(finished)} of {len(folds)} were trained by an earlier attempt")
    waiting = [each for each in folds if each.number not in finished]
    while waiting:
        first = features_of(job.plan, job.facts, dataset, waiting[0].learned, waiting[0].selection)
        counts = [len(each.learned) for each in waiting]
        count = how_many_together(str(job.plan.model), first.kwargs, recipe, counts, rows=first.training)
        group, waiting = waiting[:count], waiting[count:]
        share = FoldShare(job, count / (count + len(waiting)), lambda: after * load.contention())
        others = [features_of(job.plan, job.facts, dataset, each.learned, each.selection) for each in group[1:]]
        _train_group(job, dataset, recipe, group, [first, *others], share)


class FoldShare:
    """The seconds for some folds: their part of what is left now, less what their predictions will take.

    What is kept for the end of the whole follows what other processes do meanwhile.

    Parameters
    ----------
    job
        Whose budget.
    part
        Of the seconds left, in (0, 1].
    after
        Gives the seconds that will be needed when all folds are trained; at most a third of those left are kept.
    """

    def __init__(self, job: Job, part: float, after: Callable[[], float]) -> None:
        self._job, self._part, self._after = job, part, after
        self._started, self._left = job.seconds(), job.seconds_left()
        self._predicting = 0.0

    def seconds_left(self) -> float:
        """Return the seconds until training must be over."""
        kept = min(self._after(), _AFTER_SHARE * max(0.0, self._left))
        return self._started + self._part * (self._left - kept) - self._predicting - self._job.seconds()

    def note(self, trial: Probe, group: Sequence[Fold]) -> None:
        """Keep the seconds for predicting the test rows, from what validating took in the trial."""
        if trial.validation_seconds is not None:
            times = 2 if self._job.plan.test_time == "mirror" else 1
            share = sum(len(each.test) for each in group) / max(1, sum(len(each.selection) for each in group))
            self._predicting = times * share * trial.validation_seconds


def _train_group(
    job: Job, dataset: Dataset, recipe: Recipe, group: Sequence[Fold], features: Sequence[Features], share: FoldShare
) -> None:
    """Train one fold, or several together, and finish each."""
    if len(group) > 1:
        job.console.note(f"{len(group)} networks are trained together in each step")
        from trimtab.training.stacked_loop import Member, train_together

        members = [Member(kwargs=f.kwargs, training=f.training, validation=f.validation) for f in features]
        trained = train_together(members, recipe, watch=_watch(job, group, share))
    else:
        trained = [_train_alone(job, recipe, group[0], features[0], share)]
    for each, one, result in zip(group, features, trained, strict=True):
        _finish(job, dataset, recipe, each, one, result)


def _train_alone(job: Job, recipe: Recipe, fold: Fold, features: Features, share: FoldShare) -> Trained:
    from trimtab.training.loop import train

    probes = job.ledger.events("probe")
    return train(
        str(job.plan.model),
        features.kwargs,
        features.training,
        features.validation,
        recipe,
        watch=_watch(job, [fold], share),
        checkpoints=FoldFiles(job.directory.path).checkpoints(fold.number),
        mode=mode_of(probes[-1]) if probes else None,
    )


def _watch(job: Job, group: Sequence[Fold], share: FoldShare) -> Watch:
    """Return what a training asks and tells; several together tell their histories at the end."""
    from trimtab.training.watch import Watch

    history: list[HistoryRow] = []
    path = FoldFiles(job.directory.path).history(group[0].number)

    def on_epoch(row: HistoryRow) -> None:
        history.append(row)
        write_history(history, path)

    def on_probe(trial: Probe) -> None:
        share.note(trial, group)
        if not job.ledger.events("probe"):  # later folds compute in the same mode
            job.ledger.append("probe", **asdict(trial))
            job.console.note(f"{trial.mode}: {trial.reason}")

    return Watch(
        seconds_left=share.seconds_left,
        on_step=job.console.step,
        on_epoch=on_epoch,
        on_probe=on_probe,
        on_resume=lambda rows, step: history.extend(rows),
        seconds_spent=job.seconds,
        budget_left=job.seconds_left,
    )


def _finish(job: Job, dataset: Dataset, recipe: Recipe, fold: Fold, features: Features, trained: Trained) -> None:
    """Write the model of a fold and what it answers to the fold's test rows; the entry in the ledger comes last."""
    from trimtab.training.stepper import predict_probabilities

    files, plan = FoldFiles(job.directory.path), job.plan
    meta = features.meta | ({} if plan.test_time == "none" else {"test_time": plan.test_time})
    artifact = Artifact(builder=str(plan.model), kwargs=features.kwargs, arrays=trained.arrays, meta=meta)
    rows = rows_of(dataset, fold.test, meta)
    answers = predict_probabilities(artifact, rows, engine=recipe.engine, threads=recipe.threads)
    content = io.BytesIO()
    np.save(content, answers, allow_pickle=False)
    write_bytes(files.probabilities(fold.number), content.getvalue())
    write_history(trained.history, files.history(fold.number))
    artifact.save(files.model(fold.number))
    steps = trained.corrections[-1].total_steps
    job.ledger.append(
        "fold_trained",
        number=fold.number,
        repeat=fold.repeat,
        seconds=round(trained.seconds, 3),
        steps=steps,
        mode=asdict(trained.mode),
        weights_sha256=artifact.sha256,
    )
    shutil.rmtree(files.checkpoints(fold.number), ignore_errors=True)
    right = float((answers.argmax(1) == rows.labels).mean())
    said = f"{100 * right:.2f}% of {len(rows):,} rows right after {steps:,} steps; {trained.ending}"
    job.console.stage(f"fold {fold.number}", said)
