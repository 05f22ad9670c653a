"""``trimtab compress``: a finished run's model made smaller and faster until it fits, each step measured."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from trimtab.budget import Cost, Verdict
from trimtab.console import Console
from trimtab.errors import InputError
from trimtab.storage import write_json

if TYPE_CHECKING:
    from trimtab.compression.ladder import Choice, Rung, Wanted
    from trimtab.evaluation import Evaluation
    from trimtab.stages.case import Case
    from trimtab.stages.compressing import Claim, Climb
    from trimtab.stages.teachers import Teacher

IMPORTANCES = ("magnitude", "taylor", "scale")
_MINUTES = 5.0  # unless the run has minutes of its own
_WRITING_SECONDS = 4.0
_MOST_STEPS = 4  # of pruning
_LEVEL = 0.05  # of all claims together


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What came of a ladder.

    Attributes
    ----------
    directory
        Where rungs, table, page and bundle are, in the run's directory.
    choice
        What is delivered, and why.
    rungs
        All that were tried, in order.
    claims
        What pruning and a teacher gained over training alone.
    evaluation
        Of the delivered file, on the sealed test rows.
    cost, verdict
        Of the delivered file, against the limits.
    notes
        What else a reader should know, without a full stop.
    seconds
        That it took.
    """

    directory: Path
    choice: Choice
    rungs: tuple[Rung, ...]
    claims: tuple[Claim, ...]
    evaluation: Evaluation
    cost: Cost
    verdict: Verdict
    notes: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        return {
            "compression": str(self.directory),
            "delivered": self.choice.rung.name,
            "is_good_enough": self.choice.is_good_enough,
            "reason": self.choice.reason,
            "verdict": self.verdict.word,
            "accuracy": self.evaluation.metrics["accuracy"].to_dict(),
            "rungs": [rung.to_dict() for rung in self.rungs],
            "claims": _claim_dicts(self.claims),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
        }


def compress(
    run: str | Path,
    *,
    megabytes: float | None = None,
    milliseconds: float | None = None,
    max_drop: float = 1.0,
    minutes: float | None = None,
    importance: str = "magnitude",
    pruning_steps: int = 1,
    teacher: str | Path | None = None,
    teacher_mean: str | None = None,
    teacher_std: str | None = None,
    threads: int = 1,
    target: str = "native",
    console: Console | None = None,
    started: float | None = None,
) -> Compressed:
    """Try smaller and faster forms of a finished run's model, the cheapest first, and deliver the first that fits.

    Formats come first: weights in fewer bits, then int8. If none is good enough, smaller networks are trained: what
    pruning leaves, and the same small network from scratch with and without the run's as teacher. Without limits all
    are tried, and the smallest that loses little enough is delivered. Interrupted, the same call goes on.

    Parameters
    ----------
    run
        A run directory.
    megabytes, milliseconds
        Limits of the delivered file, and of its p95 for one example from raw input to probabilities.
    max_drop
        Accuracy points that may be lost: the 95% bound on the validation rows.
    minutes
        For everything; those of the run, or 5, unless given.
    importance
        That channels are pruned by: ``"magnitude"``, ``"taylor"`` or ``"scale"``.
    pruning_steps
        In how many steps, 1 to 4: between them the network is trained for a fifth of its seconds.
    teacher
        The folder of an ensemble, a finished run or an ONNX file that smaller networks learn from; the run's own
        network unless given.
    teacher_mean, teacher_std
        How another's ONNX file wants pixels from 0 to 1 normalized: numbers by channel, with commas between.
    threads
        Of the processor that the model is for.
    target
        The runtime that it is for, in which everything is timed: ``"native"`` is ONNX Runtime; ``"numpy"`` the NumPy
        engine, where ``megabytes`` are those of the artifact's weights; ``"c"`` generated C, of the compiled library.
    console
        Where progress goes; quiet unless given.
    started
        ``time.monotonic()`` at which the clock started; now unless given.

    Raises
    ------
    InputError
        If the run is not finished, its data changed, or an argument is out of range.
    IntegrityError
        If a file of the run was altered.
    """
    from trimtab.stages.runtimes import TARGETS, check_target

    start = time.monotonic() if started is None else started
    _check(megabytes, milliseconds, max_drop, minutes, importance, threads)
    if pruning_steps not in range(1, _MOST_STEPS + 1):
        raise InputError(f"--pruning-steps is {pruning_steps}", f"1 to {_MOST_STEPS}", "give 1 or 2")
    check_target(target, threads)
    from trimtab.compression.ladder import Wanted
    from trimtab.directory import RunDirectory, held
    from trimtab.opened import open_run
    from trimtab.pipeline import prepare
    from trimtab.stages.case import open_case
    from trimtab.stages.compressing import Climb
    from trimtab.stages.rungs import Rungs

    result, console = open_run(run), console or Console(is_quiet=True)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = minutes or result.plan.minutes or _MINUTES
    wanted = Wanted(megabytes=megabytes, milliseconds=milliseconds, max_drop=max_drop)
    with held(RunDirectory(result.directory)) as directory:
        source, facts, plan, _ = prepare(result.plan)
        case = open_case(directory, plan, facts, source, console)
        runtime = f"timed in {TARGETS[target]}, {threads} thread{'s' if threads > 1 else ''}"
        rows = f"{len(case.features.training):,} training rows"
        console.stage("run", f"{directory.path}: {rows}, {given:.2g} minutes; {runtime}")
        rungs = Rungs(
            case=case,
            wanted=wanted,
            folder=directory.compression,
            threads=threads,
            target=target,
            console=console,
            seconds_left=lambda: 60 * given - _WRITING_SECONDS - (time.monotonic() - start),
        )
        _check_importance(case, importance)
        climb = Climb(
            rungs=rungs,
            importance=importance,
            pruning_steps=pruning_steps,
            teacher=_teacher(case, teacher, {"teacher_mean": teacher_mean, "teacher_std": teacher_std}, console),
            minutes=given,
        )
        return _deliver(climb, climb.climb(), start)


