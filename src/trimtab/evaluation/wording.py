"""Why a figure has no value, and which classes a mean had to leave out, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from trimtab.evaluation.counts import FloatArray
from trimtab.evaluation.intervals import Estimate

UNDEFINED_IN_CLASS = {
    "precision": "the class was never predicted",
    "recall": "no row is of the class",
    "f1": "no row is of the class or predicted as it",
    "roc_auc": "no row, or every row, is of the class",
    "average_precision": "no row is of the class",
}
_UNDEFINED = {
    "matthews_corrcoef": "all labels, or all predictions, are of one class",
    "cohen_kappa": "all labels and all predictions are of the same class",
}


def why_undefined(name: str) -> str:
    """Return why a metric of the whole problem has no value."""
    return _UNDEFINED.get(name, "it is for every class")


def with_note(estimate: Estimate, values: FloatArray | None, class_names: Sequence[str]) -> Estimate:
    """Name the classes that a mean had to leave out: those whose value [K] is NaN."""
    missing = [] if values is None else [n for n, value in zip(class_names, values, strict=True) if math.isnan(value)]
    if not missing or estimate.value is None:
        return estimate
    named = ", ".join(repr(name) for name in missing[:3]) + (" and others" if len(missing) > 3 else "")
    count = len(class_names)
    note = f"mean over {count - len(missing)} of {count} classes, undefined for {named}"
    return replace(estimate, method=f"{estimate.method}; {note}")
