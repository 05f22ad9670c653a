"""Raw rows, as JSON or a CSV file gives them, turned into a table of known columns with warnings.

It is lenient where training was (missing columns, unknown values) and strict where a guess would be wrong
(text or infinity where a number belongs). It does not encode and does not read files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trimtab.data.schema import Kind, Table, clean_text
from trimtab.errors import InputError, nearest

_NAMES_SHOWN = 5

Values = Mapping[str, frozenset[str] | None]
"""Column to the category values known from training, ``None`` for a number column."""


def parse_rows(rows: Sequence[Mapping[str, object]], values: Values) -> tuple[Table, tuple[str, ...]]:
    """Return the table of the columns in ``values``, and what was odd about the rows, one line per column.

    Raises
    ------
    InputError
        If a row is not a mapping, no row has a known column, or a cell cannot be used; rows count from 1.
    """
    _check_rows(rows, values)
    warnings = [*_warn_missing(rows, values), *_warn_unknown(rows, values)]
    columns: dict[str, NDArray[np.float64] | NDArray[np.object_]] = {}
    kinds: dict[str, Kind] = {}
    for name, known in values.items():
        cells = [row.get(name) for row in rows]
        if known is None:
            columns[name], kinds[name] = _parse_numbers(name, cells), "number"
        else:
            texts = _parse_categories(name, cells, known)
            columns[name], kinds[name] = texts, "category"
            warnings += _warn_unseen(name, texts, known)
    return Table(columns=columns, kinds=kinds), tuple(warnings)


def _check_rows(rows: Sequence[Mapping[str, object]], values: Values) -> None:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise InputError(
                f"row {number} is {_show(row)}", "an object with column names", 'send {"column": value, ...}'
            )
    if rows and not any(name in values for row in rows for name in row):
        given = _list_names(list(dict.fromkeys(str(name) for row in rows for name in row)))
        raise InputError(
            f"no row has a column that the model knows (given: {given or 'none'})",
            f"columns such as {_list_names(list(values))}",
            "use the column names of the training data",
        )


def _parse_numbers(name: str, cells: Sequence[object]) -> NDArray[np.float64]:
    numbers = np.empty(len(cells))
    for position, cell in enumerate(cells):
        number = _to_number(cell)
        if number is None or math.isinf(number):
            raise InputError(
                f"row {position + 1} has {_show(cell)} in the column '{name}'",
                "a finite number, or nothing when it is missing",
                "correct the cell or leave it empty",
            )
        numbers[position] = number
    return numbers


def _to_number(cell: object) -> float | None:
    """Return NaN for a missing value and ``None`` for what is no number."""
    if cell is None:
        return math.nan
    if isinstance(cell, str):
        cell = clean_text(cell)
        if not cell:
            return math.nan
        if "_" in cell:  # Python reads 1_000, data files do not
            return None
    if isinstance(cell, (Mapping, Sequence)) and not isinstance(cell, str):
        return None
    try:
        return float(cell)  # type: ignore[arg-type]  # whatever cannot become a float raises
    except (TypeError, ValueError, OverflowError):
        return None


def _parse_categories(name: str, cells: Sequence[object], known: frozenset[str]) -> NDArray[np.object_]:
    texts = np.empty(len(cells), dtype=object)
    for position, cell in enumerate(cells):
        if isinstance(cell, (Mapping, list, tuple, bytes)):
            raise InputError(
                f"row {position + 1} has {_show(cell)} in the column '{name}'",
                "a single text, number or true/false",
                "send one value per cell",
            )
        texts[position] = _to_category(cell, known)
    return texts


def _to_category(cell: object, known: frozenset[str]) -> str:
    if cell is None:
        return ""
    text = clean_text(str(cell))
    if text in known:
        return text
    if isinstance(cell, float) and cell.is_integer():  # JSON's 5.0 for the category "5"
        return str(int(cell))
    return text.lower() if text.lower() in ("true", "false") else text


def _warn_missing(rows: Sequence[Mapping[str, object]], values: Values) -> list[str]:
    missing = {name: sum(name not in row for row in rows) for name in values}
    return [
        f"the column '{name}' is missing in {count} of {len(rows)} rows: treated as a missing value"
        for name, count in missing.items()
        if count
    ]


def _warn_unknown(rows: Sequence[Mapping[str, object]], values: Values) -> list[str]:
    unknown = dict.fromkeys(str(name) for row in rows for name in row if name not in values)
    absent = [name for name in values if not all(name in row for row in rows)]
    lines = []
    for name in list(unknown)[:_NAMES_SHOWN]:
        hint = nearest(name, absent).strip()
        lines.append(f"ignored the unknown column {_show(name)}" + (f": {hint}" if hint else ""))
    if len(unknown) > _NAMES_SHOWN:
        lines.append(f"ignored {len(unknown) - _NAMES_SHOWN} more unknown columns")
    return lines


def _warn_unseen(name: str, texts: NDArray[np.object_], known: frozenset[str]) -> list[str]:
    unseen = Counter(text for text in texts if text and text not in known)
    if not unseen:
        return []
    shown = ", ".join(_show(text) for text in list(unseen)[:_NAMES_SHOWN])
    more = f" and {len(unseen) - _NAMES_SHOWN} more" if len(unseen) > _NAMES_SHOWN else ""
    word, verb = ("value", "was") if len(unseen) == 1 else ("values", "were")
    return [f"the {word} {shown}{more} of '{name}' {verb} not seen in training, or too rarely to count"]


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(_show(name) for name in names[:_NAMES_SHOWN]) + more


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