def _check(
    megabytes: float | None,
    milliseconds: float | None,
    max_drop: float,
    minutes: float | None,
    importance: str,
    threads: int,
) -> None:
    for name, limit in (("megabytes", megabytes), ("milliseconds", milliseconds), ("minutes", minutes)):
        if limit is not None and not 0 < limit < float("inf"):
            raise InputError(f"--{name} is {limit:g}", "a number above 0", "change it or leave it out")
    if not 0 <= max_drop <= 100:
        raise InputError(f"--max-drop is {max_drop:g}", "points of accuracy, 0 to 100", "change it or leave it out")
    if importance not in IMPORTANCES:
        raise InputError(f"--importance is '{importance}'", f"one of {', '.join(IMPORTANCES)}", "choose one")
    if not 1 <= threads <= 1024:
        raise InputError(f"--target-cpu-threads is {threads}", "1 or more", "give those that the model will have")


def _teacher(case: Case, path: str | Path | None, normalization: Mapping[str, Any], console: Console) -> Teacher:
    """Return who teaches; what cannot be known of it is said."""
    from trimtab.stages.smaller import own_teacher
    from trimtab.stages.teachers import open_teacher

    if path is None:
        return own_teacher(case)
    found = open_teacher(Path(path), case.dataset, case.split, replace(case.plan, **normalization))
    if found.doubt:
        console.warn(found.doubt)
    return found


def _check_importance(case: Case, importance: str) -> None:
    """Refuse one that the run's network does not have, before anything is done."""
    from trimtab.compression.prune import scales

    if importance == "scale":
        try:
            scales(case.artifact)
        except ValueError as error:
            raise InputError(
                f"--importance is 'scale' for a {case.artifact.builder} without batch normalization of every channel",
                "magnitude or taylor",
                "choose one",
            ) from error


# ---- delivery ----


def _deliver(climb: Climb, choice: Choice, start: float) -> Compressed:
    """Measure the chosen file on the test rows, and write bundle, table, picture and page."""
    from trimtab.stages.chosen import measure_chosen, write_chosen

    rungs = climb.rungs
    evaluation = measure_chosen(rungs, choice.rung, caller="trimtab compress", warn=rungs.console.warn).evaluation
    limits, folder = rungs.wanted.budget, rungs.folder / "bundle"
    seconds = time.monotonic() - start
    cost, verdict = write_chosen(rungs, choice.rung, evaluation, folder, budget=limits, seconds=seconds)
    made = Compressed(
        directory=rungs.folder,
        choice=choice,
        rungs=tuple(rungs.found),
        claims=tuple(climb.claims),
        evaluation=evaluation,
        cost=cost,
        verdict=verdict,
        notes=tuple(climb.notes),
        seconds=time.monotonic() - start,
    )
    write_json(rungs.folder / "ladder.json", made.to_dict())
    _draw(climb, choice)
    rungs.case.ledger.append(
        "compressed", delivered=choice.rung.name, reason=choice.reason, seconds=round(made.seconds, 1)
    )
    return made


def _draw(climb: Climb, choice: Choice) -> None:
    from trimtab.report.compression_page import write_compression_page
    from trimtab.stages.runtimes import TARGETS

    rungs = climb.rungs
    rungs.draw(choice, rungs.folder / "tradeoff.svg")
    write_compression_page(
        rungs.folder / "compression.html",
        name=rungs.case.directory.path.name,
        headline=f"Delivered: {choice.rung.name}",
        reason=f"{choice.reason[0].upper()}{choice.reason[1:]}. Timed in {TARGETS[rungs.target]}",
        rows=[_row(rung, rungs.wanted, is_chosen=rung is choice.rung) for rung in rungs.found],
        claims=_claim_rows(climb.claims),
        notes=[note[0].upper() + note[1:] + "." for note in climb.notes],
    )


