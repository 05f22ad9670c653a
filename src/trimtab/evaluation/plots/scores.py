"""How scores are spread: positives against negatives, or right answers against wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trimtab.evaluation.plots.drawing import ACCENT, NARROW, ORANGE, drawing, share_ticks, short
from trimtab.evaluation.plots.given import reliability_in
from trimtab.evaluation.result import Evaluation

_FEW, _FEW_BARS, _BARS = 200, 16, 32  # with fewer rows than the first, bars are wider


def plot_scores(evaluation: Evaluation, path: Path) -> None:
    """Draw how probabilities are spread, each group of rows for itself, so that a rare one stays visible.

    Of two classes: the probability of the second class, among its rows and among the others. Of more: the
    probability of the answer, among right and among wrong answers.

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
    names, label = ["right answers", "wrong answers"], "probability of the answer"
    if len(evaluation.class_names) == 2:
        names = [short(name) for name in reversed(evaluation.class_names)]
        label = f"probability of {names[0]}"
    bins = reliability_in(evaluation)
    rarer = min(bins.hits.sum(), bins.rows - bins.hits.sum())
    bins = bins.coarsened(_FEW_BARS if rarer < _FEW else _BARS)
    edges = np.linspace(0, 1, len(bins.counts) + 1)
    with drawing(path, width=NARROW, height=3.3) as figure:
        axes = figure.add_subplot()
        for counts, name, color in zip((bins.hits, bins.counts - bins.hits), names, (ACCENT, ORANGE), strict=True):
            shares = counts / max(counts.sum(), 1)
            axes.stairs(shares, edges, fill=True, color=color, alpha=0.25)
            axes.stairs(shares, edges, color=color, linewidth=1.4, label=f"{name}: {counts.sum():,}")
        axes.set(xlim=(-0.01, 1.01), xlabel=label, ylabel="share of its rows")
        axes.set_ylim(bottom=0)
        axes.set_xticks(**share_ticks())
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
        axes.grid(True, axis="y")
        figure.legend(loc="outside upper left", ncols=2, fontsize=8)
