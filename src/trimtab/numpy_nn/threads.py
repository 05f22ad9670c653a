"""Batch shards on Python threads, with BLAS held at one thread.

NumPy lets other threads run while it computes, so the cheapest way to use several cores is to cut the batch into as
many contiguous parts. Where no layer mixes examples, a part goes through the whole network in its thread; otherwise
each layer is cut on its own. The cuts depend on the batch and the number of threads alone and partial sums are added
in the order of the parts, so the same number of threads gives the same bits.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_SMALLEST_WORK = 250_000  # numbers touched by a part; below, waking a thread costs more than it saves
_SETTERS = ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads", "openblas_set_num_threads")


class _Shards:
    """How many parts a batch is cut into, and who computes all but the first."""

    count = 1
    pool: ThreadPoolExecutor | None = None


class _State(threading.local):
    """What this thread is doing: which part of a batch, if any, and whether anything is kept for going back."""

    shard: int | None = None
    is_inference = False


state = _State()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute on ``count`` threads within the block; afterwards everything is as it was, BLAS's setting included.

    Raises
    ------
    ValueError
        If ``count`` is below one.
    """
    if count < 1:
        raise ValueError(f"threads is {count}; expected at least 1; see trimtab.machine.available_threads().")
    before, blas_before = (_Shards.count, _Shards.pool), _blas_threads()
    _set_blas_threads(1)
    _Shards.count = count
    _Shards.pool = ThreadPoolExecutor(count - 1, "numpy_nn") if count > 1 else None
    try:
        yield
    finally:
        if _Shards.pool is not None:
            _Shards.pool.shutdown()
        _Shards.count, _Shards.pool = before
        _set_blas_threads(blas_before)


def can_shard() -> bool:
    """Return whether there are several threads, and this is not yet a part of a batch."""
    return _Shards.pool is not None and state.shard is None


def shard_edges(batch: int, work: int) -> list[int]:
    """Return where a batch is cut: [0, ..., batch], one part where there is little work or it is a part already."""
    count = max(1, min(_Shards.count, batch, work // _SMALLEST_WORK)) if can_shard() else 1
    return [batch * part // count for part in range(count + 1)]


def in_shards(batch: int, work: int, compute: Callable[[int, int], Any]) -> list[Any]:
    """Return ``compute(start, stop)`` of each part of ``range(batch)``, in order.

    Parameters
    ----------
    batch
        Number of examples.
    work
        Numbers that all parts touch together; little work is not cut.
    compute
        Fills its rows of a shared output, or returns a partial result.
    """
    return run_shards(shard_edges(batch, work), compute)


def run_shards(edges: list[int], compute: Callable[[int, int], Any]) -> list[Any]:
    """Return ``compute(start, stop)`` between all neighboring edges, the first in this thread; `state` says which."""
    if len(edges) == 2:
        return [compute(*edges)]
    pool, is_inference = _Shards.pool, state.is_inference
    if pool is None:  # going back after the block in which the batch was cut
        return [_as_shard(shard, compute, edges, is_inference) for shard in range(len(edges) - 1)]
    others = range(1, len(edges) - 1)
    futures = [pool.submit(_as_shard, shard, compute, edges, is_inference) for shard in others]
    try:
        first = _as_shard(0, compute, edges, is_inference)
    finally:
        rest = [future.exception() or future.result() for future in futures]
    for result in rest:
        if isinstance(result, BaseException):
            raise result
    return [first, *rest]


def _as_shard(shard: int, compute: Callable[[int, int], Any], edges: list[int], is_inference: bool) -> Any:
    before = state.shard, state.is_inference
    state.shard, state.is_inference = shard, is_inference
    try:
        return compute(*edges[shard : shard + 2])
    finally:
        state.shard, state.is_inference = before


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Return the functions that read and set the threads of NumPy's own OpenBLAS, if that is what it came with."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs")
    for library in (path for folder in folders if folder.is_dir() for path in folder.glob("*openblas*")):
        handle = ctypes.CDLL(str(library))
        for name in _SETTERS:
            if hasattr(handle, name):
                return getattr(handle, name.replace("_set_", "_get_")), getattr(handle, name)
    return None


def _blas_threads() -> int:
    functions = _openblas()
    return functions[0]() if functions else 1


def _set_blas_threads(count: int) -> None:
    functions = _openblas()
    if functions:
        functions[1](count)
