"""ROC and precision-recall curves, the worst with its band; of many classes the worst are colored and named.

The numbers come from `trimtab.evaluation.plots.curves`. When all curves hug the ideal corner, it is enlarged inside.

Shapes: ``P`` points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.evaluation.counts import FloatArray
from trimtab.evaluation.plots.curves import Band, Curve, class_curves, precision_band, roc_band
from trimtab.evaluation.plots.drawing import MUTED, NARROW, PALETTE, PAPER, drawing, short, show_shares
from trimtab.evaluation.plots.given import statistics_of
from trimtab.evaluation.result import Evaluation

_HEIGHT = 4.9
_CHANCE = {"linewidth": 1.1, "linestyle": (0, (4, 3))}
_BACKGROUND = {"color": MUTED, "alpha": 0.3, "linewidth": 0.7}
_ENLARGED = (0.01, 0.02, 0.05, 0.1, 0.2)  # sides of the corner that is shown larger


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A curve on the page: points float64 [P], how it is drawn, the band around it if any."""

    x: FloatArray
    y: FloatArray
    style: dict[str, Any]
    band: Band | None


def plot_roc(evaluation: Evaluation, path: Path) -> None:
    """Draw the ROC curve of each class against the rest, the area beside its name; of two classes that of the second.

    The band around the worst is vertical and holds pointwise with 95%: at each false positive rate the share found,
    by resampled (score range, label) cells; see `trimtab.evaluation.plots.curves.roc_band`.

    Parameters
    ----------
    evaluation
        Of probabilities, as `evaluate` returns it.
    path
        The .svg file; replaced when it exists.

    Raises
    ------
    ValueError
        If the evaluation holds no probabilities.
    """
    curves = class_curves(statistics_of(evaluation))
    styles = _styles(curves, evaluation, "roc_auc")
    lines = [
        _Line(
            x=curves[k].taken_share,
            y=curves[k].found_share,
            style=style,
            band=roc_band(curves[k]) if place == len(styles) - 1 else None,
        )
        for place, (k, style) in enumerate(styles)
    ]
    with drawing(path, width=NARROW, height=_HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=MUTED, **_CHANCE)
        _draw_lines(axes, lines)
        show_shares(axes, x="others taken for the class", y="of the class found")
        _enlarge_corner(axes, lines, best=0.0, place=(0.32, 0.2, 0.6, 0.6))
        _name_lines(figure, lines, "area under the curve")


def plot_precision_recall(evaluation: Evaluation, path: Path) -> None:
    """Draw the precision-recall curve of each class, the average precision beside its name.

    Named curves are drawn as steps, so that the area under one is its average precision. A dashed line in the color
    of a class is its share of all rows: the precision of answers by chance. The band around the worst is vertical and
    holds pointwise with 95%: at each recall the precision, made as that of `plot_roc`, whose parameters these are.
    """
    curves = class_curves(statistics_of(evaluation))
    styles = _styles(curves, evaluation, "average_precision")
    lines = []
    for place, (k, style) in enumerate(styles):
        curve = curves[k]
        rising = np.flatnonzero(np.diff(curve.found, prepend=0.0))
        x, y = curve.found_share[rising], curve.precision[rising]
        band = precision_band(curve) if place == len(styles) - 1 else None
        steps = {**style, "drawstyle": "steps-pre"} if "label" in style else style
        lines.append(_Line(x=np.append(0.0, x), y=np.append(y[0], y), style=steps, band=band))
    with drawing(path, width=NARROW, height=_HEIGHT) as figure:
        axes = figure.add_subplot()
        for k, style in styles:
            if "label" in style:
                axes.axhline(curves[k].prevalence, color=style["color"], **_CHANCE)
        _draw_lines(axes, lines)
        show_shares(axes, x="of the class found", y="right among those named")
        _enlarge_corner(axes, lines, best=1.0, place=(0.15, 0.2, 0.6, 0.6))
        _name_lines(figure, lines, "average precision")


def _styles(curves: Mapping[int, Curve], evaluation: Evaluation, metric: str) -> list[tuple[int, dict[str, Any]]]:
    """Return how to draw each class, the best first, so that the worst lie on top."""
    names = evaluation.class_names
    areas = {k: evaluation.per_class[names[k]][metric].value or 0.0 for k in curves}
    worst_first = sorted(areas, key=lambda k: areas[k])
    styles: list[tuple[int, dict[str, Any]]] = [(k, _BACKGROUND) for k in worst_first]
    for place, (k, color) in enumerate(zip(worst_first, PALETTE, strict=False)):
        styles[place] = (k, {"color": color, "label": f"{short(names[k])}: {_area(areas[k])}"})
    return styles[::-1]


def _draw_lines(axes: Any, lines: Sequence[_Line]) -> None:
    for line in lines:
        axes.plot(line.x, line.y, **line.style)
        if line.band is not None:
            color = line.style["color"]
            axes.fill_between(line.band.at, line.band.low, line.band.high, color=color, alpha=0.15, linewidth=0)


def _enlarge_corner(axes: Any, lines: Sequence[_Line], *, best: float, place: tuple[float, ...]) -> None:
    """Show the corner (best, 1) again, larger, when that is where all named curves have their bend."""
    bends = [np.maximum(abs(line.x - best), 1 - line.y).min() for line in lines if "label" in line.style]
    bend = max(bends, default=0.0)
    side = next((side for side in _ENLARGED if 4 * bend <= side), 0.0)
    if bend == 0 or side == 0:
        return
    inset = axes.inset_axes(place, facecolor=PAPER)
    _draw_lines(inset, lines)
    left = best * (1 - side)
    inset.set(xlim=(left, left + side), ylim=(1 - side, 1 + 0.02 * side))
    for set_ticks, start in ((inset.set_xticks, left), (inset.set_yticks, 1 - side)):
        ticks = [start, start + side / 2, start + side]
        set_ticks(ticks, [f"{100 * tick:.4g}%" for tick in ticks], fontsize=7)
    inset.grid(True)
    inset.spines[:].set_visible(True)
    inset.set_title("the corner, enlarged", fontsize=8, color=MUTED)


def _name_lines(figure: Any, lines: Sequence[_Line], title: str) -> None:
    if not lines:
        figure.axes[0].text(0.5, 0.4, "no class has rows on both sides", ha="center", va="center", color=MUTED)
        return
    handles = [handle for handle in figure.axes[0].get_lines() if not handle.get_label().startswith("_")]
    lead = title if len(lines) <= len(PALETTE) else f"lowest {title}, of {len(lines)} classes"
    figure.legend(
        handles=handles[::-1],
        loc="outside upper left",
        ncols=2,
        title=lead,
        alignment="left",
        fontsize=8,
        title_fontsize=8,
    )


def _area(area: float) -> str:
    return f"{area:.5f}" if 0.9995 <= area < 1 else f"{area:.3f}"
