import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from trimtab.plan import Plan
from trimtab.stages import reserve
from trimtab.stages.reserve import Reserve
from trimtab.stages.shrinking import seconds_of_formats

WORK, MARGIN = reserve._WORK_SECONDS, reserve._MARGIN
PLAN = Plan(data="digits", engine="torch", model="mlp")
WAIT = reserve._WAIT_SECONDS + seconds_of_formats(PLAN)


class Machine:
    """A wall clock, and how long this thread computed and waited; 1 unless it shares the processor."""

    def __init__(self):
        self.now = self.computed = self.waited = 0.0

    def pass_time(self, seconds, contention=1.0):
        self.now += seconds
        self.computed += seconds / contention
        self.waited += seconds * (1 - 1 / contention)

    def share(self):
        return self.computed, self.waited


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def make_reserve(machine, monkeypatch):
    def make(
        *,
        left=600.0,
        loading=1.0,
        contention=1.0,
        slowness=1.0,
        threads=1,
        rows=0,
        hidden=8,
        test_time="none",
        **settings,
    ):
        loop_seconds = slowness * reserve._LOOP_SECONDS
        monkeypatch.setattr(reserve, "load_libraries", lambda engine: machine.pass_time(loading, contention))
        monkeypatch.setattr(reserve, "_time_loop", lambda: loop_seconds)
        plan = replace(PLAN, threads=threads, test_time=test_time, **settings)
        job = SimpleNamespace(plan=plan, facts=SimpleNamespace(threads=threads), seconds_left=lambda: left)
        kwargs = {"in_features": 10, "hidden": [hidden], "num_classes": 2}
        features = SimpleNamespace(meta={}, kwargs=kwargs, validation=range(rows))
        split = SimpleNamespace(test_count=rows)
        return Reserve(job, features, split, clock=lambda: machine.now, share=machine.share)

    return make


def test_on_the_known_machine_it_is_what_was_measured_and_a_margin(make_reserve):
    assert make_reserve().seconds() == pytest.approx(MARGIN * WORK + WAIT)


def test_a_machine_half_as_fast_needs_twice_as_long_for_the_work(make_reserve):
    assert make_reserve(slowness=2.0).seconds() == pytest.approx(2 * MARGIN * WORK + WAIT)


def test_limits_and_a_network_that_int8_hurts_ask_for_more_formats_and_so_for_more_time(make_reserve):
    plain = make_reserve().seconds()
    assert make_reserve(megabytes=0.1).seconds() > plain + 2
    assert make_reserve(quantize=False).seconds() < plain - 1


def test_a_process_that_has_to_wait_keeps_more(make_reserve):
    assert make_reserve(contention=3.0).seconds() == pytest.approx(3 * MARGIN * WORK + WAIT)


def test_it_follows_what_other_processes_do_during_training(make_reserve, machine):
    kept = make_reserve()
    for contention in (3.0, 1.0):
        for _ in range(10):
            machine.pass_time(5.0, contention)
            kept.seconds()
        assert kept.seconds() == pytest.approx(contention * MARGIN * WORK + WAIT)


def test_what_happened_long_ago_is_forgotten_and_a_moment_is_not_everything(make_reserve, machine):
    kept = make_reserve()
    for contention in (1.0, 1.0, 1.0, 5.0):
        machine.pass_time(5.0, contention)
        now = kept.seconds()
    assert MARGIN * WORK + WAIT < now < 3 * MARGIN * WORK + WAIT


def test_its_own_threads_are_not_there_any_more_after_training(make_reserve, machine):
    kept = make_reserve(threads=2)
    for _ in range(10):  # two threads and another process on two processors: each waits half as long as it computes
        machine.pass_time(5.0, 1.5)
        kept.seconds()
    assert kept.seconds() == pytest.approx(MARGIN * WORK + WAIT)


def test_half_of_a_short_time_is_left_for_training(make_reserve):
    assert make_reserve(left=4.0, contention=10.0).seconds() == 2.0
    assert make_reserve(left=-3.0).seconds() == 0.0


def test_rows_and_multiplications_take_time(make_reserve):
    base, rows, wide, mirrored = (
        make_reserve(**settings).seconds()
        for settings in (
            {},
            {"rows": 100_000},
            {"rows": 100_000, "hidden": 4096},
            {"rows": 100_000, "hidden": 4096, "test_time": "mirror"},
        )
    )
    assert base < rows < wide < mirrored


def test_linux_knows_how_long_this_thread_computed_and_waited():
    before = reserve._share()
    sum(range(3_000_000))
    after = reserve._share()
    assert after[0] > before[0]
    assert after[1] >= before[1]


LATE_IMPORTS = """
import sys
import trimtab
from trimtab import stages

before, calibrate = set(), stages.calibrate

def look_first(*arguments):
    before.update(sys.modules)
    return calibrate(*arguments)

stages.calibrate = look_first
trimtab.run("wine", steps=5, out=sys.argv[1])
print(*sorted(set(sys.modules) - before))
"""


def test_nothing_large_is_loaded_after_training(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", LATE_IMPORTS, tmp_path / "run"], capture_output=True, text=True, check=True
    )
    late = process.stdout.split()
    packages = {name.split(".")[0] for name in late}
    assert not packages & {"onnx", "onnxruntime", "google", "jinja2", "matplotlib", "torch"}
    assert len(late) < 20, late
