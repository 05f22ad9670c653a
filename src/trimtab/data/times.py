"""Which rows are earlier: a column of numbers or dates turned into places in time.

Only the order counts, and which rows share a moment. A date is ISO's (2024-03-14, with or without a time of day): of
others it is not certain which number is the month.

Legend: ``N`` rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.schema import clean_text
from trimtab.errors import InputError

_EXPECTED = "a number, or a date such as 2024-03-14, in each row"


def places_in_time(column: Any, where: str) -> NDArray[np.int64]:
    """Return the place of each row of an Arrow column, [N], from 0; the same moment has the same place.

    Parameters
    ----------
    column
        Numbers, dates, timestamps, or texts of these.
    where
        Names the column in errors.

    Raises
    ------
    InputError
        If a cell is empty or says no moment.
    """
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_temporal(kind) and column.null_count == 0:
        return places_of_values(np.array(column.cast(kind).combine_chunks().to_numpy(zero_copy_only=False)), where)
    if pa.types.is_nested(kind):
        raise InputError(f"{where} holds {kind} values", _EXPECTED, "choose another column")
    return places_of_values(np.array([_text(cell) for cell in column.to_pylist()]), where)


def places_of_values(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Return the same for an array [N] of numbers, dates or texts.

    Raises
    ------
    InputError
        If a value is missing or says no moment, or there is not one per row.
    """
    if values.ndim != 1:
        raise InputError(f"{where} has shape {values.shape}", "one moment per row", "flatten it")
    moments = _moments(values.tolist(), where) if values.dtype.kind in "UO" else values
    is_missing = np.isnat(moments) if moments.dtype.kind in "mM" else np.isnan(moments)
    if is_missing.any():
        raise _unusable(where, int(is_missing.argmax()), "nothing")
    places: NDArray[np.int64] = np.unique(moments, return_inverse=True)[1].astype(np.int64)
    return places


def _text(cell: object) -> str:
    return "" if cell is None else clean_text(str(cell))


def _moments(texts: Sequence[str], where: str) -> NDArray[Any]:
    """Return numbers when all are, else moments."""
    if "" in texts:
        raise _unusable(where, texts.index(""), "nothing")
    try:
        return np.array([float(text) for text in texts])
    except ValueError:
        return np.array([_moment(text, row, where) for row, text in enumerate(texts)], dtype="datetime64[us]")


def _moment(text: str, row: int, where: str) -> datetime:
    """Return the moment without its zone; one with a zone as that of Greenwich."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _unusable(where, row, f"'{text[:40]}'") from error
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _unusable(where: str, row: int, held: str) -> InputError:
    return InputError(f"{where} holds {held} in row {row + 1}", _EXPECTED, "correct it, or choose another column")
