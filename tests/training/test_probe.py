import copy
import functools
import hashlib
import statistics

import numpy as np
import pytest
import torch

from trimtab.machine import has_bfloat16
from trimtab.training.loop import train
from trimtab.training.mode import Mode
from trimtab.training.probe import probe
from trimtab.training.rows import Rows
from trimtab.training.stepper import make_stepper, using_threads
from trimtab.training.watch import Watch

EAGER = Mode(precision="float32", memory_format="contiguous")
LAST = Mode(precision="float32", memory_format="channels_last")
HALF = Mode(precision="bfloat16", memory_format="channels_last")
COMPILED = Mode(precision="bfloat16", memory_format="channels_last", is_compiled=True)


class Machine:
    """Two clocks that advance as steps are done."""

    def __init__(self, noise=lambda step: 1.0):
        self.wall = self.processor = 0.0
        self.noise, self.steps = noise, 0

    def work(self, wall, processor):
        self.steps += 1
        self.wall += wall * self.noise(self.steps)
        self.processor += processor


class Fake:
    """A stepper whose steps cost so many seconds (wall, processor) in each mode."""

    def __init__(self, machine, recipe, costs, obstacle=None):
        self.machine, self.recipe, self.costs, self.obstacle = machine, recipe, costs, obstacle
        self.mode = Mode.of(recipe)

    def modes(self):
        return [mode for mode in self.costs if not mode.is_compiled]

    def compilation_obstacle(self):
        return self.obstacle

    def copy(self, mode):
        twin = copy.copy(self)
        twin.mode = mode
        return twin

    def step(self, step, rate):
        assert rate == 0, "a trial learns nothing"
        self.work(1.0)

    def work(self, share):
        if self.costs[self.mode] is None:
            raise RuntimeError("no such instruction\nand much more")
        wall, processor = self.costs[self.mode]
        self.machine.work(share * wall, share * processor)

    def zero_grad(self):
        pass

    def add_gradients(self, step, part, *, seed):
        self.work((part.stop - part.start) / self.recipe.batch_size)

    def update(self, rate):
        assert rate == 0, "a trial learns nothing"

    def logits(self, rows):
        return np.zeros((len(rows), 3), np.float32)


@pytest.fixture
def outcome(pictures, recipe):
    def run(costs, *, seconds=1.0, seconds_left=1000.0, noise=lambda step: 1.0, obstacle=None, mode=None):
        machine = Machine(noise)
        stepper = Fake(machine, recipe(steps=None, precision="bfloat16", batch_size=256), costs, obstacle)
        found = probe(
            stepper,
            pictures[1],
            seconds=seconds,
            seconds_left=seconds_left,
            mode=mode,
            clock=lambda: machine.wall,
            processor_clock=lambda: machine.processor,
        )
        return found, machine

    return run


def test_the_mode_that_is_fastest_by_both_clocks_is_chosen(outcome):
    found, _ = outcome({EAGER: (0.1, 0.2), LAST: (0.08, 0.16), HALF: (0.04, 0.08)})
    assert found.mode == HALF
    assert found.step_seconds == pytest.approx(0.04, rel=0.05)
    assert "a step takes 40% of the time of float32, contiguous" in found.reason
    assert [trial.mode for trial in found.trials] == [EAGER, LAST, HALF]


@pytest.mark.parametrize(
    "half", [(0.11, 0.22), (0.1, 0.2), (0.05, 0.21), (0.11, 0.1)], ids=["slower", "equal", "on the wall", "processor"]
)
def test_no_mode_slower_than_eager_float32_by_either_clock_is_chosen(outcome, half):
    found, _ = outcome({EAGER: (0.1, 0.2), LAST: (0.1, 0.2), HALF: half})
    assert found.mode == EAGER
    assert "nothing was clearly faster" in found.reason


def test_other_processes_that_come_and_go_do_not_change_the_choice(outcome):
    bursts = np.random.default_rng(0).choice([1.0, 5.0], 10_000)
    for shift in range(20):
        found, _ = outcome(
            {EAGER: (0.02, 0.04), LAST: (0.018, 0.036), HALF: (0.01, 0.02)},
            noise=lambda step, shift=shift: bursts[step + shift],
        )
        assert found.mode != EAGER
        found, _ = outcome(
            {EAGER: (0.01, 0.02), LAST: (0.01, 0.02), HALF: (0.02, 0.04)},
            noise=lambda step, shift=shift: bursts[step + shift],
        )
        assert found.mode != HALF


