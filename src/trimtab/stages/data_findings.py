"""What a diagnosis says of the data alone: leaks, copies, rare classes, a test part from another world.

What a run has counted before it divided its rows is taken from the run. The rest is looked at here, in seconds: leaks
in the rows of the open parts; shift also in the test rows that came with the data, without their labels. An audit that
looked at all rows before the run has the last word where it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset
from trimtab.findings import Finding, load_findings
from trimtab.generalization.diagnosis import Lack
from trimtab.generalization.leakage import leakage_finding
from trimtab.generalization.quick_model import quick_inputs
from trimtab.generalization.shift import shift_finding
from trimtab.stages.case import Case

CODES = ("LEAKAGE", "DUPLICATES", "SHIFT", "IMBALANCE")

_MOST = 20_000  # rows of the open parts that leaks are looked for in
_MOST_OF_A_PART = 2_000  # rows of the test part and of the others, for shift
_LEAST_SECONDS = 5.0  # that checks are begun with

Rows = NDArray[np.int64]


def data_findings(case: Case, audit: Sequence[Finding], *, seconds_left: Callable[[], float]) -> list[Finding]:
    """Return a finding for each of `CODES`.

    Parameters
    ----------
    case
        The run.
    audit
        What `trimtab audit` found in the same data; may be empty.
    seconds_left
        Of the diagnosis; with hardly any left nothing is looked at.
    """
    known = {finding.code: finding for finding in audit if finding.state != "not checked"}
    counted = case.directory.data / "audit.json"
    known = (_by_code(load_findings(counted)) if counted.exists() else {}) | known
    if "LEAKAGE" not in known and seconds_left() >= _LEAST_SECONDS:
        known["LEAKAGE"] = _leakage(case)
    if "SHIFT" not in known and seconds_left() >= _LEAST_SECONDS:
        known["SHIFT"] = _shift(case)
    target = "" if case.plan.target is None else f" --target {quote(case.plan.target)}"
    lack = Lack("not checked", f"`trimtab audit {quote(case.plan.data)}{target}` looks for this.")
    return [known.get(code) or lack.of(code) for code in CODES]


def _by_code(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {finding.code: finding for finding in findings}


def _leakage(case: Case) -> Finding:
    rows = _some(np.concatenate([case.split.train, case.split.validation]), _MOST, case.plan.seed)
    dataset = _part(case.dataset, rows)
    return leakage_finding(dataset, seed=case.plan.seed, units=dataset.groups)


def _shift(case: Case) -> Finding:
    """Return the finding, without the shares of the classes in it: the labels of the test rows stay sealed."""
    dataset, seed = case.dataset, case.plan.seed
    parts = np.full(len(dataset), -1) if dataset.parts is None else dataset.parts
    given = np.flatnonzero(parts == 2)
    open_rows = _some(np.concatenate([case.split.train, case.split.validation]), _MOST_OF_A_PART, seed)
    part = _part(dataset, np.concatenate([open_rows, _some(given, _MOST_OF_A_PART, seed)]))
    finding = shift_finding(part, quick_inputs(part), seed=seed)
    evidence = {name: value for name, value in finding.evidence.items() if name != "class_shares"}
    return replace(finding, evidence=evidence)


def _some(rows: Rows, most: int, seed: int) -> Rows:
    if len(rows) > most:
        rows = np.random.default_rng((seed, 9)).choice(rows, most, replace=False)
    return np.sort(rows)


def _part(dataset: Dataset, rows: Rows) -> Dataset:
    """Return some rows of a data set, for looking at only: the content hash stays that of the whole."""
    return replace(
        dataset,
        labels=dataset.labels[rows],
        row_names=[dataset.row_names[int(row)] for row in rows],
        images=None if dataset.images is None else dataset.images[rows],
        table=None if dataset.table is None else dataset.table.take(rows),
        groups=None if dataset.groups is None else dataset.groups[rows],
        times=None if dataset.times is None else dataset.times[rows],
        parts=None if dataset.parts is None else dataset.parts[rows],
    )
