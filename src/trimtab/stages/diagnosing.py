"""The diagnosis of a finished run: what its files say, what its validation rows say, what trials say; all as findings.

Nothing here looks at the test rows' labels: what is said of them was measured by the run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np

from trimtab.console import Console
from trimtab.evaluation import Evaluation
from trimtab.evaluation.intervals import student_quantile
from trimtab.evaluation.temperature import choose_temperature
from trimtab.findings import Finding, State, in_order
from trimtab.generalization.conclusions import Concluded, Extra, conclude
from trimtab.generalization.diagnosis import (
    Lack,
    find_label_noise,
    find_overfit,
    find_uncalibrated,
    find_underfit,
)
from trimtab.generalization.evidence import LEAST_WRONG, judge_fixed, signal_of
from trimtab.generalization.gains import Gain
from trimtab.generalization.observations import find_no_signal, find_test_too_small
from trimtab.generalization.remedies import Remedy
from trimtab.generalization.suspects import Doubts
from trimtab.stages.case import Case, calibration_of
from trimtab.stages.data_findings import data_findings
from trimtab.stages.job import mode_of
from trimtab.stages.trying import Tried, minutes_for_all, plan_course, try_remedies
from trimtab.storage import write_text

_LEAST_UNITS = 10  # independent validation rows, or groups of them


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """The findings, and the trials they rest on; ``None`` when there were none."""

    findings: tuple[Finding, ...]
    tried: Tried | None


def examine(
    case: Case,
    evaluation: Evaluation,
    *,
    seeds: int,
    wanted: float,
    audit: Sequence[Finding],
    minutes: float,
    seconds_left: Callable[[], float],
    console: Console,
) -> Examined:
    """Return a finding for each code.

    Parameters
    ----------
    case
        The run.
    evaluation
        Of what it delivered, on its sealed test rows.
    seeds
        Trainings of the baseline and of each remedy, two or more.
    wanted
        The difference in accuracy that the test rows should show, a share.
    audit
        What `trimtab audit` found in the same data; may be empty.
    minutes, seconds_left
        What the user gave, and what is left of it.
    console
        Where progress goes.
    """
    lack = _obstacle(case)
    of_data = data_findings(case, audit, seconds_left=seconds_left)
    console.stage("data", _found_in_data(of_data))
    tried = None if lack else _try(case, seeds, seconds_left, console)
    more = _command_for_all(case, seeds)
    if tried is None and lack is None:
        why = f"{minutes:.2g} minutes are too few to train anything again; {more} has time for everything."
        lack = Lack("not checked", why)
    extras, reason, without_trial = _temperature(case)
    concluded = _conclude(tried, extras)
    error = evaluation.metrics.get("smooth_ece")
    findings = [
        *_of_trials(case, tried, concluded, lack, more),
        _signal(case, tried),
        find_uncalibrated(_of(concluded, "UNCALIBRATED"), error, reason=reason, without_trial=without_trial),
        find_test_too_small(evaluation.metrics["accuracy"], rows=evaluation.rows, wanted=wanted),
        *of_data,
    ]
    return Examined(findings=tuple(in_order(findings)), tried=tried)


def _found_in_data(findings: Sequence[Finding]) -> str:
    found = [finding.code for finding in findings if finding.state == "found"]
    return ", ".join(found) if found else "nothing found in the data alone"


def _obstacle(case: Case) -> Lack | None:
    """Return why no remedy could be judged on the validation rows, if so."""
    rows, units = len(case.features.validation), case.units
    if units < _LEAST_UNITS:
        few = f"{units} groups of validation rows are too few to judge by; {_LEAST_UNITS} are needed."
        return Lack("not applicable", few)
    if case.wrong < LEAST_WRONG:
        few = (
            f"{case.wrong} of {rows:,} validation rows are predicted wrong; at least {LEAST_WRONG} are needed to tell "
            "a remedy from chance."
        )
        return Lack("not applicable", few)
    return None


def _command_for_all(case: Case, seeds: int) -> str:
    """Return what to type to have time for every trial."""
    needed = minutes_for_all(case.plan, float(case.trained["seconds"]), case.steps, seeds=seeds)
    return f"`trimtab diagnose {quote(str(case.directory.path))} --minutes {needed:g}`"


def _try(case: Case, seeds: int, seconds_left: Callable[[], float], console: Console) -> Tried | None:
    seconds = float(case.trained["seconds"])
    course = plan_course(seconds_left(), seconds, case.steps, seeds=seeds)
    if course is None:
        return None
    share = "" if course.fraction == 1 else f", cut to {course.fraction:.0%} of the run's steps to fit into the time"
    console.stage("trials", f"{course.seeds} seeds each{share}")
    return try_remedies(
        case.plan,
        case.facts,
        case.features,
        course,
        groups=case.groups,
        mode=mode_of(case.trained),
        steps=case.steps,
        training_seconds=seconds,
        seconds_left=seconds_left,
        console=console,
    )


def _conclude(tried: Tried | None, extras: Sequence[Extra]) -> list[Concluded]:
    if tried is None:
        return conclude([], extras=extras)
    is_trusted = None if tried.opinions is None else ~tried.opinions.validation.is_suspect
    return conclude(tried.outcomes(), units=tried.bench.material.units, is_trusted=is_trusted, extras=extras)


def _of(concluded: Sequence[Concluded], code: str) -> list[Concluded]:
    return [each for each in concluded if each.remedy.cause == code]


def _of_trials(
    case: Case, tried: Tried | None, concluded: Sequence[Concluded], lack: Lack | None, more: str
) -> list[Finding]:
    """Return the findings that trainings are needed for."""
    if tried is None:
        assert lack is not None  # noqa: S101 - otherwise something was tried
        return [lack.of(code) for code in ("OVERFIT", "UNDERFIT", "LABEL_NOISE")]
    overfit, underfit = (_of(concluded, code) for code in ("OVERFIT", "UNDERFIT"))
    cut = Lack(
        "not checked",
        f"trials were cut to {tried.course.fraction:.0%} of the run's steps, which longer training would beat in any "
        f"case; {more} gives them full length.",
    )
    return [
        find_overfit(overfit, tried.gap, untried=tried.untried("OVERFIT")),
        find_underfit(underfit, tried.gap, untried=tried.untried("UNDERFIT"))
        if tried.course.fraction == 1
        else cut.of("UNDERFIT"),
        _label_noise(case, tried, _of(concluded, "LABEL_NOISE"), more),
    ]


def _label_noise(case: Case, tried: Tried, concluded: Sequence[Concluded], more: str) -> Finding:
    if tried.opinions is None:
        why = f"there was no time left to look for suspect labels; {more} has time for everything."
        return Lack("not checked", why).of("LABEL_NOISE")
    lack = Lack("not checked", f"there was no time to train with other labels; {more} has it.")
    return find_label_noise(
        concluded,
        suspects=int(tried.opinions.training.is_suspect.sum()),
        rows=len(case.features.training),
        listed=f"They are listed in {case.directory.path / 'diagnosis' / 'suspects.csv'}.",
        lack=None if tried.had_time_for_noise else lack,
    )


def _signal(case: Case, tried: Tried | None) -> Finding:
    labels, rng = case.features.validation.labels, np.random.default_rng((case.plan.seed, 8))
    units = None if case.groups is None else np.unique(case.groups, return_inverse=True)[1].astype(np.int64)
    if case.units < _LEAST_UNITS:
        return Lack("not applicable", "the groups of validation rows are too few to judge by.").of("NO_SIGNAL")
    if tried is None:
        logs, whose = judge_fixed(case.probabilities, labels).log_probabilities, "the run, whose weights they chose"
    else:
        logs = np.mean([judged.log_probabilities for judged in tried.bench.baselines], axis=0)
        whose = f"{len(tried.bench.baselines)} trainings, at weights that other rows chose"
    return find_no_signal(signal_of(logs, labels, units=units, rng=rng), rows=len(labels), answers_of=whose)


def _temperature(case: Case) -> tuple[list[Extra], str, State]:
    """Return the trial of a temperature if there is one, what is to be said of it, and the state without a trial."""
    choice = calibration_of(case.ledger)
    if choice is not None and choice.is_kept:
        return [], f"temperature {choice.temperature:.3g} is part of the delivered model: {choice.reason}", "not found"
    if choice is None:
        choice = choose_temperature(
            case.probabilities, case.features.validation.labels, groups=case.groups, seed=case.plan.seed
        )
    if choice.difference is None or choice.low is None or choice.high is None:
        return [], choice.reason, "not applicable"
    freedom = case.units - 1
    error = (choice.high - choice.low) / 2 / student_quantile(choice.level, freedom)
    name = f"temperature {choice.fitted_temperature:.3g}"
    extra = Extra(
        remedy=Remedy(cause="UNCALIBRATED", name=name, settings={"calibrate": True}),
        metric=f"log loss of {choice.rows:,} validation rows",
        gain=Gain(value=-choice.difference, error=error, freedom=freedom),
    )
    return [extra], choice.reason, "not found"


def write_suspects(case: Case, doubts: Doubts, path: Path) -> None:
    """Write the training rows whose labels are suspect, the most doubtful first: name, label, suggestion, margin."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["name", "label", "suggested", "margin"])
    for place in doubts.surest:
        row = int(case.split.train[place])
        names = (
            case.dataset.class_names[int(number)] for number in (case.dataset.labels[row], doubts.suggested[place])
        )
        writer.writerow([case.dataset.row_names[row], *names, f"{doubts.margins[place]:.4f}"])
    write_text(path, text.getvalue())