def test_the_trial_takes_the_time_that_it_was_given(outcome):
    _, machine = outcome({EAGER: (0.01, 0.01), LAST: (0.01, 0.01), HALF: (0.01, 0.01)}, seconds=0.6)
    assert machine.wall < 0.6 + 0.15
    _, machine = outcome({EAGER: (0.001, 0.001), LAST: (0.001, 0.001), HALF: (0.001, 0.001)}, seconds=100.0)
    assert machine.wall < 0.2, "enough is known long before"


def test_long_steps_are_compared_by_parts_of_a_batch(outcome):
    found, machine = outcome({EAGER: (6.0, 6.0), LAST: (5.0, 5.0), HALF: (2.0, 2.0)}, seconds=3.0, seconds_left=550.0)
    assert found.mode == HALF
    assert found.step_seconds == pytest.approx(2.06), "timed by whole batches all the same"
    assert found.trials[0].rows < 256
    assert machine.wall < 0.06 * 550


@pytest.mark.parametrize(("seconds_left", "most"), [(130.0, 5.3), (550.0, 10.1), (5000.0, 51.0)])
def test_comparing_modes_costs_a_share_of_little_time_and_a_small_one_of_much(outcome, seconds_left, most):
    costs = {EAGER: (6.0, 6.0), LAST: (5.0, 5.0), HALF: (2.0, 2.0)}
    found, _ = outcome(costs, seconds=0.0, seconds_left=seconds_left)
    assert found.mode == HALF
    comparing = sum(4 * trial.step_seconds for trial in found.trials)
    assert comparing <= most


def test_modes_are_not_compared_where_that_would_eat_the_time(outcome):
    found, machine = outcome({EAGER: (2.0, 2.0), LAST: (2.0, 2.0), HALF: (1.0, 1.0)}, seconds=0.3, seconds_left=12.0)
    assert found.mode == LAST, "which has not been seen to be slower than eager float32"
    assert machine.wall <= 2.2
    assert found.step_seconds == pytest.approx(2.06)
    assert found.trials == ()
    assert "too little time to compare" in found.reason


def test_a_mode_that_was_decided_is_only_timed(outcome):
    found, _ = outcome({EAGER: (0.1, 0.1), LAST: (0.01, 0.01), HALF: (0.01, 0.01)}, mode=EAGER)
    assert (found.mode, found.reason, found.trials) == (EAGER, "as decided before", ())
    assert found.step_seconds == pytest.approx(0.103)


COSTS = {EAGER: (0.1, 0.1), LAST: (0.1, 0.1), HALF: (0.05, 0.05)}


@pytest.mark.parametrize(
    ("compiled", "options", "mode", "words"),
    [
        ((0.02, 0.02), {}, HALF, "not compiled: that takes a minute, more than 1% of the 1000 s left"),
        ((0.02, 0.02), {"seconds_left": 10_000.0}, COMPILED, "and steps then 40% of the time"),
        ((0.06, 0.06), {"seconds_left": 10_000.0}, HALF, "not compiled: compiling took"),
        (None, {"seconds_left": 10_000.0}, HALF, "not compiled: that failed (no such instruction)"),
        ((0.02, 0.02), {"seconds_left": 10_000.0, "obstacle": "there is no C++ compiler"}, HALF, "no C++ compiler"),
    ],
    ids=["no time", "faster", "slower", "failed", "no compiler"],
)
def test_compilation_is_tried_where_it_can_pay_and_kept_where_it_does(outcome, compiled, options, mode, words):
    found, _ = outcome({**COSTS, COMPILED: compiled}, **options)
    assert found.mode == mode
    assert words in found.reason


def test_the_trial_leaves_the_network_as_it_was(pictures, network, recipe, engine):
    settings = recipe(steps=None, engine=engine)
    with using_threads(engine, 1):
        stepper = make_stepper(*network, pictures[0], settings)
        before = stepper.weights(), stepper.optimizer_arrays()
        probe(stepper, pictures[1], seconds=0.05, seconds_left=100.0)
        after = stepper.weights(), stepper.optimizer_arrays()
    for then, now in zip(before, after, strict=True):
        assert then.keys() == now.keys()
        assert all(np.array_equal(then[key], now[key]) for key in then)


def digest(arrays):
    return hashlib.sha256(b"".join(arrays[key].tobytes() for key in sorted(arrays))).hexdigest()


@pytest.mark.parametrize("mode", [EAGER, LAST, HALF], ids=str)
def test_steps_continue_bit_for_bit_in_every_mode(pictures, network, recipe, mode):
    with using_threads("torch", 1):
        whole = make_stepper(*network, pictures[0], recipe())
        whole.use(mode)
        for step in range(4):
            whole.step(step, 0.01)
        rest = make_stepper(*network, pictures[0], recipe())
        rest.use(mode)
        rest.load_weights(whole.weights())
        rest.load_optimizer(whole.optimizer_arrays())
        for step in range(4, 8):
            whole.step(step, 0.01)
            rest.step(step, 0.01)
    assert digest(rest.weights()) == digest(whole.weights())


@pytest.mark.parametrize(("mode", "tolerance"), [(LAST, 1e-5), (HALF, 0.05)], ids=["channels_last", "bfloat16"])
def test_modes_compute_the_same_network(pictures, network, recipe, mode, tolerance):
    losses = []
    for each in (EAGER, mode):
        stepper = make_stepper(*network, pictures[0], recipe())
        stepper.use(each)
        losses.append([stepper.step(step, 0.003) for step in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)


@pytest.mark.slow
def test_a_compiled_network_takes_the_same_steps(pictures, network, recipe, monkeypatch):
    """Traced as it is for the compiler, but run by Python: the compiler itself takes minutes on a busy machine."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    weights = []
    for is_compiled in (False, True):
        stepper = make_stepper(*network, pictures[0], recipe())
        stepper.use(Mode(precision="float32", memory_format="channels_last", is_compiled=is_compiled))
        losses = [stepper.step(step, 0.01) for step in range(3)]
        weights.append((losses, stepper.logits(pictures[1])))
    assert weights[1][0] == pytest.approx(weights[0][0], rel=1e-5)
    assert np.allclose(weights[1][1], weights[0][1], atol=1e-4)


def test_a_run_of_fixed_length_asks_no_clock_for_its_mode(pictures, network, recipe):
    seen = []
    trained = train(*network, *pictures, recipe(steps=5), watch=Watch(on_probe=seen.append))
    assert trained.mode == LAST
    assert [(found.mode, found.step_seconds, found.trials) for found in seen] == [(LAST, None, ())]
    assert "no clock decides" in seen[0].reason


def test_a_run_goes_on_and_is_repeated_in_the_mode_it_began_in(pictures, network, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.training.loop._CHECKPOINT_SECONDS", 0.0)

    class Killed(BaseException):
        pass

    def die_at_25(done, total):
        if done == 25:
            raise Killed

    settings = recipe(steps=40, threads=1)
    whole = train(*network, *pictures, settings, mode=HALF)
    with pytest.raises(Killed):
        train(*network, *pictures, settings, mode=HALF, watch=Watch(on_step=die_at_25), checkpoints=tmp_path)
    resumed = train(*network, *pictures, settings, checkpoints=tmp_path)
    assert resumed.mode == whole.mode == HALF
    assert digest(resumed.arrays) == digest(whole.arrays)
    replayed = train(*network, *pictures, settings, replay=resumed.corrections, mode=resumed.mode)
    assert digest(replayed.arrays) == digest(whole.arrays)
    in_another = train(*network, *pictures, settings)
    assert digest(in_another.arrays) != digest(whole.arrays), "the mode is worth keeping"


@pytest.mark.slow
@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no instructions for bfloat16")
def test_the_probe_picks_bfloat16_for_wide_filters_where_there_are_instructions_for_it(recipe):
    random = np.random.default_rng(0)
    rows = Rows.of(
        random.integers(0, 256, (256, 32, 32, 3), np.uint8), random.integers(0, 4, 256), mean=[0.5] * 3, std=[0.25] * 3
    )
    kwargs = {"in_channels": 3, "image_size": 32, "channels": [64, 64], "num_classes": 4}
    with using_threads("torch", 1):
        stepper = make_stepper("cnn", kwargs, rows, recipe(steps=None, precision="bfloat16", batch_size=32))
        found = probe(stepper, rows, seconds=2.0, seconds_left=1000.0)
    assert found.mode == HALF
    assert statistics.median(trial.ratio for trial in found.trials if trial.mode == HALF) < 0.8
