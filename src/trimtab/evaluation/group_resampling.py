"""Counts of a test set as they might be had other groups been drawn: whole groups, with replacement.

Legend: ``N`` rows, ``K`` classes, ``G`` groups, ``R`` replicates.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray
from trimtab.evaluation.resampling import REPLICATES

_CHUNK = 4_000_000  # numbers drawn at a time


def group_replicates(
    groups: IntArray, labels: NDArray[np.integer], predictions: NDArray[np.integer], *, num_classes: int, seed: int
) -> ClassCounts:
    """Return the class counts of resampled groups: float64 [R, K] each.

    Parameters
    ----------
    groups
        int64 [N], from 0 up to G - 1.
    labels, predictions
        Integers [N] in 0 to K - 1.
    num_classes
        K.
    seed
        Of the draws.
    """
    num_groups = int(groups.max()) + 1
    hit = labels == predictions
    sides = [
        _per_group(groups[hit], labels[hit], num_groups, num_classes),
        _per_group(groups, labels, num_groups, num_classes),
        _per_group(groups, predictions, num_groups, num_classes),
    ]
    rng = np.random.default_rng(seed)
    drawn = [[times @ side for side in sides] for times in drawn_groups(rng, num_groups)]
    hits, actual, predicted = (np.concatenate(chunks) for chunks in zip(*drawn, strict=True))
    return ClassCounts(hits=hits, actual=actual, predicted=predicted)


def drawn_groups(rng: np.random.Generator, num_groups: int) -> Iterator[FloatArray]:
    """Yield, chunk by chunk, how often each group was drawn when as many as there are were drawn: float64 [r, G]."""
    chunk = max(1, min(REPLICATES, _CHUNK // num_groups))
    for start in range(0, REPLICATES, chunk):
        size = min(chunk, REPLICATES - start)
        drawn = rng.integers(num_groups, size=(size, num_groups)) + num_groups * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * num_groups)
        yield times.reshape(size, num_groups).astype(np.float64)


def _per_group(groups: IntArray, classes: NDArray[np.integer], num_groups: int, num_classes: int) -> FloatArray:
    cells = np.bincount(groups * num_classes + classes, minlength=num_groups * num_classes)
    return cells.reshape(num_groups, num_classes).astype(np.float64)
