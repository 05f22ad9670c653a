"""Size, time and accuracy of models against each other, with the front that no other model beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.plots.drawing import ACCENT, INK, MUTED, ORANGE, WIDE, drawing, short


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model: what it costs and how good it is."""

    name: str
    megabytes: float
    milliseconds: float
    accuracy: Estimate
    is_on_front: bool
    is_chosen: bool


def plot_tradeoff(
    points: Sequence[Point], path: Path, *, megabytes: float | None = None, milliseconds: float | None = None
) -> None:
    """Draw accuracy over size and over time, side by side; limits as lines, the chosen model in color.

    Parameters
    ----------
    points
        The models.
    path
        The .svg file; replaced when it exists.
    megabytes, milliseconds
        Limits, if there are any.

    Raises
    ------
    ValueError
        If there are no points.
    """
    if not points:
        raise ValueError("there are no models to draw; expected one or more; draw nothing.")
    with drawing(path, width=WIDE, height=3.4) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        _draw(left, points, [point.megabytes for point in points], "megabytes of the file", megabytes)
        _draw(
            right, points, [point.milliseconds for point in points], "milliseconds for one example (p95)", milliseconds
        )
        left.set_ylabel("accuracy on validation rows (%)")


def _draw(axes: Any, points: Sequence[Point], costs: Sequence[float], label: str, limit: float | None) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    named = 0
    for cost, point in sorted(zip(costs, points, strict=True), key=lambda pair: pair[0]):
        color = ORANGE if point.is_chosen else ACCENT if point.is_on_front else MUTED
        estimate = point.accuracy
        if estimate.low is not None and estimate.high is not None:
            axes.plot([cost, cost], [100 * estimate.low, 100 * estimate.high], color=color, linewidth=1)
        axes.plot([cost], [100 * (estimate.value or 0.0)], "o", color=color, markersize=6 if point.is_chosen else 4)
        if point.is_chosen or point.is_on_front:
            place, offset = (cost, 100 * (estimate.value or 0.0)), (5, 4 + 9 * (named % 3))  # neighbors apart
            axes.annotate(short(point.name, 26), place, xytext=offset, textcoords="offset points", color=color, size=7)
            named += 1
    if limit is not None:
        axes.axvline(limit, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(0.85 * min(costs), 1.35 * max(costs))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)
    axes.grid(True)
