"""Every figure of a classifier on labelled rows, each with its interval, as one object.

Plots are in `trimtab.evaluation.plots`, the comparison of two models in `trimtab.evaluation.paired`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import IntArray, confusion_matrix
from trimtab.evaluation.grouped import estimate_groups
from trimtab.evaluation.independent import estimate_rows
from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.metrics import check_labels, check_probabilities, row_losses
from trimtab.evaluation.scored import Scored

_LARGEST_TABLE = 30  # classes listed one by one in the text


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured.

    Attributes
    ----------
    rows
        How many rows were evaluated.
    class_names
        K names.
    metrics
        ``accuracy``, ``precision_macro``, ``recall_macro``, ``f1_macro``, ``roc_auc_macro``, ``log_loss`` (nats).
    per_class
        Class name -> ``precision``, ``recall``, ``f1``, ``roc_auc`` (the class against the rest).
    support
        Class name -> number of its rows.
    confusion
        int64 [K, K], rows true, columns predicted.
    """

    rows: int
    class_names: tuple[str, ...]
    metrics: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate]]
    support: dict[str, int]
    confusion: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; what is undefined is ``None``."""
        return {
            "rows": self.rows,
            "class_names": list(self.class_names),
            "metrics": _plain(self.metrics),
            "per_class": {name: _plain(estimates) for name, estimates in self.per_class.items()},
            "support": dict(self.support),
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_dict` gave."""
        return cls(
            rows=fields["rows"],
            class_names=tuple(fields["class_names"]),
            metrics=_estimates(fields["metrics"]),
            per_class={name: _estimates(estimates) for name, estimates in fields["per_class"].items()},
            support=dict(fields["support"]),
            confusion=np.array(fields["confusion"], dtype=np.int64),
        )

    def to_table(self) -> str:
        """Return the figures as aligned text: the metrics, then the classes."""
        level = next(iter(self.metrics.values())).level
        lines = [["metric", "value", f"{level:.0%} interval", "method"]]
        lines += [[name, _number(e.value), _interval(e), e.method] for name, e in self.metrics.items()]
        names = self.class_names[:_LARGEST_TABLE]
        classes = [["class", "rows", *self.per_class[names[0]]]]
        for name in names:
            figures = [f"{_number(e.value)} {_interval(e)}".strip() for e in self.per_class[name].values()]
            classes.append([name, f"{self.support[name]:,}", *figures])
        rest = len(self.class_names) - len(names)
        more = f"\n... and {rest} more classes" if rest else ""
        return f"{_aligned(lines)}\n\n{_aligned(classes)}{more}"


def evaluate(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    *,
    class_names: Sequence[str],
    groups: NDArray[Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Return all figures with their intervals.

    Parameters
    ----------
    labels
        Class numbers, integers [N] in 0 to K - 1.
    probabilities
        float [N, K], each row summing to one. The predicted class is the first of the largest.
    class_names
        K different names, two at least.
    groups
        [N], anything that can be sorted: rows of the same group (patient, day, author) are not independent of each
        other. Whole groups are resampled then, and all intervals widen accordingly.
    level
        The share of intervals that hold the true value, in (0, 1).
    seed
        Of the resampling.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or a value is not what it should be.
    """
    names = _check_names(class_names, level)
    labels = check_labels(labels, num_classes=len(names))
    probabilities = check_probabilities(probabilities, rows=len(labels), num_classes=len(names))
    predictions = probabilities.argmax(axis=1).astype(np.int64)
    confusion = confusion_matrix(labels, predictions, num_classes=len(names))
    scored = Scored(
        labels=labels,
        predictions=predictions,
        probabilities=probabilities,
        losses=row_losses(labels, probabilities),
        confusion=confusion,
        class_names=names,
        level=level,
        seed=seed,
    )
    if groups is None:
        metrics, per_class = estimate_rows(scored)
    else:
        metrics, per_class = estimate_groups(scored, _encode_groups(groups, rows=len(labels)))
    support = {name: int(rows) for name, rows in zip(names, confusion.sum(axis=1), strict=True)}
    return Evaluation(
        rows=len(labels),
        class_names=names,
        metrics=metrics,
        per_class=per_class,
        support=support,
        confusion=confusion,
    )


def _check_names(class_names: Sequence[str], level: float) -> tuple[str, ...]:
    names = tuple(class_names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"class_names has {len(names)} names, {len(set(names))} of them different; expected two or more, "
            "each different; give one name for each column of the probabilities."
        )
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1; give 0.95 for 95%.")
    return names


def _encode_groups(groups: NDArray[Any], *, rows: int) -> IntArray:
    array = np.asarray(groups)
    if array.shape != (rows,):
        raise ValueError(f"groups have shape {array.shape}; expected ({rows},); give one group for each label.")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, Any]]:
    return {name: estimate.to_dict() for name, estimate in estimates.items()}


def _estimates(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(estimate) for name, estimate in fields.items()}


def _number(value: float | None) -> str:
    if value is None:
        return "undefined"
    rounds_to_all = 0.99995 <= value < 1
    return f"{value:.6f}" if rounds_to_all else f"{value:.4f}"


def _interval(estimate: Estimate) -> str:
    return "" if estimate.low is None or estimate.high is None else f"[{estimate.low:.4f}, {estimate.high:.4f}]"


def _aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )
