"""The average of the weights follows its recursion, validates and is delivered; training does not see it."""

import numpy as np
import pytest

from trimtab.errors import TrainingError
from trimtab.training.averages import Averaged
from trimtab.training.batches import step_seed
from trimtab.training.loop import train
from trimtab.training.stepper import make_stepper, validate

DECAY = 0.6


@pytest.fixture
def pair(pictures, network, recipe, engine):
    """A stepper, and another one like it with an average around it."""
    settings = recipe(engine=engine, ema=DECAY)
    return tuple(make_stepper(*network, pictures[0], settings) for _ in range(2))


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_the_average_is_its_recursion_written_out(pair):
    plain, averaged = pair[0], Averaged(pair[1], DECAY)
    expected = {key: array.astype(np.float64) for key, array in plain.weights().items()}
    for step in range(8):
        plain.step(step, 0.02)
        averaged.step(step, 0.02)
        decay = min(DECAY, (1 + step) / (10 + step))
        for key, array in plain.weights().items():
            is_count = array.dtype.kind != "f"
            expected[key] = array if is_count else decay * expected[key] + (1 - decay) * array
    assert decay < DECAY, "the start is still warming up"
    for key, array in averaged.delivered_weights().items():
        np.testing.assert_allclose(array, expected[key], rtol=1e-4, atol=1e-6, err_msg=key)
        assert array.dtype == plain.weights()[key].dtype


def test_after_its_start_the_average_decays_by_the_given_share(pair):
    averaged = Averaged(pair[1], 0.2)
    for step in range(3):
        averaged.step(step, 0.02)
    before = averaged.delivered_weights()
    averaged.step(3, 0.02)
    weights = averaged.weights()
    for key, array in averaged.delivered_weights().items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, 0.2 * before[key] + 0.8 * weights[key], rtol=1e-4, atol=1e-6)


def test_running_statistics_are_averaged_and_counts_are_not(pair):
    averaged = Averaged(pair[1], DECAY)
    for step in range(4):
        averaged.step(step, 0.02)
    trained, average = averaged.weights(), averaged.delivered_weights()
    statistics = [key for key in trained if key.endswith("running_var")]
    assert statistics
    assert all((trained[key] != average[key]).any() for key in statistics)
    counts = [key for key in trained if key.endswith("num_batches_tracked")]
    assert counts
    assert all(average[key] == trained[key] == 4 for key in counts)


def test_weights_that_do_not_move_are_their_own_average(pair):
    averaged = Averaged(pair[1], DECAY)
    before = averaged.weights()
    for _ in range(5):
        averaged.zero_grad()
        averaged.update(0.0)
    assert_same(averaged.delivered_weights(), before)


def test_training_does_not_see_the_average(pair, pictures):
    plain, averaged = pair[0], Averaged(pair[1], DECAY)
    for step in range(3):
        assert plain.step(step, 0.02) == averaged.step(step, 0.02)
        averaged.logits(pictures[1])
    assert_same(averaged.weights(), plain.weights())
    assert_same(averaged.views(), plain.weights())


def test_parts_of_a_step_move_the_average_once(pair):
    whole, parts = (Averaged(stepper, DECAY) for stepper in pair)
    whole.step(0, 0.02)
    parts.zero_grad()
    parts.add_gradients(0, seed=step_seed(parts.recipe.seed, 0))
    parts.update(0.02)
    assert_same(parts.delivered_weights(), whole.delivered_weights())


def test_the_average_is_what_validates(pair, pictures):
    plain, averaged = pair[0], Averaged(pair[1], DECAY)
    for step in range(6):
        averaged.step(step, 0.05)
    of_average, of_trained = averaged.logits(pictures[1]), pair[1].logits(pictures[1])
    plain.load_weights(averaged.delivered_weights())
    np.testing.assert_array_equal(plain.logits(pictures[1]), of_average)
    assert (of_average != of_trained).any()


def test_a_twin_has_an_average_of_its_own(pair):
    averaged = Averaged(pair[1], DECAY)
    before = averaged.delivered_weights()
    twin = averaged.copy(averaged.mode)
    twin.step(0, 0.05)
    assert_same(averaged.delivered_weights(), before)
    assert any((array != before[key]).any() for key, array in twin.delivered_weights().items())


def test_a_loaded_state_continues_bit_for_bit(pair):
    first, second = (Averaged(stepper, DECAY) for stepper in pair)
    for step in range(4):
        first.step(step, 0.02)
    second.load_weights(first.weights())
    second.load_optimizer(first.optimizer_arrays())
    for step in range(4, 6):
        first.step(step, 0.02)
        second.step(step, 0.02)
    assert_same(second.delivered_weights(), first.delivered_weights())
    assert_same(second.weights(), first.weights())


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_a_run_that_diverges_says_so_with_an_average_too(pictures, network, recipe, engine, optimizer):
    settings = recipe(engine=engine, optimizer=optimizer, ema=0.9, learning_rate=1e30, l1=0.1, l2=0.1, steps=8)
    with pytest.raises(TrainingError, match="training diverged"):
        train(*network, *pictures, settings)


def test_a_run_delivers_the_average_that_validated_best(pictures, network, recipe, engine):
    settings = {"engine": engine, "schedule": "constant", "steps": 24}
    plain, averaged = (train(*network, *pictures, recipe(**settings, ema=ema)) for ema in (0.0, 0.9))
    assert any((plain.arrays[key] != averaged.arrays[key]).any() for key in plain.arrays)
    stepper = make_stepper(*network, pictures[0], recipe(**settings))
    stepper.load_weights(averaged.arrays)
    loss, _ = validate(stepper, pictures[1])
    assert loss == pytest.approx(min(row["validation_loss"] for row in averaged.history), rel=1e-5)
    assert [row["train_loss"] for row in plain.history] == [row["train_loss"] for row in averaged.history]
