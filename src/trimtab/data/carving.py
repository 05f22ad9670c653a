"""Rows chosen for a new part: the same share of each class, groups and copies kept whole, and something left behind.

Groups are the user's and never divided. Copies are what an audit found (`audits`): they are kept together where that
leaves every class in every part, and divided, as if they were none, where it does not.

Legend: ``N`` rows, ``G`` groups, ``K`` classes, ``U`` units: rows alone, or clusters of copies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.data.audits.clusters import in_clusters, join
from trimtab.data.dataset import Dataset
from trimtab.errors import InputError

Rows = NDArray[np.int64]
_TRIES = 20


def carve(
    dataset: Dataset,
    pool: Rows,
    fraction: float,
    rng: np.random.Generator,
    *,
    left: int,
    copies: Rows | None = None,
) -> Rows:
    """Return rows of ``pool`` for a new part, leaving at least ``left`` rows (or groups) of each class.

    Parameters
    ----------
    dataset
        Its labels and groups say what is chosen.
    pool
        Rows to choose from.
    fraction
        Of the rows of ``pool``.
    rng
        Drawn from in the same way whether there are no copies or none were looked for.
    left
        See above.
    copies
        [N] the number of the cluster of each row, equal for copies.

    Raises
    ------
    InputError
        If a class has too few rows (or groups).
    """
    labels = dataset.labels[pool]
    groups = None if dataset.groups is None else dataset.groups[pool]
    clusters = None if copies is None else np.unique(copies[pool], return_inverse=True)[1].astype(np.int64)
    if clusters is None or not in_clusters(clusters).any():
        chosen = None
    elif groups is None:
        chosen = _carve_copies(labels, clusters, dataset, fraction, rng, left)
    else:
        chosen = _carve_groups_of_copies(labels, groups, clusters, dataset, fraction, rng, left)
    if chosen is not None:
        return pool[chosen]
    if groups is None:
        return pool[_carve_rows(labels, dataset, fraction, rng, left)]
    return pool[_carve_groups(labels, groups, dataset, fraction, rng, left)]


def _carve_rows(
    labels: NDArray[np.int64], dataset: Dataset, fraction: float, rng: np.random.Generator, left: int
) -> Rows:
    """Take the fraction of each class at random."""
    take = _quota(labels, dataset, fraction, left)
    chosen = [rng.permutation(np.flatnonzero(labels == number))[:size] for number, size in enumerate(take) if size]
    return np.concatenate(chosen)


def _quota(labels: NDArray[np.int64], dataset: Dataset, fraction: float, left: int) -> Rows:
    """Return [K] rows to take of each class: at least one; the remainders go to where most is missing."""
    counts = np.bincount(labels, minlength=dataset.num_classes)
    _check_counts(counts, left + 1, dataset, "examples")
    exact = counts * fraction
    take = np.floor(exact).astype(np.int64)
    missing = round(exact.sum()) - take.sum()
    order = np.argsort(-(exact - take), kind="stable")
    take[order[: max(missing, 0)]] += 1
    return np.where(counts > 0, np.clip(take, 1, counts - left), 0)


def _carve_copies(
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64],
    dataset: Dataset,
    fraction: float,
    rng: np.random.Generator,
    left: int,
) -> Rows | None:
    """Take rows alone and whole clusters; ``None`` where that leaves a class out of a part.

    A cluster counts for the class of its first row. Copies of a class that is in too few units are divided.
    """
    take = _quota(labels, dataset, fraction, left)
    units_of_class = np.bincount(labels[np.unique(clusters, return_index=True)[1]], minlength=len(take))
    is_divided = (units_of_class <= left)[labels]
    clusters = np.where(is_divided, len(labels) + np.arange(len(labels)), clusters)
    clusters = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    first, sizes = np.unique(clusters, return_index=True, return_counts=True)[1:]  # [U]
    is_taken = np.zeros(len(sizes), dtype=bool)
    for number, wanted in enumerate(take):
        units = np.flatnonzero(labels[first] == number)
        is_taken[_fill(rng.permutation(units), sizes, int(wanted))] = True
    chosen = np.flatnonzero(is_taken[clusters])
    is_there = take > 0
    inside = np.bincount(labels[chosen], minlength=len(take))
    outside = np.bincount(labels[first[~is_taken]], minlength=len(take))
    return chosen if (inside[is_there] > 0).all() and (outside[is_there] >= left).all() else None


def _fill(units: Rows, sizes: Rows, wanted: int) -> list[int]:
    """Return units, in their order, that hold ``wanted`` rows or as nearly as whole ones can; at least the smallest."""
    chosen, missing = [], wanted
    for unit, size in zip(units.tolist(), sizes[units].tolist(), strict=True):
        if size <= missing:
            chosen.append(unit)
            missing -= size
        if not missing:
            break
    return chosen or units[np.argsort(sizes[units], kind="stable")][: min(wanted, 1)].tolist()


def _carve_groups_of_copies(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    clusters: NDArray[np.int64],
    dataset: Dataset,
    fraction: float,
    rng: np.random.Generator,
    left: int,
) -> Rows | None:
    """Take whole groups, joined where they share copies; ``None`` where these are too few to divide."""
    try:
        return _carve_groups(labels, join(groups, clusters), dataset, fraction, rng, left)
    except InputError:
        return None


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
