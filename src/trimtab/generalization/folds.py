"""Which rows each fold of a cross-validation trains on, which choose its weights, and which it is tested on.

scikit-learn's splitters say which rows are tested. What is trained on the others is not told the tested ones in any
way: the rows that choose the weights are taken from the fold's own training rows.

Legend: ``N`` rows of the dataset, ``P`` rows that are cross-validated.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset
from trimtab.data.audits.clusters import join
from trimtab.errors import InputError, nearest

KINDS = ("stratified", "grouped", "stratified-grouped", "time", "leave-one-group-out")
_GROUPED = ("grouped", "stratified-grouped", "leave-one-group-out")
_REPEATABLE = ("stratified", "grouped", "stratified-grouped")
DEFAULT_FOLDS = 5
_SELECTION = 7  # sets the choice of rows that choose the weights apart from other random numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """One training of a cross-validation. All are row numbers of the whole dataset, int64, increasing.

    Attributes
    ----------
    number, repeat
        From 1. Numbers go on over the repeats.
    train
        What the fold may know.
    selection
        Those of ``train`` that choose the weights and are not trained on.
    test
        What it is tested on; no row of ``train``.
    """

    number: int
    repeat: int
    train: NDArray[np.int64]
    selection: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def learned(self) -> NDArray[np.int64]:
        """The rows that are trained on, and that preprocessing is fitted on."""
        return np.setdiff1d(self.train, self.selection, assume_unique=True)


@dataclass(frozen=True, kw_only=True)
class Folding:
    """How rows are divided into folds.

    Attributes
    ----------
    kind
        One of `KINDS`.
    folds
        How many in each repeat; leaving one group out has as many as there are groups.
    repeats
        How often all rows are divided anew.
    """

    kind: str = "stratified"
    folds: int = DEFAULT_FOLDS
    repeats: int = 1


def decide_folding(*, kind: str | None, folds: int | None, repeats: int, has_groups: bool, has_times: bool) -> Folding:
    """Return the folding that a user asked for; without a kind, the one that fits the columns that were named.

    Raises
    ------
    InputError
        If what was asked for does not go together.
    """
    usual = "time" if has_times else "stratified-grouped" if has_groups else "stratified"
    kind = kind or usual
    if kind not in KINDS:
        raise InputError(f"kind is '{kind}'", f"one of {', '.join(KINDS)}", f"{nearest(kind, KINDS)}pick one")
    _check_columns(kind, has_groups=has_groups, has_times=has_times)
    if kind == "leave-one-group-out" and folds is not None:
        raise InputError(
            f"folds is {folds} and kind is '{kind}'", "as many folds as there are groups", "leave --folds out"
        )
    if folds is not None and folds < 2:
        raise InputError(f"folds is {folds}", "2 or more", "leave --folds out for 5")
    if repeats < 1 or (repeats > 1 and kind not in _REPEATABLE):
        expected = "1, since every repeat would have the same folds" if repeats > 1 else "1 or more"
        raise InputError(f"repeats is {repeats} and kind is '{kind}'", expected, "leave --repeats out")
    return Folding(kind=kind, folds=DEFAULT_FOLDS if folds is None else folds, repeats=repeats)


def _check_columns(kind: str, *, has_groups: bool, has_times: bool) -> None:
    needs = {"groups": kind in _GROUPED, "times": kind == "time"}
    if needs["groups"] and not has_groups:
        raise InputError(f"kind is '{kind}' and there are no groups", "the column of groups", "give --group COLUMN")
    if needs["times"] and not has_times:
        raise InputError("kind is 'time' and there are no times", "the column that says when", "give --time COLUMN")
    if has_groups and not needs["groups"]:
        raise InputError(
            f"kind is '{kind}' and there is a column of groups, which it would divide",
            f"one of {', '.join(_GROUPED)}",
            "change --kind, or leave --group out",
        )
    if has_times and not needs["times"]:
        raise InputError(f"kind is '{kind}' and there is a column of times", "kind time", "leave --time or --kind out")


def make_folds(
    dataset: Dataset,
    pool: NDArray[np.int64],
    folding: Folding,
    *,
    selection_fraction: float,
    seed: int,
    copies: NDArray[np.int64] | None = None,
) -> list[Fold]:
    """Return the folds over some rows of a dataset: the same ones for the same arguments.

    Every row of ``pool`` is tested once in each repeat, except by time: there each fold is tested on the stretch of
    time after its training rows, and the first stretch only trains. A moment is not divided: rows of the moment at
    which the test begins are not trained on.

    Parameters
    ----------
    dataset
        With groups or times where the kind needs them.
    pool
        Row numbers, int64 [P], increasing, without the sealed test part.
    folding
        The division.
    selection_fraction
        Share of each fold's training rows that chooses its weights, in (0, 1): like the others in their classes,
        whole groups where there are groups, and by time the last ones.
    seed
        Of everything random.
    copies
        [N] the number of the cluster of each row, equal for copies: they are kept in one part, except by time and
        where one group is left out, where times and groups alone decide.

    Raises
    ------
    InputError
        If there are too few rows, groups or moments.
    """
    if copies is not None and folding.kind in ("grouped", "stratified-grouped") and dataset.groups is not None:
        dataset = replace(dataset, groups=join(dataset.groups, copies))
    clusters = copies if folding.kind == "stratified" else None
    divided = _one_of_each(pool, clusters)
    _check_counts(dataset, divided, folding)
    found: list[Fold] = []
    for repeat in range(1, folding.repeats + 1):
        for parts in _splits(dataset, divided, folding, seed + repeat - 1):
            train, test = (_all_of(pool, rows, clusters) for rows in parts)
            number = len(found) + 1
            rng = np.random.default_rng((seed, _SELECTION, number))
            chosen = _selection(dataset, _one_of_each(train, clusters), folding.kind, selection_fraction, rng)
            selection = _all_of(train, chosen, clusters)
            found.append(Fold(number=number, repeat=repeat, train=train, selection=selection, test=test))
    return found


def _one_of_each(rows: NDArray[np.int64], clusters: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the first row of each cluster, in the order of the rows; all of them without clusters."""
    if clusters is None:
        return rows
    return rows[np.sort(np.unique(clusters[rows], return_index=True)[1])]


