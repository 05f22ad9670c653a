"""What each column of a table tells about the class all by itself: probabilities from a count of values.

Numbers are put into bins of equal size, rare categories together, missing values into a bin of their own; the
probability of a class is its share in the bin among the other folds' rows.

Legend: ``N`` rows, ``K`` classes, ``B`` bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Table
from trimtab.generalization.quick_model import FOLDS, fold_numbers

Rows = NDArray[np.int64]
_BINS = 64
_ROWS_IN_BIN = 10  # at least, where there are that many


def single_column_probabilities(
    table: Table, labels: Rows, num_classes: int, *, seed: int = 0, units: Rows | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return for each column [N, K] the probabilities that it gives, out of fold.

    Parameters
    ----------
    table
        ``N`` rows.
    labels
        [N] class numbers.
    num_classes
        ``K``.
    seed, units
        As of `out_of_fold`.
    """
    number = fold_numbers(labels, FOLDS, seed=seed, units=units)
    return {name: _probabilities(bins(values), labels, num_classes, number) for name, values in table.columns.items()}


def bins(values: NDArray[Any]) -> Rows:
    """Return [N] the bin of each value, from 0 on."""
    if values.dtype.kind != "f":
        distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        rank = np.empty(len(distinct), dtype=np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.arange(len(distinct))
        return np.minimum(rank[codes], _BINS - 1)
    present = values[~np.isnan(values)]
    places = np.linspace(0, 1, min(_BINS, max(2, len(present) // _ROWS_IN_BIN)))[1:-1]
    edges = np.unique(np.quantile(present, places)) if len(present) else np.empty(0)
    found = np.searchsorted(edges, values, side="right")
    found[np.isnan(values)] = len(edges) + 1
    return found.astype(np.int64)


def _probabilities(codes: Rows, labels: Rows, num_classes: int, number: Rows) -> NDArray[np.float64]:
    """Return [N, K]: the classes' shares in a row's bin, one row of the overall shares added, without its fold."""
    num_bins = int(codes.max()) + 1
    cell = (number * num_bins + codes) * num_classes + labels
    counts = np.bincount(cell, minlength=FOLDS * num_bins * num_classes).reshape(FOLDS, num_bins, num_classes)
    others = counts.sum(axis=0) - counts  # [folds, B, K]
    shares = others.sum(axis=1, keepdims=True) / np.maximum(others.sum(axis=(1, 2), keepdims=True), 1)
    smoothed = (others + shares) / (others.sum(axis=2, keepdims=True) + 1)
    found: NDArray[np.float64] = smoothed[number, codes]
    return found
