"""Files of predictions, by whatever system: read in parts, so that they may be larger than memory.

A row per example: ``label`` (the true class), ``p_<class>`` for each class (or ``prediction``, when only classes were
predicted), and, where there are such, ``group`` and ``name``. Parquet and CSV. What cannot be used is said in one
sentence with the number of the row, counted from 1 below the header.

Legend: ``n`` rows of a part, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import InputError, nearest
from trimtab.evaluation.counts import IntArray
from trimtab.evaluation.labels import fault_of_probabilities

LABEL, GROUP, NAME, PREDICTION, PROBABILITY = "label", "group", "name", "prediction", "p_"
_ROWS = 2**17  # of a part
_EXPECTED = "the columns label and p_<class> for each class (or label and prediction), optionally group and name"


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some rows of a file.

    Attributes
    ----------
    labels
        int64 [n] in 0 to K - 1.
    probabilities
        float [n, K]; ``None`` when the file holds predicted classes.
    predictions
        int64 [n]; ``None`` when the file holds probabilities.
    groups, names
        Text [n], or ``None``.
    """

    labels: IntArray
    probabilities: NDArray[np.floating] | None
    predictions: IntArray | None
    groups: NDArray[Any] | None
    names: NDArray[Any] | None


@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """An opened file of predictions.

    Attributes
    ----------
    path
        Of the file.
    class_names
        K names, in the order of the probability columns; sorted when there are none.
    columns
        The columns that are read.
    num_parts
        How many parts `part` can be asked for; at most one row group of Parquet each.
    rows
        How many there are; ``None`` when that is not known before reading (CSV).
    """

    path: Path
    class_names: tuple[str, ...]
    columns: tuple[str, ...]
    num_parts: int
    rows: int | None

    @property
    def has_probabilities(self) -> bool:
        """Whether there are probabilities, not only predicted classes."""
        return PREDICTION not in self.columns

    @property
    def has_groups(self) -> bool:
        """Whether rows belong to groups."""
        return GROUP in self.columns

    def parts(self, *, worker: int = 0, workers: int = 1) -> Iterator[Part]:
        """Yield the rows in parts, in order; with several workers, every ``workers``-th row group.

        Raises
        ------
        InputError
            If a label is missing or no class, a probability is not one, a group is missing, or the file is damaged.
        """
        import pyarrow

        first = 1
        try:
            for is_ours, table in self._tables(worker, workers):
                if is_ours:
                    yield self._part(table, first)
                first += table.num_rows if hasattr(table, "num_rows") else table
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise _damaged(self.path, error) from error

    def _tables(self, worker: int, workers: int) -> Iterator[tuple[bool, Any]]:
        """Yield whether a table is to be read and the table, or its number of rows if it is not."""
        if self.path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            with parquet.ParquetFile(self.path) as file:
                for number in range(file.num_row_groups):
                    if number % workers != worker:
                        yield False, file.metadata.row_group(number).num_rows
                        continue
                    batches = file.iter_batches(_ROWS, row_groups=[number], columns=list(self.columns))
                    yield from ((True, batch) for batch in batches)
        elif worker == 0:
            yield from ((True, batch) for batch in _open_csv(self.path, self.columns))

    def _part(self, table: Any, first: int) -> Part:
        read = _Reader(table, self.path, first)
        labels = read.classes(LABEL, self.class_names)
        return Part(
            labels=labels,
            probabilities=read.probabilities(self.class_names) if self.has_probabilities else None,
            predictions=None if self.has_probabilities else read.classes(PREDICTION, self.class_names),
            groups=read.texts(GROUP) if self.has_groups else None,
            names=read.texts(NAME) if NAME in self.columns else None,
        )


