"""``trimtab audit``: what is wrong with data, before anything is trained on them.

It looks at all labelled rows, so it belongs before the first run: what is changed after its advice is a new data set
with a test part of its own.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from trimtab.console import Console
from trimtab.data import Dataset
from trimtab.data.audits import Copies, find_copies
from trimtab.data.audits.clusters import join
from trimtab.errors import OutputError
from trimtab.findings import Finding, in_order, save_findings
from trimtab.storage import write_text

_ELSEWHERE = ("OVERFIT", "UNDERFIT", "NO_SIGNAL", "TEST_TOO_SMALL", "UNCALIBRATED")
SETTINGS = ("target", "group", "skip_unreadable", "image_size", "seed")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit left.

    Attributes
    ----------
    directory
        Holds findings.json, copies.csv, suspects.csv, contact sheets of pictures, and audit.html.
    findings
        One for each code, found ones first.
    """

    directory: Path
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        names = ("code", "state", "severity", "summary", "value", "low", "high", "remedy", "page")
        shown = [{name: getattr(finding, name) for name in names} for finding in self.findings]
        return {"audit": str(self.directory), "findings": shown}


def audit(
    data: str | Path,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    command: str | None = None,
    **settings: Any,
) -> Audit:
    """Look for copies, leaks, wrong labels, rare classes and shift; train nothing but models of seconds.

    Parameters
    ----------
    data
        As of `trimtab.run`.
    out
        Directory; ``runs/<name of the data>-audit`` unless given. Nothing is overwritten: a taken name gets ``-2``.
    console
        Where progress goes; quiet unless given.
    command
        What the user typed, for the page.
    **settings
        Fields of `Plan` that concern the data: target, group, skip_unreadable, image_size, seed.

    Raises
    ------
    TrimtabError
        If the data cannot be used or the output cannot be written.
    """
    from trimtab.pipeline import prepare
    from trimtab.request import plan_to_resolve

    console = console or Console(is_quiet=True)
    source, facts, plan, _ = prepare(plan_to_resolve(data, settings))
    console.stage("data", f"{facts.rows:,} {'pictures' if facts.kind == 'image' else 'rows'}, {facts.classes} classes")
    dataset = source.load(image_size=plan.image_size, progress=console.shows_bars)
    for text in dataset.warnings:
        console.warn(text)
    copies = find_copies(dataset)
    console.stage("copies", f"{int(copies.is_copied.sum()):,} rows have a copy")
    findings, suspects = _check(dataset, copies, seed=plan.seed, console=console)
    directory = _new_directory(Path(out or Path("runs") / f"{dataset.name}-audit"))
    _write(directory, dataset, copies, findings, suspects)
    _draw(directory, dataset, findings)
    from trimtab.report.audit_page import write_audit_page

    command = command or f"trimtab audit {quote(str(data))}"
    summary = f"{len(dataset):,} rows, {dataset.num_classes} classes"
    write_audit_page(directory, findings, name=dataset.name, summary=summary, command=command)
    return Audit(directory=directory, findings=tuple(in_order(findings)))


def audit_verb(options: argparse.Namespace) -> int:
    """Carry out an audit, print found findings first, and return the exit code."""
    settings = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    result = audit(options.data, out=options.out, console=Console(), command=options.command, **settings)
    print()
    for finding in result.findings:
        print(_describe(finding))
    print(f"\npage       {result.directory / 'audit.html'}")
    print(f"lists      findings.json, copies.csv and suspects.csv in {result.directory}")
    if options.json:
        print(json.dumps(result.to_dict()))
    return 0


