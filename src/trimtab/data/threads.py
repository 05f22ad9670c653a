"""Work on many files with all cores, a bounded number at a time, that Ctrl-C stops at once.

Threads, not processes: reading, hashing and decoding release Python's lock, nothing has to be copied between
processes, and a library may not start processes behind its caller's back.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from trimtab.machine import available_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_THREADS = 16  # more would only wait for Python's lock


def run_threads(
    work: Callable[[Item, threading.Event], Result], items: Iterable[Item], *, threads: int | None = None
) -> Iterator[Result]:
    """Yield ``work(item, stop)`` for each item as it is done, in no fixed order.

    Items are taken as they are needed, so that they may be made lazily. When the caller leaves the loop, by an
    error or by Ctrl-C, waiting items are dropped and ``stop`` is set: long work should look at it.
    """
    threads = threads or min(available_threads(), _MOST_THREADS)
    stop = threading.Event()
    pending: set[Future[Result]] = set()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="trimtab-data")
    try:
        for item in items:
            pending.add(executor.submit(work, item, stop))
            if len(pending) >= 3 * threads:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


def show_progress(
    results: Iterator[Result], *, total: int, title: str, size: Callable[[Result], int], shown: bool
) -> Generator[Result]:
    """Yield the results while a bar on standard error moves on by the size of each; not if ``shown`` is false."""
    if not shown:
        yield from results
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=title, unit="picture", file=sys.stderr) as bar:
        for result in results:
            yield result
            bar.update(size(result))
