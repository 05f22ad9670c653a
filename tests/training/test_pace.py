import numpy as np
import pytest

from trimtab.training.mode import Mode
from trimtab.training.pace import Pace, follows_the_clock
from trimtab.training.probe import Probe
from trimtab.training.watch import Watch


class Run:
    """A loop without a network, on a clock that is moved by what steps and validations cost."""

    def __init__(
        self, recipe, *, budget, step, validation=0.0, rows=1600, validation_rows=160, replay=None, probed=None
    ):
        self.now, self.budget, self.step_cost, self.validation_cost = 0.0, budget, step, validation
        self.stopping = False
        watch = Watch(
            clock=lambda: self.now, seconds_left=lambda: self.budget - self.now, wants_to_stop=lambda: self.stopping
        )
        self.pace = Pace(recipe, rows, validation_rows, watch, replay)
        self.validated, self.looks, self.step, self.since_best = [], [], 0, 0
        cost = probed or step(0)
        mode = Mode(precision="float32", memory_format="contiguous")
        self.pace.begin(Probe(mode=mode, reason="", step_seconds=cost, validation_seconds=validation))

    def go_on(self, until=10**9):
        pace = self.pace
        while self.step < min(pace.total_steps, until):
            self.progress = pace.timeline.progress(self.step)
            self.now += self.step_cost(self.step)
            self.step += 1
            pace.end_early(self.step)
            if self.step >= min(pace.epoch_end, pace.total_steps):
                self.end_epoch()
            elif pace.is_stretch_over(self.step):
                self.looks.append(self.step)
                pace.end_stretch(self.step)
                pace.follow_the_clock(self.step)
        return self

    def end_epoch(self):
        self.pace.end_stretch(self.step)
        self.now += self.validation_cost
        self.validated.append(self.step)
        self.pace.end_epoch(self.step, self.since_best)
        self.pace.start_epoch(self.step)


@pytest.fixture
def timed(recipe):
    return recipe(steps=None, batch_size=16, epochs_at_most=10**6)


def bursts(seed, low=1.0, high=3.0, length=30):
    """Return what a step costs beside a process that computes now and then."""
    factors = np.random.default_rng(seed).uniform(low, high, 100_000)
    return lambda step: 0.1 * factors[step // length]


@pytest.mark.parametrize("seed", range(20))
def test_time_is_used_to_the_end_and_not_beyond_whatever_the_machine_does(timed, seed):
    run = Run(timed, budget=[20, 60, 300, 600][seed % 4], step=bursts(seed), validation=1.0).go_on()
    assert run.now <= run.budget + 0.3, "the last step may be under way when the time is up, no more"
    assert run.now >= 0.94 * run.budget
    assert run.progress > 0.95, "the learning rate has come to its end by then"
    assert run.validated[-1] == run.step, "the last weights are validated within the time"


def test_on_a_steady_machine_a_run_ends_when_its_time_does(timed):
    run = Run(timed, budget=100.0, step=lambda step: 0.1, validation=2.0).go_on()
    assert 98.0 <= run.now <= 100.0
    assert run.progress > 0.998
    assert len(run.pace.timeline.corrections) <= 3


def test_a_validation_that_is_longer_than_the_rest_of_the_time_is_waited_for_in_advance(timed):
    run = Run(timed, budget=60.0, step=lambda step: 0.1, validation=15.0, validation_rows=1600).go_on()
    assert run.now <= 60.1
    assert run.validated[-1] == run.step


def test_validations_are_an_eighth_of_the_work_at_most_where_passes_are_long(timed):
    # 30 steps of 16 rows; validating 96 rows is the work of 2 steps, for which 16 have to be done
    run = Run(timed, budget=3.05, step=lambda step: 0.1, rows=16_000, validation_rows=96).go_on()
    assert run.validated == [16, 30]
    few = Run(timed, budget=3.05, step=lambda step: 0.1, rows=16_000, validation_rows=12).go_on()
    assert few.validated == [4, 8, 12, 16, 20, 24, 28, 30], "at least eight where they cost little"


def test_the_clock_is_looked_at_more_often_towards_the_end(timed):
    run = Run(timed, budget=100.0, step=lambda step: 0.1).go_on()
    gaps = np.diff([0, *run.looks])
    assert gaps.max() >= 20
    assert gaps[-3:].max() <= 2


def test_the_time_that_a_probe_got_wrong_is_made_up_for(timed):
    for probed in (0.01, 1.0):
        run = Run(timed, budget=100.0, step=lambda step: 0.1, validation=1.0, probed=probed).go_on()
        assert 95.0 <= run.now <= 100.1
        assert run.progress > 0.97


def test_a_repetition_validates_and_corrects_where_the_run_did(timed):
    original = Run(timed, budget=200.0, step=bursts(3), validation=1.0).go_on()
    corrections = original.pace.timeline.corrections
    assert len(corrections) > 2
    again = Run(timed, budget=5.0, step=lambda step: 1.0, replay=corrections).go_on()
    assert again.validated == original.validated
    assert again.pace.timeline.corrections == corrections


def test_what_a_checkpoint_holds_continues_a_repetition(timed):
    original = Run(timed, budget=200.0, step=bursts(3), validation=1.0).go_on()
    corrections = original.pace.timeline.corrections
    first = Run(timed, budget=5.0, step=lambda step: 1.0, replay=corrections).go_on(until=original.validated[2])
    second = Run(timed, budget=5.0, step=lambda step: 1.0, replay=corrections)
    second.step = first.step
    second.pace.resume(first.step, first.pace.state())
    second.go_on()
    assert [*first.validated, *second.validated] == original.validated
    assert second.pace.timeline.corrections == corrections
    assert second.pace.stepping_seconds == second.now + first.now


def test_steps_are_told_apart_from_what_else_takes_time(timed):
    run = Run(timed, budget=100.0, step=lambda step: 0.1, validation=2.0).go_on()
    assert run.pace.stepping_seconds == pytest.approx(0.1 * run.step)


def test_a_wish_to_stop_ends_the_run_after_the_step(timed):
    run = Run(timed, budget=100.0, step=lambda step: 0.1).go_on(until=50)
    run.stopping = True
    run.go_on()
    assert run.step == 51
    assert not follows_the_clock(run.pace.timeline.corrections[-1].reason)
