"""Pictures of any origin as one source: a look at some headers first, the decoded dataset on demand.

What differs between a folder and a Parquet file is behind the protocol `Pictures` in `decoding`.

Legend: ``N`` pictures, ``H W C`` height, width, channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.data.dataset import Dataset, Source, hash_dataset
from trimtab.data.decoding import Failure, Pictures, decode_pictures, list_failures, read_content, refuse_failures
from trimtab.data.images import PictureError, PictureTooLargeError, is_gray, open_header, upright_size
from trimtab.data.labels import Labels, check_classes


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Everything known about pictures before they are decoded.

    Attributes
    ----------
    name
        Of the dataset.
    where
        Names the place in errors.
    pictures
        ``N`` of them, all labelled.
    labels
        Their labels; ``labels.rows`` is not used.
    parts, groups, times
        [N] as in `Dataset`.
    warnings
        From finding them.
    skip_unreadable
        Leave unreadable pictures out, however many.
    """

    name: str
    where: str
    pictures: Pictures
    labels: Labels
    parts: NDArray[np.int8] | None = None
    groups: NDArray[np.int64] | None = None
    times: NDArray[np.int64] | None = None
    warnings: tuple[str, ...] = ()
    skip_unreadable: bool = False


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What the headers of a sample say."""

    sizes: list[tuple[int, int]]
    is_gray: bool
    failures: list[Failure]
    looked_at: int

    @property
    def median_size(self) -> tuple[int, int]:
        height, width = np.median(np.array(self.sizes), axis=0)
        return int(height), int(width)


def picture_source(found: PictureSet) -> Source:
    """Return the source for pictures that were found and labelled.

    Raises
    ------
    InputError
        If none of the pictures looked at can be read, or one is too large, or all were looked at and above one
        in a hundred cannot be read.
    """
    look = _look(found.pictures)
    warnings = (*found.warnings, *found.labels.warnings, *_check_look(look, found))
    median = look.median_size
    channels = 1 if look.is_gray else 3

    def load(image_size: int | None, progress: bool) -> Dataset:
        height, width = (image_size, image_size) if image_size else median
        return _load(found, (height, width, channels), warnings, progress=progress)

    return Source(
        name=found.name,
        kind="image",
        rows=len(found.pictures.names),
        class_names=found.labels.class_names,
        class_counts=found.labels.counts,
        median_size=median,
        all_same_size=len(set(look.sizes)) == 1,
        channels=channels,
        warnings=warnings,
        loader=load,
    )


def _look(pictures: Pictures) -> _Look:
    sizes, failures, all_gray, rows = [], [], True, pictures.sample()
    for row in rows:
        try:
            content = read_content(pictures.read, row, pictures.names[row])
            with open_header(content, name=pictures.names[row]) as picture:
                sizes.append(upright_size(picture))
                all_gray = all_gray and is_gray(picture)
        except PictureError as error:
            is_large = isinstance(error, PictureTooLargeError)
            failures.append(Failure(row=row, reason=error.reason, is_too_large=is_large))
    return _Look(sizes=sizes, is_gray=all_gray, failures=failures, looked_at=len(rows))


def _check_look(look: _Look, found: PictureSet) -> list[str]:
    """Refuse what is certain already; give a warning for what decoding will decide."""
    names, total = found.pictures.names, len(found.pictures.names)
    if look.looked_at == total or not look.sizes:
        refuse_failures(look.failures, names, look.looked_at, where=found.where, skip=found.skip_unreadable)
        return []
    large = [failure for failure in look.failures if failure.is_too_large]
    refuse_failures(large, names, total, where=found.where, skip=found.skip_unreadable)
    if not look.failures:
        return []
    listed = list_failures(look.failures, names)
    return [f"{len(look.failures)} of the {look.looked_at} pictures looked at cannot be read: {listed}"]


def _load(found: PictureSet, shape: tuple[int, int, int], warnings: Sequence[str], *, progress: bool) -> Dataset:
    names, labels = found.pictures.names, found.labels
    decoded = decode_pictures(
        found.pictures, shape=shape, skip_unreadable=found.skip_unreadable, where=found.where, progress=progress
    )
    refuse_failures(decoded.failures, names, len(names), where=found.where, skip=found.skip_unreadable)
    all_warnings = [*warnings, *_warn_decoded(decoded.failures, decoded.num_colored, found)]
    failed = {failure.row for failure in decoded.failures}
    kept = np.array([row for row in range(len(names)) if row not in failed], dtype=np.int64)
    numbers = labels.numbers[kept]
    parts = None if found.parts is None else found.parts[kept]
    if failed:
        check_classes(numbers, labels.class_names, where=f"what is readable of {found.where}", parts=parts)
    return Dataset(
        name=found.name,
        kind="image",
        labels=numbers,
        class_names=labels.class_names,
        content_hash=hash_dataset(decoded.images_hash, numbers, labels.class_names),
        row_names=[names[row] for row in kept] if failed else names,
        images=decoded.images,
        groups=None if found.groups is None else found.groups[kept],
        times=None if found.times is None else found.times[kept],
        parts=parts,
        warnings=tuple(all_warnings),
        read_original=lambda row: found.pictures.read(int(kept[row])),
    )


def _warn_decoded(failures: Sequence[Failure], num_colored: int, found: PictureSet) -> list[str]:
    names, warnings = found.pictures.names, []
    if failures:
        listed = list_failures(failures, names)
        warnings.append(f"skipped {len(failures):,} of {len(names):,} pictures that cannot be read: {listed}")
    if num_colored:
        warnings.append(f"turned {num_colored:,} colored pictures into grey ones, since those looked at are grey")
    return warnings
