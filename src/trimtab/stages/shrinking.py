"""The ladder within a run: the number formats of the trained network, each a measured file, and the choice of one.

Without limits the smallest that is shown to lose little is delivered, with limits the first that is within them, the
most exact ones first. Networks are not trained anew here: `trimtab.stages.compressing` does that, in time of its own.
"""

from __future__ import annotations

import math
from typing import Any

from trimtab.compression.ladder import AS_TRAINED, Choice, Rung, Wanted, choose_rung, is_finished
from trimtab.data import Dataset, Split
from trimtab.plan import Plan
from trimtab.stages.calibration import Calibrated
from trimtab.stages.case import Case
from trimtab.stages.chosen import check_export
from trimtab.stages.formats import FORMATS
from trimtab.stages.job import Features, Job
from trimtab.stages.rungs import Rungs
from trimtab.storage import write_json

_WITHOUT_LIMITS = ("float32", "int8 dynamic", "int8", "int8 with float layers")
_WITHOUT_INT8 = ("float32", "float16")
_ALWAYS = ("float32", "int8")  # time is kept for them
_FORMAT_SECONDS, _SEARCH_SECONDS = 1.25, 3.0  # of making and timing one; of looking for layers that int8 hurts
_HURT = ("separable_cnn", "vit")  # by int8, as a rule
_USUAL_WITH_LIMITS = 4  # until one fits
_POINTS_TO_DRAW = 3  # fewer are better read in a table


def shrink(
    job: Job, dataset: Dataset, split: Split, features: Features, calibrated: Calibrated
) -> tuple[Rungs, Choice]:
    """Export the trained network in one format after the other until one fits, and choose.

    Raises
    ------
    ExportError
        If the exported model answers otherwise than the trained one.
    """
    case = Case(
        directory=job.directory,
        ledger=job.ledger,
        plan=job.plan,
        facts=job.facts,
        dataset=dataset,
        split=split,
        features=features,
        artifact=calibrated.artifact,
        probabilities=calibrated.probabilities,
    )
    plan = job.plan
    reserved = case.trained["reserved_seconds"]
    after = max(reserved - seconds_of_formats(plan), reserved / 2)  # of few seconds, less was kept than is wanted
    goes_by_clock = plan.steps is None and job.replay is None
    rungs = Rungs(
        case=case,
        wanted=Wanted(megabytes=plan.megabytes, milliseconds=plan.milliseconds, max_drop=plan.max_drop),
        folder=job.directory.compression,
        threads=1,
        console=job.console,
        seconds_left=lambda: job.seconds_left() - after if goes_by_clock else math.inf,
    )
    _try_formats(job, rungs)
    choice = choose_rung(rungs.found, rungs.wanted)
    _note(job, rungs, choice)
    return rungs, choice


def usual_formats(plan: Plan) -> int:
    """Return how many formats a run usually makes."""
    return min(len(formats_of(plan)), _USUAL_WITH_LIMITS if _has_limits(plan) else len(_ALWAYS))


def seconds_of_formats(plan: Plan) -> float:
    """Return the seconds to keep for making and timing them; those that are left to the end may be left out."""
    search = _SEARCH_SECONDS if plan.quantize and plan.model in _HURT else 0.0
    return _FORMAT_SECONDS * usual_formats(plan) + search


def _has_limits(plan: Plan) -> bool:
    return plan.megabytes is not None or plan.milliseconds is not None


def _try_formats(job: Job, rungs: Rungs) -> None:
    files = rungs.files(AS_TRAINED, rungs.case.artifact)
    for group, number_format in enumerate(formats_of(job.plan)):
        if is_finished(rungs.found, rungs.wanted):
            return
        is_there = (files.folder / number_format.replace(" ", "-") / "rung.json").exists()  # by an earlier attempt
        if number_format in _ALWAYS or is_there or rungs.has_time():
            rungs.add(AS_TRAINED, number_format, files, group)
        if not group:
            report = check_export(rungs, AS_TRAINED)
            off = f"largest difference from the trained model {report.largest_difference:.1e} in {report.rows:,} rows"
            job.console.stage("export", off)


def formats_of(plan: Plan) -> tuple[str, ...]:
    """Return the formats that a run tries, in this order."""
    allowed = FORMATS if plan.quantize else _WITHOUT_INT8
    return tuple(each for each in (FORMATS if _has_limits(plan) else _WITHOUT_LIMITS) if each in allowed)


def _note(job: Job, rungs: Rungs, choice: Choice) -> None:
    """Write down all rungs and the choice, draw them, and say what is delivered."""
    rung = choice.rung
    write_json(rungs.folder / "table.json", [_row(each, rungs.wanted, choice) for each in rungs.found])
    if len(rungs.found) >= _POINTS_TO_DRAW:
        rungs.draw(choice, rungs.folder / "table.svg")
    job.ledger.append("decision", name="variant", value=rung.number_format, reason=choice.reason)
    job.console.stage("choose", f"{rung.name} is delivered: {choice.reason}")
    if rung.drop is not None and rungs.wanted.loses_too_much(rung) and not rungs.wanted.excesses(rung):
        rows = len(rungs.judge.labels)
        job.warn(
            f"{rung.name} is the most accurate within the limits, and may lose up to {rung.drop.bound:.2g} points of "
            f"accuracy (95% bound from {rows:,} validation rows; {job.plan.max_drop:g} allowed)"
        )
    if rungs.wanted.excesses(rung):
        job.console.note(f"trimtab compress {job.directory.path} trains smaller networks, in minutes of their own")


def _row(rung: Rung, wanted: Wanted, choice: Choice) -> dict[str, Any]:
    """Return what the report says of a rung."""
    is_delivered = rung is choice.rung
    return {
        "variant": rung.name,
        "megabytes": rung.megabytes,
        "accuracy": rung.accuracy.value,
        "drop": None if rung.drop is None else rung.drop.points / 100,
        "drop_upper_bound": None if rung.drop is None else rung.drop.bound / 100,
        "milliseconds_p50": rung.latency.p50_ms,
        "milliseconds_p95": rung.latency.p95_ms,
        "delivered": is_delivered,
        "reason": choice.reason if is_delivered else "; ".join(wanted.misses(rung)),
    }