def _row(rung: Rung, wanted: Wanted, *, is_chosen: bool) -> dict[str, Any]:
    """Return a rung as texts by column."""
    misses, drop, accuracy = wanted.misses(rung), rung.drop, rung.accuracy
    return {
        "name": rung.name,
        "remark": rung.remark,
        "megabytes": f"{rung.megabytes:.3g}",
        "p50": f"{rung.latency.p50_ms:.3g}",
        "p95": f"{rung.latency.p95_ms:.3g}",
        "of_32": f"{rung.milliseconds_of_32:.3g}",
        "macs": f"{rung.macs / 1e6:.3g}",
        "accuracy": f"{accuracy.value:.4f}",
        "accuracy_interval": "" if accuracy.low is None else f"{accuracy.low:.4f} to {accuracy.high:.4f}",
        "lost": "" if drop is None else _points(drop.points),
        "lost_interval": "" if drop is None else f"{_points(drop.low)} to {_points(drop.high)}",
        "bound": "" if drop is None else _points(drop.bound),
        "verdict": "delivered" if is_chosen else "; ".join(misses) if misses else "good enough",
        "is_chosen": is_chosen,
    }


def _points(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # no negative zero


def _claim_rows(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Return the claims as texts by column; p-values are adjusted for their number."""
    from trimtab.evaluation.compare import holm

    rows = []
    for claim, p in zip(claims, holm([claim.comparison.p_value for claim in claims]), strict=True):
        compared = claim.comparison
        rows.append(
            {
                "network": claim.network,
                "control": claim.control,
                "gain": f"{100 * compared.difference:+.2f}",
                "interval": f"{100 * compared.low:+.2f} to {100 * compared.high:+.2f}",
                "p": f"{p:.3g}",
                "is_shown": p <= _LEVEL and compared.difference > 0,
            }
        )
    return rows


def _claim_dicts(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    shown = [row["is_shown"] for row in _claim_rows(claims)]
    return [
        {"network": claim.network, "control": claim.control, "is_shown": is_shown, **claim.comparison.to_dict()}
        for claim, is_shown in zip(claims, shown, strict=True)
    ]


# ---- the verb ----


def compress_verb(options: argparse.Namespace) -> int:
    """Climb the ladder, print the table and what is delivered, and return the exit code: 3 when nothing fits."""
    made = compress(
        options.run,
        megabytes=options.megabytes,
        milliseconds=options.milliseconds,
        max_drop=options.max_drop,
        minutes=options.minutes,
        importance=options.importance,
        pruning_steps=options.pruning_steps,
        teacher=options.teacher,
        teacher_mean=options.teacher_mean,
        teacher_std=options.teacher_std,
        threads=options.target_cpu_threads,
        target=options.target,
        console=Console(),
        started=options.started,
    )
    from trimtab.compression.ladder import Wanted

    wanted = Wanted(megabytes=options.megabytes, milliseconds=options.milliseconds, max_drop=options.max_drop)
    print(f"\n{_table(made.rungs, made.choice, wanted)}\n")
    for row in _claim_rows(made.claims):
        verdict = "shown to be better" if row["is_shown"] else "not shown to be better"
        print(f"{row['network']} against {row['control']}: {row['gain']} points ({row['interval']}), {verdict}")
    for note in made.notes:
        print(f"note       {note}")
    accuracy, shown = made.evaluation.metrics["accuracy"], quote(str(made.directory))
    print(f"\ndelivered  {made.choice.rung.name}: {made.choice.reason}")
    if not made.choice.is_good_enough:
        print("MISSED     nothing that was tried meets all that was asked for")
    interval = f"[{accuracy.low:.4f}, {accuracy.high:.4f}] ({100 * accuracy.level:.4g}%)"
    print(f"accuracy   {accuracy.value:.4f} {interval} on the sealed test rows")
    print(f"page       {made.directory / 'compression.html'}")
    print(f"next       trimtab serve {shown}    or    trimtab predict {shown} ...")
    if options.json:
        print(json.dumps(made.to_dict()))
    return 0 if made.choice.is_good_enough else 3


def _table(rungs: Sequence[Rung], choice: Choice, wanted: Wanted) -> str:
    from trimtab.evaluation.result import aligned

    columns = {
        "rung": "name",
        "MB": "megabytes",
        "p50 ms": "p50",
        "p95 ms": "p95",
        "M MACs": "macs",
        "accuracy": "accuracy",
        "95% interval": "accuracy_interval",
        "points lost": "lost",
        "95% interval ": "lost_interval",
        "bound": "bound",
        "verdict": "verdict",
    }
    lines = [list(columns)]
    for rung in rungs:
        row = _row(rung, wanted, is_chosen=rung == choice.rung)
        lines.append([str(row[name]) for name in columns.values()])
    return aligned(lines)
