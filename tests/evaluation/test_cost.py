"""Latency by a clock that the test turns, and the memory of this process."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.evaluation import measure_latency, peak_memory_megabytes


class Clock:
    """Time that only calls move on."""

    def __init__(self, durations: list[float]) -> None:
        self.now, self.calls, self.durations = 0.0, 0, durations

    def __call__(self) -> float:
        return self.now

    def work(self) -> None:
        self.now += self.durations[min(self.calls, len(self.durations) - 1)]
        self.calls += 1


def test_warm_up_calls_are_not_measured() -> None:
    clock = Clock([0.3, 0.3, 0.1, 0.01])
    latency = measure_latency(clock.work, threads=1, seconds=1.0, clock=clock)
    assert latency.p99_ms == pytest.approx(10)
    assert latency.repeats == pytest.approx(100, abs=1)
    assert latency.threads == 1


def test_at_least_fifty_repeats_unless_a_call_is_slow() -> None:
    clock = Clock([0.05])
    assert measure_latency(clock.work, threads=2, seconds=1.0, clock=clock).repeats == 50
    slow = Clock([3.0])
    assert measure_latency(slow.work, threads=2, seconds=1.0, clock=slow).repeats == 2


def test_percentiles_are_in_milliseconds_and_ordered() -> None:
    clock = Clock([0.0] * 1000 + [0.001] * 90 + [0.1] * 10)
    latency = measure_latency(clock.work, threads=1, seconds=0.5, clock=clock)
    assert 0 <= latency.p50_ms <= latency.p95_ms <= latency.p99_ms
    assert latency.p99_ms == pytest.approx(100)
    assert set(latency.to_dict()) == {"p50_ms", "p95_ms", "p99_ms", "threads", "repeats"}


def test_no_time_to_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="seconds is 0; expected a number above 0; give how long"):
        measure_latency(lambda: None, threads=1, seconds=0)


def test_peak_memory_follows_what_is_used() -> None:
    before = peak_memory_megabytes()
    held = np.ones(60_000_000, dtype=np.uint8) * 2
    assert peak_memory_megabytes() >= before
    assert peak_memory_megabytes() > len(held) / 1e6
