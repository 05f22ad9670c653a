"""All pictures of a source decoded on all cores into one array on disk.

Few readable bytes are trusted: what fails is collected with its reason, and the caller's rule decides. The cache
is in `cache`, one picture in `images`.

Legend: ``N`` readable pictures, ``H W C`` height, width, channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.data.cache import cached_entry
from trimtab.data.images import (
    FORMATS,
    PictureError,
    PictureTooLargeError,
    decode_image,
    is_gray,
    open_header,
    squash_image,
    too_large,
    unreadable,
)
from trimtab.data.threads import run_threads, show_progress
from trimtab.errors import InputError

BATCH = 32
"""Pictures that one thread takes at a time."""
Read = Callable[[int], bytes]
_NAMES_SHOWN = 5
_UNREADABLE_LIMIT = 0.01
_STOP_EARLY_ABOVE = 100  # fewer failures are all collected, so that the message is the same every time


class Pictures(Protocol):
    """Encoded pictures in a fixed order."""

    names: Sequence[str]

    def read(self, row: int) -> bytes:
        """Return the encoded picture; raises OSError when it cannot be read."""

    def batches(self) -> Iterator[tuple[range, Read]]:
        """Yield all rows in order, at most `BATCH` at a time, with the function that reads one of them."""

    def sample(self) -> Sequence[int]:
        """Return rows whose headers are worth a look, a few hundred at most."""

    def contents_hash(self, *, progress: bool) -> str:
        """Return a hash of all encoded pictures in their order."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A picture that was not decoded."""

    row: int
    reason: str
    is_too_large: bool


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """``images`` uint8 [N, H, W, C], memory-mapped, without the failures; ``num_colored`` lost their color."""

    images: NDArray[np.uint8]
    images_hash: str
    failures: tuple[Failure, ...]
    num_colored: int


def decode_pictures(
    pictures: Pictures, *, shape: tuple[int, int, int], skip_unreadable: bool, where: str, progress: bool
) -> Decoded:
    """Return the pictures squashed to ``shape`` (H, W, C), from the cache when they are there.

    Raises
    ------
    InputError
        If a picture is too large or very many cannot be read, unless ``skip_unreadable``; what `refuse_failures`
        would say of fewer is left to the caller.
    OutputError
        If the cache cannot be written.
    """
    from PIL import __version__ as decoder_version

    def write(directory: Path) -> dict[str, Any]:
        job = _Job(pictures=pictures, shape=shape, skip_unreadable=skip_unreadable, where=where)
        failures, num_colored = job.write(directory / "images.npy", progress=progress)
        return {"failures": [asdict(failure) for failure in failures], "num_colored": num_colored}

    entry = cached_entry([pictures.contents_hash(progress=progress), *shape, decoder_version], write)
    return Decoded(
        images=entry.images,
        images_hash=entry.images_hash,
        failures=tuple(Failure(**failure) for failure in entry.facts["failures"]),
        num_colored=entry.facts["num_colored"],
    )


def refuse_failures(failures: Sequence[Failure], names: Sequence[str], total: int, *, where: str, skip: bool) -> None:
    """Apply the rule for unreadable pictures: none too large, at most one in a hundred, unless ``skip``.

    Raises
    ------
    InputError
        If the rule is broken, or nothing at all can be read.
    """
    large = [failure for failure in failures if failure.is_too_large]
    if large and not skip:
        raise too_large(names[large[0].row], large[0].reason)
    given = f"{len(failures):,} of {total:,} pictures in {where} cannot be read: {list_failures(failures, names)}"
    if failures and len(failures) == total:
        raise InputError(given, FORMATS, "convert or replace the files")
    if len(failures) > _UNREADABLE_LIMIT * total and not skip:
        raise InputError(given, "at most 1%", "replace or remove them, or leave them out with --skip-unreadable")


