"""Which columns of a table are of use: the useless are left out and named, the broken refused.

It works on arrays and does not know what file they come from.

Legend: ``N`` rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.labels import quote
from trimtab.data.schema import Kind, Table
from trimtab.errors import InputError

_ID = re.compile(r"(?i:id|uuid|index|.*[_\-. ]id)|.*[a-z]I[dD]")
_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4})([ T].*)?")
_MANY, _OFTEN = 100, 10  # different texts that an encoding keeps; rows in which a text should occur to be learned
_LARGEST = 1e30  # beyond that float32, which networks compute in, has no room for differences
_MOSTLY = 0.9
_ENOUGH_NUMBERS = 20  # different ones, to call a column of texts one of numbers


def select_features(
    columns: Mapping[str, NDArray[Any]], *, origin: str, ignored: Mapping[str, str] | None = None
) -> tuple[Table, tuple[str, ...]]:
    """Return the table of usable columns and warnings about the others.

    Parameters
    ----------
    columns
        Name to float64 [N] or object [N] of ``str``, as in `Table`.
    origin
        Names the file in errors.
    ignored
        Columns that were left out before, with the reason.

    Raises
    ------
    InputError
        If a number column holds infinite values, or no column is of use.
    """
    _refuse_infinite(columns, origin)
    reasons = {name: _useless(name, values) for name, values in columns.items()}
    useful = {name: values for name, values in columns.items() if not reasons[name]}
    warnings = _list_ignored({**(ignored or {}), **{name: reason for name, reason in reasons.items() if reason}})
    if not useful:
        given = "; ".join(warnings) or "it has no other columns"
        raise InputError(
            f"{origin} has no usable column ({given})", "columns that say something about the class", "add some"
        )
    kinds: dict[str, Kind] = {
        name: "number" if values.dtype.kind == "f" else "category" for name, values in useful.items()
    }
    for name in useful:
        if kinds[name] == "category":
            warnings += _warn_mostly_numbers(name, useful[name])
    return Table(columns=useful, kinds=kinds), tuple(warnings)


def _refuse_infinite(columns: Mapping[str, NDArray[Any]], origin: str) -> None:
    """Name the first column with infinite values, how many, and the first row; count further columns."""
    infinite = {name: np.abs(values) > _LARGEST for name, values in columns.items() if values.dtype.kind == "f"}
    bad = [name for name, where in infinite.items() if where.any()]
    if not bad:
        return
    where = infinite[bad[0]]
    count = np.count_nonzero(where)
    word = "value" if count == 1 else "values"
    more = "" if len(bad) == 1 else f"; {len(bad) - 1} more columns have some too"
    first = f"the first in row {where.argmax() + 1}{more}"
    raise InputError(
        f"the column '{bad[0]}' of {origin} has {count:,} infinite {word} ({first})",
        "finite numbers below 1e30, or empty cells where a value is missing",
        "correct these cells or empty them",
    )


def _useless(name: str, values: NDArray[Any]) -> str:
    """Return why a column cannot help, or an empty string."""
    is_number = values.dtype.kind == "f"
    present = values[~np.isnan(values)] if is_number else values[values != ""]
    distinct = len(np.unique(present)) if is_number else len(set(present))
    if distinct + (len(present) < len(values)) < 2:
        return "constant"
    is_unique = distinct == len(present) > 2
    if is_number:
        is_complete = len(present) == len(values)
        is_id = _is_counter(values) or (_ID.fullmatch(name) and not (present % 1).any())
        return "a row number or id" if is_unique and is_complete and is_id else ""
    if is_unique or distinct > max(_MANY, _MOSTLY * len(present)):
        return "a different text in nearly every row"
    counts = Counter(present)
    if distinct > 2 and sum(count for text, count in counts.items() if _DATE.fullmatch(text)) > _MOSTLY * len(present):
        return "dates, which are not used as such"
    is_rare = sum(count for count in counts.values() if count >= _OFTEN) < len(present) / 2
    return f"over {_MANY} different texts, most in fewer than {_OFTEN} rows" if distinct > _MANY and is_rare else ""


def _is_counter(values: NDArray[np.float64]) -> bool:
    return values[0] in (0, 1) and bool((np.diff(values) == 1).all())


def _warn_mostly_numbers(name: str, values: NDArray[Any]) -> list[str]:
    """Notice a number column spoiled by a few words, which would be read as categories."""
    texts, counts = np.unique(values[values != ""].astype(str), return_counts=True)
    is_number = np.array([bool(_NUMBER.fullmatch(text)) for text in texts])
    is_mostly = counts[is_number].sum() >= _MOSTLY * counts.sum()
    if np.count_nonzero(is_number) <= _ENOUGH_NUMBERS or not is_mostly or is_number.all():
        return []
    words = quote([str(text) for text in texts[~is_number]])
    return [
        f"the column '{name}' is read as categories: {counts[~is_number].sum():,} of its cells are no numbers "
        f"({words}); empty these cells to have it read as numbers"
    ]


def _list_ignored(reasons: Mapping[str, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    return [_ignored(names, reason) for reason, names in by_reason.items()]


def _ignored(names: Sequence[str], reason: str) -> str:
    return f"ignored the column{'s' if len(names) > 1 else ''} {quote(names)}: {reason}"