def open_predictions(path: str | Path) -> PredictionFile:
    """Return a file of predictions whose columns were found to be right; no row is read where there are probabilities.

    Raises
    ------
    InputError
        If there is no such file, or a column is missing; names it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}", "a Parquet or CSV file of predictions", "check the name")
    columns, rows, groups = _read_header(path)
    if LABEL not in columns:
        suggestion = nearest(LABEL, columns)
        raise InputError(
            f"{path} has no column 'label' (its columns are {', '.join(columns[:8])})",
            _EXPECTED,
            f"{suggestion}rename the column of true classes",
        )
    classes = tuple(name.removeprefix(PROBABILITY) for name in columns if name.startswith(PROBABILITY))
    used = [LABEL, *(f"{PROBABILITY}{name}" for name in classes)] if classes else [LABEL, PREDICTION]
    if len(classes) == 1:
        raise InputError(
            f"{path} has one column of probabilities, 'p_{classes[0]}'",
            "one for each class, two at least",
            "add the other class's, 1 minus this one",
        )
    if not classes and PREDICTION not in columns:
        raise InputError(f"{path} has neither p_<class> columns nor 'prediction'", _EXPECTED, "add what was predicted")
    used += [name for name in (GROUP, NAME) if name in columns]
    file = PredictionFile(path=path, class_names=classes, columns=tuple(used), num_parts=groups, rows=rows)
    return file if classes else PredictionFile(**{**vars(file), "class_names": _occurring(file)})


def _read_header(path: Path) -> tuple[list[str], int | None, int]:
    """Return the column names, the number of rows if it is known, and of row groups."""
    import pyarrow

    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            with parquet.ParquetFile(path) as file:
                return file.schema_arrow.names, file.metadata.num_rows, file.num_row_groups
        from pyarrow import csv

        with csv.open_csv(path) as reader:
            return reader.schema.names, None, 1
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from error


def _open_csv(path: Path, columns: Sequence[str]) -> Any:
    import pyarrow
    from pyarrow import csv

    types = {name: pyarrow.float64() if name.startswith(PROBABILITY) else pyarrow.string() for name in columns}
    convert = csv.ConvertOptions(include_columns=list(columns), column_types=types, strings_can_be_null=True)
    return csv.open_csv(path, convert_options=convert)


def _occurring(file: PredictionFile) -> tuple[str, ...]:
    """Return the classes that labels or predictions name, sorted; those that are numbers in their order."""
    found: set[str] = set()
    for _, table in file._tables(0, 1):
        for name in (LABEL, PREDICTION):
            found |= set(_as_text(table.column(name)).unique().to_pylist()) - {None}
    if len(found) < 2:
        raise InputError(
            f"{file.path} names {len(found)} classes", "two at least, in label and prediction", "add the other rows"
        )
    is_number = all(name.lstrip("-").isdigit() for name in found)
    return tuple(sorted(found, key=int) if is_number else sorted(found))


@dataclass(frozen=True)
class _Reader:
    """Reads columns of one part and says in which row something is wrong."""

    table: Any
    path: Path
    first: int  # number of the first row

    def classes(self, column: str, class_names: Sequence[str]) -> IntArray:
        import pyarrow
        from pyarrow import compute

        texts = _as_text(self.table.column(column))
        self._refuse_missing(texts, column)
        numbers = compute.index_in(texts, value_set=pyarrow.array(class_names, pyarrow.string()))
        if numbers.null_count:
            row = int(np.argmax(numbers.is_null().to_numpy(zero_copy_only=False)))
            what = f"{column} '{texts[row].as_py()}' in row {self.first + row:,} of {self.path}"
            raise InputError(
                f"{what} is none of the classes {', '.join(class_names[:8])}{', ...' if len(class_names) > 8 else ''}",
                f"a column p_{texts[row].as_py()}",
                "add it, with zeros if the model does not know the class, or leave these rows out",
            )
        found: IntArray = numbers.to_numpy(zero_copy_only=False).astype(np.int64)
        return found

    def probabilities(self, class_names: Sequence[str]) -> NDArray[np.floating]:
        columns = [self.table.column(f"{PROBABILITY}{name}") for name in class_names]
        for name, column in zip(class_names, columns, strict=True):
            self._refuse_missing(column, f"{PROBABILITY}{name}")
        arrays = [_as_numbers(column, self.path, name) for column, name in zip(columns, class_names, strict=True)]
        values = np.stack(arrays, axis=1)
        found = fault_of_probabilities(values)
        if found is not None:
            what, rows = found
            raise InputError(
                f"probabilities {what} in row {self.first + int(rows[0]):,} of {self.path}",
                "softmax output: from 0 to 1, with a sum of one in each row",
                "write probabilities, not logits or percentages",
            )
        return values

    def texts(self, column: str) -> NDArray[Any]:
        texts = _as_text(self.table.column(column))
        self._refuse_missing(texts, column)
        found = texts.to_numpy(zero_copy_only=False)
        if (found == "").any():
            raise self._missing(column, int(np.argmax(found == "")))
        values: NDArray[Any] = found.astype(str)
        return values

    def _refuse_missing(self, values: Any, column: str) -> None:
        if values.null_count:
            raise self._missing(column, int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))))

    def _missing(self, column: str, row: int) -> InputError:
        return InputError(
            f"{column} is missing in row {self.first + row:,} of {self.path}",
            f"a {column} in each row",
            "fill it in or leave such rows out",
        )


def _as_text(column: Any) -> Any:
    """Return a column as text; whole numbers written as 3.0 become 3."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_floating(column.type):
        whole = compute.all(compute.equal(compute.floor(column), column)).as_py()
        column = column.cast(pyarrow.int64()) if whole else column
    if types.is_boolean(column.type):
        column = column.cast(pyarrow.int8())
    return column.cast(pyarrow.string())


def _as_numbers(column: Any, path: Path, name: str) -> NDArray[np.floating]:
    from pyarrow import types

    if types.is_floating(column.type) or types.is_integer(column.type):
        values: NDArray[np.floating] = column.to_numpy(zero_copy_only=False)
        return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
    raise InputError(f"{PROBABILITY}{name} of {path} holds {column.type}", "numbers", "write probabilities as numbers")


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0][:200]
    return InputError(f"{path} cannot be read ({reason})", "a Parquet or CSV file of predictions", "write it again")
