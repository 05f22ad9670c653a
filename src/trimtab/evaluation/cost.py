"""What a call costs: its latency, and the memory of the process.

Sizes of models are counted in `trimtab.models`; what a cost may be is `trimtab.budget`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

_WARM_UP_SHARE = 0.2
_FEWEST_WARM_UPS = 3
_FEWEST_REPEATS = 50
_SLOW = 5.0  # times the seconds asked for, after which too few repeats have to do


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Percentiles of the time of one call, in milliseconds, with the threads it was allowed and the repeats."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    threads: int
    repeats: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def measure_latency(
    call: Callable[[], object],
    *,
    threads: int,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Return the latency of a call, measured one at a time after a warm-up.

    Parameters
    ----------
    call
        What is measured, from raw input to probabilities.
    threads
        How many threads the call uses; only written down.
    seconds
        How long to repeat; on for as long again, up to five times, until there are 50 repeats.
    clock
        Seconds that only grow.

    Raises
    ------
    ValueError
        If ``seconds`` is not above 0.
    """
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds}; expected a number above 0; give how long to repeat the call.")
    _repeat(call, clock, fewest=_FEWEST_WARM_UPS, seconds=_WARM_UP_SHARE * seconds)
    times_ms = 1000 * np.array(_repeat(call, clock, fewest=_FEWEST_REPEATS, seconds=seconds))
    p50, p95, p99 = (float(value) for value in np.percentile(times_ms, (50, 95, 99)))
    return Latency(p50_ms=p50, p95_ms=p95, p99_ms=p99, threads=threads, repeats=len(times_ms))


def peak_memory_megabytes() -> float:
    """Return the largest resident size this process has had; one megabyte is 1,000,000 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage, it starts anew with the program
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _repeat(call: Callable[[], object], clock: Callable[[], float], *, fewest: int, seconds: float) -> list[float]:
    """Return the seconds of each call; there is one at least."""
    times: list[float] = []
    start = before = clock()
    while not times or (spent := before - start) < seconds or (len(times) < fewest and spent < _SLOW * seconds):
        call()
        after = clock()
        times.append(after - before)
        before = after
    return times