def _all_of(
    rows: NDArray[np.int64], chosen: NDArray[np.int64], clusters: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return the rows in the clusters of the chosen ones; these themselves without clusters."""
    if clusters is None:
        return chosen
    return rows[np.isin(clusters[rows], clusters[chosen])]


def _check_counts(dataset: Dataset, pool: NDArray[np.int64], folding: Folding) -> None:
    kind, needed = folding.kind, 2 if folding.kind == "leave-one-group-out" else folding.folds
    counts = {}
    if kind.startswith("stratified"):
        counts["rows of its largest class"] = int(np.bincount(dataset.labels[pool]).max(initial=0))
    if kind in _GROUPED and dataset.groups is not None:
        counts["groups"] = len(np.unique(dataset.groups[pool]))
    if kind == "time" and dataset.times is not None:
        counts["moments"], needed = len(np.unique(dataset.times[pool])), folding.folds + 1
    for what, count in counts.items():
        if count < needed:
            raise InputError(
                f"{dataset.name} has {count} {what} outside its test part",
                f"at least {needed} for {folding.folds} folds" if kind != "leave-one-group-out" else "at least 2",
                "lower --folds, or give more data",
            )


def _splits(
    dataset: Dataset, pool: NDArray[np.int64], folding: Folding, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the row numbers of each fold of one repeat, for training and for testing."""
    times = dataset.times
    if folding.kind == "time" and times is not None:
        pool = pool[np.argsort(times[pool], kind="stable")]
    groups = None if dataset.groups is None else dataset.groups[pool]
    splitter = _splitter(folding, seed)
    with _no_word_of_rare_classes():
        for train, test in splitter.split(np.zeros(len(pool)), dataset.labels[pool], groups):
            known, tested = pool[train], pool[test]
            if folding.kind == "time" and times is not None:
                known = known[times[known] < times[tested].min()]
            yield np.sort(known).astype(np.int64), np.sort(tested).astype(np.int64)


def _splitter(folding: Folding, seed: int) -> Any:
    from sklearn import model_selection

    if folding.kind == "time":
        return model_selection.TimeSeriesSplit(folding.folds)
    if folding.kind == "leave-one-group-out":
        return model_selection.LeaveOneGroupOut()
    names = {
        "stratified": model_selection.StratifiedKFold,
        "grouped": model_selection.GroupKFold,
        "stratified-grouped": model_selection.StratifiedGroupKFold,
    }
    return names[folding.kind](folding.folds, shuffle=True, random_state=seed % 2**32)


def _selection(
    dataset: Dataset, train: NDArray[np.int64], kind: str, fraction: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the training rows that choose the weights; all that there is of a class is never among them."""
    wanted = max(1, round(fraction * len(train)))
    if len(train) <= wanted:
        raise InputError(
            f"a fold of {dataset.name} has {len(train)} rows to train on",
            "2 at least, one of which chooses the weights",
            "lower --folds, or give more data",
        )
    if kind == "time" and dataset.times is not None:
        return np.sort(train[np.argsort(dataset.times[train], kind="stable")][-wanted:])
    if dataset.groups is not None:
        return _selected_groups(dataset, train, wanted, rng)
    counts = np.bincount(dataset.labels[train])
    take = np.clip(np.rint(counts * fraction).astype(np.int64), 0, np.maximum(counts - 1, 0))
    take[counts.argmax()] += not take.any()
    order = rng.permutation(train)
    chosen = [order[dataset.labels[order] == number][:size] for number, size in enumerate(take)]
    return np.sort(np.concatenate(chosen))


def _selected_groups(
    dataset: Dataset, train: NDArray[np.int64], wanted: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the rows of whole groups, like the others in their classes, as near to so many as they come."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = dataset.labels[train], np.asarray(dataset.groups)[train]
    most = min(len(np.unique(groups)), int(np.bincount(labels).max()))
    if most < 2:
        raise InputError(
            f"a fold of {dataset.name} has one group to train on",
            "2 at least, one of which chooses the weights",
            "give more groups",
        )
    parts = min(most, max(2, round(len(train) / wanted)))
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=int(rng.integers(2**31)))
    with _no_word_of_rare_classes():
        tested = [test for _, test in splitter.split(np.zeros(len(train)), labels, groups) if len(test)]
    chosen: NDArray[np.int64] = train[min(tested, key=lambda test: abs(len(test) - wanted))]
    return chosen


@contextmanager
def _no_word_of_rare_classes() -> Iterator[None]:
    """Keep scikit-learn from warning that a class has fewer rows than there are folds: see `rare_classes`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield


def rare_classes(dataset: Dataset, pool: NDArray[np.int64], folding: Folding) -> Sequence[str]:
    """Return the names of classes with fewer rows in ``pool`` than there are folds: some folds do not test them."""
    counts = np.bincount(dataset.labels[pool], minlength=dataset.num_classes)
    return [name for name, count in zip(dataset.class_names, counts, strict=True) if count < folding.folds]
