"""The finding SHIFT: whether the test part that came with the data looks like another world than the training part.

A quick model learns to tell rows of the two apart. What it achieves on rows it did not see is an area under the ROC
curve of one half when there is nothing to see; the interval is DeLong's. Where that says that there is something, the
same is done with permuted parts to know what chance gives. A shift that does not concern what the class depends on does
no harm, and a change in what the classes mean is not seen: labels play no part.

Legend: ``N`` rows.

References
----------
Lopez-Paz, Oquab (2017), "Revisiting Classifier Two-Sample Tests", ICLR.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset
from trimtab.evaluation import Estimate, roc_auc_estimate
from trimtab.findings import Finding, Severity
from trimtab.generalization.quick_model import QuickInputs, out_of_fold
from trimtab.generalization.single_columns import single_column_probabilities

Rows = NDArray[np.int64]
_FOLDS = 3
_MOST = 2_000  # rows of each part
_FEWEST = 20
_PERMUTATIONS = 19  # so that one in twenty is chance
_MATTERS = 0.55  # area from which on a shift is worth a word
_SEVERITIES: tuple[tuple[float, Severity], ...] = ((0.8, "critical"), (0.65, "warning"), (0.0, "note"))
_SHOWN = 5
_REMEDY = (
    "Ask how the test rows were collected. If new data look like them, train on such rows too; if not, divide anew."
)
_METHOD = f"domain classifier out of fold, DeLong; null from {_PERMUTATIONS} permutations"


def shift_finding(dataset: Dataset, inputs: QuickInputs, *, seed: int = 0) -> Finding:
    """Return the finding; not applicable without a test part that came with the data.

    Parameters
    ----------
    dataset
        ``N`` rows.
    inputs
        Of the same rows.
    seed
        Of the rows that are looked at, of folds and permutations.
    """
    rng = np.random.default_rng(seed)
    parts = np.full(len(dataset), -1) if dataset.parts is None else dataset.parts
    rows = [_some(np.flatnonzero(inside), rng) for inside in (parts <= 1, parts == 2)]
    if len(rows[1]) < _FEWEST or len(rows[0]) < _FEWEST:
        why = "a part drawn at random has none" if not len(rows[1]) else "too few rows to see one"
        summary = f"The data came with {len(rows[1]) or 'no'} test rows of their own; {why}."
        return Finding(code="SHIFT", state="not applicable", summary=summary)
    chosen = np.concatenate(rows)
    is_test = np.repeat([0, 1], [len(part) for part in rows]).astype(np.int64)
    taken = inputs.take(chosen)
    area = domain_area(taken, is_test, seed=seed)
    evidence: dict[str, Any] = {"rows": [len(part) for part in rows], "class_shares": _class_shares(dataset, parts)}
    is_seen = _number(area.low) > 0.5 and _number(area.value) >= _MATTERS
    if is_seen:
        evidence |= _chance(taken, is_test, _number(area.value), rng, seed)
        evidence["columns"] = _columns(dataset, chosen, is_test, seed)
    return _finding(area, evidence, is_found=is_seen and evidence["p_value"] <= 1 / (1 + _PERMUTATIONS))


def domain_area(inputs: QuickInputs, is_test: Rows, *, seed: int) -> Estimate:
    """Return the area under the ROC curve with which rows [N] of the two parts are told apart, out of fold."""
    found = out_of_fold(inputs, is_test, 2, folds=_FOLDS, seed=seed)
    return roc_auc_estimate(is_test, found[:, 1])


def _chance(inputs: QuickInputs, is_test: Rows, area: float, rng: np.random.Generator, seed: int) -> dict[str, float]:
    """Return how often, and how well at most, rows are told apart whose parts were permuted."""
    permuted = [domain_area(inputs, rng.permutation(is_test), seed=seed).value for _ in range(_PERMUTATIONS)]
    largest = max(_number(other) for other in permuted)
    p_value = (1 + sum(_number(other) >= area for other in permuted)) / (1 + _PERMUTATIONS)
    return {"p_value": p_value, "largest_by_chance": largest}


def _finding(area: Estimate, evidence: dict[str, Any], *, is_found: bool) -> Finding:
    value, low, high = (_number(end) for end in (area.value, area.low, area.high))
    told = f"with an area under the ROC curve of {value:.2f} ({low:.2f} to {high:.2f}; by chance 0.50)"
    named = [column["name"] for column in evidence.get("columns", [])[:2]]
    by = f", most of all by {' and '.join(repr(name) for name in named)}" if named and is_found else ""
    return Finding(
        code="SHIFT",
        state="found" if is_found else "not found",
        severity=next(severity for least, severity in _SEVERITIES if value >= least) if is_found else None,
        summary=f"A quick model tells test rows from training rows {told}{by}.",
        evidence=evidence,
        value=area.value,
        low=area.low,
        high=area.high,
        method=_METHOD,
        remedy=_REMEDY if is_found else "",
    )


def _columns(dataset: Dataset, chosen: Rows, is_test: Rows, seed: int) -> list[dict[str, Any]]:
    """Return the columns of a table that differ most by themselves."""
    if dataset.table is None:
        return []
    alone = single_column_probabilities(dataset.table.take(chosen), is_test, 2, seed=seed)
    areas = {name: _number(roc_auc_estimate(is_test, found[:, 1]).value) for name, found in alone.items()}
    ranked = sorted(areas, key=lambda name: -areas[name])
    return [{"name": name, "roc_auc": round(areas[name], 4)} for name in ranked[:_SHOWN]]


def _class_shares(dataset: Dataset, parts: NDArray[np.integer]) -> dict[str, list[float]]:
    """Return each class's share of the training and of the test rows."""
    counts = [np.bincount(dataset.labels[inside], minlength=dataset.num_classes) for inside in (parts <= 1, parts == 2)]
    shares = [count / max(int(count.sum()), 1) for count in counts]
    pairs = zip(dataset.class_names, *shares, strict=True)
    return {name: [round(float(first), 4), round(float(second), 4)] for name, first, second in pairs}


def _some(rows: Rows, rng: np.random.Generator) -> Rows:
    return rows if len(rows) <= _MOST else np.sort(rng.choice(rows, _MOST, replace=False))


def _number(value: float | None) -> float:
    return 0.0 if value is None else value
