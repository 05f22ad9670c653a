"""All pictures of an evaluation in one directory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from trimtab.evaluation.calibration import Reliability
from trimtab.evaluation.plots.classes import plot_classes
from trimtab.evaluation.plots.confusion import plot_confusion
from trimtab.evaluation.plots.ranking import plot_precision_recall, plot_roc
from trimtab.evaluation.plots.reliability import plot_reliability
from trimtab.evaluation.plots.scores import plot_scores
from trimtab.evaluation.result import Evaluation


def plot_evaluation(evaluation: Evaluation, directory: Path, *, before: Reliability | None = None) -> list[Path]:
    """Draw everything there is to draw, and return the files that were written.

    Without probabilities these are only classes.svg and confusion.svg, of rows with several labels only the former.

    Parameters
    ----------
    evaluation
        As `evaluate` returns it.
    directory
        Where the files go; those of the same names are replaced.
    before
        Confidences of the same rows before calibration, for the reliability diagram.
    """
    plots: dict[str, Callable[[Evaluation, Path], None]] = {"classes": plot_classes}
    if evaluation.confusion.ndim == 2:
        plots["confusion"] = plot_confusion
    if evaluation.statistics is not None and evaluation.statistics.scores is not None:
        plots |= {
            "roc": plot_roc,
            "precision_recall": plot_precision_recall,
            "reliability": partial(plot_reliability, before=before),
            "scores": plot_scores,
        }
    paths = [directory / f"{name}.svg" for name in plots]
    for plot, path in zip(plots.values(), paths, strict=True):
        plot(evaluation, path)
    return paths
