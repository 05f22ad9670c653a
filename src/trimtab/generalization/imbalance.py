"""The finding IMBALANCE: classes that are rare beside others."""

from __future__ import annotations

from trimtab.data import Dataset
from trimtab.findings import Finding

UNBALANCED = 10.0  # rows of the largest class for each of the smallest
_SEVERE = 100.0


def imbalance_finding(dataset: Dataset) -> Finding:
    """Return whether the largest class has at least ten times the rows of the smallest; counted, so no interval."""
    counts = dict(zip(dataset.class_names, dataset.class_counts, strict=True))
    large, small = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    ratio = counts[large] / max(counts[small], 1)
    given = f"'{large}' has {counts[large]:,} rows and '{small}' {counts[small]:,}, {ratio:.3g} to 1"
    if counts[large] == counts[small]:
        given = f"Every class has {counts[large]:,} rows"
    evidence = {"rows_of_class": counts, "majority_share": counts[large] / len(dataset)}
    if ratio < UNBALANCED:
        return Finding(
            code="IMBALANCE",
            state="not found",
            summary=f"{given}.",
            evidence=evidence,
            value=ratio,
            method="counted",
        )
    return Finding(
        code="IMBALANCE",
        state="found",
        severity="warning" if ratio >= _SEVERE else "note",
        summary=f"{given}: always answering '{large}' is right in {100 * counts[large] / len(dataset):.3g}%.",
        evidence=evidence,
        value=ratio,
        method="counted",
        remedy=f"Do not judge by accuracy: look at recall, F1 and average precision of '{small}', and add rows of it.",
    )
