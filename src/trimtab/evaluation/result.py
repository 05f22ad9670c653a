"""An evaluation as an object: written to a file and read back, and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.statistics import Statistics

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
        ``accuracy``, ``balanced_accuracy``, ``precision_macro``, ``recall_macro``, ``f1_macro``,
        ``precision_weighted``, ``f1_weighted``, ``matthews_corrcoef``, ``cohen_kappa``; with probabilities also
        ``roc_auc_macro``, ``average_precision_macro``, ``log_loss`` (nats), ``brier_score``, ``smooth_ece`` and, of
        five classes or more, ``top_3_accuracy`` or ``top_5_accuracy``. Rows with several labels have others, see
        `trimtab.evaluation.multilabel`.
    per_class
        Class name -> ``precision``, ``recall``, ``f1`` and, with probabilities, ``roc_auc`` and
        ``average_precision`` (the class against the rest).
    support
        Class name -> number of its rows.
    confusion
        int64 [K, K], rows true, columns predicted; of rows with several labels [L, 2, 2], one matrix per label.
    notes
        What a reader of the intervals should know, a sentence each.
    statistics
        What everything was made from; ``None`` when read from a file.
    """

    rows: int
    class_names: tuple[str, ...]
    metrics: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate]]
    support: dict[str, int]
    confusion: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    statistics: Statistics | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; what is undefined is ``None``."""
        return {
            "rows": self.rows,
            "class_names": list(self.class_names),
            "metrics": _plain(self.metrics),
            "per_class": {name: _plain(estimates) for name, estimates in self.per_class.items()},
            "support": dict(self.support),
            "confusion": self.confusion.tolist(),
            "notes": list(self.notes),
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
            notes=tuple(fields.get("notes", ())),
        )

    def plot(self, directory: str | Path) -> list[Path]:
        """Draw all pictures into a directory and return the files; see `trimtab.evaluation.plots`."""
        from trimtab.evaluation.plots import plot_evaluation

        Path(directory).mkdir(parents=True, exist_ok=True)
        return plot_evaluation(self, Path(directory))

    def to_table(self) -> str:
        """Return the figures as aligned text: the metrics, then the classes."""
        level = next(iter(self.metrics.values())).level
        lines = [["metric", "value", f"{100 * level:.4g}% interval", "method"]]
        lines += [[name, _number(e.value), _interval(e), e.method] for name, e in self.metrics.items()]
        names = self.class_names[:_LARGEST_TABLE]
        classes = [["class", "rows", *self.per_class[names[0]]]]
        for name in names:
            figures = [f"{_number(e.value)} {_interval(e)}".strip() for e in self.per_class[name].values()]
            classes.append([name, f"{self.support[name]:,}", *figures])
        rest = len(self.class_names) - len(names)
        more = f"\n... and {rest} more classes" if rest else ""
        return f"{aligned(lines)}\n\n{aligned(classes)}{more}"


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


def aligned(table: list[list[str]]) -> str:
    """Return lines of cells as text, the columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )
