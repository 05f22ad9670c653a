"""``trimtab ensemble``: the fold models of cross-validations selected and averaged, and taught to one student.

What a student learns, and how, is an ordinary run with a teacher (`trimtab.stages.teaching`); this finds the teacher,
plans the run, and compares what came of it on the sealed test rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from trimtab.console import Console
from trimtab.directory import RunDirectory, held
from trimtab.errors import InputError
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.request import plan_to_resolve

if TYPE_CHECKING:
    from trimtab.generalization.ensembles import Ensemble
    from trimtab.pipeline import Run
    from trimtab.stages.comparing import Contest

_SUFFIX = "-cv"
_BY_NETWORK = ("model", "test_time", "batch_size", "optimizer", "learning_rate", "weight_decay", "schedule", "augment")


@dataclass(frozen=True, kw_only=True)
class Ensembled:
    """What `ensemble` made.

    Attributes
    ----------
    directory
        Of ``ensemble.json`` and the answers on the test rows: what ``--teacher`` takes.
    ensemble
        The members and their weights.
    contest
        Fold model, ensemble and student on the sealed test rows.
    student
        The student's run, where one was asked for.
    """

    directory: Path
    ensemble: Ensemble
    contest: Contest
    student: Run | None

    def to_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        return {
            "ensemble": str(self.directory),
            "members": {member.name: member.weight for member in self.ensemble.members},
            "student": None if self.student is None else self.student.to_dict(),
            "kept_share": self.contest.kept_share,
            "look": self.contest.look,
            **self.contest.compared.to_dict(),
        }


def ensemble(
    runs: str | Path | Sequence[str | Path],
    *,
    members: int = 5,
    distill: bool = False,
    megabytes: float | None = None,
    milliseconds: float | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
    started: float | None = None,
    command: str | None = None,
    **settings: Any,
) -> Ensembled:
    """Average the fold models of cross-validations, selected on what they answered out of fold; distill if asked to.

    Parameters
    ----------
    runs
        Directories that ``trimtab crossval`` made, of the same data; the first holds the outcome.
    members
        Rounds of greedy selection.
    distill
        Whether to train a student on the ensemble's probabilities: an ordinary run with a directory of its own.
    megabytes, milliseconds
        Limits of what is delivered: of the student if there is one, otherwise of all members together.
    out
        The student's directory; ``<name>-student`` beside the first cross-validation unless given.
    console
        Where progress goes; quiet unless given.
    started, command
        As of `trimtab.run`, for the student.
    **settings
        Fields of `Plan` for the student, such as ``minutes``; those of the cross-validation unless given. Minutes and
        steps then are those of all its trainings together.

    Raises
    ------
    InputError
        If a directory is no finished cross-validation, they do not belong together, or nothing is within the limits.
    IntegrityError
        If one was altered.
    """
    _check_request(members, distill, megabytes, milliseconds, out, settings)
    from trimtab.stages.comparing import compare_on_test
    from trimtab.stages.selecting import open_crossvalidations, read_shared, select_ensemble

    console = console or Console(is_quiet=True)
    directories = open_crossvalidations([runs] if isinstance(runs, str | Path) else runs)
    with held(directories[0]):
        lead, plan = directories[0], Plan.from_toml(directories[0].plan)
        dataset, split, machine = read_shared(directories, plan, console)
        limits = {"megabytes": megabytes, "milliseconds": milliseconds}
        own_limits = {} if distill else {name: limit for name, limit in limits.items() if limit is not None}
        folder = lead.path / "ensemble"
        made = select_ensemble(directories, dataset, split, machine, console, members=members, limits=own_limits)
        made.save(folder)
        student = None
        if distill:
            wanted = _student_plan(plan, folder, {**limits, **settings}, trainings=_count_trainings(lead))
            place = Path(out or _beside(lead.path))
            student = _distill(wanted, place, folder, console, started=started, command=command)
        home = None if student is None else RunDirectory(student.directory)
        contest = compare_on_test(lead, dataset, split, folder, machine, student=home)
    for text in contest.warnings:
        console.warn(text)
    return Ensembled(directory=folder, ensemble=made, contest=contest, student=student)


def _check_request(
    members: int,
    distill: bool,
    megabytes: float | None,
    milliseconds: float | None,
    out: str | Path | None,
    settings: dict[str, Any],
) -> None:
    if not 0 < members <= 1000:
        raise InputError(f"--members is {members}", "1 to 1000", "give the number of rounds of selection")
    for name, limit in (("megabytes", megabytes), ("milliseconds", milliseconds)):
        if limit is not None and not limit > 0:
            raise InputError(f"--{name} is {limit:g}", "a number above 0", "change it or leave it out")
    given = ["out"] * (out is not None) + [name for name, value in settings.items() if value is not None]
    if given and not distill:
        name = given[0].replace("_", "-")
        raise InputError(f"--{name} is given without --distill", "it for a student", f"add --distill or drop --{name}")


def _beside(path: Path) -> Path:
    """Return the student's directory for the cross-validation at a path."""
    named = path if path.name not in ("", "..") else path.resolve()
    return named.with_name(f"{named.name.removesuffix(_SUFFIX)}-student")


