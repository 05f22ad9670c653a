"""Columns of a table as training and serving see them: numbers with NaN, categories as text.

It knows nothing of files, of encoding for a network, or of labels, and needs only NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Kind = Literal["number", "category"]

MISSING_MARKERS = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?"})
"""Cell texts, stripped and case-folded, that mean "no value"."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of named columns, in order.

    Attributes
    ----------
    columns
        Name to values, one per row: float64 [N] with NaN where missing for a number, object [N] of ``str`` with
        ``""`` where missing for a category.
    kinds
        Name to ``"number"`` or ``"category"``, the same names in the same order.

    Raises
    ------
    ValueError
        If names differ or columns are not equally long.
    """

    columns: Mapping[str, NDArray[Any]]
    kinds: Mapping[str, Kind]

    def __post_init__(self) -> None:
        """Refuse columns that do not belong together."""
        if list(self.columns) != list(self.kinds):
            raise ValueError("the names in columns and kinds differ; expected the same names in the same order.")
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns are not equally long: {lengths}; expected one value per row.")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Return a table of these rows, in the given order (a copy)."""
        return Table(columns={name: values[rows] for name, values in self.columns.items()}, kinds=self.kinds)


def clean_text(text: str) -> str:
    """Return the cell without surrounding white space, ``""`` when it is one of `MISSING_MARKERS`."""
    stripped = text.strip()
    return "" if stripped.casefold() in MISSING_MARKERS else stripped