def list_failures(failures: Sequence[Failure], names: Sequence[str]) -> str:
    """Return up to five names with the reason of each, then how many more there are."""
    shown = ", ".join(f"{names[failure.row]} ({failure.reason})" for failure in failures[:_NAMES_SHOWN])
    return shown + (f" and {len(failures) - _NAMES_SHOWN} more" if len(failures) > _NAMES_SHOWN else "")


def read_content(read: Read, row: int, name: str) -> bytes:
    """Return the encoded picture.

    Raises
    ------
    PictureError
        If its file cannot be read.
    """
    try:
        return read(row)
    except OSError as error:
        raise unreadable(name, error.strerror or str(error)) from error


@dataclass(frozen=True, kw_only=True)
class _Block:
    """What one thread made of a batch; failed rows hold zeros."""

    rows: range
    images: NDArray[np.uint8]
    failures: list[Failure]
    num_colored: int


@dataclass(frozen=True, kw_only=True)
class _Job:
    pictures: Pictures
    shape: tuple[int, int, int]
    skip_unreadable: bool
    where: str

    def write(self, path: Path, *, progress: bool) -> tuple[list[Failure], int]:
        """Write the array of readable pictures; return the failures in order and the number of colored pictures."""
        total, failures, num_colored = len(self.pictures.names), list[Failure](), 0
        with path.open("wb") as file:
            start = _write_header(file, (total, *self.shape))
            blocks = show_progress(
                run_threads(self._decode, self.pictures.batches()),
                total=total,
                title="decoding",
                size=lambda block: len(block.rows),
                shown=progress,
            )
            with closing(blocks):
                for block in blocks:
                    # Not a memory map: on a full disk that kills the process where a write raises.
                    file.seek(start + block.rows.start * math.prod(self.shape))
                    file.write(block.images.data)
                    failures += block.failures
                    num_colored += block.num_colored
                    self._stop_early(failures, total)
        failures.sort(key=lambda failure: failure.row)
        if failures:
            _drop_rows(path, {failure.row for failure in failures})
        return failures, num_colored

    def _decode(self, batch: tuple[range, Read], stop: Event) -> _Block:
        rows, read = batch
        images = np.zeros((len(rows), *self.shape), dtype=np.uint8)
        failures, num_colored = [], 0
        for position, row in enumerate(rows):
            if stop.is_set():
                break
            try:
                images[position], is_colored = self._decode_one(read, row)
                num_colored += is_colored
            except PictureError as error:
                is_large = isinstance(error, PictureTooLargeError)
                failures.append(Failure(row=row, reason=error.reason, is_too_large=is_large))
        return _Block(rows=rows, images=images, failures=failures, num_colored=num_colored)

    def _decode_one(self, read: Read, row: int) -> tuple[NDArray[np.uint8], bool]:
        height, width, channels = self.shape
        name = self.pictures.names[row]
        content = read_content(read, row, name)
        image = decode_image(content, channels=channels, name=name, near=max(height, width))
        is_colored = channels == 1 and not _is_gray_content(content)
        return squash_image(image, height, width), is_colored

    def _stop_early(self, failures: Sequence[Failure], total: int) -> None:
        """Do not let somebody wait for an hour to hear what is certain."""
        if any(failure.is_too_large for failure in failures) or len(failures) > _STOP_EARLY_ABOVE:
            refuse_failures(failures, self.pictures.names, total, where=self.where, skip=self.skip_unreadable)


def _is_gray_content(content: bytes) -> bool:
    with open_header(content) as picture:
        return is_gray(picture)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header of a .npy file and return its length."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def _drop_rows(path: Path, dropped: set[int]) -> None:
    """Rewrite the array without these rows, a piece at a time."""
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    kept = np.array([row for row in range(len(images)) if row not in dropped], dtype=np.int64)
    temporary = path.with_suffix(".kept")
    with temporary.open("wb") as file:
        _write_header(file, (len(kept), *images.shape[1:]))
        for start in range(0, len(kept), BATCH):
            file.write(images[kept[start : start + BATCH]].tobytes())
    temporary.replace(path)
