"""Large arrays out of memory that was used before: fresh memory costs a page fault for every four kilobytes.

A block is handed out again only when no array refers to it any more, so nobody's result is ever overwritten.
"""

from __future__ import annotations

import math
import sys
import threading
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_SMALLEST = 1 << 17  # bytes; below, the system's own allocation takes from what it has
_SIZES, _OF_EACH = 48, 16  # of blocks kept by a thread at most, and how many of a size
_WASTE = 1.5  # times the size asked for
_ROW_PADDING = 64  # bytes

Block = NDArray[np.uint8]


class _Kept(threading.local):
    def __init__(self) -> None:
        self.blocks: dict[int, list[Block]] = {}  # by size, the latest used last


_KEPT = _Kept()


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of that shape with arbitrary content, C-contiguous, as `numpy.empty` does."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < _SMALLEST:
        return np.empty(shape, kind)
    block = _find_free(_KEPT.blocks, size)
    if block is None:
        block = _new_block(_KEPT.blocks, size)
    return block[:size].view(kind).reshape(shape)


def empty_like(x: NDArray[Any]) -> NDArray[Any]:
    """Return an array of the shape, the type and the order in memory of ``x``, with arbitrary content."""
    if x.ndim == 4 and not x.flags.c_contiguous:
        return empty((x.shape[0], *x.shape[2:], x.shape[1]), x.dtype).transpose(0, 3, 1, 2)
    return empty(x.shape, x.dtype)


def empty_rows(rows: int, columns: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array [rows, columns] whose rows lie a cache line further apart than they are long.

    Rows that are a power of two apart share their place in the cache and drive each other out; a matrix product
    over such rows takes up to twice as long.
    """
    padding = _ROW_PADDING // np.dtype(dtype).itemsize
    return empty((rows, columns + padding), dtype)[:, :columns]


def product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return the product of two matrices."""
    return np.matmul(a, b, out=empty((a.shape[0], b.shape[1]), a.dtype))


def contiguous(x: NDArray[Any]) -> NDArray[Any]:
    """Return ``x``, copied where it does not lie in the order of its axes, as `numpy.ascontiguousarray` does."""
    if x.flags.c_contiguous:
        return x
    copied = empty(x.shape, x.dtype)
    copied[...] = x
    return copied


def release() -> None:
    """Give the memory that is not in use back to the system."""
    _KEPT.blocks.clear()


def _find_free(kept: dict[int, list[Block]], size: int) -> Block | None:
    """Return a block that nobody uses: of that size, or else the smallest that is larger, but not far too large."""
    larger = sorted(other for other in kept if size < other <= _WASTE * size)
    for wanted in (size, *larger):
        blocks = kept.get(wanted, [])
        for position in range(len(blocks)):
            if _is_free(blocks, position):
                kept[wanted] = kept.pop(wanted)
                return blocks[position]
    return None


def _new_block(kept: dict[int, list[Block]], size: int) -> Block:
    """Return a new block, which is kept; the size that was not used for longest, and the oldest block, are given up."""
    while len(kept) >= _SIZES and size not in kept:
        del kept[next(iter(kept))]
    block = np.empty(size, np.uint8)
    kept[size] = [*kept.pop(size, []), block][-_OF_EACH:]
    return block


def _is_free(blocks: list[NDArray[np.uint8]], position: int) -> bool:
    return sys.getrefcount(blocks[position]) <= _references_when_free()


@cache
def _references_when_free() -> int:
    """Return what `sys.getrefcount` says of an element to which only its list refers."""
    blocks = [np.empty(0, np.uint8)]
    return sys.getrefcount(blocks[0])
