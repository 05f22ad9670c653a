"""``trimtab diagnose``: what is wrong with a finished run, shown by trial, and what to do next."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from trimtab.console import Console
from trimtab.errors import InputError
from trimtab.findings import Finding, Trial, data_of_findings, load_findings, save_findings
from trimtab.plan import Plan
from trimtab.storage import new_directory, write_text

if TYPE_CHECKING:
    from trimtab.stages.case import Case
    from trimtab.stages.diagnosing import Examined

_SHARE, _LEAST_MINUTES = 0.15, 0.5  # of the run's minutes; half a minute where that is less
_MOST_SEEDS = 20
_WRITING_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a diagnosis found.

    Attributes
    ----------
    directory
        Where findings, pictures and page are, in the run's directory.
    findings
        One for each code, found ones first.
    commands
        Code of a finding to what to type next.
    seconds
        That it took.
    """

    directory: Path
    findings: tuple[Finding, ...]
    commands: dict[str, str]
    seconds: float

    @property
    def found(self) -> tuple[Finding, ...]:
        """The findings that are there."""
        return tuple(finding for finding in self.findings if finding.state == "found")

    def to_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        return {
            "diagnosis": str(self.directory),
            "seconds": round(self.seconds, 1),
            "findings": [finding.to_dict() for finding in self.findings],
            "next": self.commands,
        }


def diagnose(
    run: str | Path,
    *,
    minutes: float | None = None,
    seeds: int = 5,
    points: float = 2.0,
    audit: str | Path | None = None,
    console: Console | None = None,
    started: float | None = None,
) -> Diagnosis:
    """Look for what holds a finished run back, by training it again with one change at a time.

    Trials train on the run's training rows and are judged by its validation rows; the test rows stay as they are.
    Everything is written to ``diagnosis/`` in the run's directory, in place of an earlier one.

    Parameters
    ----------
    run
        A run directory.
    minutes
        For everything; 15% of the run's, at least half a minute, unless given.
    seeds
        Trainings of the baseline and of each remedy, at most; down to two where time is short.
    points
        The difference in accuracy that the test rows should be able to show, in points of a percentage.
    audit
        A directory that `trimtab audit` wrote about the same data. What it found in all rows then stands for what
        is looked for in the open ones here.
    console
        Where progress goes; quiet unless given.
    started
        ``time.monotonic()`` at which the clock started; now unless given.

    Raises
    ------
    InputError
        If the run is not finished, its data changed, the audit is of other data, or an argument is out of range.
    IntegrityError
        If a file of the run was altered.
    """
    start = time.monotonic() if started is None else started
    _check(minutes, seeds, points)
    from trimtab.directory import RunDirectory, held
    from trimtab.opened import open_run
    from trimtab.pipeline import prepare
    from trimtab.stages.case import open_case
    from trimtab.stages.diagnosing import examine

    result, console = open_run(run), console or Console(is_quiet=True)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    findings_file = None if audit is None else _audit_file(audit)
    given = minutes or max(_LEAST_MINUTES, _SHARE * (result.plan.minutes or 0.0))
    with held(RunDirectory(result.directory)) as directory:
        source, facts, plan, _ = prepare(result.plan)
        case = open_case(directory, plan, facts, source, console)
        console.stage("run", f"{directory.path}: {len(case.features.training):,} training rows, {given:.2g} minutes")
        examined = examine(
            case,
            result.evaluation,
            seeds=seeds,
            wanted=points / 100,
            audit=[] if findings_file is None else _audit_of(case, findings_file),
            minutes=given,
            seconds_left=lambda: 60 * given - _WRITING_SECONDS - (time.monotonic() - start),
            console=console,
        )
        commands = _write(case, examined)
        seconds = time.monotonic() - start
        codes = [finding.code for finding in examined.findings if finding.state == "found"]
        case.ledger.append("diagnosed", seconds=round(seconds, 1), found=codes)
    return Diagnosis(
        directory=directory.path / "diagnosis", findings=examined.findings, commands=commands, seconds=seconds
    )


def _check(minutes: float | None, seeds: int, points: float) -> None:
    if minutes is not None and not 0 < minutes <= 1e6:
        raise InputError(f"minutes is {minutes:g}", "a number above 0", "change it or leave it out")
    if not 2 <= seeds <= _MOST_SEEDS:
        raise InputError(f"seeds is {seeds}", f"2 to {_MOST_SEEDS}", "change it: one cannot tell a remedy from chance")
    if not 0 < points <= 100:
        raise InputError(f"points is {points:g}", "a number above 0, at most 100", "change it or leave it out")


def _audit_file(audit: str | Path) -> Path:
    path = Path(audit) / "findings.json" if Path(audit).is_dir() else Path(audit)
    if not path.is_file():
        raise InputError(f"there are no findings at {audit}", "a directory that `trimtab audit` made", "check the path")
    return path