def _check(
    dataset: Dataset, copies: Copies, *, seed: int, console: Console
) -> tuple[list[Finding], list[tuple[str, ...]]]:
    """Return the findings, and the suspect rows as lines of a table."""
    from trimtab.generalization.duplicates import duplicates_finding
    from trimtab.generalization.imbalance import imbalance_finding
    from trimtab.generalization.leakage import leakage_finding
    from trimtab.generalization.quick_model import out_of_fold, quick_inputs
    from trimtab.generalization.shift import shift_finding
    from trimtab.generalization.suspects import doubt, label_noise_finding

    units = copies.numbers if dataset.groups is None else join(copies.numbers, dataset.groups)
    inputs = quick_inputs(dataset)
    probabilities = out_of_fold(inputs, dataset.labels, dataset.num_classes, seed=seed, units=units)
    accuracy = (probabilities.argmax(axis=1) == dataset.labels).mean()
    console.stage("model", f"a quick one is right in {100 * accuracy:.1f}% of rows that it did not see")
    findings = [
        leakage_finding(dataset, seed=seed, units=units),
        duplicates_finding(dataset, copies, dataset.parts),
        label_noise_finding(dataset, probabilities),
        shift_finding(dataset, inputs, seed=seed),
        imbalance_finding(dataset),
    ]
    console.stage("checked", "leakage, duplicates, labels, shift, imbalance")
    why = "It takes a trained model: `trimtab diagnose RUN` checks it on a finished run."
    findings += [Finding(code=code, state="not checked", summary=why) for code in _ELSEWHERE]
    doubts, names = doubt(dataset.labels, probabilities), dataset.class_names
    suspects: list[tuple[str, ...]] = [
        (dataset.row_names[row], names[dataset.labels[row]], names[doubts.suggested[row]], f"{doubts.margins[row]:.4f}")
        for row in doubts.surest
    ]
    return findings, suspects


def _write(
    directory: Path, dataset: Dataset, copies: Copies, findings: Sequence[Finding], suspects: list[tuple[str, ...]]
) -> None:
    """Write the lists: findings, copies, suspects."""
    from trimtab.generalization.duplicates import PARTS, sets_in_order

    save_findings(in_order(findings), directory / "findings.json", data_hash=dataset.content_hash)
    lines = []
    for number, rows in enumerate(sets_in_order(dataset, copies, dataset.parts), start=1):
        for row in rows:
            part = "" if dataset.parts is None or dataset.parts[row] < 0 else PARTS[int(dataset.parts[row])]
            kind = "exact" if (copies.exact[rows] == copies.exact[row]).sum() > 1 else "near"
            label = dataset.class_names[dataset.labels[row]]
            lines.append((str(number), dataset.row_names[row], label, part, kind))
    _write_csv(directory / "copies.csv", ("set", "name", "label", "part", "kind"), lines)
    _write_csv(directory / "suspects.csv", ("name", "label", "suggested", "margin"), suspects)


def _write_csv(path: Path, header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([header, *lines])
    write_text(path, text.getvalue())


def _draw(directory: Path, dataset: Dataset, findings: Sequence[Finding]) -> None:
    """Draw contact sheets of pictures; a table has none."""
    from trimtab.report.audit_page import SHEETS
    from trimtab.report.contact_sheets import save_copies, save_suspects

    if dataset.images is None:
        return
    for finding in findings:
        if sets := finding.evidence.get("sets_shown"):
            save_copies(dataset.images, sets, directory / SHEETS[finding.code][0])
        if suspects := finding.evidence.get("suspects_shown"):
            save_suspects(dataset.images, suspects, directory / SHEETS[finding.code][0])


def _new_directory(wanted: Path) -> Path:
    """Make the directory, or one with the next free number, and return it."""
    candidate, number = wanted, 1
    while True:
        try:
            candidate.mkdir(parents=True)
            return candidate
        except FileExistsError:
            number += 1
            candidate = wanted.with_name(f"{wanted.name}-{number}")
        except OSError as error:
            given = f"{candidate} cannot be written to ({error.strerror})"
            raise OutputError(given, "a directory for the audit", "choose another with --out") from error


def _describe(finding: Finding) -> str:
    """Return a found one with what to do and where to read on, any other in one line."""
    if finding.state != "found":
        return f"{finding.state:<15} {finding.code:<15} {finding.summary}"
    lines = [f"{'FOUND':<15} {finding.code:<15} {finding.severity}: {finding.summary}"]
    lines += [f"{'':<31} {finding.remedy}", f"{'':<31} {finding.page}", ""]
    return "\n".join(lines)
