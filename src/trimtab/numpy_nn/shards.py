"""Parts of a batch on Python threads, with BLAS held at one thread.

NumPy lets other threads run while it computes, so the cheapest way to use several cores is to cut the batch into as
many contiguous parts, each of which goes through the whole network in a thread of its own. Where examples have to know
of each other, in batch normalization, the threads meet and add up what each has. The cuts depend on the batch and the
number of threads alone and everything is added in the order of the parts, so the same number of threads gives the same
bits.
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

_SMALLEST_WORK = 400_000_000  # multiplications of a part; below, threads spend more on taking turns than they save
_SETTERS = ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads", "openblas_set_num_threads")


class _Meeting:
    """Where the threads that compute parts of one batch add up what each has."""

    def __init__(self, edges: list[int]) -> None:
        self.edges, self.count = edges, len(edges) - 1
        self.barrier = threading.Barrier(self.count)
        self.slots: list[list[Any]] = [[None] * self.count, [None] * self.count]  # taken in turns

    def total(self, shard: int, turn: int, value: Any) -> Any:
        slots = self.slots[turn % 2]
        slots[shard] = value
        self.barrier.wait()
        return sum(slots[1:], slots[0])


class _State(threading.local):
    """What this thread is doing: which part of a batch, if any, and whether anything is kept for going back."""

    shard: int | None = None
    meeting: _Meeting | None = None
    turn = 0
    is_inference = False


class _Pool:
    """How many parts a batch is cut into, and who computes all but the first."""

    count = 1
    executor: ThreadPoolExecutor | None = None
    turn = threading.Lock()  # parts of two batches that wait for each other would wait for ever


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
    before, blas_before = (_Pool.count, _Pool.executor), _blas_threads()
    _set_blas_threads(1)
    _Pool.count = count
    _Pool.executor = ThreadPoolExecutor(count - 1, "numpy_nn") if count > 1 else None
    try:
        yield
    finally:
        if _Pool.executor is not None:
            _Pool.executor.shutdown()
        _Pool.count, _Pool.executor = before
        _set_blas_threads(blas_before)


def can_shard() -> bool:
    """Return whether there are several threads, and this is not yet a part of a batch."""
    return _Pool.executor is not None and state.shard is None


def shard_edges(batch: int, work: int) -> list[int]:
    """Return where a batch is cut, [0, ..., batch]: one part where there is little work.

    Parameters
    ----------
    batch
        Number of examples.
    work
        Multiplications, about, that all parts do together.
    """
    count = max(1, min(_Pool.count, batch, work // _SMALLEST_WORK)) if can_shard() else 1
    return [batch * part // count for part in range(count + 1)]


def run_shards(edges: list[int], compute: Callable[[int, int], Any]) -> list[Any]:
    """Return ``compute(start, stop)`` between all neighboring edges, each in its thread, the first in this one."""
    if len(edges) == 2:
        return [compute(*edges)]
    meeting = _Meeting(edges)
    is_inference = state.is_inference
    with _Pool.turn, _executor(meeting.count - 1) as executor:
        others = range(1, meeting.count)
        futures = [executor.submit(_as_shard, shard, compute, meeting, is_inference) for shard in others]
        results = [_as_shard(0, compute, meeting, is_inference), *(future.result() for future in futures)]
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return results


@contextmanager
def _executor(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give so many threads: those of the `threads` block, or others where a batch goes back outside of it."""
    if _Pool.executor is not None and _Pool.count > count:
        yield _Pool.executor
    else:
        with ThreadPoolExecutor(count, "numpy_nn") as executor:
            yield executor


def all_sum(value: Any) -> Any:
    """Return the sum of the values that all parts of the batch give here, in their order; the value where it is whole.

    Every part must come by, the same number of times.
    """
    if state.meeting is None or state.shard is None:
        return value
    state.turn += 1
    return state.meeting.total(state.shard, state.turn, value)


def shard_start() -> int:
    """Return the number of the first example of this part of the batch."""
    return state.meeting.edges[state.shard] if state.meeting and state.shard is not None else 0


def _as_shard(shard: int, compute: Callable[[int, int], Any], meeting: _Meeting, is_inference: bool) -> Any:
    """Return what the part gives, or its error: the others must not wait for it in vain."""
    before = state.shard, state.meeting, state.is_inference
    state.shard, state.meeting, state.turn, state.is_inference = shard, meeting, 0, is_inference
    try:
        return compute(*meeting.edges[shard : shard + 2])
    except BaseException as error:
        meeting.barrier.abort()
        return error
    finally:
        state.shard, state.meeting, state.is_inference = before


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