def _count_trainings(directory: RunDirectory) -> int:
    return len(json.loads((directory.data / "folds.json").read_text())["folds"])


def _student_plan(plan: Plan, folder: Path, settings: dict[str, Any], *, trainings: int) -> Plan:
    """Return what the student's run is asked for: the plan of the folds, with a teacher.

    The teacher's probabilities are soft already, so labels are not smoothed besides. Under limits of its own the
    network is chosen anew, and with it all that belongs to a network. Minutes are those of all folds together, and so
    are steps: a plan's are those of each of the ``trainings``.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    changes: dict[str, Any] = {"label_smoothing": 0.0, "teacher": str(folder.resolve())}
    if given.keys() & {"megabytes", "milliseconds"}:
        changes |= dict.fromkeys(_BY_NETWORK) | {"options": {}}
    if "minutes" in given:
        changes["steps"] = None
    elif plan.steps is not None:
        changes["steps"] = trainings * plan.steps
    return plan_to_resolve(plan.data, {**changes, **given}, plan)


def _distill(
    wanted: Plan, place: Path, folder: Path, console: Console, *, started: float | None, command: str | None
) -> Run:
    """Return the student's run: finished before from the same ensemble, continued, or new."""
    from trimtab.generalization.ensembles import hash_ensemble
    from trimtab.opened import open_run
    from trimtab.pipeline import prepare, run

    there = RunDirectory(place)
    if there.is_finished and Plan.from_toml(there.plan) == prepare(wanted)[2]:
        taught = Ledger(there.ledger).events("teacher")
        if taught and taught[-1]["teacher"] == hash_ensemble(folder):
            console.stage("student", f"{place} was finished before")
            return open_run(place)
    return run(wanted.data, wanted, out=place, console=console, started=started, command=command)


def ensemble_verb(options: argparse.Namespace) -> int:
    """Make an ensemble, print who is better than whom, and return the exit code: 3 when the student missed a limit."""
    names = ("members", "distill", "megabytes", "milliseconds", "out", "started", "command")
    settings = {name: getattr(options, name) for name in ("minutes", "steps", "distill_weight", "distill_temperature")}
    made = ensemble(options.runs, console=Console(), **{name: getattr(options, name) for name in names}, **settings)
    _print_contest(made.contest)
    print(f"\nensemble   {made.directory / 'ensemble.json'}: {made.ensemble.model_count} models")
    if made.student is None:
        runs = " ".join(quote(run) for run in options.runs)
        print(f"next       trimtab ensemble {runs} --distill    one model that learns from all of them")
    else:
        _print_student(made.student)
    if options.json:
        print(json.dumps(made.to_dict()))
    return 0 if made.student is None or made.student.verdict.is_met else 3


def _print_contest(contest: Contest) -> None:
    from trimtab.console import describe_look

    found = contest.compared
    print(f"\non {contest.rows:,} sealed test rows, opened now")
    if contest.look > 1:
        print(f"({describe_look(contest.look, contest.others)})")
    for metric in ("accuracy", "log_loss"):
        print(f"\n{found.to_table(metric)}")
    print()
    pairs = zip(found.pairs, found.adjusted["accuracy"], strict=True)
    print("\n".join(dict.fromkeys(pair.verdict(p_value) for pair, p_value in pairs)))  # equal sentences once
    if contest.kept_share is not None:
        print(f"The student keeps {100 * contest.kept_share:.0f}% of what the ensemble gained in accuracy.")


def _print_student(student: Run) -> None:
    from trimtab.console import describe_excess, describe_size

    accuracy, shown = student.evaluation.metrics["accuracy"], quote(str(student.directory))
    print(f"student    {student.directory}: accuracy {accuracy.value:.4f}, {describe_size(student.cost.megabytes)}")
    for line in student.verdict.excesses:
        measured = f"{line.measured:.4g} instead of {line.limit:.4g}"
        print(f"           MISSED: {line.name} {measured} ({describe_excess(line)})")
    print(f"next       trimtab serve {shown}    or    trimtab evaluate {shown}")
