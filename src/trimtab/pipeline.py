"""The main job: data and a plan in, a delivered and measured model out. The stages, one line each.

What a stage does is in `trimtab.stages`; what it needs to know about the run is in a `Job`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from trimtab.budget import Cost, Verdict
from trimtab.console import Console
from trimtab.directory import RunDirectory, claim, find
from trimtab.errors import InputError, IntegrityError, TrimtabError, nearest
from trimtab.ledger import Ledger
from trimtab.plan import Plan, check_types
from trimtab.storage import sha256_file

if TYPE_CHECKING:
    from trimtab.data import Source
    from trimtab.deployment import Predictor
    from trimtab.evaluation import Evaluation
    from trimtab.planning import Facts
    from trimtab.stages.job import Job, Replay


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


def run(
    data: str | Path,
    plan: Plan | None = None,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    started: float | None = None,
    command: str | None = None,
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
    started = time.monotonic() if started is None else started
    # Threads that spin while they wait steal time from each other on shared processors; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console = console or Console(is_quiet=True)
    request, replay, out = _request(data, plan, settings, out)
    source, facts, resolved, reasons = prepare(request)
    name = out or Path("runs") / source.name
    replay_of = replay.run if replay else None
    claimed = claim(Path(name), resolved, plan_text(resolved, reasons), replay_of=replay_of)
    with claimed.alive():
        from trimtab.stages.job import Job

        job = Job(
            plan=resolved,
            reasons=reasons,
            facts=facts,
            source=source,
            directory=claimed.directory,
            ledger=claimed.ledger,
            console=console,
            started=started - claimed.seconds_spent,
            is_resumed=claimed.is_resumed,
            replay=replay,
            command=command or f"trimtab run {quote(str(claimed.directory.plan))}",
        )
        return _run_stages(job)


def _run_stages(job: Job) -> Run:
    from trimtab import stages

    with _leaving_nothing(job):
        stages.announce(job)
        dataset = stages.read(job)
        split = stages.divide(job, dataset)
        features = stages.encode(job, dataset, split)
    artifact = stages.train_model(job, features, split)
    calibrated = stages.calibrate(job, dataset, artifact, features)
    candidates = stages.export_candidates(job, dataset, calibrated, features)
    delivered = stages.choose(job, dataset, candidates, features)
    evaluation = stages.measure(job, dataset, split, artifact, delivered)
    cost, verdict = stages.deliver(job, artifact, delivered, evaluation)
    stages.write_page(job, dataset, split, verdict)
    return Run(
        directory=job.directory.path,
        plan=job.plan,
        evaluation=evaluation,
        cost=cost,
        verdict=verdict,
        warnings=tuple(job.warnings),
    )


@contextmanager
def _leaving_nothing(job: Job) -> Iterator[None]:
    """Remove a new directory when the data turn out to be unusable: there is nothing in it to go on with."""
    try:
        yield
    except TrimtabError:
        if not job.is_resumed:
            shutil.rmtree(job.directory.path, ignore_errors=True)
        raise


def prepare(request: Plan) -> tuple[Source, Facts, Plan, dict[str, str]]:
    """Look at the data and decide what the plan leaves open; trains nothing.

    Returns
    -------
    tuple
        The opened source, the facts about it, the resolved plan, and the reason of each decision by field name.
    """
    from trimtab.data import open_source
    from trimtab.machine import available_threads, has_bfloat16
    from trimtab.planning import Facts, resolve

    source = open_source(
        request.data, target=request.target, group=request.group, skip_unreadable=request.skip_unreadable
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
        has_torch=find_spec("torch") is not None,
    )
    return source, facts, *resolve(request, facts)


def plan_text(plan: Plan, reasons: dict[str, str]) -> str:
    """Return the TOML of a resolved plan with a heading that says how to use it."""
    heading = "# A trimtab plan: everything a run does, resolved. `trimtab run plan.toml` carries it out.\n\n"
    return heading + plan.to_toml(reasons)


def open_run(path: str | Path) -> Run:
    """Return what a finished run directory holds: ledger, split, seal, bundle, predictions and figures verified.

    Raises
    ------
    InputError
        If there is no run there, or it is not finished.
    IntegrityError
        If one of these was altered; names it.
    """
    from trimtab.deployment import find_bundle, read_manifest
    from trimtab.evaluation import Evaluation

    directory = find(path)
    if not directory.is_finished:
        raise InputError(
            f"the run at {path} is not finished",
            "a finished run",
            f"continue it with `trimtab run {quote(str(directory.plan))}`",
        )
    manifest = read_manifest(find_bundle(directory.path))
    ledger = Ledger(directory.ledger)
    _check_records(directory, ledger)
    evaluation = json.loads((directory.evaluation / "metrics.json").read_text())
    return Run(
        directory=directory.path,
        plan=Plan.from_toml(directory.plan),
        evaluation=Evaluation.from_dict(evaluation),
        cost=Cost.from_dict(manifest["cost"]),
        verdict=Verdict.from_dict(manifest["verdict"]),
        warnings=tuple(dict.fromkeys(event["text"] for event in ledger.events("warning"))),
    )


def _check_records(directory: RunDirectory, ledger: Ledger) -> None:
    """Raise `IntegrityError` if the ledger is not whole, or test part, model or figures are not those it speaks of."""
    from trimtab.data import Split

    if not (ledger.events("test_opened") and ledger.events("delivered") and ledger.events("finished")):
        raise IntegrityError(
            f"{ledger.path} ends before the run did" if ledger.events() else f"{ledger.path} is missing or empty",
            "the opening of the test rows, the delivery and the end of the run in it",
            "restore the file from a copy, or repeat the run",
        )
    Split.load(directory.data / "split").check_sealed(ledger)
    delivered = ledger.events("delivered")[-1]
    files = {
        "metrics_sha256": directory.evaluation / "metrics.json",
        "predictions_sha256": directory.evaluation / "predictions.csv",
        "model_sha256": directory.bundle / "model.onnx",
    }
    for name, path in files.items():  # earlier versions noted fewer
        if name in delivered and (not path.is_file() or sha256_file(path) != delivered[name]):
            raise IntegrityError(
                f"{path} is not the file that was written",
                "the hash that the ledger holds",
                "restore it from a copy, or repeat the run",
            )


def _request(
    data: str | Path, plan: Plan | None, settings: dict[str, Any], out: str | Path | None
) -> tuple[Plan, Replay | None, str | Path | None]:
    """Return the plan to resolve, what to repeat, and the directory asked for."""
    file = _plan_file(data)
    if file is not None:
        if plan is not None:
            raise TypeError(f"run() was given the plan in {file} and another one; expected one; leave one out.")
        return _repeat(file, settings, out)
    return plan_to_resolve(data, settings, plan), None, out


def plan_to_resolve(data: str | Path, settings: Mapping[str, Any], plan: Plan | None = None) -> Plan:
    """Return the plan for some data with these settings; what nobody decided is left open.

    Raises
    ------
    TypeError
        If a setting is not a field of `Plan`.
    """
    known = {entry.name for entry in dataclasses.fields(Plan)}
    for name in settings:
        if name not in known:
            raise TypeError(f"run() has no setting '{name}'; expected a field of Plan; {nearest(name, known)}use one.")
    check_types(settings)
    file = _plan_file(data)
    if file is not None:
        return dataclasses.replace(Plan.from_toml(file), **settings)
    is_path = not _is_builtin(data) and Path(data).exists()
    text = str(Path(data).resolve()) if is_path else str(data)
    base = Plan(data=text) if plan is None else dataclasses.replace(plan, data=text)
    return dataclasses.replace(base, **settings)


def _plan_file(data: str | Path) -> Path | None:
    """Return the plan that is meant: a TOML file, or that of a run directory."""
    if _is_builtin(data):
        return None
    if str(data).endswith(".toml"):
        return Path(data)
    directory = RunDirectory(Path(data))
    return directory.plan if directory.plan.exists() and directory.ledger.exists() else None


def _is_builtin(data: str | Path) -> bool:
    from trimtab.data.builtin import BUILTINS

    return isinstance(data, str) and data in BUILTINS


def _repeat(
    path: Path, settings: dict[str, Any], out: str | Path | None
) -> tuple[Plan, Replay | None, str | Path | None]:
    """Return the plan in a file; in a run directory, continue that run or repeat it step by step."""
    from trimtab.stages.job import Replay

    plan = plan_to_resolve(path, settings)
    directory = RunDirectory(path.parent)
    if path.name != directory.plan.name or not directory.ledger.exists():
        return plan, None, out
    replay = Replay.of(directory, plan)
    return plan, replay, out or directory.path
