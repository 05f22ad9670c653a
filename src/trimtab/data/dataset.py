"""Labelled data, ready to train on: features, labels, class names and where each row came from.

`Source` is what is known before decoding, `Dataset` what comes after. Finding and reading are the work of
`sources`, dividing that of `splits`.

Legend: ``N`` rows, ``H W C`` height, width and channels of a picture, ``K`` classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trimtab.data.schema import Table
from trimtab.storage import sha256_bytes

DatasetKind = Literal["image", "table"]

_HASHED = 256  # rows at a time


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Features and labels of ``N`` rows; either ``images`` or ``table`` is there.

    Attributes
    ----------
    name
        Short, for the name of a run.
    kind
        ``"image"`` or ``"table"``.
    labels
        [N] class numbers in 0..K-1.
    class_names
        [K] in the order of the class numbers.
    content_hash
        SHA-256 over the decoded features, the labels and the class names.
    row_names
        [N] path relative to the root of the data, or ``"row 17"`` (the first row is 1).
    images
        [N, H, W, C], ``C`` 1 or 3; usually memory-mapped, read only.
    table
        N rows.
    groups
        [N] number of the group that must stay in one part, or ``None``.
    times
        [N] place of the row in time, equal where the moment is the same; ``None`` unless asked for.
    parts
        [N] the split that the data came with: 0 train, 1 validation, 2 test, -1 none; ``None`` when it had none.
    warnings
        What was skipped, dropped or odd, one sentence each.
    read_original
        From row number to the encoded picture as it was found, or to the raw row of a table by column name.

    Raises
    ------
    ValueError
        If lengths disagree or not exactly one of ``images`` and ``table`` is given.
    """

    name: str
    kind: DatasetKind
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    content_hash: str
    row_names: Sequence[str]
    images: NDArray[np.uint8] | None = None
    table: Table | None = None
    groups: NDArray[np.int64] | None = None
    times: NDArray[np.int64] | None = None
    parts: NDArray[np.int8] | None = None
    warnings: tuple[str, ...] = ()
    read_original: Callable[[int], bytes | dict[str, object]] | None = None

    def __post_init__(self) -> None:
        """Refuse fields that do not belong together."""
        if (self.images is None) == (self.table is None):
            raise ValueError("images and table are both given or both absent; expected one of them.")
        optional = (self.images, self.table, self.groups, self.times, self.parts)
        lengths = {len(field) for field in (self.labels, self.row_names, *optional) if field is not None}
        if len(lengths) > 1:
            raise ValueError(f"the fields have {sorted(lengths)} rows; expected the same number in each.")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Rows of each class, in class order."""
        return tuple(int(count) for count in np.bincount(self.labels, minlength=self.num_classes))


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was found at a place, known without decoding it; `load` gives the `Dataset`.

    Attributes
    ----------
    name
        Short, for the name of a run.
    kind
        ``"image"`` or ``"table"``.
    rows
        Labelled rows.
    class_names, class_counts
        [K] and the rows of each.
    median_size
        (height, width) of the pictures looked at; ``None`` for tables.
    all_same_size
        Whether the pictures looked at have one size; ``True`` for tables.
    channels
        1 when every picture looked at is grey, else 3; ``None`` for tables.
    columns
        Usable columns of a table; 0 for pictures.
    warnings
        What was ignored, dropped or odd; the dataset carries them on.
    loader
        Does the work of `load`.
    """

    name: str
    kind: DatasetKind
    rows: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    median_size: tuple[int, int] | None = None
    all_same_size: bool = True
    channels: int | None = None
    columns: int = 0
    warnings: tuple[str, ...] = ()
    loader: Callable[[int | None, bool], Dataset] = field(repr=False, compare=False)

    def load(self, *, image_size: int | None = None, progress: bool = False) -> Dataset:
        """Return the decoded data.

        Parameters
        ----------
        image_size
            Pictures are squashed to this height and width; ``None`` keeps the size that those
            looked at share, and squashes any other to it.
            Tables ignore it.
        progress
            Show a progress bar on standard error.

        Raises
        ------
        ValueError
            If ``image_size`` is below 1, or absent although sizes differ.
        InputError
            If pictures cannot be read.
        OutputError
            If the cache cannot be written.
        """
        if image_size is not None and image_size < 1:
            raise ValueError(f"image_size is {image_size}; expected at least 1 pixel.")
        if image_size is None and not self.all_same_size:
            raise ValueError("image_size is None but the pictures differ in size; expected a number of pixels.")
        return self.loader(image_size, progress)


def hash_dataset(features_hash: str, labels: NDArray[np.int64], class_names: Sequence[str]) -> str:
    """Return the content hash of a dataset from that of its features."""
    header = json.dumps([features_hash, list(class_names)])
    return sha256_bytes(header.encode() + np.ascontiguousarray(labels, dtype="<i8").tobytes())


def hash_array(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array of numbers with its shape and dtype, without copying a contiguous one."""
    digest = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hash_rows(array: NDArray[Any], rows: NDArray[np.int64]) -> str:
    """Return what `hash_array` gives for ``array[rows]``, a bounded number of rows at a time."""
    digest = hashlib.sha256(f"{(len(rows), *array.shape[1:])} {array.dtype.str}".encode())
    for start in range(0, len(rows), _HASHED):
        digest.update(np.ascontiguousarray(array[rows[start : start + _HASHED]]).data)
    return digest.hexdigest()


def hash_table(table: Table) -> str:
    """Return the SHA-256 of a table's names, kinds and cells."""
    digest = hashlib.sha256(json.dumps(list(table.kinds.items())).encode())
    for name, kind in table.kinds.items():
        values = table.columns[name]
        content = hash_array(values) if kind == "number" else json.dumps(values.tolist())
        digest.update(content.encode())
    return digest.hexdigest()
