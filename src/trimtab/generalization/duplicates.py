"""The finding DUPLICATES: what copies there are, whether they stand in several parts, and whether their labels agree.

Which rows are copies is found by `trimtab.data.audits`.

Legend: ``N`` rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset
from trimtab.data.audits import Copies
from trimtab.data.audits.clusters import disagreeing, members, straddling
from trimtab.findings import Finding, Severity

PARTS = ("training", "validation", "test")
_SHOWN = 20  # sets in the evidence
_MANY = 0.01  # share of the test part whose copies make its figures worthless
_TAKE_OUT = (
    "Take the copies out of the training part, or put all {what} into one set of class folders: `trimtab run` then "
    "divides them itself and keeps copies together."
)
_KEPT = "`trimtab run` keeps copies in one part; remove them if they are there by mistake, since each counts twice."


def duplicates_finding(dataset: Dataset, copies: Copies, parts: NDArray[np.int8] | None = None) -> Finding:
    """Return the finding.

    Parameters
    ----------
    dataset
        Whose copies they are.
    copies
        Of all its rows.
    parts
        [N] 0 training, 1 validation, 2 test; negative where a row has none. ``None`` for data not divided yet.
    """
    what = "pictures" if dataset.kind == "image" else "rows"
    if not copies.are_meaningful:
        return Finding(code="DUPLICATES", state="not applicable", summary=f"{_start(copies.note)}.")
    sets = members(copies.numbers)
    limit = f" ({copies.note})" if copies.note else ""
    if not sets:
        summary = f"None of the {len(dataset):,} {what} is a copy of another{limit}."
        return Finding(code="DUPLICATES", state="not found", summary=summary, method=copies.method)
    evidence = {**_counts(dataset, copies, parts), "sets_shown": _shown(dataset, copies, parts)}
    of_test, held_out = evidence["test_rows_copied"], evidence["test_rows"]
    is_across = bool(of_test or evidence["validation_rows_copied"])
    copied = int(copies.is_copied.sum())
    return Finding(
        code="DUPLICATES",
        state="found",
        severity=_severity(evidence, is_across=is_across),
        summary=" ".join(_sentences(evidence, what, len(dataset))) + limit,
        evidence=evidence,
        value=of_test / held_out if of_test else copied / len(dataset),
        method=f"counted: {copies.method}",
        remedy=_remedy(evidence, what, is_across=is_across),
    )


def sets_in_order(dataset: Dataset, copies: Copies, parts: NDArray[np.int8] | None = None) -> list[NDArray[np.int64]]:
    """Return the rows of each set of copies; of the test part and another first, then those whose labels differ."""
    latest = np.zeros(len(dataset), dtype=np.int64)  # part of a row that has a copy in an earlier one
    for part, rows in _across(copies, parts).items():
        latest[rows] = part
    odd = {int(rows[0]) for rows in disagreeing(copies.numbers, dataset.labels)}
    sets = members(copies.numbers)
    return sorted(sets, key=lambda rows: (-latest[rows].max(), int(rows[0]) not in odd, int(rows[0])))


def _counts(dataset: Dataset, copies: Copies, parts: NDArray[np.int8] | None) -> dict[str, Any]:
    seen = _across(copies, parts)
    return {
        "rows": len(dataset),
        "rows_copied": int(copies.is_copied.sum()),
        "sets": len(members(copies.numbers)),
        "sets_exact": len(members(copies.exact)),
        "sets_with_different_labels": len(disagreeing(copies.numbers, dataset.labels)),
        "test_rows": 0 if parts is None else int((parts == 2).sum()),
        "test_rows_copied": len(seen[2]),
        "validation_rows_copied": len(seen[1]),
    }


def _across(copies: Copies, parts: NDArray[np.int8] | None) -> dict[int, NDArray[np.int64]]:
    """Return the rows of validation (1) and test (2) that have copies in an earlier part."""
    if parts is None:
        return {part: np.empty(0, dtype=np.int64) for part in (1, 2)}
    return {part: straddling(copies.numbers, parts == part, (parts >= 0) & (parts < part)) for part in (1, 2)}


def _shown(dataset: Dataset, copies: Copies, parts: NDArray[np.int8] | None) -> list[dict[str, Any]]:
    return [
        {
            "rows": rows.tolist(),
            "names": [dataset.row_names[int(row)] for row in rows],
            "labels": [dataset.class_names[int(label)] for label in dataset.labels[rows]],
            "parts": [] if parts is None else [PARTS[int(part)] if part >= 0 else "none" for part in parts[rows]],
            "kind": "exact" if len(np.unique(copies.exact[rows])) == 1 else "near",
        }
        for rows in sets_in_order(dataset, copies, parts)[:_SHOWN]
    ]


def _severity(evidence: dict[str, Any], *, is_across: bool) -> Severity:
    if evidence["test_rows_copied"] >= max(1, _MANY * evidence["test_rows"]):
        return "critical"
    return "warning" if is_across or evidence["sets_with_different_labels"] else "note"


def _sentences(evidence: dict[str, Any], what: str, rows: int) -> list[str]:
    of_test, total, of_validation = (
        evidence[name] for name in ("test_rows_copied", "test_rows", "validation_rows_copied")
    )
    sentences = []
    if of_test:
        share = f"{100 * of_test / total:.2g}%"
        sentences.append(f"{of_test:,} of {total:,} test {what} ({share}) are copies of ones trained or validated on.")
    if of_validation:
        sentences.append(f"{of_validation:,} validation {what} are copies of training {what}.")
    sets = evidence["sets"]
    word = "set" if sets == 1 else "sets"
    sentences.append(f"{evidence['rows_copied']:,} of {rows:,} {what} have a copy, in {sets:,} {word}.")
    if odd := evidence["sets_with_different_labels"]:
        sentences.append(f"In {odd:,} of these the copies have different labels.")
    return sentences


def _remedy(evidence: dict[str, Any], what: str, *, is_across: bool) -> str:
    remedy = _TAKE_OUT.format(what=what) if is_across else _KEPT
    if evidence["sets_with_different_labels"]:
        remedy += " Correct the labels that differ within a set."
    return remedy


def _start(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
