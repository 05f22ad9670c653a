"""What an ensemble can be made of: the fold models of finished cross-validations and what they said out of fold.

A candidate is one configuration in one round of folds: its fold models share the rows out among them, each answered
those that it was not trained on, and on new rows all of them vote. Read from the directories of `trimtab crossval`;
nothing is trained or predicted here.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.errors import InputError, IntegrityError
from trimtab.evaluation.files import LABEL, PROBABILITY

_FORMAT = "trimtab-folds/1"
_MODEL = "model"  # what every fold has; other artifacts beside it are averages of its weights
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """The models of one round of folds and their answers on the rows that each was not trained on.

    Attributes
    ----------
    name
        To tell it apart in tables.
    models
        The directories of the artifacts, one for each fold.
    held_out
        The rows that each of them was not trained on, by number in the whole dataset, int64.
    rows, labels
        All of these together, increasing, and their classes: int64 [N].
    class_names
        K names.
    probabilities
        Out of fold, in the order of ``rows``: float32 [N, K]; ``None`` until they are predicted.
    """

    name: str
    models: tuple[Path, ...]
    held_out: tuple[Rows, ...]
    rows: Rows
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    probabilities: NDArray[np.float32] | None

    @property
    def megabytes(self) -> float:
        """Size of all its weights, 1,000,000 bytes each."""
        return sum((model / "weights.safetensors").stat().st_size for model in self.models) / 1e6

    def has_folds_of(self, other: Candidate) -> bool:
        """Whether its folds hold out the same rows, one by one."""
        return len(self.models) == len(other.models) and all(map(np.array_equal, self.held_out, other.held_out))


@dataclass(frozen=True, kw_only=True)
class _Fold:
    number: int
    repeat: int
    held_out: Rows


def read_candidates(directory: Path) -> list[Candidate]:
    """Return the candidates in the directory of a cross-validation: one for each repeat.

    Where each fold also kept an average of its weights, in a folder beside ``model``, there is one for that, too, whose
    probabilities are still to be predicted.

    Raises
    ------
    IntegrityError
        If a file is missing or does not fit to the others.
    """
    try:
        folds = _read_folds(directory)
        names = tuple(Artifact.load(_home(directory, folds[0]) / _MODEL).meta["class_names"])
        repeats = sorted({fold.repeat for fold in folds})
        table = _read_table(directory / "evaluation" / "out_of_fold.parquet", names)
        found = []
        for repeat in repeats:
            own = [fold for fold in folds if fold.repeat == repeat]
            name = directory.name + (f" repeat {repeat}" if len(repeats) > 1 else "")
            found += _candidates_of(directory, name, own, names, table)
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"the cross-validation in {directory} is not whole ({error})",
            "folds, their models and the out-of-fold predictions as they were written",
            "restore the directory from a copy, or run `trimtab crossval` again",
        ) from error


def _candidates_of(
    directory: Path, name: str, folds: Sequence[_Fold], class_names: tuple[str, ...], table: _Table
) -> list[Candidate]:
    """Return the candidate of the trained weights, and those of the averages that every fold has."""
    picked = np.flatnonzero(np.isin(table.folds, [fold.number for fold in folds]))
    picked = picked[np.argsort(table.rows[picked], kind="stable")]
    rows = np.sort(np.concatenate([fold.held_out for fold in folds]))
    if not np.array_equal(table.rows[picked], rows):
        raise ValueError("the out-of-fold predictions are of other rows than the folds")
    homes = [_home(directory, fold) for fold in folds]
    first = Candidate(
        name=name,
        models=tuple(home / _MODEL for home in homes),
        held_out=tuple(fold.held_out for fold in folds),
        rows=rows,
        labels=table.labels[picked],
        class_names=class_names,
        probabilities=table.probabilities[picked],
    )
    kinds = sorted(set.intersection(*({path.parent.name for path in home.glob("*/artifact.json")} for home in homes)))
    averages = [
        replace(first, name=f"{name} {kind}", models=tuple(home / kind for home in homes), probabilities=None)
        for kind in kinds
        if kind != _MODEL
    ]
    return [first, *averages]


def _home(directory: Path, fold: _Fold) -> Path:
    return directory / "folds" / f"{fold.number:02d}"


def _read_folds(directory: Path) -> list[_Fold]:
    content = json.loads((directory / "data" / "folds.json").read_text())
    if content["format"] != _FORMAT or not content["folds"]:
        raise ValueError(f"folds.json is of format {content['format']}, not {_FORMAT}")
    folds = []
    for entry in content["folds"]:
        with np.load(directory / "data" / "folds" / f"{entry['number']:02d}.npz", allow_pickle=False) as arrays:
            held_out = np.asarray(arrays["test"], np.int64)
        folds.append(_Fold(number=entry["number"], repeat=entry["repeat"], held_out=held_out))
    return folds


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """The columns of the out-of-fold predictions."""

    rows: Rows
    folds: Rows
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def _read_table(path: Path, class_names: tuple[str, ...]) -> _Table:
    from pyarrow import parquet

    table = parquet.read_table(path)
    numbers = {name: number for number, name in enumerate(class_names)}
    columns = [table.column(PROBABILITY + name).to_numpy().astype(np.float32) for name in class_names]
    return _Table(
        rows=table.column("row").to_numpy().astype(np.int64),
        folds=table.column("fold").to_numpy().astype(np.int64),
        labels=np.array([numbers[label] for label in table.column(LABEL).to_pylist()], np.int64),
        probabilities=np.stack(columns, axis=1),
    )


def on_common_rows(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with those rows alone that all of them answered out of fold.

    Raises
    ------
    InputError
        If there is no such row.
    """
    common = reduce(np.intersect1d, (each.rows for each in candidates))
    if not len(common):
        raise InputError(
            f"{candidates[0].name} and the others hold out no row in common",
            "cross-validations over the same rows",
            "run them on the same data with the same seed",
        )
    found = []
    for each in candidates:
        places = np.searchsorted(each.rows, common)
        answers = None if each.probabilities is None else each.probabilities[places]
        found.append(replace(each, rows=common, labels=each.labels[places], probabilities=answers))
    return found
