"""Rows joined by pairs into clusters: a row belongs with whatever it is joined with, directly or over others.

Legend: ``N`` rows, ``P`` pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def cluster_rows(pairs: Rows, rows: int) -> Rows:
    """Return [N] the number of the cluster of each row, which is its lowest row; a row alone has its own number.

    Parameters
    ----------
    pairs
        int64 [P, 2], rows that belong together, in any order.
    rows
        How many there are, ``N``.
    """
    parents = np.arange(rows, dtype=np.int64)
    first, second = pairs.reshape(-1, 2).T
    while True:
        ends = parents[first], parents[second]
        if (ends[0] == ends[1]).all():
            return parents
        np.minimum.at(parents, np.maximum(*ends), np.minimum(*ends))  # a parent is never above its child: no circles
        while ((above := parents[parents]) != parents).any():
            parents = above


def join(*numberings: NDArray[np.int64]) -> Rows:
    """Return the clusters [N] of rows that are together in at least one of the numberings [N]."""
    pairs = []
    for numbers in numberings:
        _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        pairs.append(np.stack([first[inverse], np.arange(len(numbers))], axis=1))
    return cluster_rows(np.concatenate(pairs).astype(np.int64), len(numberings[0]))


def members(numbers: Rows) -> list[Rows]:
    """Return the rows of each cluster of two or more, increasing, in the order of their lowest rows."""
    shared = np.flatnonzero(in_clusters(numbers))
    if not len(shared):
        return []
    shared = shared[np.argsort(numbers[shared], kind="stable")]
    return np.split(shared, np.flatnonzero(np.diff(numbers[shared])) + 1)


def in_clusters(numbers: Rows) -> NDArray[np.bool_]:
    """Return [N] whether the row shares its cluster with another."""
    shared: NDArray[np.bool_] = np.bincount(numbers, minlength=len(numbers))[numbers] > 1
    return shared


def straddling(numbers: Rows, is_inside: NDArray[np.bool_], is_outside: NDArray[np.bool_]) -> Rows:
    """Return the rows inside a part whose cluster has rows outside of it as well."""
    has_outside = np.zeros(len(numbers), dtype=bool)
    has_outside[numbers[is_outside]] = True
    return np.flatnonzero(is_inside & has_outside[numbers]).astype(np.int64)


def disagreeing(numbers: Rows, labels: NDArray[np.int64]) -> list[Rows]:
    """Return the clusters, as `members` does, whose rows have more than one label."""
    return [rows for rows in members(numbers) if len(np.unique(labels[rows])) > 1]
