"""A bundle as an object that predicts: pictures or rows in, probabilities out; how it is loaded is in `loading`.

It decodes and parses exactly as training did, and runs in batches, so that memory stays bounded however much is
given. Figures about how good the model is are in the manifest; nothing is measured here.

Legend: ``N`` examples, ``H W C`` height, width, channels, ``K`` classes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trimtab.data.encoding import NumberEncoding, TableEncoder
from trimtab.data.images import decode_image, resize_image
from trimtab.data.schema import Table
from trimtab.deployment.rows import Rows, to_rows
from trimtab.deployment.session import AnySession
from trimtab.deployment.signature import name_input
from trimtab.errors import InputError

_ROWS_PER_BATCH = 4096
_PICTURES_PER_BATCH = 64
_PIXELS_PER_BATCH = 2**17  # keeps the activations of a batch, and of its mirror images, in the tens of megabytes


@final
class Predictor:
    """What `trimtab.load` returns.

    Attributes
    ----------
    manifest
        As in ``manifest.json``.
    kind
        ``"image"`` or ``"table"``.
    class_names
        In the order of the probabilities.
    threads
        That one prediction may use.
    """

    def __init__(self, manifest: Mapping[str, Any], session: AnySession, *, threads: int) -> None:
        self.manifest = dict(manifest)
        self.kind: str = manifest["kind"]
        self.class_names: tuple[str, ...] = tuple(manifest["class_names"])
        self.threads = threads
        self._session = session
        self._preprocessing: Mapping[str, Any] = manifest["preprocessing"]

    def __repr__(self) -> str:
        """Return what it is, in one line."""
        name, classes = self.manifest.get("name", "?"), len(self.class_names)
        return f"<Predictor {name}: {self.kind}, {classes} classes, {self.threads} threads>"

    def predict(self, data: Any) -> list[str]:
        """Return the most probable class of each example; ``data`` as for `predict_proba`."""
        return [self.class_names[index] for index in self.predict_proba(data).argmax(axis=1)]

    def predict_proba(self, data: Any) -> NDArray[np.float32]:
        """Return the probabilities, float32 [N, K].

        Parameters
        ----------
        data
            Pictures: uint8 [N, H, W, C] or one [H, W, C] (C may be left out when it is 1); file names, `Path`
            objects, encoded files as bytes or arrays [H, W, C], one or any number of them, sizes mixed.
            Tables: a row as a mapping, a list of rows, a mapping of columns, a `Table`, a pandas or PyArrow
            table, an array [N, columns] in the order of ``manifest["inputs"]``, or the name of a CSV or Parquet file.

        Raises
        ------
        InputError
            If the data are of the wrong kind, shape or type, or cannot be read; names what is wrong.
        """
        return self.predict_proba_with_warnings(data)[0]

    def predict_proba_with_warnings(self, data: Any) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Return the probabilities and what was odd about the rows; for pictures there are no warnings."""
        batches, warnings = self._prepare(data)
        parts = [self._session.run(feeds) for feeds in batches]
        return np.concatenate([np.empty((0, len(self.class_names)), dtype=np.float32), *parts]), warnings

    def feeds(self, data: Any) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield ``data``, as for `predict_proba`, batch by batch as the model file takes it: for calibration."""
        yield from self._prepare(data)[0]

    def _prepare(self, data: Any) -> tuple[Iterator[dict[str, NDArray[Any]]], tuple[str, ...]]:
        if self.kind == "image":
            return self._picture_feeds(data), ()
        encoder = self._encoder
        if isinstance(data, np.ndarray):
            data = _name_columns(data, [column.name for column in encoder.columns])
        table, warnings = (data, ()) if isinstance(data, Table) else encoder.parse_rows(self._rows(data))
        return _table_feeds(encoder, table), warnings

    def _rows(self, data: Any) -> Rows:
        """Return raw rows without the label column, so that a labelled file may be given as it is."""
        rows, target = to_rows(data), self._preprocessing.get("target")
        if target is None or not any(isinstance(row, Mapping) and target in row for row in rows):
            return rows
        return [
            {name: value for name, value in row.items() if name != target} if isinstance(row, Mapping) else row
            for row in rows
        ]

    @cached_property
    def _encoder(self) -> TableEncoder:
        return TableEncoder.from_dict(self._preprocessing["encoder"])

    def _picture_feeds(self, data: Any) -> Iterator[dict[str, NDArray[Any]]]:
        size, channels = int(self._preprocessing["image_size"]), int(self._preprocessing["channels"])
        # Resized here, not in the graph (which can do it too): exactly as training did, and in full batches.
        pictures = (resize_image(picture, size) for picture in _pictures(data, channels, size))
        count = max(1, min(_PICTURES_PER_BATCH, _PIXELS_PER_BATCH // size**2))
        while batch := list(islice(pictures, count)):
            yield {"image": np.stack(batch)}


def _pictures(data: Any, channels: int, size: int) -> Iterator[NDArray[np.uint8]]:
    """Give each picture as uint8 [H, W, C], one at a time."""
    if isinstance(data, (str, Path, bytes, bytearray, memoryview)) or hasattr(data, "getbands"):
        data = [data]
    if isinstance(data, np.ndarray):
        yield from _check_array(data, channels)
        return
    if not isinstance(data, Iterable) or isinstance(data, Mapping):
        raise _wrong_pictures(f"the data are {_type_name(data)}", channels)
    for position, item in enumerate(data, start=1):
        if hasattr(item, "getbands"):  # a Pillow image
            item = _encode_png(item)
        if isinstance(item, np.ndarray):
            if item.ndim == 4 or (item.ndim == 3 and item.shape[2] != channels):
                raise _wrong_pictures(f"picture {position} is {_describe(item)}", channels)
            yield from _check_array(item, channels)
        elif isinstance(item, (bytes, bytearray, memoryview)):
            yield decode_image(bytes(item), channels=channels, name=f"number {position}", near=size)
        elif isinstance(item, (str, Path)):
            yield decode_image(_read(Path(item)), channels=channels, name=str(item), near=size)
        else:
            raise _wrong_pictures(f"picture {position} is {_type_name(item)}", channels)


def _check_array(array: NDArray[Any], channels: int) -> NDArray[np.uint8]:
    """Return uint8 [N, H, W, C] or raise."""
    pictures = array
    if channels == 1 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] != 1)):
        pictures = array[..., None]
    if pictures.ndim == 3:
        pictures = pictures[None]
    is_right = array.dtype == np.uint8 and pictures.ndim == 4 and pictures.shape[3] == channels
    if not is_right or 0 in pictures.shape[1:]:
        raise _wrong_pictures(f"the array is {_describe(array)}", channels)
    return pictures


def _encode_png(image: Any) -> bytes:
    """Return a Pillow image as an encoded file, so that it takes the way of all others."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def _name_columns(values: NDArray[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    if values.ndim != 2 or values.shape[1] != len(names):
        raise InputError(
            f"the array is {_describe(values)}",
            f"[N, {len(names)}], a column each for {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}",
            "give these columns in this order, or rows as mappings",
        )
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = "is a directory" if path.is_dir() else (error.strerror or "cannot be read").lower()
        raise InputError(
            f"the picture {path} cannot be opened ({reason})", "the name of a picture file", "check the name"
        ) from error


