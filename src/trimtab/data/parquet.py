"""Parquet files of encoded pictures, as Hugging Face writes them: a column ``struct<bytes, path>`` and a label.

Pictures are read row group by row group, so the file may be larger than memory. Parquet files without such a
column are tables and belong to `tables`.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.cache import hash_files
from trimtab.data.columns import group_numbers, label_texts, require_column
from trimtab.data.dataset import Source
from trimtab.data.decoding import BATCH
from trimtab.data.folder import spread
from trimtab.data.labels import read_labels
from trimtab.data.pictures import PictureSet, picture_source
from trimtab.data.times import places_in_time
from trimtab.errors import InputError
from trimtab.storage import sha256_bytes

_SAMPLED_GROUPS = 4
_SAMPLED_ROWS = 64  # of each of these


class ParquetPictures:
    """The ``rows`` of a picture column that have a label; ``names`` are their paths, or ``"row 17"``."""

    def __init__(self, file: Any, path: Path, column: str, rows: NDArray[np.int64], names: Sequence[str]) -> None:
        self._file, self._path, self._column, self._rows = file, path, column, rows
        self.names = names
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self._starts = [0, *accumulate(sizes)]
        self._group: tuple[int, Any] = (-1, None)

    def read(self, row: int) -> bytes:
        """Return one picture; its row group stays in memory for the next."""
        number = int(self._rows[row])
        group = bisect_right(self._starts, number) - 1
        kept, contents = self._group
        if kept != group:
            contents = self._contents(group)
            self._group = (group, contents)
        return _content(contents, number - self._starts[group])

    def batches(self) -> Iterator[tuple[range, Callable[[int], bytes]]]:
        """Yield rows of one row group at a time, which is read when it is needed."""
        for group in range(len(self._starts) - 1):
            first, last = np.searchsorted(self._rows, self._starts[group : group + 2])
            if first == last:
                continue
            reader = self._reader(self._contents(group), self._starts[group])
            for start in range(int(first), int(last), BATCH):
                yield range(start, min(start + BATCH, int(last))), reader

    def sample(self) -> Sequence[int]:
        """Return rows from the beginning of a few row groups."""
        groups = spread(len(self._starts) - 1, _SAMPLED_GROUPS)
        firsts = np.searchsorted(self._rows, [self._starts[group] for group in groups])
        lasts = np.searchsorted(self._rows, [self._starts[group + 1] for group in groups])
        return [
            int(first) + row
            for first, last in zip(firsts, lasts, strict=True)
            for row in spread(int(last - first), _SAMPLED_ROWS)
            if last > first
        ]

    def contents_hash(self, *, progress: bool) -> str:
        """Return a hash of the file, the column and the rows."""
        rows = sha256_bytes(self._rows.tobytes())
        return sha256_bytes(json.dumps([hash_files([str(self._path)], progress=progress), self._column, rows]).encode())

    def _contents(self, group: int) -> Any:
        table = self._file.read_row_group(group, columns=[f"{self._column}.bytes"])
        return table.column(0).combine_chunks().field("bytes")

    def _reader(self, contents: Any, start: int) -> Callable[[int], bytes]:
        return lambda row: _content(contents, int(self._rows[row]) - start)


def open_parquet_pictures(
    path: Path,
    *,
    name: str,
    target: str | None,
    group: str | None,
    time: str | None = None,
    skip_unreadable: bool = False,
) -> Source | None:
    """Return the source for a Parquet file of pictures, or ``None`` when it has no picture column.

    Raises
    ------
    InputError
        If the label, group or time column is missing, the classes cannot be learned, or pictures cannot be read.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    columns = [field.name for field in file.schema_arrow if _is_picture(field.type)]
    if not columns:
        return None
    column = "image" if "image" in columns else columns[0]
    others = [field.name for field in file.schema_arrow if field.name not in columns]
    label = require_column(target or "label", others, origin=path.name, option="--target")
    given = {option: value for option, value in (("group", group), ("time", time)) if value is not None}
    for option, value in given.items():
        require_column(value, others, origin=path.name, option=f"--{option}")
    table = pq.read_table(path, columns=list(dict.fromkeys([label, *given.values()])))
    texts, order = _labels(table.column(label), file.schema_arrow.metadata, label, path.name)
    labels = read_labels(texts, where=f"the column '{label}' of {path.name}", order=order)
    names = _names(file, column)
    found = PictureSet(
        name=name,
        where=path.name,
        pictures=ParquetPictures(file, path, column, labels.rows, [names[row] for row in labels.rows]),
        labels=labels,
        groups=None if group is None else group_numbers(table.column(group))[labels.rows],
        times=None if time is None else places_in_time(table.column(time), f"the column '{time}'")[labels.rows],
        warnings=tuple(f"ignored the picture column '{other}'" for other in columns if other != column),
        skip_unreadable=skip_unreadable,
    )
    return picture_source(found)


def _is_picture(kind: Any) -> bool:
    import pyarrow as pa

    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    content = kind.field("bytes").type
    return bool(pa.types.is_binary(content) or pa.types.is_large_binary(content))


def _labels(column: Any, metadata: Any, label: str, origin: str) -> tuple[Sequence[str], list[str] | None]:
    """Return the class name of each row, by the names in the metadata when they are there, and their order."""
    names = _class_names(metadata, label)
    if names is None:
        return label_texts(column, where=f"the column '{label}' of {origin}"), None
    numbers = column.to_pylist()
    wrong = next((number for number in numbers if number is not None and not -1 <= number < len(names)), None)
    if wrong is not None:
        raise InputError(
            f"the column '{label}' of {origin} holds the class number {wrong}",
            f"0 to {len(names) - 1}, for the {len(names)} class names in the file, or -1 for no label",
            "write the file again with all class names",
        )
    return ["" if number is None or number < 0 else names[number] for number in numbers], names


def _class_names(metadata: Any, label: str) -> list[str] | None:
    """Read the names that Hugging Face's `datasets` leaves in the schema; anything unexpected means there are none."""
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][label]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _names(file: Any, column: str) -> list[str]:
    """Return the path of each picture where there is one, else the number of its row."""
    paths: list[str | None] = [None] * file.metadata.num_rows
    if file.schema_arrow.field(column).type.get_field_index("path") >= 0:
        stored = file.read(columns=[f"{column}.path"]).column(0).combine_chunks()
        paths = [None if path is None else str(path) for path in stored.field("path").to_pylist()]
    return [path or f"row {row}" for row, path in enumerate(paths, start=1)]


def _content(contents: Any, position: int) -> bytes:
    content = contents[position].as_py()
    if content is None:
        raise OSError("the file holds no bytes for it")
    return bytes(content)
