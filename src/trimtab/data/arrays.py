"""Arrays: ``.npz`` files with ``X`` and ``y``, and pictures or numbers in memory. Nothing is unpickled.

``X`` [N, F] is a table of numbers named x0, x1, ...; [N, H, W] or [N, H, W, C] are pictures.

Legend: ``N`` rows, ``F`` features, ``H W C`` height, width, channels.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.dataset import Dataset, Source, hash_array, hash_dataset
from trimtab.data.features import select_features
from trimtab.data.images import squash_image
from trimtab.data.labels import Labels, quote, read_labels
from trimtab.data.tables import table_source
from trimtab.data.times import places_of_values
from trimtab.errors import InputError, nearest


def open_npz(path: Path, *, name: str, target: str | None, group: str | None, time: str | None = None) -> Source:
    """Return the source for an ``.npz`` file; ``target`` names the labels (``y``), the others arrays of their own.

    Raises
    ------
    InputError
        If an array is missing, holds objects, has the wrong shape or length, or infinite or out-of-range values.
    """
    others = [array for array in (group, time) if array is not None]
    arrays = _read_arrays(path, ("X", target or "y", *others))
    features = arrays["X"]
    texts = _label_texts(arrays[target or "y"], target or "y", path.name)
    for key, array in arrays.items():
        if array.ndim == 0 or len(array) != len(features):
            size = len(array) if array.ndim else "no"
            raise InputError(
                f"'{key}' of {path.name} has {size} rows and 'X' {len(features)}",
                "the same number of rows",
                "write the file again with one label per row",
            )
    labels = read_labels(texts, where=f"'{target or 'y'}' of {path.name}")
    groups = None if group is None else _numbers(arrays[group], group, path.name)[labels.rows]
    times = None if time is None else places_of_values(arrays[time], f"'{time}' of {path.name}")[labels.rows]
    if features.ndim == 2:
        values = _real(features, path.name)
        columns = {f"x{position}": values[:, position] for position in range(values.shape[1])}
        table, warnings = select_features(columns, origin=path.name)
        table = table.take(labels.rows)
        return table_source(name=name, table=table, labels=labels, groups=groups, times=times, warnings=warnings)
    images = _to_images(features, path.name)[labels.rows]
    return image_source(name=name, images=images, labels=labels, groups=groups, times=times)


def image_source(
    *,
    name: str,
    images: NDArray[np.uint8],
    labels: Labels,
    groups: NDArray[np.int64] | None = None,
    times: NDArray[np.int64] | None = None,
) -> Source:
    """Return the source for pictures in memory, uint8 [N, H, W, C]."""

    def load(image_size: int | None, progress: bool) -> Dataset:
        resized = images
        if image_size is not None and images.shape[1:3] != (image_size, image_size):
            resized = np.stack([squash_image(image, image_size, image_size) for image in images])
        return Dataset(
            name=name,
            kind="image",
            labels=labels.numbers,
            class_names=labels.class_names,
            content_hash=hash_dataset(hash_array(resized), labels.numbers, labels.class_names),
            row_names=[f"row {row + 1}" for row in labels.rows],
            images=resized,
            groups=groups,
            times=times,
            warnings=labels.warnings,
        )

    return Source(
        name=name,
        kind="image",
        rows=len(images),
        class_names=labels.class_names,
        class_counts=labels.counts,
        median_size=(images.shape[1], images.shape[2]),
        channels=images.shape[3],
        warnings=labels.warnings,
        loader=load,
    )


def _read_arrays(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        # Opened here, since numpy leaves a damaged file open.
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise zipfile.BadZipFile("it holds a single array")
            return {key: _read_array(file, key, path.name) for key in keys}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else "it is damaged"
        raise InputError(
            f"{path.name} cannot be read ({reason})", "an .npz file with X and y", "write it with numpy.savez"
        ) from error


def _read_array(file: Mapping[str, NDArray[Any]], key: str, origin: str) -> NDArray[Any]:
    names = list(file)
    if key not in names:
        hint = nearest(key, names)
        raise InputError(
            f"{origin} has no array '{key}' (it has {quote(names) or 'none'})",
            "X, and y or the name given as --target",
            f"{hint}write it with numpy.savez(file, X=..., y=...)",
        )
    try:
        return file[key]
    except ValueError as error:
        raise InputError(
            f"'{key}' of {origin} holds Python objects, which would have to be unpickled",
            "an array of numbers or text",
            f"convert it, for example with {key}.astype(str) or {key}.astype(float)",
        ) from error


def _label_texts(labels: NDArray[Any], key: str, origin: str) -> list[str]:
    """Return class names; NaN and empty text are no label."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biufU":
        raise InputError(
            f"'{key}' of {origin} has shape {labels.shape} and type {labels.dtype}",
            "one whole number or text per row",
            "write one class per row",
        )
    if labels.dtype.kind == "f":
        present = labels[~np.isnan(labels)]
        if (present % 1 == 0).all():
            return ["" if np.isnan(label) else str(int(label)) for label in labels]
    texts = [str(label).strip() for label in labels.tolist()]
    if labels.dtype.kind == "b":
        return [text.lower() for text in texts]
    return ["" if text == "nan" else text for text in texts]


def _numbers(array: NDArray[Any], key: str, origin: str) -> NDArray[np.int64]:
    if array.ndim != 1:
        raise InputError(f"'{key}' of {origin} has shape {array.shape}", "one group per row", "flatten it")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _real(features: NDArray[Any], origin: str) -> NDArray[np.float64]:
    if features.dtype.kind not in "biuf":
        raise InputError(f"'X' of {origin} has type {features.dtype}", "real numbers", "convert it")
    return features.astype(np.float64)


def _to_images(features: NDArray[Any], origin: str) -> NDArray[np.uint8]:
    """Return uint8 [N, H, W, C]; floats in 0..1 and whole numbers in 0..255 are taken as they are meant."""
    images = features[..., None] if features.ndim == 3 else features
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        is_first = images.ndim == 4 and images.shape[1] in (1, 3)
        raise InputError(
            f"'X' of {origin} has shape {features.shape}",
            "[rows, features], [rows, height, width] or [rows, height, width, 1 or 3 channels]",
            "move the channels last with X.transpose(0, 2, 3, 1)" if is_first else "reshape it",
        )
    if images.dtype == np.uint8:
        return images
    _real(images[:1], origin)
    low, high = images.min(), images.max()
    if images.dtype.kind == "f" and 0 <= low <= high <= 1:
        return np.round(images * 255).astype(np.uint8)
    if images.dtype.kind in "iu" and 0 <= low <= high <= 255:
        return images.astype(np.uint8)
    raise InputError(
        f"'X' of {origin} has {images.dtype} values from {low} to {high}",
        "pictures as whole numbers in 0..255 or fractions in 0..1",
        "scale it and write it as uint8",
    )
