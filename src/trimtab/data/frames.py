"""Columns in memory, of arrays and of data frames (pandas, polars, PyArrow), as tables. It imports none of these.

Which columns are of use is not asked here: whoever hands over a frame has chosen them.

Legend: ``N`` rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.columns import to_text
from trimtab.data.labels import quote
from trimtab.data.schema import Kind, Table
from trimtab.errors import InputError

Columns = Mapping[str, NDArray[Any]]
"""Name to float64 [N], NaN where missing, or object [N] of ``str``, ``""`` where missing."""

_CATEGORIES = ("categor", "enum", "dictionary")  # how the libraries' types for categories begin
_LARGEST = 1e30  # beyond that float32, which networks compute in, has no room for differences


def is_frame(data: Any) -> bool:
    """Return whether the data have named columns, each of a type of its own."""
    return (hasattr(data, "columns") and hasattr(data, "dtypes")) or hasattr(data, "column_names")


def read_frame(frame: Any) -> Columns:
    """Return the columns of a data frame, in order.

    Numbers become float64, also those among Python objects; text, truth values and the libraries' categories become
    text.

    Raises
    ------
    InputError
        If there are no columns, two have one name, or one holds dates, lists or complex numbers.
    """
    names = list(frame.columns if hasattr(frame, "dtypes") else frame.column_names)
    if not names:
        raise InputError("X has no columns", "at least one", "add one that says something about the class")
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"X has more than one column named {quote(twice)}", "a name for each column", "rename one")
    return {str(name): _read_column(str(name), frame[name]) for name in names}


def number_columns(values: NDArray[np.float64]) -> Columns:
    """Return the columns x0, x1, ... of an array [N, columns]."""
    return {f"x{position}": column for position, column in enumerate(values.T)}


def to_table(columns: Columns, kinds: Mapping[str, Kind] | None = None) -> Table:
    """Return the columns as a table; with ``kinds``, as the columns of these names, in order, and of these kinds.

    Raises
    ------
    InputError
        If a column of numbers holds text, or values that are infinite or nearly so.
    """
    wanted = _kinds_of(columns) if kinds is None else dict(kinds)
    converted = {
        name: _as_numbers(name, values) if kind == "number" else _as_texts(values)
        for (name, kind), values in zip(wanted.items(), columns.values(), strict=True)
    }
    return Table(columns=converted, kinds=wanted)


def _kinds_of(columns: Columns) -> dict[str, Kind]:
    return {name: "number" if values.dtype.kind == "f" else "category" for name, values in columns.items()}


def _read_column(name: str, column: Any) -> NDArray[Any]:
    described = str(getattr(column, "dtype", getattr(column, "type", ""))).lower()
    values = np.asarray(column)
    if values.dtype.kind in "mMcV" or values.ndim != 1:
        raise InputError(
            f"the column '{name}' of X holds {described or values.dtype}",
            "numbers, text or truth values",
            "turn it into such columns (a date into year, month and weekday) or leave it out",
        )
    if described.startswith(_CATEGORIES):
        return _texts(values)
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    numbers = _numbers(values) if values.dtype.kind == "O" else None
    return _texts(values) if numbers is None else numbers


def _numbers(cells: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return numbers when every cell that is not missing is one."""
    numbers = np.full(len(cells), math.nan)
    for position, cell in enumerate(cells):
        if isinstance(cell, Real | Decimal) and not isinstance(cell, bool):
            numbers[position] = float(cell)
        elif to_text(cell):
            return None
    return numbers


def _texts(cells: NDArray[Any]) -> NDArray[np.object_]:
    texts = np.empty(len(cells), dtype=object)
    for position, cell in enumerate(cells.tolist()):
        texts[position] = to_text(cell)
    return texts


def _as_numbers(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind != "f":
        words = sorted({text for text in values if text})
        if words:
            raise InputError(
                f"the column '{name}' holds text ({quote(words)})", "numbers, as when it was fitted", "convert it"
            )
        return np.full(len(values), math.nan)
    count = np.count_nonzero(np.abs(values) > _LARGEST)
    if count:
        raise InputError(
            f"the column '{name}' of X has {count:,} infinite or huge value{'' if count == 1 else 's'}",
            "finite numbers below 1e30, or NaN where one is missing",
            "correct it or scale the column",
        )
    return values


def _as_texts(values: NDArray[Any]) -> NDArray[Any]:
    return _texts(values) if values.dtype.kind == "f" else values