def _wrong_pictures(given: str, channels: int) -> InputError:
    shape = f"[N, H, W, {channels}] or [H, W, {channels}]" + (" (or without the 1)" if channels == 1 else "")
    return InputError(given, f"uint8 {shape}, file names or encoded files", "convert the pictures or give their files")


def _describe(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _type_name(value: object) -> str:
    return f"of the type {type(value).__name__}"


def _table_feeds(encoder: TableEncoder, table: Table) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, len(table), _ROWS_PER_BATCH):
        block = slice(start, start + _ROWS_PER_BATCH)
        feeds: dict[str, NDArray[Any]] = {}
        for column in encoder.columns:
            values = table.columns[column.name][block, None]
            if isinstance(column, NumberEncoding):
                with np.errstate(over="ignore"):  # beyond float32 is infinite, which the outermost bin clips
                    values = values.astype(np.float32)
            else:
                values = _encodable(values)
            feeds[name_input(column.name)] = values
        yield feeds


def _encodable(texts: NDArray[Any]) -> NDArray[Any]:
    """Return the texts in a form that UTF-8 can hold: JSON may carry half a character, no training value does."""
    try:
        "".join(texts[:, 0]).encode()
    except UnicodeEncodeError:
        return np.array([[text.encode(errors="backslashreplace").decode()] for text in texts[:, 0]], dtype=object)
    return texts
