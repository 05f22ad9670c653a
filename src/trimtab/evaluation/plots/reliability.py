"""Whether probabilities can be taken at their word: how often answers are right against how sure they were.

The numbers come from `trimtab.evaluation.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.evaluation.calibration import Reliability, ReliabilityCurve, reliability_curve
from trimtab.evaluation.plots.drawing import ACCENT, MUTED, NARROW, ORANGE, drawing, short, show_shares
from trimtab.evaluation.plots.given import reliability_in
from trimtab.evaluation.result import Evaluation

_LEVEL = 0.95
_WIDEST = 0.5  # band that is drawn
_STARTS = (0.0, 0.5, 0.8, 0.9, 0.96, 0.99)  # of the axes
_LEFT_OUT = 0.005  # share of rows that may lie before the start


def plot_reliability(evaluation: Evaluation, path: Path, *, before: Reliability | None = None) -> None:
    """Draw the smoothed share of right answers against the confidence, and below it how confidences are spread.

    Of two classes: the share of the second class against its probability. Of more: the share of right answers
    against the probability of the answer. Perfect probabilities lie on the dashed diagonal. The bands hold pointwise
    with 95% (Wilson's interval of the rows near by); where these are too few to say anything, nothing is drawn. A dot
    is all rows together. When nearly all confidences are high, the axes start there.

    Parameters
    ----------
    evaluation
        Of probabilities, as `evaluate` returns it.
    path
        The .svg file; replaced when it exists.
    before
        Of the same rows before their temperature was changed; drawn as a second curve.

    Raises
    ------
    ValueError
        If the evaluation holds no probabilities.
    """
    parts = [("as delivered", ACCENT, reliability_in(evaluation))]
    if before is not None:
        parts = [("before calibration", ORANGE, before), ("after, as delivered", ACCENT, reliability_in(evaluation))]
    bins = [reliability for _, _, reliability in parts]
    curves = [_known(reliability_curve(reliability, level=_LEVEL)) for reliability in bins]
    start = min(_start(reliability, curve) for reliability, curve in zip(bins, curves, strict=True))
    with drawing(path, width=NARROW, height=5.2) as figure:
        axes, spread = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
        for (name, color, reliability), curve in zip(parts, curves, strict=True):
            _draw_curve(axes, spread, curve, color, name)
            axes.plot(*_center(reliability), "o", color=color, markersize=5)
        _name_axes(axes, spread, evaluation.class_names, start)
        if before is not None:
            figure.legend(loc="outside upper left", ncols=2, fontsize=8)


def _draw_curve(axes: Any, spread: Any, curve: ReliabilityCurve, color: str, name: str) -> None:
    axes.plot(curve.confidence, curve.accuracy, color=color, label=name)
    axes.fill_between(curve.confidence, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
    spread.fill_between(curve.confidence, curve.density, color=color, alpha=0.25, linewidth=0)
    spread.plot(curve.confidence, curve.density, color=color, linewidth=1.2)


def _known(curve: ReliabilityCurve) -> ReliabilityCurve:
    """Return the curve without the places where its band is wide open."""
    is_known = curve.high - curve.low < _WIDEST
    accuracy, low, high = (np.where(is_known, side, np.nan) for side in (curve.accuracy, curve.low, curve.high))
    return replace(curve, accuracy=accuracy, low=low, high=high)


def _start(reliability: Reliability, curve: ReliabilityCurve) -> float:
    """Return where the axes may start so that nearly all rows, and their band, are in view."""
    before = np.concatenate([[0], np.cumsum(reliability.counts)]) / reliability.rows
    edges = np.linspace(0, 1, len(before))
    for start in _STARTS[:0:-1]:
        lows = curve.low[(curve.confidence >= start) & ~np.isnan(curve.low)]
        if np.interp(start, edges, before) <= _LEFT_OUT and (lows >= start).all() and _center(reliability)[1] > start:
            return start
    return 0.0


def _center(reliability: Reliability) -> tuple[float, float]:
    """Return mean confidence and share of right rows."""
    weights = reliability.counts / reliability.rows
    return float(weights @ reliability.mean_confidences), float(reliability.hits.sum() / reliability.rows)


def _name_axes(axes: Any, spread: Any, class_names: Sequence[str], start: float) -> None:
    is_binary = len(class_names) == 2
    show_shares(
        axes, x="", y=f"share that is {short(class_names[1])}" if is_binary else "share of right answers", start=start
    )
    axes.tick_params(labelbottom=False)
    spread.set_xlabel(f"probability of {short(class_names[1])}" if is_binary else "probability of the answer")
    spread.set_ylabel("rows")
    spread.set_yticks([])
    spread.set_ylim(bottom=0)