def _audit_of(case: Case, path: Path) -> list[Finding]:
    """Return the findings of an audit, if it was one of the run's data."""
    if data_of_findings(path) != case.dataset.content_hash:
        run = quote(str(case.directory.path))
        raise InputError(
            f"the findings in {path.parent} are not about the data of {case.directory.path}, as that run read them",
            "an audit of the same data",
            f"leave --audit out, or audit what the run was given: `trimtab audit {run}`",
        )
    return load_findings(path)


def _write(case: Case, examined: Examined) -> dict[str, str]:
    """Write everything, and return what to type next for each finding."""
    from trimtab.report.diagnosis_page import write_diagnosis_page
    from trimtab.stages.diagnosing import write_suspects

    final = case.directory.path / "diagnosis"
    with new_directory(final) as directory:
        save_findings(examined.findings, directory / "findings.json")
        if examined.tried is not None and examined.tried.opinions is not None:
            write_suspects(case, examined.tried.opinions.training, directory / "suspects.csv")
        _draw(case, examined, directory)
        commands = _commands(case, examined.findings, directory, final)
        write_diagnosis_page(
            directory / "diagnosis.html",
            name=case.directory.path.name,
            findings=examined.findings,
            commands=commands,
            notes=_notes(examined),
        )
    return commands


def _draw(case: Case, examined: Examined, directory: Path) -> None:
    from trimtab.evaluation.plots import plot_learning_curves
    from trimtab.evaluation.plots.trials import plot_trials

    if examined.tried is None:
        return
    passes = examined.tried.course.fraction * case.steps * (case.plan.batch_size or 1) / len(case.features.training)
    plot_learning_curves(examined.tried.bench.history(passes), directory / "curves.svg")
    trials = [trial for trial in _trials(examined.findings) if trial.metric.startswith("log loss")]
    if trials:
        plot_trials(trials, directory / "trials.svg", label="gain in log loss on held-out rows (nats)")


def _commands(case: Case, findings: Sequence[Finding], directory: Path, final: Path) -> dict[str, str]:
    """Write a plan for each cause whose remedy is a change of the plan; return the commands by code."""
    commands = {}
    for finding in findings:
        helped = [trial for trial in finding.trials if trial.has_helped and trial.settings]
        if finding.state == "found" and helped:
            best = max(helped, key=lambda trial: trial.gain)
            name = f"{finding.code.lower()}.toml"
            write_text(directory / name, _changed(case.plan, best).to_toml())
            commands[finding.code] = f"trimtab run {quote(str(final / name))}"
    return commands


def _changed(plan: Plan, trial: Trial) -> Plan:
    return dataclasses.replace(plan, **dict(trial.settings))


def _notes(examined: Examined) -> list[str]:
    if examined.tried is None:
        return ["Nothing was trained again: see below why."]
    course = examined.tried.course
    cut = "" if course.fraction == 1 else f", cut to {course.fraction:.0%} of the run's steps to fit into the time"
    return [
        f"Each training was made with {course.seeds} seeds, paired with the baseline's{cut}.",
        "The labels of the test rows took no part.",
        "Validation rows judge only weights and temperatures that other validation rows chose.",
    ]


def _trials(findings: Sequence[Finding]) -> list[Trial]:
    return [trial for finding in findings for trial in finding.trials]


def diagnose_verb(options: argparse.Namespace) -> int:
    """Diagnose, print what was found and tried and what to do next, and return the exit code."""
    found = diagnose(
        options.run,
        minutes=options.minutes,
        seeds=options.seeds,
        points=options.points,
        audit=options.audit,
        console=Console(),
        started=options.started,
    )
    for finding in found.findings:
        state = finding.state if finding.severity is None else f"{finding.state}, {finding.severity}"
        print(f"\n{finding.code:<15} {state}\n    {finding.summary}")
        if finding.remedy:
            print(f"    {finding.remedy}")
    trials = _trials(found.findings)
    if trials:
        print(f"\n{_table(found.findings)}")
    count = "1 trial" if len(trials) == 1 else f"{len(trials)} trials"
    print(f"\n{len(found.found)} of {len(found.findings)} found; {count}; {found.seconds:.0f} s")
    print(f"page       {found.directory / 'diagnosis.html'}")
    for command in found.commands.values():
        print(f"next       {command}")
    if options.json:
        print(json.dumps(found.to_dict()))
    return 0


def _table(findings: Sequence[Finding]) -> str:
    """Return every trial as aligned text."""
    from trimtab.evaluation.result import aligned

    lines = [["for", "remedy", "gain", "interval", "p (Holm)", "helped", "of what"]]
    for finding in findings:
        for trial in finding.trials:
            has_interval = trial.low is not None and trial.high is not None
            lines.append(
                [
                    finding.code,
                    trial.remedy,
                    f"{trial.gain:+.4f}",
                    f"[{trial.low:+.4f}, {trial.high:+.4f}]" if has_interval else "",
                    "" if trial.p_value is None else f"{trial.p_value:.3g}",
                    "yes" if trial.has_helped else "no",
                    trial.metric,
                ]
            )
    return aligned(lines)
