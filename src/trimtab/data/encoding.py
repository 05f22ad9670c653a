"""From columns to the numbers a network reads: piecewise-linear bins and one-hot values.

The encoder is fitted on training rows only, is saved as JSON with the model and needs only NumPy, so that a
served model encodes exactly as training did. It does not read files; raw rows are parsed in `rows`.

Legend: ``N`` rows, ``F`` features.

References
----------
Gorishniy, Rubachev, Babenko (2022), "On Embeddings for Numerical Features in Tabular Deep Learning", section 3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.rows import parse_rows
from trimtab.data.schema import FloatArray, Table

MAXIMUM_BINS = 16
MAXIMUM_VALUES = 100
_ROWS_AT_ONCE = 65_536  # bounds the float64 temporaries


@dataclass(frozen=True, kw_only=True)
class NumberEncoding:
    """A number column as bins: feature ``b`` is ``clip((x - edges[b]) / (edges[b + 1] - edges[b]), 0, 1)``.

    Attributes
    ----------
    name
        The column.
    edges
        Increasing bin edges, exact in float32; fewer than two mean no bin (a constant column).
    median
        Stands in for a missing value.
    has_missing
        Whether values were missing in training; if so, one more feature says 1 where the value is missing.
    """

    name: str
    edges: tuple[float, ...]
    median: float
    has_missing: bool

    @property
    def num_bins(self) -> int:
        """Bins between the edges."""
        return max(len(self.edges) - 1, 0)

    @property
    def num_features(self) -> int:
        """Bins, and one for the indicator of missing values."""
        return self.num_bins + self.has_missing

    def encode_into(self, values: NDArray[Any], out: FloatArray) -> None:
        """Write the features of float64 [N] ``values`` into ``out`` [N, num_features]."""
        edges = np.array(self.edges)
        for start in range(0, len(values), _ROWS_AT_ONCE):
            block = slice(start, start + _ROWS_AT_ONCE)
            missing = np.isnan(values[block])
            # Rounded to float32 first, as the exported model receives it.
            filled = _to_float32(np.where(missing, self.median, values[block])).astype(np.float64)
            if self.num_bins:
                position = (filled[:, None] - edges[:-1]) / np.diff(edges)
                np.clip(position, 0.0, 1.0, out=out[block, : self.num_bins])
            if self.has_missing:
                out[block, -1] = missing


@dataclass(frozen=True, kw_only=True)
class CategoryEncoding:
    """A category column as one feature per value; a value not listed is all zeros.

    Attributes
    ----------
    name
        The column.
    values
        Most frequent first; ``""``, a missing value, is a value like others when training had it.
    """

    name: str
    values: tuple[str, ...]

    @property
    def num_features(self) -> int:
        """One per value."""
        return len(self.values)

    def encode_into(self, values: NDArray[Any], out: FloatArray) -> None:
        """Write the features of object [N] ``values`` into ``out`` [N, num_features]."""
        index = {value: position for position, value in enumerate(self.values)}
        found = (index.get(value, -1) for value in values)
        codes = np.fromiter(found, dtype=np.int64, count=len(values))
        rows = np.flatnonzero(codes >= 0)
        out[...] = 0.0
        out[rows, codes[rows]] = 1.0


@dataclass(frozen=True, kw_only=True)
class TableEncoder:
    """The encodings of a table's columns, in table order."""

    columns: tuple[NumberEncoding | CategoryEncoding, ...]

    @classmethod
    def fit(cls, table: Table, rows: NDArray[np.int64]) -> TableEncoder:
        """Return the encoder for ``table``; edges, medians and values come from ``rows`` (training) alone."""
        training = table.take(rows)
        return cls(
            columns=tuple(
                _fit_number(name, training.columns[name])
                if kind == "number"
                else _fit_category(name, training.columns[name])
                for name, kind in table.kinds.items()
            )
        )

    @property
    def num_features(self) -> int:
        """Width of what `encode` returns."""
        return sum(column.num_features for column in self.columns)

    def encode(self, table: Table) -> FloatArray:
        """Return float32 [N, F], C-contiguous, in 0..1: the features of each column side by side.

        Raises
        ------
        KeyError
            If the table lacks one of this encoder's columns.
        """
        features = np.empty((len(table), self.num_features), dtype=np.float32)
        ends = accumulate(column.num_features for column in self.columns)
        for column, end in zip(self.columns, ends, strict=True):
            column.encode_into(table.columns[column.name], features[:, end - column.num_features : end])
        return features

    def parse_rows(self, rows: Sequence[Mapping[str, object]]) -> tuple[Table, tuple[str, ...]]:
        """Return raw rows (from JSON or CSV) as a table in this encoder's columns, and warnings.

        A column that a row lacks is a missing value; numbers may come as text; an unknown column is ignored and
        an unknown value encodes as zeros. Each of these gives one warning per column.

        Raises
        ------
        InputError
            If a row is not a mapping, a number column holds something else or an infinite value (row, column
            and value are named, rows count from 1), or no row has any of the columns.
        """
        values = {
            column.name: None if isinstance(column, NumberEncoding) else frozenset(column.values)
            for column in self.columns
        }
        return parse_rows(rows, values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {"columns": [_column_to_dict(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TableEncoder:
        """Return the encoder that `to_dict` gave."""
        return cls(columns=tuple(_column_from_dict(column) for column in fields["columns"]))


def _fit_number(name: str, values: NDArray[Any]) -> NumberEncoding:
    present = values[~np.isnan(values)]
    return NumberEncoding(
        name=name,
        edges=tuple(float(edge) for edge in _bin_edges(present)),
        median=float(_to_float32(np.median(present))) if len(present) else 0.0,
        has_missing=len(present) < len(values),
    )


def _bin_edges(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Every distinct value when few; else quantiles, and where ties leave edges over, quantiles of the distinct."""
    distinct = np.unique(_to_float32(values))
    if len(distinct) <= MAXIMUM_BINS + 1:
        return distinct
    edges = np.unique(_to_float32(np.quantile(values, np.linspace(0, 1, MAXIMUM_BINS + 1))))
    spare = MAXIMUM_BINS + 1 - len(edges)
    tail = np.quantile(distinct, np.linspace(0, 1, spare + 2)[1:-1])
    return np.unique(np.concatenate([edges, _to_float32(tail)]))


def _fit_category(name: str, values: NDArray[Any]) -> CategoryEncoding:
    """Keep the frequent values: at least two examples, ten when there are ten thousand rows."""
    least = min(10, max(2, len(values) // 1000))
    ranked = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    kept = [value for value, count in ranked[:MAXIMUM_VALUES] if count >= least]
    return CategoryEncoding(name=name, values=tuple(kept))


def _to_float32(values: NDArray[Any] | np.floating[Any]) -> FloatArray:
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which the outermost bin clips
        return np.asarray(values, dtype=np.float32)


def _column_to_dict(column: NumberEncoding | CategoryEncoding) -> dict[str, Any]:
    kind = "number" if isinstance(column, NumberEncoding) else "category"
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(column).items()}
    return {"kind": kind, **fields}


def _column_from_dict(fields: Mapping[str, Any]) -> NumberEncoding | CategoryEncoding:
    if fields["kind"] == "category":
        return CategoryEncoding(name=fields["name"], values=tuple(fields["values"]))
    return NumberEncoding(
        name=fields["name"],
        edges=tuple(fields["edges"]),
        median=fields["median"],
        has_missing=fields["has_missing"],
    )
