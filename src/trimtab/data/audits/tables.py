"""Copies among the rows of a table: equal in every column, or equal after rounding.

Rows of few and coarse columns are equal by chance. How often is estimated from how often each value occurs, as if
columns had nothing to do with each other; where chance, or the sheer number of equal rows, explains what is seen, no
row is called a copy. Columns that repeat each other make chance look smaller than it is: a table of many such columns,
all coarse, can still be called full of copies.

Legend: ``N`` rows, ``F`` columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.data.schema import Table

Rows = NDArray[np.int64]

_STEP = 1e-4  # of a column's standard deviation, to which near copies are rounded
_CHANCE = 0.05  # share of the equal pairs that chance may explain
_LARGEST = 10.0  # rows of a cluster on average; copies come in small numbers


def equal_rows(table: Table) -> Rows:
    """Return [N] a number for each row, the same for rows with the same values."""
    return _combine([_codes(values) for values in table.columns.values()])


def rounded_rows(table: Table, *, shift: float) -> Rows:
    """Return [N] a number for each row, the same for rows that are equal when their numbers are rounded.

    Parameters
    ----------
    table
        ``F`` columns.
    shift
        0 or 0.5: where the grid of rounding lies. Rows on both sides of a line of one grid are together in the other.
    """
    codes = []
    for name, values in table.columns.items():
        if table.kinds[name] == "number":
            spread = float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
            values = np.floor(values / (spread * _STEP) + 0.5 + shift) if spread > 0 else values
        codes.append(_codes(values))
    return _combine(codes)


def chance_pairs(table: Table) -> float:
    """Return how many pairs of equal rows to expect of independent columns with the values that these have."""
    alike = 1.0
    for values in table.columns.values():
        shares = np.bincount(_codes(values)) / len(table)
        alike *= float(shares @ shares)
    return alike * len(table) * (len(table) - 1) / 2


def why_coincidence(table: Table, numbers: Rows) -> str:
    """Return why equal rows of this table are no copies, in words; an empty string when they are.

    Parameters
    ----------
    table
        ``N`` rows.
    numbers
        [N] as `equal_rows` or `rounded_rows` gives them.
    """
    sizes = np.bincount(numbers)
    pairs, expected = float((sizes * (sizes - 1) / 2).sum()), chance_pairs(table)
    if pairs and expected > _CHANCE * pairs:
        return f"{pairs:,.0f} pairs of rows are equal, and {expected:,.0f} are expected by chance of columns so coarse"
    shared = sizes[sizes > 1]
    if len(shared) and shared.mean() > _LARGEST:
        return f"equal rows come {shared.mean():,.0f} at a time on average: the columns are too coarse to tell copies"
    return ""


def _codes(values: NDArray[np.float64] | NDArray[np.object_]) -> Rows:
    """Return [N] a number for each distinct value; missing numbers are one value."""
    codes: Rows = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return codes


def _combine(codes: list[Rows]) -> Rows:
    """Return [N] a number for each distinct combination, column by column so that the numbers stay small."""
    combined = codes[0]
    for code in codes[1:]:
        combined = np.unique(combined * (int(code.max()) + 1) + code, return_inverse=True)[1].astype(np.int64)
    return combined
