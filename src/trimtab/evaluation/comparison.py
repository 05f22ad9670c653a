"""What a comparison of models found, as objects: for files, as tables for a terminal, and in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from trimtab.evaluation.result import aligned

LOWER_IS_BETTER = ("log_loss", "brier_score")
_SHARES = ("accuracy", "balanced_accuracy")  # said in points of a percentage


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of model b minus that of model a, on the same rows.

    Attributes
    ----------
    metric
        Its name.
    value_a, value_b
        Of both models; NaN where undefined.
    difference
        b minus a.
    low, high
        Its interval; NaN without one.
    p_value
        Of the hypothesis that both are equal; NaN where there is no test.
    noise_floor
        The smallest difference that would be significant at this level with the disagreement that was seen: smaller
        ones these rows cannot show. NaN where there is no test.
    method
        Of interval and test, in words.
    level
        Of the interval.
    """

    metric: str
    value_a: float
    value_b: float
    difference: float
    low: float = math.nan
    high: float = math.nan
    p_value: float
    noise_floor: float = math.nan
    method: str
    level: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is shown at this level."""
        return self.p_value <= 1 - self.level

    @property
    def is_better(self) -> bool:
        """Whether b has the better value."""
        return (self.difference < 0) == (self.metric in LOWER_IS_BETTER) and self.difference != 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; what is undefined is ``None``."""
        return {name: None if value != value else value for name, value in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class PairedEvaluation:
    """Model b against model a on the same rows.

    Attributes
    ----------
    names
        Of a and b.
    rows
        How many.
    groups
        How many groups they form; ``None`` when rows are independent.
    metrics
        Name -> difference; accuracy comes first.
    """

    names: tuple[str, str]
    rows: int
    groups: int | None
    metrics: dict[str, Difference]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        metrics = {name: difference.to_dict() for name, difference in self.metrics.items()}
        return {"names": list(self.names), "rows": self.rows, "groups": self.groups, "metrics": metrics}

    def to_table(self) -> str:
        """Return the differences as aligned text."""
        level = next(iter(self.metrics.values())).level
        lines = [["metric", *self.names, "difference", f"{level:.4g} interval", "p", "noise floor", "method"]]
        lines[0][4] = f"{100 * level:.4g}% interval"
        for each in self.metrics.values():
            lines.append(
                [
                    each.metric,
                    _number(each.value_a),
                    _number(each.value_b),
                    _signed(each.difference),
                    "" if math.isnan(each.low) else f"[{_signed(each.low)}, {_signed(each.high)}]",
                    _p(each.p_value),
                    _number(each.noise_floor),
                    each.method,
                ]
            )
        return aligned(lines)

    def verdict(self, p_value: float | None = None) -> str:
        """Return in a sentence which model is better, by how much, how sure, and what these rows could show.

        Parameters
        ----------
        p_value
            Of the accuracy, adjusted for the number of comparisons; by default as tested.
        """
        found = self.metrics["accuracy"]
        p, (a, b) = found.p_value if p_value is None else p_value, self.names
        better, gain, low, high = b, found.difference, found.low, found.high
        if gain < 0:
            better, gain, low, high = a, -gain, -found.high, -found.low
        amount = f"{100 * gain:.2f} points of accuracy ({100 * low:.2f} to {100 * high:.2f}), p = {_p(p)}"
        about = f"{self.rows:,} rows" if self.groups is None else f"{self.rows:,} rows in {self.groups:,} groups"
        floor = f"on these {about} a difference below {100 * found.noise_floor:.2f} points could not be shown"
        if p <= 1 - found.level:
            return f"{better} is better by {amount}; {floor}."
        if gain == 0:
            return f"No difference in accuracy was seen (p = {_p(p)}); {floor}."
        return f"No difference in accuracy is shown: {better} has {amount}; {floor}."


@dataclass(frozen=True, kw_only=True)
class ManyCompared:
    """All pairs of several models on the same rows.

    Attributes
    ----------
    pairs
        Each pair once.
    adjusted
        Metric -> the pairs' p-values, adjusted by Holm for the number of pairs.
    """

    pairs: tuple[PairedEvaluation, ...]
    adjusted: dict[str, tuple[float, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        adjusted = {name: [None if p != p else p for p in values] for name, values in self.adjusted.items()}
        return {"pairs": [pair.to_dict() for pair in self.pairs], "holm_p_values": adjusted}

    def to_table(self, metric: str = "accuracy") -> str:
        """Return the pairs' differences in one metric as aligned text."""
        level = self.pairs[0].metrics[metric].level
        head = ["a", "b", f"{metric} of a", "of b", "b - a", f"{100 * level:.4g}% interval", "p", "p (Holm)", "shown"]
        lines = [head]
        for pair, p in zip(self.pairs, self.adjusted[metric], strict=True):
            each = pair.metrics[metric]
            lines.append(
                [
                    *pair.names,
                    _number(each.value_a),
                    _number(each.value_b),
                    _signed(each.difference),
                    "" if math.isnan(each.low) else f"[{_signed(each.low)}, {_signed(each.high)}]",
                    _p(each.p_value),
                    _p(p),
                    "yes" if p <= 1 - level else "no",
                ]
            )
        return aligned(lines)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.4f}"


def _p(p_value: float) -> str:
    if math.isnan(p_value):
        return "-"
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.1g}"
