"""How much each row moves each metric: what errors, covariances and comparisons of the same rows are made of.

The influence of a row is its term in the linear part of a metric; over independent rows the sum of squares is the
variance, and the difference of two models' influences belongs to the difference of their metrics.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.count_metrics import COUNT_METRICS, slope
from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray, count_cells
from trimtab.evaluation.ranking import Ranks
from trimtab.evaluation.score_metrics import row_losses, row_squares

Influence = tuple[float, FloatArray]  # the metric, NaN where it is undefined, and of each row [N]


def count_influences(
    labels: IntArray, predictions: NDArray[np.integer], names: tuple[str, ...], *, num_classes: int
) -> dict[str, Influence]:
    """Return the value of some of `COUNT_METRICS`, and the influence of each row.

    Parameters
    ----------
    labels, predictions
        Integers [N] in 0 to K - 1.
    names
        Of the metrics.
    num_classes
        K.
    """
    confusion = count_cells(labels, predictions, num_classes=num_classes)
    counts, rows = ClassCounts.of(confusion), len(labels)
    found = {}
    for name in names:
        slopes = slope(COUNT_METRICS[name], counts)
        slopes = (slopes - float((slopes * confusion).sum()) / rows) / rows
        found[name] = float(COUNT_METRICS[name](counts)), slopes[labels, predictions]
    return found


def score_influences(labels: IntArray, probabilities: NDArray[np.floating]) -> dict[str, Influence]:
    """Return the values and influences of the macro areas, log loss and Brier score, for float [N, K]."""
    ranks = [Ranks.of(labels == k, probabilities[:, k]) for k in range(probabilities.shape[1])]
    of_auc = ranks[1:] if len(ranks) == 2 else ranks  # of two classes the first has the same area
    return {
        "roc_auc_macro": _mean([each.roc_auc() for each in of_auc]),
        "average_precision_macro": _mean([each.average_precision() for each in ranks]),
        "log_loss": _of_mean(row_losses(labels, probabilities)),
        "brier_score": _of_mean(row_squares(labels, probabilities)),
    }


def _mean(found: list[Influence]) -> Influence:
    """Return the mean of the metrics that are defined."""
    defined = [(value, influence) for value, influence in found if not math.isnan(value)]
    if not defined:
        return math.nan, found[0][1]
    total = np.sum([influence for _, influence in defined], axis=0) / len(defined)
    return float(np.mean([value for value, _ in defined])), total


def _of_mean(losses: FloatArray) -> Influence:
    mean = float(np.sort(losses).mean())
    return mean, (losses - mean) / math.sqrt(max(len(losses) * (len(losses) - 1), 1))
