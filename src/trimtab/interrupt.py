"""Ctrl-C as a wish: the first one asks for a clean end with what there is, the second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from trimtab.console import Console


@contextmanager
def interruptible(console: Console) -> Iterator[Callable[[], bool]]:
    """Give a function that says whether the user wants to stop; the usual handlers return afterwards.

    Outside the main thread, where Python allows no handlers, the answer is always no.
    """
    wanted, told = threading.Event(), threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        """Only note the wish: whatever was interrupted may be in the middle of printing."""
        if wanted.is_set():
            raise KeyboardInterrupt
        wanted.set()

    def is_wanted() -> bool:
        if wanted.is_set() and not told.is_set():
            told.set()
            console.close_bar()
            console.note("stopping: finishing with what there is (Ctrl-C again ends at once; the run can be resumed)")
        return wanted.is_set()

    if threading.current_thread() is not threading.main_thread():
        yield is_wanted
        return
    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield is_wanted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
