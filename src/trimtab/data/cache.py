"""Decoded pictures on disk, found again by the content they were made from.

An entry is named by a hash of the encoded pictures, the size and the decoder's version, so it never goes stale; a
small index remembers the hash of files whose size and times have not changed, so that they are not read again.
Entries are written atomically and can be deleted at any time. Nothing else is kept here.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.threads import run_threads, show_progress
from trimtab.errors import OutputError
from trimtab.storage import new_directory, sha256_bytes, sha256_file, write_json

_FORMAT = "trimtab-pictures/1"
_LEFTOVER_SECONDS = 86_400
_FILES_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Decoded pictures: ``images`` uint8 [N, H, W, C], memory-mapped, and what is to be known about them."""

    images: NDArray[np.uint8]
    images_hash: str
    facts: dict[str, Any]


def cache_directory() -> Path:
    """Return where decoded pictures are kept: ``$TRIMTAB_CACHE``, else the user's cache directory."""
    if given := os.environ.get("TRIMTAB_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "trimtab"


def cached_entry(key: Sequence[object], write: Callable[[Path], dict[str, Any]]) -> Entry:
    """Return the entry for ``key``, made by ``write`` when there is none.

    ``write`` gets a directory, leaves ``images.npy`` (uint8 [N, H, W, C]) in it, and returns facts for JSON.

    Raises
    ------
    OutputError
        If the cache cannot be written.
    """
    name = sha256_bytes(json.dumps([_FORMAT, *key]).encode())
    directory = cache_directory() / "pictures" / name
    entry = _read_entry(directory)
    if entry is None:
        with _writing(), new_directory(directory) as temporary:
            facts = write(temporary)
            images = np.load(temporary / "images.npy", mmap_mode="r", allow_pickle=False)
            size = (temporary / "images.npy").stat().st_size
            header = {"shape": images.shape, "bytes": size, "sha256": sha256_file(temporary / "images.npy")}
            write_json(temporary / "entry.json", {**header, "facts": facts})
        _remove_leftovers(directory.parent)
        entry = _read_entry(directory)
    if entry is None:
        raise OutputError(
            f"the cache entry {directory} disappeared", "a cache that is not cleared during a run", "run again"
        )
    return entry


def hash_files(paths: Sequence[str], *, progress: bool = False) -> str:
    """Return one hash for the contents of files in this order; files that did not change are not read again.

    An unreadable file counts as an empty one: decoding says what is wrong with it.
    """
    index = cache_directory() / "index" / f"{_hash_listing(paths)}.json"
    try:
        return str(json.loads(index.read_text())["contents"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    starts = range(0, len(paths), _FILES_AT_ONCE)
    blocks = show_progress(
        run_threads(lambda start, stop: (start, _hash_block(paths, start, stop)), starts),
        total=len(paths),
        title="reading",
        size=lambda block: len(block[1]) // 64,  # a SHA-256 has 64 digits
        shown=progress,
    )
    with closing(blocks):
        hashes = dict(blocks)
    contents = sha256_bytes("".join(hashes[start] for start in starts).encode())
    with _writing():
        write_json(index, {"contents": contents})
    return contents


def _read_entry(directory: Path) -> Entry | None:
    """Return the entry, or ``None`` when it is absent or not as it was written; it is then made anew."""
    try:
        header = json.loads((directory / "entry.json").read_text())
        file = directory / "images.npy"
        images = np.load(file, mmap_mode="r", allow_pickle=False)
        is_whole = list(images.shape) == header["shape"] and file.stat().st_size == header["bytes"]
        if not is_whole or images.dtype != np.uint8:
            return None
        return Entry(images=images, images_hash=header["sha256"], facts=header["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash_listing(paths: Sequence[str]) -> str:
    """Hash names, sizes and times; the time of the last change of state (ctime) cannot be set back by a user."""
    lines = []
    for path in paths:
        try:
            status = os.stat(path)
            facts = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        except OSError:
            facts = "unreadable"
        lines.append(f"{path}\0{facts}\n")
    return sha256_bytes("".join(lines).encode(errors="surrogateescape"))


def _hash_block(paths: Sequence[str], start: int, stop: Event) -> str:
    return "".join(_hash_or_empty(path) for path in paths[start : start + _FILES_AT_ONCE] if not stop.is_set())


def _hash_or_empty(path: str) -> str:
    try:
        return sha256_file(Path(path))
    except OSError:
        return sha256_bytes(b"")


@contextmanager
def _writing() -> Iterator[None]:
    """Turn a full disk or a directory without permission into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            f"the cache {cache_directory()} cannot be written ({reason})",
            "room for the decoded pictures" if is_full else "a directory that can be written",
            ("free some space, or " if is_full else "") + "set TRIMTAB_CACHE to another directory",
        ) from error


def _remove_leftovers(directory: Path) -> None:
    """Delete what processes killed more than a day ago left half-written."""
    for leftover in directory.glob(".*.tmp"):
        try:
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError:  # another process was faster
            continue
