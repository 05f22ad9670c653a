"""The main job: data and a plan in, a delivered and measured model out. The stages, one line each.

What a stage does is in `trimtab.stages`; what it needs to know about the run is in a `Job`.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from trimtab.budget import Cost, Verdict
from trimtab.console import Console
from trimtab.directory import claim
from trimtab.errors import InputError, TrimtabError
from trimtab.plan import Plan, plan_text
from trimtab.request import read_request

if TYPE_CHECKING:
    from trimtab.artifact import Artifact
    from trimtab.data import Dataset, Source, Split
    from trimtab.deployment import Predictor
    from trimtab.evaluation import Evaluation
    from trimtab.planning import Facts
    from trimtab.stages.job import Features, Job
    from trimtab.training.range_test import RangeTest


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a finished run directory holds.

    Attributes
    ----------
    directory
        Where everything is.
    plan
        What was done.
    evaluation
        The delivered model's figures on the sealed test rows.
    cost, verdict
        What was spent, and whether that is within the budget.
    warnings
        What a reader of the figures should know.
    """

    directory: Path
    plan: Plan
    evaluation: Evaluation
    cost: Cost
    verdict: Verdict
    warnings: tuple[str, ...] = ()

    def load(self) -> Predictor:
        """Return the delivered model, ready to predict."""
        from trimtab.deployment import load

        return load(self.directory)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        metrics = {
            name: {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            for name, estimate in self.evaluation.metrics.items()
        }
        cost = {name: getattr(self.cost, name) for name in ("seconds", "megabytes", "milliseconds_p95")}
        return {
            "run": str(self.directory),
            "verdict": self.verdict.word,
            "metrics": metrics,
            "cost": cost,
            "budget": dataclasses.asdict(self.plan.budget),
        }


@dataclass(frozen=True, kw_only=True)
class Training:
    """What `train` leaves: a run directory with a trained network, nothing measured on the test rows yet.

    Attributes
    ----------
    directory
        Where everything is.
    plan
        What was done.
    artifact
        The network with the weights that validated best.
    validation
        Its figures on the validation rows, which chose the weights: a little too good.
    curves
        The picture of the history.
    warnings
        What a reader of the figures should know.
    """

    directory: Path
    plan: Plan
    artifact: Artifact
    validation: Evaluation
    curves: Path
    warnings: tuple[str, ...] = ()


def run(
    data: str | Path,
    plan: Plan | None = None,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    started: float | None = None,
    command: str | None = None,
    resume: bool = False,
    counted_until: float | None = None,
    **settings: Any,
) -> Run:
    """Train the best model that fits the budget, measure it, and write it with its evidence to a run directory.

    Parameters
    ----------
    data
        A built-in name (``"digits"``), a folder of class folders, a CSV, Parquet or npz file, or the ``plan.toml``
        of an earlier run, or its directory: unfinished, that run is continued; finished, it is repeated bit for bit.
    plan
        Decisions made beforehand; what it leaves open is decided from the data and the budget.
    out
        The run directory; ``runs/<name of the data>`` unless given. Nothing is overwritten: a taken name gets
        ``-2``, and an unfinished run of the same plan is continued.
    console
        Where progress goes; quiet unless given.
    started
        ``time.monotonic()`` at which the budget's clock started; now unless given.
    command
        What the user typed, for the report.
    resume
        Whether to refuse to start anew: there must be an unfinished run of this plan to go on with.
    counted_until
        For workers that are started again: seconds since the epoch until which the clock of the attempt before went on.
    **settings
        Fields of `Plan`, such as ``minutes=2``.

    Notes
    -----
    Sets ``OMP_WAIT_POLICY`` in the environment of the process.

    Raises
    ------
    TrimtabError
        If the data cannot be used, the output cannot be written, or the result does not hold together.
    """
    with _open_job(data, plan, settings, out, console, started, command, resume, counted_until) as job:
        return _run_stages(job)


def train(
    data: str | Path,
    plan: Plan | None = None,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    started: float | None = None,
    command: str | None = None,
    resume: bool = False,
    counted_until: float | None = None,
    **settings: Any,
) -> Training:
    """Train as `run` does and stop there: nothing is compressed or delivered, and the test rows stay sealed.

    The parameters are those of `run`. The seconds that evaluation and delivery will need are left unused, so that
    ``run`` on the directory's ``plan.toml``, which goes on from here, stays within the same budget.

    Raises
    ------
    TrimtabError
        If the data cannot be used, the output cannot be written, or training diverges.
    """
    with _open_job(data, plan, settings, out, console, started, command, resume, counted_until) as job:
        from trimtab import stages

        dataset, _, features, artifact = _learn(job)
        return Training(
            directory=job.directory.path,
            plan=job.plan,
            artifact=artifact,
            validation=stages.judge_on_validation(job, dataset, artifact, features),
            curves=stages.draw_curves(job),
            warnings=tuple(job.warnings),
        )


def range_test(
    data: str | Path,
    plan: Plan | None = None,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,
) -> tuple[RangeTest, Path]:
    """Sweep the network that `run` would train over learning rates, to see which ones train it and which diverge.

    Parameters
    ----------
    data, plan, console, **settings
        As of `run`; ``steps`` is the length of the sweep.
    out
        Where ``range_test.csv`` and ``range_test.svg`` go; ``runs/<name of the data>-range-test`` unless given.

    Returns
    -------
    tuple
        What the sweep found, and the directory of the two files.

    Raises
    ------
    TrimtabError
        If the data cannot be used or the output cannot be written.
    """
    from trimtab import stages

    with (
        tempfile.TemporaryDirectory(prefix="trimtab-") as folder,
        _open_job(data, plan, settings, Path(folder) / "run", console, None, None, False, None) as job,
    ):
        *_, features = _read(job)
        directory = Path(out or Path("runs") / f"{job.source.name}-range-test")
        return stages.sweep(job, features, directory), directory


@contextmanager
def _open_job(
    data: str | Path,
    plan: Plan | None,
    settings: dict[str, Any],
    out: str | Path | None,
    console: Console | None,
    started: float | None,
    command: str | None,
    resume: bool,
    counted_until: float | None,
) -> Iterator[Job]:
    """Resolve the request, take a run directory and hold it for as long as the job is at work."""
    started = time.monotonic() if started is None else started
    # Threads that spin while they wait steal time from each other on shared processors; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    request, replay, out = read_request(data, plan, settings, out)
    source, facts, resolved, reasons = prepare(request)
    name = Path(out or Path("runs") / source.name)
    replay_of = replay.run if replay else None
    claimed = claim(name, resolved, plan_text(resolved, reasons), replay_of=replay_of, counted_until=counted_until)
    with claimed.alive():
        if resume and not claimed.is_resumed:
            shutil.rmtree(claimed.directory.path)
            raise InputError(
                f"there is no unfinished run of this plan at {name}",
                "one to resume",
                "look into the directory, or leave --resume out to start anew",
            )
        from trimtab.stages.job import Job
        from trimtab.stages.remedying import take_up

        resolved, reasons = take_up(claimed.directory, claimed.ledger, resolved, reasons)
        yield Job(
            plan=resolved,
            reasons=reasons,
            facts=facts,
            source=source,
            directory=claimed.directory,
            ledger=claimed.ledger,
            console=console or Console(is_quiet=True),
            started=started - claimed.seconds_spent,
            is_resumed=claimed.is_resumed,
            replay=replay,
            command=command or f"trimtab run {quote(str(claimed.directory.plan))}",
        )


def _run_stages(job: Job) -> Run:
    from trimtab import stages

    dataset, split, features, artifact = _learn(job)
    features, artifact = stages.remedy(job, dataset, split, features, artifact)
    calibrated = stages.calibrate(job, dataset, artifact, features)
    rungs, choice = stages.shrink(job, dataset, split, features, calibrated)
    evaluation = stages.measure(job, rungs, choice.rung)
    cost, verdict = stages.deliver(job, rungs, choice.rung, evaluation)
    stages.write_page(job, dataset, split, verdict)
    return Run(
        directory=job.directory.path,
        plan=job.plan,
        evaluation=evaluation,
        cost=cost,
        verdict=verdict,
        warnings=tuple(job.warnings),
    )


def _learn(job: Job) -> tuple[Dataset, Split, Features, Artifact]:
    """Carry out the stages up to the trained network."""
    from trimtab import stages

    dataset, split, features = _read(job)
    return dataset, split, features, stages.train_model(job, features, split)


def _read(job: Job) -> tuple[Dataset, Split, Features]:
    """Carry out the stages up to what the network reads."""
    from trimtab import stages

    with leaving_nothing(job):
        stages.announce(job)
        dataset = stages.read(job)
        split = stages.divide(job, dataset)
        features = stages.encode(job, dataset, split)
        return dataset, split, stages.teach(job, dataset, split, features)


@contextmanager
def leaving_nothing(job: Job) -> Iterator[None]:
    """Remove a new directory when the data turn out to be unusable: there is nothing in it to go on with."""
    try:
        yield
    except TrimtabError:
        if not job.is_resumed:
            shutil.rmtree(job.directory.path, ignore_errors=True)
        raise


def prepare(request: Plan, *, time: str | None = None) -> tuple[Source, Facts, Plan, dict[str, str]]:
    """Look at the data and decide what the plan leaves open; trains nothing.

    Parameters
    ----------
    request
        What the user decided.
    time
        The column that says which rows are earlier, where that matters.

    Returns
    -------
    tuple
        The opened source, the facts about it, the resolved plan, and the reason of each decision by field name.
    """
    from trimtab.data import open_source
    from trimtab.machine import available_threads, has_bfloat16, has_matrix_units
    from trimtab.planning import Facts, resolve

    source = open_source(
        request.data, target=request.target, group=request.group, time=time, skip_unreadable=request.skip_unreadable
    )
    facts = Facts(
        kind=source.kind,
        rows=source.rows,
        classes=len(source.class_names),
        columns=source.columns,
        side=max(source.median_size or (0, 0)),
        is_one_size=source.all_same_size,
        channels=source.channels or 0,
        threads=available_threads(),
        has_bfloat16=has_bfloat16(),
        has_matrix_units=has_matrix_units(),
        has_torch=find_spec("torch") is not None,
    )
    return source, facts, *resolve(request, facts)
