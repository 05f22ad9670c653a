"""Remedies that a run tries of its own accord: whether that is worth it, and training again with one that helps.

They are tried after training, in the time that it left, for three reasons. How long the training takes is known then,
so that trials have its full length: what holds a network back hardly shows in short ones. The gap between training
and validation rows says beforehand what there is to try. And where nothing helps, nothing was taken from the model:
it had all of its time. Where training uses the time up, there is none for trials either.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.data import Dataset, Split
from trimtab.directory import RunDirectory
from trimtab.errors import TrainingError
from trimtab.generalization.evidence import LEAST_WRONG
from trimtab.ledger import Ledger
from trimtab.plan import Plan, hash_plan, plan_text
from trimtab.planning import model_kwargs
from trimtab.stages.job import Features, Job
from trimtab.stages.learning import train_model
from trimtab.stages.remedy_trials import RunTrials, Timing, try_on_run
from trimtab.stages.reserve import Reserve
from trimtab.storage import write_text
from trimtab.training.distributed import current_team
from trimtab.training.pace import follows_the_clock, has_done_all_passes, has_stalled

SHARE = 0.15
"""Of the minutes that trials may take."""

_AGAIN = 1.5  # times the seconds of the training are kept for training once more
_LEAST_UNITS = 10  # independent validation rows, or groups of them


def remedy(
    job: Job, dataset: Dataset, split: Split, features: Features, artifact: Artifact
) -> tuple[Features, Artifact]:
    """Try remedies where the plan asks for it and there is time; train again with the best if one is shown to help.

    What was tried goes to the ledger. The plan in the run directory becomes the one that was carried out, which tries
    nothing any more.

    Parameters
    ----------
    job
        Its plan and reasons are replaced.
    dataset, split, features, artifact
        As trained.

    Returns
    -------
    tuple
        Features and artifact to go on with: those given, or those of the remedied training.
    """
    if not job.plan.remedies or job.replay:
        return features, artifact
    groups = None if dataset.groups is None else dataset.groups[split.validation]
    obstacle = _obstacle(job, features, artifact, units=None if groups is None else len(np.unique(groups)))
    tried = obstacle or _try(job, split, features, artifact, groups)
    if isinstance(tried, RunTrials):
        return _conclude(job, split, features, artifact, tried)
    job.console.stage("remedies", f"none tried: {tried}")
    job.ledger.append("remedies_skipped", reason=tried)
    return features, artifact


def take_up(
    directory: RunDirectory, ledger: Ledger, plan: Plan, reasons: dict[str, str]
) -> tuple[Plan, dict[str, str]]:
    """Return plan and reasons as an earlier attempt changed them, and clear away what it trained before that."""
    events = ledger.events("remedies")
    if not events:
        return plan, reasons
    event = events[-1]
    plan, reasons = replace(plan, **event["settings"]), reasons | event["reasons"]
    write_text(directory.plan, plan_text(plan, reasons))
    trained = ledger.events("trained")
    if event["accepted"] and not (trained and trained[-1]["sequence"] > event["sequence"]):
        shutil.rmtree(directory.model, ignore_errors=True)
    return plan, reasons


def _try(
    job: Job, split: Split, features: Features, artifact: Artifact, groups: NDArray[Any] | None
) -> RunTrials | str:
    """Return what came of the trials, or why there were none."""
    timing = Timing(
        seconds=float(_trained(job)["seconds"]),
        steps=_planned_steps(job),
        seconds_left=seconds_for_trials(job, Reserve(job, features, split)),
    )
    try:
        return try_on_run(job, features, artifact, timing, groups)
    except TrainingError:
        return "training diverged with another seed"


def _trained(job: Job) -> Mapping[str, Any]:
    return job.ledger.events("trained")[-1]


def _planned_steps(job: Job) -> int:
    """Return how long the training would have been, had validation not stalled."""
    planned = [each for each in _trained(job)["corrections"] if not has_stalled(each["reason"])]
    return int(planned[-1]["total_steps"])


def _obstacle(job: Job, features: Features, artifact: Artifact, *, units: int | None) -> str | None:
    """Return why nothing can be tried, or be judged, whatever time there is."""
    plan, ending = job.plan, _trained(job)["corrections"][-1]["reason"]
    if plan.steps is not None:
        return "the number of steps is given"
    if plan.deterministic or current_team() is not None:
        return "the training is that of several workers"
    if plan.teacher is not None:
        return "it learns from a teacher"
    if follows_the_clock(ending):
        return "training used the time up"
    if not (has_stalled(ending) or has_done_all_passes(ending)):
        return f"training ended early: {ending}"
    return _too_few(job, features, artifact, units)


def _too_few(job: Job, features: Features, artifact: Artifact, units: int | None) -> str | None:
    from trimtab.training.stepper import predict_probabilities

    rows = features.validation
    if units is not None and units < _LEAST_UNITS:
        return f"{units} groups of validation rows are too few to judge by"
    answers = predict_probabilities(artifact, rows, engine=str(job.plan.engine), threads=job.plan.threads or 1)
    wrong = int((answers.argmax(axis=1) != rows.labels).sum())
    if wrong >= LEAST_WRONG:
        return None
    return f"{wrong} of {len(rows):,} validation rows are wrong, of which {LEAST_WRONG} are needed to judge by"


def seconds_for_trials(job: Job, reserve: Reserve) -> Callable[[], float]:
    """Return a function that gives the seconds left: the share of the minutes, and room for training once more."""
    begun = job.ledger.events("remedies_begun")
    started = float(begun[0]["seconds"]) if begun else job.seconds()
    share, again = SHARE * 60 * (job.plan.minutes or 0.0), _AGAIN * float(_trained(job)["seconds"])

    def seconds_left() -> float:
        return min(started + share - job.seconds(), job.seconds_left() - reserve.seconds() - again)

    return seconds_left


def _conclude(
    job: Job, split: Split, features: Features, artifact: Artifact, tried: RunTrials
) -> tuple[Features, Artifact]:
    """Write down what was tried, and train again with what helped."""
    best, before = tried.best, hash_plan(job.plan)
    settings: dict[str, Any] = {"remedies": False}
    reasons = {"remedies": tried.summary}
    if best is not None:
        settings |= best.remedy.settings
        reasons |= dict.fromkeys(best.remedy.settings, tried.verified)
        shutil.rmtree(job.directory.checkpoints, ignore_errors=True)  # before the plan changes: they are of the old one
    job.plan, job.reasons = replace(job.plan, **settings), job.reasons | reasons
    job.ledger.append(
        "remedies",
        **tried.to_dict(),
        settings=settings,
        reasons=reasons,
        plan_sha256_before=before,
        plan_sha256=hash_plan(job.plan),
    )
    for name, value in settings.items():
        job.ledger.append("decision", name=name, value=value, reason=reasons[name])
    write_text(job.directory.plan, plan_text(job.plan, job.reasons))
    job.console.stage("remedies", tried.summary)
    if tried.others:
        job.console.note(f"not taken over: {tried.others}")
    if best is None:
        return features, artifact
    job.console.note(f"training again, with {best.remedy.name}")
    shutil.rmtree(job.directory.model)
    kwargs = model_kwargs(job.plan, job.facts, in_features=features.kwargs.get("in_features"))
    features = replace(features, kwargs=kwargs)
    return features, train_model(job, features, split)
