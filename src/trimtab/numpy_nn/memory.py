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

_SMALLEST = 1 << 16  # bytes; below, NumPy's own allocation is as fast
_BLOCKS = 64  # kept at most by a thread, those in use included
_WASTE = 1.5  # times the size asked for
_ROW_PADDING = 64  # bytes


class _Kept(threading.local):
    def __init__(self) -> None:
        self.blocks: list[NDArray[np.uint8]] = []


_KEPT = _Kept()


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of that shape with arbitrary content, C-contiguous, as `numpy.empty` does."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < _SMALLEST:
        return np.empty(shape, kind)
    blocks = _KEPT.blocks
    position = _find_free(blocks, size)
    if position is not None:
        blocks.append(blocks.pop(position))  # the last one is the latest used
    else:
        del blocks[: max(0, len(blocks) - _BLOCKS + 1)]
        blocks.append(np.empty(size, np.uint8))
    return blocks[-1][:size].view(kind).reshape(shape)


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


def _find_free(blocks: list[NDArray[np.uint8]], size: int) -> int | None:
    """Return the place of the smallest block that nobody uses and that is large enough, but not far too large."""
    best = None
    for position in range(len(blocks)):
        fits = size <= blocks[position].size <= _WASTE * size
        if fits and (best is None or blocks[position].size < blocks[best].size) and _is_free(blocks, position):
            best = position
    return best


def _is_free(blocks: list[NDArray[np.uint8]], position: int) -> bool:
    return sys.getrefcount(blocks[position]) <= _references_when_free()


@cache
def _references_when_free() -> int:
    """Return what `sys.getrefcount` says of an element to which only its list refers."""
    blocks = [np.empty(0, np.uint8)]
    return sys.getrefcount(blocks[0])
