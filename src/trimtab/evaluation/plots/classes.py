"""One figure of each class as a bar with its interval, the weakest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.plots.drawing import ACCENT, INK, MUTED, NARROW, drawing, share_ticks, short
from trimtab.evaluation.result import Evaluation

_MOST = 30  # classes
_STARTS = (0.0, 0.8, 0.9, 0.96, 0.98, 0.992, 0.996)
_NAMES = {"f1": "F1", "roc_auc": "ROC AUC"}


def plot_classes(evaluation: Evaluation, path: Path, *, metric: str = "f1") -> None:
    """Draw a metric of each class as a bar with its interval; of many classes the 30 weakest.

    A class whose figure is undefined comes first and says so. When all intervals lie far above zero, the axis starts
    nearer to them, and the bars, whose length would mislead, are left out.

    Parameters
    ----------
    evaluation
        Whose classes are drawn.
    path
        The .svg file; replaced when it exists.
    metric
        A name in ``evaluation.per_class``, of values in [0, 1].

    Raises
    ------
    ValueError
        If no class has that metric.
    """
    known = list(next(iter(evaluation.per_class.values())))
    if metric not in known:
        raise ValueError(f"metric is {metric!r}; expected one of {', '.join(known)}; give one of these names.")
    estimates = {name: metrics[metric] for name, metrics in evaluation.per_class.items()}
    weakest = sorted(estimates, key=lambda name: -1.0 if (value := estimates[name].value) is None else value)[:_MOST]
    start = _start([estimates[name] for name in weakest])
    with drawing(path, width=NARROW, height=0.9 + 0.22 * max(len(weakest), 4)) as figure:
        axes = figure.add_subplot()
        for line, name in enumerate(weakest):
            _draw_class(axes, line, estimates[name], start)
        axes.set(xlim=(start, 1 + 0.01 * (1 - start)), ylim=(len(weakest) - 0.4, -0.6))
        axes.set_yticks(range(len(weakest)), [_name(name, evaluation.support[name]) for name in weakest])
        axes.set_xticks(**share_ticks(start))
        axes.grid(True, axis="x")
        axes.spines["left"].set_visible(False)
        left_out = f"; {len(weakest)} weakest of {len(estimates)} classes" if len(weakest) < len(estimates) else ""
        level = next(iter(estimates.values())).level
        axes.set_xlabel(f"{_NAMES.get(metric, metric.replace('_', ' '))} with {level:.0%} interval{left_out}")


def _start(estimates: Sequence[Estimate]) -> float:
    """Return where the axis starts: at zero, unless all intervals would then be squeezed at its other end."""
    lows = [estimate.low if estimate.low is not None else estimate.value for estimate in estimates]
    lowest = min((low for low in lows if low is not None), default=0.0)
    return max(start for start in _STARTS if start == 0 or start < lowest)


def _draw_class(axes: Any, line: int, estimate: Estimate, start: float) -> None:
    """Draw one class, its value as a number to the right; a bar only from zero, or its length would mislead."""
    if estimate.value is None:
        axes.text(start + 0.01 * (1 - start), line, estimate.method, color=MUTED, va="center", fontsize=8)
        return
    if start == 0:
        axes.barh(line, estimate.value, height=0.66, color=ACCENT, alpha=0.3)
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [line, line], color=ACCENT, linewidth=1.6)
    axes.plot([estimate.value], [line], "o", color=ACCENT, markersize=3.5, clip_on=False)
    number = f"{estimate.value:.4f}" if 0.9995 <= estimate.value < 1 else f"{estimate.value:.3f}"
    beside = {"xytext": (6, 0), "textcoords": "offset points", "annotation_clip": False}
    axes.annotate(number, (1, line), va="center", fontsize=8, color=INK, **beside)


def _name(name: str, rows: int) -> str:
    return short(name, 22) if rows else f"{short(name)} (no row)"
