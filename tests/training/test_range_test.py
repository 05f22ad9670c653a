"""The range test finds where training works, leaves the stepper alone and repeats itself."""

import math

import numpy as np
import pytest

from trimtab.training.batches import Rows
from trimtab.training.range_test import learning_rate_range_test
from trimtab.training.schedules import learning_rate_factor
from trimtab.training.stepper import make_stepper, validate

STEPS = 60
MLP = ("mlp", {"in_features": 6, "hidden": [16], "num_classes": 3})


def table(count, seed):
    """Rows whose class is the largest of the first three features, nearly always."""
    random = np.random.default_rng(seed)
    inputs = random.standard_normal((count, 6), dtype=np.float32)
    return Rows.of(inputs, (inputs[:, :3] + 0.3 * random.standard_normal((count, 3))).argmax(1))


@pytest.fixture
def stepper(recipe, engine):
    def make(**settings):
        return make_stepper(*MLP, table(400, 0), recipe(engine=engine, augment="none", batch_size=32, **settings))

    return make


def loss_after_a_run(stepper, rate, rows):
    for step in range(40):
        stepper.step(step, rate * learning_rate_factor("one-cycle", step / 40))
    loss, _ = validate(stepper, rows)
    return loss if math.isfinite(loss) else math.inf


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_the_suggestion_is_within_a_factor_of_ten_of_the_best_rate(stepper, optimizer):
    found = learning_rate_range_test(stepper(optimizer=optimizer), steps=STEPS)
    grid = 10.0 ** np.arange(-4, 1.1, 0.5)
    losses = [loss_after_a_run(stepper(optimizer=optimizer), rate, table(200, 1)) for rate in grid]
    best = grid[int(np.argmin(losses))]
    assert best / 10 <= found.suggestion <= best * 10


def test_the_rates_grow_exponentially_from_the_lowest_to_the_highest(stepper):
    found = learning_rate_range_test(stepper(), steps=9, low=1e-6, high=1e-2)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 1e-2, 9))
    assert not found.has_diverged


def test_the_losses_are_running_means_of_those_of_the_steps(stepper):
    found = learning_rate_range_test(stepper(), steps=3, low=1e-3, high=1e-2)
    twin = stepper()
    first, second, third = (twin.step(step, rate) for step, rate in enumerate(found.rates))
    weights = np.array([0.81, 0.9, 1.0])
    assert found.losses[0] == pytest.approx(first)
    assert found.losses[1] == pytest.approx((0.9 * first + second) / 1.9)
    assert found.losses[2] == pytest.approx(weights @ [first, second, third] / weights.sum())


def test_the_stepper_is_left_as_it_was(stepper):
    tested = stepper()
    before = tested.weights()
    learning_rate_range_test(tested, steps=5)
    for key, array in tested.weights().items():
        np.testing.assert_array_equal(array, before[key])


def test_with_steps_given_it_repeats_itself(stepper):
    assert learning_rate_range_test(stepper(), steps=20) == learning_rate_range_test(stepper(), steps=20)


def test_it_ends_where_the_loss_runs_away(stepper):
    found = learning_rate_range_test(stepper(optimizer="sgd"), steps=STEPS, high=1e8)
    assert found.has_diverged
    assert len(found.rates) < STEPS
    assert np.isfinite(found.losses).all()
    assert max(found.losses[found.losses.index(min(found.losses)) :]) <= 4 * min(found.losses)


def test_seconds_end_the_sweep_below_its_highest_rate(stepper):
    times = iter(np.arange(0, 1, 0.03))
    found = learning_rate_range_test(stepper(), seconds=0.3, low=1e-4, high=1e-2, clock=lambda: next(times))
    assert len(found.rates) == 10
    np.testing.assert_allclose(found.rates, 1e-4 * 100 ** (np.arange(10) / 10))


class Script:
    """A stepper whose losses are given."""

    mode = None

    def __init__(self, losses):
        self.losses = losses

    def copy(self, mode):
        return self

    def step(self, step, rate):
        return self.losses[step]


def test_the_suggestion_is_a_quarter_of_the_rate_with_the_lowest_loss():
    losses = [3.0] * 10 + [1.0] * 10 + [5.0] * 10
    found = learning_rate_range_test(Script(losses), steps=30, low=1e-4, high=1e-1)
    assert found.losses.index(min(found.losses)) == 19
    assert found.suggestion == pytest.approx(found.rates[19] / 4)


def test_a_loss_that_is_no_number_from_the_start_suggests_the_lowest_rate():
    found = learning_rate_range_test(Script([math.nan] * 5), steps=5, low=1e-3, high=1.0)
    assert (found.rates, found.losses, found.suggestion, found.has_diverged) == ([], [], 1e-3, True)


@pytest.mark.parametrize("length", [{}, {"steps": 5, "seconds": 1.0}, {"steps": 1}, {"seconds": 0.0}])
def test_exactly_one_length_is_needed(length):
    with pytest.raises(ValueError, match="expected one: 2 steps or more, or time; give one"):
        learning_rate_range_test(Script([1.0] * 5), **length)


@pytest.mark.parametrize("rates", [{"low": 0.0}, {"low": 1.0, "high": 1.0}])
def test_rates_must_be_in_order(rates):
    with pytest.raises(ValueError, match="expected 0 < low < high; change them"):
        learning_rate_range_test(Script([1.0] * 5), steps=5, **rates)
