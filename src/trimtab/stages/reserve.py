"""The seconds to keep for what comes after training: forecast, and followed while the machine changes its mind.

The forecast is made of what this work took on one known machine, how slow this machine is beside that one, and how
much of its time this process gets: other processes may come and go during training. Nothing is promised: a process
that appears after the last step is seen by nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from trimtab.data import Split
from trimtab.models import measure_size
from trimtab.stages.job import Features, Job
from trimtab.stages.shrinking import seconds_of_formats, usual_formats

_WORK_SECONDS = 1.8  # export, calibration, intervals, plots and report of a small model, by one thread
_WAIT_SECONDS = 0.5  # for the disk, and leaving the process; measuring latency comes on top
_EVALUATION_MACS = 50e9  # per second and thread, in batches
_ROW_SECONDS, _NUMPY_ROW_SECONDS = 2e-5, 2e-4  # what a row costs besides, and more if NumPy computes it
_MARGIN = 1.4
_LOOP_SECONDS = 0.0110  # of `_time_loop` on the machine that the seconds above were measured on
_WINDOW_SECONDS, _WINDOWS = 4.0, 4  # over the last of which it is measured how much this process has to wait

_LIBRARIES = (
    "jinja2",
    "matplotlib.backends.backend_svg",
    "matplotlib.pyplot",
    "onnx.checker",
    "onnxruntime.quantization",
    "trimtab.deployment.onnx_nn",
    "trimtab.deployment.preprocessing_graph",
    "trimtab.report",
)

Share = tuple[float, float]


class Reserve:
    """What is kept of the time that is left, at most half of it.

    Loads the libraries that will be needed: nothing unknown remains to be loaded after training, and how long that
    takes here says how long the rest will.

    Parameters
    ----------
    job, features, split
        What is going to be exported, measured and reported.
    clock
        Seconds on the wall.
    share
        Seconds that this thread has computed so far, and seconds that it was ready to but had to wait.
    """

    def __init__(
        self,
        job: Job,
        features: Features,
        split: Split,
        *,
        clock: Callable[[], float] = time.perf_counter,
        share: Callable[[], Share] | None = None,
    ) -> None:
        self._most = max(0.0, job.seconds_left() / 2)
        self._wait = _WAIT_SECONDS + seconds_of_formats(job.plan)
        with Load.measured(threads=job.plan.threads or 1, clock=clock, share=share) as self._load:
            load_libraries(str(job.plan.engine))
            self._work = slowness() * (_WORK_SECONDS + _rows_seconds(job, features, split))

    def seconds(self) -> float:
        """Return how many seconds to keep, from what has been seen until now; cheap enough to ask at every step."""
        return min(_MARGIN * self._work * self._load.contention() + self._wait, self._most)


class Load:
    """How many seconds on the wall a second of computing takes here, since other processes compute, too.

    Parameters
    ----------
    threads
        Of this process while it trains; one of them will be left.
    clock, share
        As of `Reserve`.
    """

    def __init__(self, *, threads: int, clock: Callable[[], float], share: Callable[[], Share]) -> None:
        self._clock, self._share = clock, share
        self._rivals = 1 - 1 / threads  # this process's own
        self._marks, self._marked, self._contention = [share()], clock(), 1.0

    @classmethod
    @contextmanager
    def measured(
        cls, *, threads: int, clock: Callable[[], float] = time.perf_counter, share: Callable[[], Share] | None = None
    ) -> Iterator[Load]:
        """Give a load that knows from the work within the block, by one thread, what there is."""
        load = cls(threads=threads, clock=clock, share=share or _share)
        yield load
        load._contention, load._marked = _contention(load._marks[0], load._share()), clock()

    @classmethod
    def from_now(cls, *, threads: int) -> Load:
        """Return a load that knows nothing yet."""
        return cls(threads=threads, clock=time.perf_counter, share=_share)

    def contention(self) -> float:
        """Return the ratio, over the last seconds; cheap enough to ask at every step."""
        if self._clock() - self._marked >= _WINDOW_SECONDS:
            now = self._share()
            self._contention = max(1.0, _contention(self._marks[0], now) - self._rivals)
            self._marks, self._marked = [*self._marks[1 - _WINDOWS :], now], self._clock()
        return self._contention


def _contention(before: Share, after: Share) -> float:
    """Return the seconds on the wall that a second of computing took."""
    return 1 + (after[1] - before[1]) / max(1e-3, after[0] - before[0])


def _share() -> Share:
    """Return what Linux knows about this thread; elsewhere, every second not computed counts as waited for."""
    try:
        computed, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
        return int(computed) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return time.thread_time(), time.perf_counter() - time.thread_time()


def load_libraries(engine: str) -> None:
    """Load what training with an engine and the work after it need: seconds that are certain from then on."""
    for name in (*_LIBRARIES, f"trimtab.training.{engine}_steps"):
        import_module(name)


def slowness() -> float:
    """Return how many times slower than the known machine this one runs Python, whatever else runs here."""
    return min(_time_loop() for _ in range(3)) / _LOOP_SECONDS


def _time_loop() -> float:
    start, total = time.thread_time(), 0
    for number in range(200_000):
        total += number * number % 7
    return time.thread_time() - start


def _rows_seconds(job: Job, features: Features, split: Split) -> float:
    """Return the seconds for the rows that the trained model and the exported candidates are run on."""
    macs = _network_macs(job, features) * (2 if job.plan.test_time == "mirror" else 1)
    evaluated = (1 + usual_formats(job.plan)) * len(features.validation) + split.test_count
    seconds = evaluated * (macs / (_EVALUATION_MACS * job.facts.threads) + _ROW_SECONDS)
    if job.plan.engine == "numpy":
        seconds += len(features.validation) * _NUMPY_ROW_SECONDS
    return seconds


def _network_macs(job: Job, features: Features) -> int:
    meta = features.meta
    shape = (meta["channels"], meta["image_size"], meta["image_size"]) if "channels" in meta else None
    return measure_size(str(job.plan.model), features.kwargs, shape or (features.kwargs["in_features"],)).macs
