"""Cross-validation from data to figures: the stages, one line each, and what ``trimtab crossval`` prints."""

from __future__ import annotations

import argparse
import json
import os
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from trimtab.console import Console
from trimtab.directory import claim
from trimtab.pipeline import leaving_nothing, prepare
from trimtab.plan import Plan, plan_text
from trimtab.request import plan_to_resolve

if TYPE_CHECKING:
    from trimtab.data import Source
    from trimtab.generalization.fold_figures import FoldFigure
    from trimtab.generalization.folds import Folding
    from trimtab.planning import Facts
    from trimtab.stages.job import Job


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What a finished cross-validation holds.

    Attributes
    ----------
    directory
        Where everything is; the models of the folds are in ``folds/NN/model``.
    plan
        What was done.
    figures
        Name -> mean over the folds with its interval, and the value of each fold.
    out_of_fold
        The file of predictions of each row by models that were not trained on it.
    seconds
        By the clock on the wall, earlier attempts included.
    warnings
        What a reader of the figures should know.
    """

    directory: Path
    plan: Plan
    figures: dict[str, FoldFigure]
    out_of_fold: Path
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether it was done within the minutes."""
        return self.plan.minutes is None or self.seconds <= 60 * self.plan.minutes

    def to_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        return {
            "crossval": str(self.directory),
            "metrics": {name: figure.to_dict() for name, figure in self.figures.items()},
            "out_of_fold": str(self.out_of_fold),
            "seconds": self.seconds,
            "minutes": self.plan.minutes,
        }


def crossval(
    data: str | Path,
    plan: Plan | None = None,
    *,
    folds: int | None = None,
    repeats: int = 1,
    kind: str | None = None,
    time: str | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
    started: float | None = None,
    command: str | None = None,
    **settings: Any,
) -> CrossValidation:
    """Cross-validate what `trimtab.run` would train: figures with intervals, out-of-fold predictions, fold models.

    The test part that a run would seal is in no fold. Each fold fits its preprocessing on its own training rows, and
    chooses its weights on a part of them.

    Parameters
    ----------
    data
        As of `trimtab.run`; of a run or its ``plan.toml`` the plan is taken.
    plan
        Decisions made beforehand; what it leaves open is decided from the data and each fold's share of the minutes.
    folds
        How many; 5 unless given. Leaving one group out has as many as there are groups.
    repeats
        How often all rows are divided anew.
    kind
        ``"stratified"``, ``"grouped"``, ``"stratified-grouped"``, ``"time"`` or ``"leave-one-group-out"``; unless
        given, the one that fits the columns that are named.
    time
        Column of numbers or dates; each fold is tested on what comes after its training rows.
    out
        The directory; ``runs/<name of the data>-cv`` unless given. A taken name gets ``-2``; an unfinished
        cross-validation of the same kind and plan is continued, and its finished folds are not trained again.
    console
        Where progress goes; quiet unless given.
    started
        ``time.monotonic()`` at which the budget's clock started; now unless given.
    command
        What the user typed, for the report.
    **settings
        Fields of `Plan`. ``minutes`` holds all folds together; ``steps`` is the length of each training.

    Raises
    ------
    TrimtabError
        If the data cannot be used, the output cannot be written, or training diverges.
    """
    from trimtab.generalization.folds import decide_folding

    started = clock.monotonic() if started is None else started
    # Threads that spin while they wait steal time from each other on shared processors; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    request = plan_to_resolve(data, settings, plan)
    columns = {"has_groups": request.group is not None, "has_times": time is not None}
    folding = decide_folding(kind=kind, folds=folds, repeats=repeats, **columns)
    source, facts, resolved, reasons = _prepare(request, folding, time)
    purpose = f"cross-validation: {folding.kind}, {folding.folds} folds, {folding.repeats} repeats, time {time}"
    name = Path(out or Path("runs") / f"{source.name}-cv")
    claimed = claim(name, resolved, plan_text(resolved, reasons), purpose=purpose)
    with claimed.alive():
        from trimtab.stages.job import Job

        job = Job(
            plan=resolved,
            reasons=reasons,
            facts=facts,
            source=source,
            directory=claimed.directory,
            ledger=claimed.ledger,
            console=console or Console(is_quiet=True),
            started=started - claimed.seconds_spent,
            is_resumed=claimed.is_resumed,
            replay=None,
            command=command or f"trimtab crossval {quote(str(data))}",
            purpose=purpose,
        )
        return _run_stages(job, folding)


def _prepare(request: Plan, folding: Folding, time: str | None) -> tuple[Source, Facts, Plan, dict[str, str]]:
    """Decide what is open as for a run of one training's share of the minutes; then give the plan all of them.

    How many groups will be left out one by one is not known yet: as many as there usually are folds are assumed.
    """
    trainings = folding.folds * folding.repeats
    share = request.minutes / trainings if request.minutes and request.minutes > 0 else request.minutes
    source, facts, resolved, reasons = prepare(replace(request, minutes=share), time=time)
    if request.minutes is None and resolved.minutes is not None:
        reasons["minutes"] = f"{resolved.minutes:g} for each of {trainings} trainings"
        return source, facts, replace(resolved, minutes=trainings * resolved.minutes), reasons
    return source, facts, replace(resolved, minutes=request.minutes), reasons


def _run_stages(job: Job, folding: Folding) -> CrossValidation:
    from trimtab import stages
    from trimtab.generalization.fold_files import FoldFiles
    from trimtab.stages import fold_results
    from trimtab.stages.folding import divide_into_folds, train_folds

    with leaving_nothing(job):
        stages.announce(job)
        dataset = stages.read(job)
        split = stages.divide(job, dataset)
        folds = divide_into_folds(job, dataset, split, folding)
    train_folds(job, dataset, folds)
    answers = fold_results.answers_of(job, dataset, folds)
    fold_results.write_out_of_fold(job, dataset, folds, answers)
    figures = fold_results.write_figures(job, dataset, folding, folds, answers)
    fold_results.write_fold_page(job)
    return CrossValidation(
        directory=job.directory.path,
        plan=job.plan,
        figures=figures,
        out_of_fold=FoldFiles(job.directory.path).out_of_fold,
        seconds=job.seconds(),
        warnings=tuple(job.warnings),
    )


def crossval_verb(options: argparse.Namespace, settings: Mapping[str, Any]) -> int:
    """Cross-validate, print the figures, and return the exit code: 3 when the minutes did not do."""
    from trimtab.generalization.fold_figures import to_table

    asked = {name: getattr(options, name) for name in ("folds", "repeats", "kind", "time", "out", "started", "command")}
    result = crossval(options.data, console=Console(), **asked, **settings)
    print(f"\n{to_table(result.figures)}\n")
    if not result.is_met:
        over = result.seconds - 60 * (result.plan.minutes or 0.0)
        shown = f"{over:.0f}" if over >= 10 else f"{over:.1f}"
        print(f"The budget was MISSED: it took {shown} seconds more than {result.plan.minutes:g} minutes.\n")
    print(f"report     {result.directory / 'report.html'}")
    print(f"models     {result.directory / 'folds'}, one for each fold")
    print(f"rows       {result.out_of_fold}: each predicted by a model that was not trained on it")
    if options.repeats == 1:  # with repeats the same rows stand there several times
        print(f"next       trimtab evaluate --predictions {quote(str(result.out_of_fold))}")
    if options.json:
        print(json.dumps(result.to_dict()))
    return 0 if result.is_met else 3
