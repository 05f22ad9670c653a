"""Rows of a table in whatever form a caller has them, as a list of mappings. It does not interpret the cells."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.errors import InputError

Rows = Sequence[Mapping[str, object]]

_SEPARATORS = ",;\t|"


def to_rows(data: Any) -> Rows:
    """Return ``data`` as a sequence of rows, each a mapping from column to cell.

    Parameters
    ----------
    data
        A row, a sequence of rows, a mapping of equally long columns, a pandas or PyArrow table, or the name of a
        CSV file (with a header) or Parquet file.

    Raises
    ------
    InputError
        If it is none of these, or the file cannot be read.
    """
    if isinstance(data, (str, Path)):
        return _read_file(Path(data))
    if isinstance(data, Mapping):
        return _split_columns(data) if _holds_columns(data) else [data]
    if hasattr(data, "to_pylist"):  # PyArrow
        return list(data.to_pylist())
    if hasattr(data, "to_dict"):  # pandas
        return list(data.to_dict(orient="records"))
    if isinstance(data, Sequence) and not isinstance(data, (bytes, bytearray)):
        return data
    raise InputError(
        f"the data are of the type {type(data).__name__}",
        "a list of rows, each a mapping from column to value, or the name of a CSV or Parquet file",
        'give [{"column": value, ...}, ...]',
    )


def _holds_columns(data: Mapping[str, Any]) -> bool:
    return bool(data) and all(isinstance(values, (list, tuple, np.ndarray)) for values in data.values())


def _split_columns(columns: Mapping[str, Any]) -> Rows:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise InputError(
            f"the column '{shortest}' has {lengths[shortest]} values and '{longest}' has {lengths[longest]}",
            "one value per row in every column",
            "give None where a value is missing",
        )
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _read_file(path: Path) -> Rows:
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".pq": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"the file {path} does not end in .csv or .parquet", "a CSV or Parquet file", "convert or rename it"
        )
    try:
        return reader(path)
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(
            f"the table {path} cannot be read ({reason})", "a readable CSV or Parquet file", "check the file"
        ) from error


def _read_csv(path: Path) -> Rows:
    """Read texts under the names that training gives the columns."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        separator = _find_separator(file.readline())
        file.seek(0)
        reader = csv.reader(file, delimiter=separator)
        header = [name.strip() or f"column {place}" for place, name in enumerate(next(reader, []), start=1)]
        if not header:
            raise ValueError("it is empty")
        rows = []
        for cells in reader:
            if cells and len(cells) != len(header):
                raise ValueError(f"line {reader.line_num} has {len(cells)} cells, the header {len(header)}")
            if cells:
                rows.append(dict(zip(header, cells, strict=True)))
    return rows


def _find_separator(header: str) -> str:
    """Return the one that gives the most columns."""
    return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([header], delimiter=separator), [])))


def _read_parquet(path: Path) -> Rows:
    from pyarrow.parquet import read_table

    rows: Rows = read_table(path).to_pylist()
    return rows
