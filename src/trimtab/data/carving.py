"""Rows chosen for a new part: the same share of each class, groups kept whole, and something left behind.

Legend: ``G`` groups, ``K`` classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.data.dataset import Dataset
from trimtab.errors import InputError

Rows = NDArray[np.int64]
_TRIES = 20


def carve(dataset: Dataset, pool: Rows, fraction: float, rng: np.random.Generator, *, left: int) -> Rows:
    """Return rows of ``pool`` for a new part, leaving at least ``left`` rows (or groups) of each class."""
    labels = dataset.labels[pool]
    if dataset.groups is None:
        return pool[_carve_rows(labels, dataset, fraction, rng, left)]
    return pool[_carve_groups(labels, dataset.groups[pool], dataset, fraction, rng, left)]


def _carve_rows(
    labels: NDArray[np.int64], dataset: Dataset, fraction: float, rng: np.random.Generator, left: int
) -> Rows:
    """Take the fraction of each class, at least one row; the remainders go to where most is missing."""
    counts = np.bincount(labels, minlength=dataset.num_classes)
    _check_counts(counts, left + 1, dataset, "examples")
    exact = counts * fraction
    take = np.floor(exact).astype(np.int64)
    missing = round(exact.sum()) - take.sum()
    order = np.argsort(-(exact - take), kind="stable")
    take[order[: max(missing, 0)]] += 1
    take = np.clip(take, 1, counts - left)
    chosen = [
        rng.permutation(np.flatnonzero(labels == number))[:size] for number, size in enumerate(take) if counts[number]
    ]
    return np.concatenate(chosen)


def _carve_groups(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    dataset: Dataset,
    fraction: float,
    rng: np.random.Generator,
    left: int,
) -> Rows:
    """Take whole groups so that the classes' shares come out right; try other orders until all classes are there."""
    codes = np.unique(groups, return_inverse=True)[1]
    table = np.zeros((int(codes.max()) + 1, dataset.num_classes))  # [G, K] rows
    np.add.at(table, (codes, labels), 1)
    _check_counts((table > 0).sum(axis=0), left + 1, dataset, "groups")
    for _ in range(_TRIES):
        is_taken = _assign_groups(table, fraction, rng.permutation(len(table)))
        enough_left = (table[~is_taken] > 0).sum(axis=0) >= left
        if enough_left.all() and (table[is_taken].sum(axis=0) > 0).all():
            return np.flatnonzero(is_taken[codes])
    raise InputError(
        f"the {len(table)} groups of {dataset.name} are too few or too different to divide",
        "every class in training, validation and test",
        "add groups, choose another column for --group, or leave it out",
    )


def _assign_groups(table: NDArray[np.float64], fraction: float, order: Rows) -> NDArray[np.bool_]:
    """Give each group, large ones first, to the side where it brings the class counts closest to their shares."""
    order = order[np.argsort(-table[order].sum(axis=1), kind="stable")]
    shares = np.array([1 - fraction, fraction])[:, None] * table.sum(axis=0)  # [2, K] rows wanted
    filled = np.zeros_like(shares)
    is_taken = np.zeros(len(table), dtype=bool)
    for group in order:
        # Growth of the chi-square distance to the shares.
        growth = ((2 * (filled - shares) + table[group]) * table[group] / shares).sum(axis=1)
        side = int(growth.argmin())
        filled[side] += table[group]
        is_taken[group] = side == 1
    return is_taken


def _check_counts(counts: NDArray[np.integer], needed: int, dataset: Dataset, what: str) -> None:
    few = [f"'{name}' ({count})" for name, count in zip(dataset.class_names, counts, strict=True) if count < needed]
    if few:
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        raise InputError(
            f"{dataset.name} has too few {what} of {', '.join(few[:5])}{more} to divide",
            f"at least {needed} of each class",
            "add some, or merge or remove these classes",
        )
