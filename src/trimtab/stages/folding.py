"""The folds of a cross-validation, trained within the minutes over one decoded data set.

Small networks for tables are trained together where a cost model says that it pays (`trimtab.training.stacking`), small
ones for pictures beside each other in processes (`trimtab.stages.fold_pool`), others one after the other in this
process. A finished fold is in the ledger and is not trained again.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.data import Dataset, Split
from trimtab.data.audits import find_copies
from trimtab.generalization.fold_files import FoldFiles, load_folds, save_folds
from trimtab.generalization.folds import Fold, Folding, make_folds, rare_classes
from trimtab.stages.features import features_of
from trimtab.stages.fold_pool import FoldPool, count_processes
from trimtab.stages.fold_training import FoldClock, FoldTask, Kept, train_fold, watch_of, write_fold
from trimtab.stages.job import Features, Job, mode_of
from trimtab.stages.learning import recipe_of
from trimtab.stages.reserve import Load, slowness
from trimtab.training import Recipe
from trimtab.training.distributed import threads_of_a_worker
from trimtab.training.stacking import how_many_together

if TYPE_CHECKING:
    from trimtab.training.probe import Probe

_AFTER_SECONDS = 1.4  # figures, pictures, page: five times what 1,800 rows took on the known machine of `reserve`
_MARGIN = 1.5
_LEAVING_SECONDS = 0.6  # of processes that trained folds, until the last one is gone
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
        for name in _LIBRARIES:
            import_module(name)  # now, so that the time that is left is the time to train
        after = _MARGIN * _AFTER_SECONDS * slowness()
    recipe = recipe_of(job)
    recipe = replace(recipe, threads=threads_of_a_worker(recipe, None))
    finished = {event["number"] for event in job.ledger.events("fold_trained")}
    if finished:
        job.console.note(f"{len(finished)} of {len(folds)} were trained by an earlier attempt")
    waiting = [each for each in folds if each.number not in finished]
    if not waiting:
        return
    first = _features(job, dataset, waiting[0])
    processes = count_processes(str(job.plan.model), first, recipe, cores=job.plan.threads or 1, folds=len(folds))
    if processes > 1:
        recipe = replace(recipe, threads=max(1, recipe.threads // processes))
        each = f"{recipe.threads} thread{'s' if recipe.threads > 1 else ''} each"
        job.console.note(f"{processes} processes train folds beside each other, {each}")
        _train_beside(job, dataset, recipe, waiting, Kept(after + _LEAVING_SECONDS, load), processes)
    else:
        import_module(f"trimtab.training.{job.plan.engine}_steps")
        _train_in_turn(job, dataset, recipe, waiting, Kept(after, load))


def _features(job: Job, dataset: Dataset, fold: Fold) -> Features:
    return features_of(job.plan, job.facts, dataset, fold.learned, fold.selection)


def _train_in_turn(job: Job, dataset: Dataset, recipe: Recipe, waiting: list[Fold], kept: Kept) -> None:
    """Train one fold after the other, or several together in each step where that pays."""
    while waiting:
        first = _features(job, dataset, waiting[0])
        counts = [len(each.learned) for each in waiting]
        count = how_many_together(str(job.plan.model), first.kwargs, recipe, counts, rows=first.training)
        group, waiting = waiting[:count], waiting[count:]
        features = [first, *(_features(job, dataset, each) for each in group[1:])]
        clock = _clock(job, count / (count + len(waiting)), kept)
        tasks = [_task(job, recipe, each, clock) for each in features]
        if count > 1:
            _train_group(job, dataset, group, features, tasks)
        else:
            entry = train_fold(
                tasks[0], dataset, group[0], on_step=job.console.step, on_probe=partial(_note_probe, job)
            )
            _finish(job, group[0], entry)


def _train_group(
    job: Job, dataset: Dataset, group: Sequence[Fold], features: Sequence[Features], tasks: Sequence[FoldTask]
) -> None:
    """Train several folds together, and finish each."""
    from trimtab.training.stacked_loop import Member, train_together

    job.console.note(f"{len(group)} networks are trained together in each step")
    members = [Member(kwargs=f.kwargs, training=f.training, validation=f.validation) for f in features]
    watch = watch_of(tasks[0], group, on_step=job.console.step, on_probe=partial(_note_probe, job))
    trained = train_together(members, tasks[0].recipe, watch=watch)
    for fold, task, result in zip(group, tasks, trained, strict=True):
        _finish(job, fold, write_fold(task, dataset, fold, result))


def _train_beside(
    job: Job, dataset: Dataset, recipe: Recipe, waiting: Sequence[Fold], kept: Kept, processes: int
) -> None:
    """Train the folds in processes of their own, in rounds of as many as there are."""
    rounds = math.ceil(len(waiting) / processes)

    def task_of(position: int) -> FoldTask:
        clock = _clock(job, 1 / (rounds - position // processes), kept)
        return _task(job, recipe, _features(job, dataset, waiting[position]), clock)

    with FoldPool(dataset, job.directory.path, waiting, processes=processes, warn=job.warn) as pool:
        pool.run(
            task_of,
            on_step=job.console.step,
            on_probe=partial(_note_probe, job),
            on_done=partial(_finish, job),
        )


def _clock(job: Job, part: float, kept: Kept) -> FoldClock:
    """Return the clock of folds that have this part, in (0, 1], of what is left now."""
    left = job.seconds_left()
    now = time.monotonic()
    return FoldClock(started=job.started, budget_end=now + left, begun=now, part=part, kept=kept)


def _task(job: Job, recipe: Recipe, features: Features, clock: FoldClock) -> FoldTask:
    probes = job.ledger.events("probe")
    plan = job.plan
    return FoldTask(
        directory=job.directory.path,
        builder=str(plan.model),
        kwargs=features.kwargs,
        meta=features.meta | ({} if plan.test_time == "none" else {"test_time": plan.test_time}),
        recipe=recipe,
        mode=mode_of(probes[-1]) if probes else None,
        clock=clock,
    )


def _note_probe(job: Job, trial: Probe) -> None:
    if not job.ledger.events("probe"):  # later folds compute in the same mode
        job.ledger.append("probe", **asdict(trial))
        job.console.note(f"{trial.mode}: {trial.reason}")


def _finish(job: Job, fold: Fold, entry: dict[str, Any]) -> None:
    """Enter a fold whose files are written into the ledger, after which it counts as finished, and say so."""
    right, ending = entry.pop("right"), entry.pop("ending")
    job.ledger.append("fold_trained", **entry)
    shutil.rmtree(FoldFiles(job.directory.path).checkpoints(fold.number), ignore_errors=True)
    said = f"{100 * right:.2f}% of {len(fold.test):,} rows right after {entry['steps']:,} steps; {ending}"
    job.console.stage(f"fold {fold.number}", said)
