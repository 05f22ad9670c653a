"""Predictions of several models for the same rows, brought into the same order of rows and of classes.

Rows are matched by their names where all files have names that are different from each other, otherwise by their
place; labels and groups must agree either way, so that two files about other rows are noticed.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import InputError
from trimtab.evaluation.counts import IntArray
from trimtab.evaluation.files import PredictionFile, open_predictions


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The whole content of a file of predictions.

    Attributes
    ----------
    path
        Of the file.
    class_names
        K names.
    labels
        int64 [N] in 0 to K - 1.
    probabilities
        float [N, K]; where only classes were predicted, one and zeros.
    has_probabilities
        Whether they are probabilities.
    groups, names
        Text [N], or ``None``.
    """

    path: Path
    class_names: tuple[str, ...]
    labels: IntArray
    probabilities: NDArray[np.floating]
    has_probabilities: bool
    groups: NDArray[Any] | None
    names: NDArray[Any] | None


def read_aligned(paths: Sequence[str | Path]) -> list[Predictions]:
    """Return the predictions in some files, all with the rows and the classes in the order of the first.

    Raises
    ------
    InputError
        If a file cannot be used, or the files are not about the same rows and classes; says which differ.
    """
    first, *others = [_read(open_predictions(path)) for path in paths]
    return [first, *(_like(first, other) for other in others)]


def _read(file: PredictionFile) -> Predictions:
    parts = list(file.parts())
    if not parts:
        raise InputError(f"{file.path} has no rows", "a row per example", "give the predictions")
    if file.has_probabilities:
        probabilities = np.concatenate([part.probabilities for part in parts if part.probabilities is not None])
    else:
        predictions = np.concatenate([part.predictions for part in parts if part.predictions is not None])
        probabilities = np.eye(len(file.class_names))[predictions]
    return Predictions(
        path=file.path,
        class_names=file.class_names,
        labels=np.concatenate([part.labels for part in parts]),
        probabilities=probabilities,
        has_probabilities=file.has_probabilities,
        groups=_joined([part.groups for part in parts]),
        names=_joined([part.names for part in parts]),
    )


def _joined(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if found else None


def _like(first: Predictions, other: Predictions) -> Predictions:
    if set(first.class_names) != set(other.class_names):
        alone = sorted(set(first.class_names) ^ set(other.class_names))
        raise InputError(
            f"{first.path} and {other.path} know other classes ({', '.join(alone[:5])} in one of them only)",
            "the same classes in both",
            "add the missing columns, with zeros where a model does not know the class",
        )
    if len(first.labels) != len(other.labels):
        raise _other_rows(first, other, f"have {len(first.labels):,} and {len(other.labels):,} rows")
    columns = np.array([other.class_names.index(name) for name in first.class_names])
    number = np.argsort(columns)  # of each class of the other file, in the order of the first
    other = replace(
        other,
        class_names=first.class_names,
        labels=number[other.labels],
        probabilities=other.probabilities[:, columns],
    )
    other = _in_order_of(first, other)
    differs = first.labels != other.labels
    if differs.any():
        row = int(np.argmax(differs))
        raise _other_rows(first, other, f"disagree on the label of {differs.sum():,} rows, first of row {row + 1:,}")
    return other


def _in_order_of(first: Predictions, other: Predictions) -> Predictions:
    if first.names is None or other.names is None:
        return other
    order, other_order = np.argsort(first.names, kind="stable"), np.argsort(other.names, kind="stable")
    ordered = first.names[order]
    if (ordered[1:] == ordered[:-1]).any():  # names that do not tell rows apart
        return other
    if (ordered != other.names[other_order]).any():
        alone = np.setxor1d(first.names, other.names)
        raise _other_rows(first, other, f"name other rows (such as '{alone[0]}')")
    rows = np.empty(len(order), np.int64)
    rows[order] = other_order
    groups = None if other.groups is None else other.groups[rows]
    return replace(
        other,
        labels=other.labels[rows],
        probabilities=other.probabilities[rows],
        names=other.names[rows],
        groups=groups,
    )


def _other_rows(first: Predictions, other: Predictions, how: str) -> InputError:
    return InputError(
        f"{first.path} and {other.path} {how}",
        "predictions of both models for the same rows",
        "predict the same data with both, or evaluate each on its own",
    )
