"""Columns of an Arrow table turned into numbers, categories, labels or groups.

It does not read files. What a cell means is shared with serving: see `schema.clean_text` and `rows`. Which columns
are of use is decided in `features`.

Legend: ``N`` rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.features import select_features
from trimtab.data.labels import quote
from trimtab.data.schema import MISSING_MARKERS, Table, clean_text
from trimtab.errors import InputError, nearest

_LIKELY_CLASSES = 50
_LIKELY_NAMES = ("target", "label", "class", "y", "outcome", "category")


def require_column(name: str, columns: Sequence[str], *, origin: str, option: str) -> str:
    """Return the name.

    Raises
    ------
    InputError
        If there is no such column; the nearest name is suggested.
    """
    if name in columns:
        return name
    hint = nearest(name, columns)
    close = next((column for column in columns if hint == f"did you mean '{column}'? "), "")
    count = f"one of its {len(columns)} columns" if len(columns) != 1 else "its only column"
    action = f"{hint}pass {option} {_shell(close)}" if hint else f"choose from {quote(columns)}"
    raise InputError(f"the column '{name}' is not in {origin}", f"{count} as {option}", action)


def likely_targets(table: Any) -> list[str]:
    """Return up to five columns that could be labels: few different values; telling names and late ones first."""
    found = []
    for position, name in enumerate(table.column_names):
        values = table.column(name)
        distinct = len(values.unique()) if not _is_nested(values.type) else 0
        if 2 <= distinct <= min(_LIKELY_CLASSES, max(2, len(values) // 3)):
            found.append((name.casefold() not in _LIKELY_NAMES, -position, name))
    return [name for _, _, name in sorted(found)[:5]]


def label_texts(column: Any, *, where: str) -> list[str]:
    """Return [N] class names, ``""`` where there is none; whole floats are written as whole numbers.

    Raises
    ------
    InputError
        If the column holds lists or other nested values.
    """
    if _is_nested(column.type):
        raise InputError(f"{where} holds {column.type} values", "one class per row", "choose another column")
    texts = _texts(column)
    distinct = set(texts) - {""}
    if distinct and all(re.fullmatch(r"-?\d+(\.0+)?", text) for text in distinct):
        return [text.split(".")[0] for text in texts]
    return list(texts)


def group_numbers(column: Any) -> NDArray[np.int64]:
    """Return [N] a number per distinct value; a row without a value is a group of its own."""
    encoded = _plain(column).combine_chunks().dictionary_encode()
    codes: NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    alone = codes < 0
    codes[alone] = len(encoded.dictionary) + np.arange(np.count_nonzero(alone))
    return codes


def to_text(value: object) -> str:
    """Return a cell as text, ``""`` where it says that there is no value; truth in small letters, 3.0 as "3"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return clean_text(str(value))


def read_features(table: Any, *, origin: str, parse_numbers: bool) -> tuple[Table, tuple[str, ...]]:
    """Return the usable columns of an Arrow table and warnings about the others.

    Parameters
    ----------
    table
        Only features: no label, no group.
    origin
        Names the file in errors.
    parse_numbers
        Whether text columns may be numbers (CSV), or are text by their type (Parquet).

    Raises
    ------
    InputError
        If a number column holds infinite values, or no column is of use.
    """
    columns = {name: _read_column(table.column(name), parse_numbers) for name in table.column_names}
    unknown = {name: f"type {table.column(name).type}" for name, values in columns.items() if values is None}
    known = {name: values for name, values in columns.items() if values is not None}
    return select_features(known, origin=origin, ignored=unknown)


def _read_column(column: Any, parse_numbers: bool) -> NDArray[Any] | None:
    """Return float64 or object [N], or ``None`` for a type that is neither number nor text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _plain(column)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _to_float64(pc.cast(column, pa.float64(), safe=False))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        numbers = _parse_numbers(column) if parse_numbers else None
        return _texts(column) if numbers is None else numbers
    if pa.types.is_boolean(kind):
        return _texts(column)
    return None


def _plain(column: Any) -> Any:
    """Return the column without dictionary encoding, and all-missing columns as text."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _parse_numbers(column: Any) -> NDArray[np.float64] | None:
    """Return numbers when every cell that is not missing is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column)
    is_missing = pc.is_in(pc.utf8_lower(trimmed), value_set=pa.array(sorted(MISSING_MARKERS)))
    try:
        return _to_float64(pc.cast(pc.if_else(is_missing, None, trimmed), pa.float64()))
    except pa.ArrowInvalid:
        return None


def _to_float64(column: Any) -> NDArray[np.float64]:
    return np.array(column.fill_null(math.nan).to_numpy(), dtype=np.float64)


def _texts(column: Any) -> NDArray[np.object_]:
    """Return [N] cleaned texts; the cleaning runs once per distinct value."""
    encoded = _plain(column).combine_chunks().dictionary_encode()
    distinct = [to_text(value) for value in encoded.dictionary.to_pylist()]
    if distinct and {text.casefold() for text in distinct} <= {"true", "false", ""}:
        distinct = [text.lower() for text in distinct]
    lookup = np.array([*distinct, ""], dtype=object)
    result: NDArray[np.object_] = lookup[encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)]
    return result


def _is_nested(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _shell(name: str) -> str:
    return f'"{name}"' if re.search(r"[^\w.\-]", name) else name
