"""Tables in CSV and Parquet files: found, read, labelled and checked.

A CSV file is UTF-8 with a header; the separator (comma, semicolon, tab or bar) is read off the header. What
becomes of each column is decided in `columns`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.columns import group_numbers, label_texts, likely_targets, read_features, require_column
from trimtab.data.dataset import Dataset, Source, hash_dataset, hash_table
from trimtab.data.labels import Labels, quote, read_labels
from trimtab.data.schema import Table
from trimtab.data.times import places_in_time
from trimtab.errors import InputError

_SEPARATORS = ",;\t|"
_BLOCK_BYTES = 1 << 23  # a row must fit into one


def open_csv(path: Path, *, name: str, target: str | None, group: str | None, time: str | None = None) -> Source:
    """Return the source for a CSV file.

    Raises
    ------
    InputError
        If the file is empty, ragged or not UTF-8, or for the reasons of `open_parquet_table`.
    """
    columns = {"target": target, "group": group, "time": time}
    return _open_table(read_csv(path), path.name, columns, name=name, parse_numbers=True)


def open_parquet_table(
    path: Path, *, name: str, target: str | None, group: str | None, time: str | None = None
) -> Source:
    """Return the source for a Parquet file without pictures.

    Raises
    ------
    InputError
        If the target, group or time column is absent, the classes cannot be learned, numbers are infinite, or no
        column is of use.
    """
    import pyarrow.parquet as pq

    columns = {"target": target, "group": group, "time": time}
    return _open_table(pq.read_table(path), path.name, columns, name=name, parse_numbers=False)


def read_csv(path: Path) -> Any:
    """Return a pyarrow table of texts, as they stand in the file.

    Raises
    ------
    InputError
        If the file is empty, ragged or not UTF-8.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names, separator = _read_header(path)
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(autogenerate_column_names=True, block_size=_BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types={f"f{position}": pa.string() for position in range(len(names))},
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _bad_csv(path, separator, len(names), error) from error
    table = table.slice(1)
    if not table.num_rows:
        raise InputError(f"{path.name} has a header and no rows", "a row per example", "add rows")
    return table.rename_columns(names)


def table_source(
    *,
    name: str,
    table: Table,
    labels: Labels,
    groups: NDArray[np.int64] | None = None,
    times: NDArray[np.int64] | None = None,
    warnings: Sequence[str] = (),
    row_names: Sequence[str] | None = None,
    read_original: Callable[[int], dict[str, object]] | None = None,
) -> Source:
    """Return the source for a table that is in memory; its rows are those of ``labels``, in their order."""
    names = row_names if row_names is not None else [f"row {row + 1}" for row in labels.rows]
    all_warnings = (*warnings, *labels.warnings)

    def load(image_size: int | None, progress: bool) -> Dataset:
        return Dataset(
            name=name,
            kind="table",
            labels=labels.numbers,
            class_names=labels.class_names,
            content_hash=hash_dataset(hash_table(table), labels.numbers, labels.class_names),
            row_names=names,
            table=table,
            groups=groups,
            times=times,
            warnings=all_warnings,
            read_original=read_original,
        )

    return Source(
        name=name,
        kind="table",
        rows=len(labels.numbers),
        class_names=labels.class_names,
        class_counts=labels.counts,
        columns=len(table.columns),
        warnings=all_warnings,
        loader=load,
    )


def _open_table(raw: Any, origin: str, columns: dict[str, str | None], *, name: str, parse_numbers: bool) -> Source:
    if not raw.num_rows:
        raise InputError(f"{origin} has no rows", "a row per example", "add rows")
    _check_names(raw.column_names, origin)
    target, group, time = _choose_target(raw, columns["target"], origin), columns["group"], columns["time"]
    others = [column for column in raw.column_names if column != target]
    for option in ("group", "time"):
        if (column := columns[option]) is not None:
            require_column(column, others, origin=origin, option=f"--{option}")
    where = f"the column '{target}' of {origin}"
    labels = read_labels(label_texts(raw.column(target), where=where), where=where)
    inputs = raw.select([column for column in others if column != group])
    table, warnings = read_features(inputs, origin=origin, parse_numbers=parse_numbers)
    is_complete = len(labels.rows) == raw.num_rows
    return table_source(
        name=name,
        table=table if is_complete else table.take(labels.rows),
        labels=labels,
        groups=None if group is None else group_numbers(raw.column(group))[labels.rows],
        times=None
        if time is None
        else places_in_time(raw.column(time), f"the column '{time}' of {origin}")[labels.rows],
        warnings=warnings,
        read_original=lambda row: _raw_row(inputs, int(labels.rows[row])),
    )


def _raw_row(table: Any, row: int) -> dict[str, object]:
    found: dict[str, object] = table.slice(row, 1).to_pylist()[0]
    return found


def _choose_target(table: Any, target: str | None, origin: str) -> str:
    if target is not None:
        return require_column(target, table.column_names, origin=origin, option="--target")
    likely = likely_targets(table)
    hint = f"likely ones are {quote(likely)}" if likely else f"its columns are {quote(table.column_names)}"
    raise InputError(
        f"{origin} is a table of {len(table.column_names)} columns and no --target was given",
        "the name of the column that holds the classes",
        f"pass --target NAME; {hint}",
    )


def _check_names(names: Sequence[str], origin: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{origin} has more than one column named {quote(twice)}", "a name for each column", "rename one"
        )


def _read_header(path: Path) -> tuple[list[str], str]:
    """Return the column names and the separator; a column without a name is called by its position."""
    try:
        headers = {separator: _first_record(path, separator) for separator in _SEPARATORS}
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    separator = max(_SEPARATORS, key=lambda candidate: len(headers[candidate]))
    names = [name.strip() for name in headers[separator]]
    if not names:
        raise InputError(f"{path.name} is empty", "a header and a row per example", "choose another file")
    if all(_is_number(name) for name in names):
        raise InputError(
            f"the first line of {path.name} holds numbers only", "a header with column names", "add a header line"
        )
    return [name or f"column {position}" for position, name in enumerate(names, start=1)], separator


def _first_record(path: Path, separator: str) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next((cells for cells in csv.reader(file, delimiter=separator) if cells), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bad_csv(path: Path, separator: str, columns: int, error: Exception) -> InputError:
    """Find the line that Arrow stumbled over."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator)
            for cells in reader:
                if cells and len(cells) != columns:
                    return InputError(
                        f"line {reader.line_num} of {path.name} has {len(cells)} cells",
                        f"{columns}, as in the header",
                        "correct that line; a cell with a separator in it needs double quotes",
                    )
    except UnicodeDecodeError:
        return _not_utf8(path)
    except csv.Error as other:
        error = other
    reason = str(error).splitlines()[0][:200]
    return InputError(f"{path.name} cannot be read ({reason})", "a CSV file", "save it again as CSV in UTF-8")


def _not_utf8(path: Path) -> InputError:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                where = f"line {number} of {path.name} (byte 0x{line[error.start]:02x})"
                break
        else:
            where = path.name
    return InputError(f"{where} is not UTF-8 text", "a CSV file in UTF-8", "save it again as CSV in UTF-8")
