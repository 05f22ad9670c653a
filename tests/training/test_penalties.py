"""What weight decay, L2 and L1 do to the weights, in both engines and under every optimizer."""

import numpy as np
import pytest

from trimtab.training import OPTIMIZERS
from trimtab.training.stepper import make_stepper

RATE = 0.25


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request):
    return request.param


@pytest.fixture
def stepper(pictures, network, recipe, engine):
    """A function that returns a stepper with random vectors, too; without penalties unless given."""

    def make(**settings):
        settings = {"weight_decay": 0.0, "augment": "none", **settings}
        made = make_stepper(*network, pictures[0], recipe(engine=engine, **settings))
        random = np.random.default_rng(0)
        arrays = made.weights()
        vectors = {key: random.uniform(0.5, 1, array.shape) for key, array in arrays.items() if array.ndim == 1}
        made.load_weights({**arrays, **{key: array.astype(np.float32) for key, array in vectors.items()}})
        return made

    return make


def update_without_gradient(stepper, rate=RATE):
    """Return the weights before and after an update when no row asks for one: matrices and filters, and the rest."""
    before = stepper.weights()
    stepper.zero_grad()
    stepper.update(rate)
    after = stepper.weights()
    matrices = [key for key, array in before.items() if array.ndim > 1]
    assert matrices
    assert len(matrices) < len(before)
    return (
        {key: (before[key], after[key]) for key in matrices},
        {key: (before[key], after[key]) for key in before if key not in matrices},
    )


def test_weight_decay_takes_exactly_its_share_whatever_the_optimizer(stepper, optimizer):
    matrices, _ = update_without_gradient(stepper(optimizer=optimizer, weight_decay=0.1))
    for before, after in matrices.values():
        np.testing.assert_array_equal(after, before * np.float32(1 - RATE * 0.1))


@pytest.mark.parametrize("penalty", ["weight_decay", "l1", "l2"])
def test_biases_and_normalization_are_spared(stepper, optimizer, penalty):
    matrices, vectors = update_without_gradient(stepper(optimizer=optimizer, **{penalty: 0.1}))
    assert all((before != after).any() for before, after in matrices.values())
    for before, after in vectors.values():
        np.testing.assert_array_equal(after, before)


def test_without_penalties_nothing_moves_without_a_gradient(stepper, optimizer):
    matrices, vectors = update_without_gradient(stepper(optimizer=optimizer))
    for before, after in [*matrices.values(), *vectors.values()]:
        np.testing.assert_array_equal(after, before)


def test_l2_is_the_gradient_of_half_the_sum_of_squares(stepper):
    matrices, _ = update_without_gradient(stepper(optimizer="sgd", l2=0.1))
    for before, after in matrices.values():
        nesterov = 1 + 0.9  # of the first gradient
        np.testing.assert_allclose(after, before - RATE * nesterov * 0.1 * before, rtol=1e-5, atol=1e-8)


def test_l2_goes_through_the_optimizer_and_weight_decay_does_not(stepper):
    coupled, _ = update_without_gradient(stepper(optimizer="adamw", l2=0.1), rate=1e-3)
    for before, after in coupled.values():
        is_clear = np.abs(before) > 1e-4
        np.testing.assert_allclose((before - after)[is_clear], 1e-3 * np.sign(before)[is_clear], rtol=0.02)


def test_l1_moves_weights_towards_zero_by_the_same_length_and_small_ones_to_exactly_zero(stepper, optimizer):
    matrices, _ = update_without_gradient(stepper(optimizer=optimizer, l1=0.4))
    threshold = np.float32(RATE * 0.4)
    for before, after in matrices.values():
        is_small = np.abs(before) <= threshold
        assert (after[is_small] == 0).all()
        np.testing.assert_allclose(after, np.sign(before) * np.maximum(np.abs(before) - threshold, 0), atol=1e-7)
    assert any((np.abs(before) <= threshold).any() for before, _ in matrices.values())
    assert any((np.abs(before) > threshold).any() for before, _ in matrices.values())


def test_training_with_l1_makes_many_weights_exactly_zero_and_without_it_none(stepper, optimizer):
    shares = []
    for l1 in (0.0, 0.5):
        trained = stepper(optimizer=optimizer, l1=l1)
        for step in range(8):
            trained.step(step, 0.02)
        weights = np.concatenate([array.ravel() for array in trained.weights().values() if array.ndim > 1])
        shares.append((weights == 0).mean())
    assert shares[0] == 0
    assert 0.1 < shares[1] < 1


def test_all_penalties_together_are_the_same_in_both_engines(pictures, network, recipe, optimizer):
    builder, kwargs = network
    settings = {"optimizer": optimizer, "weight_decay": 0.1, "l1": 0.01, "l2": 0.05}
    kwargs = {**kwargs, "dropout": 0.0}
    steppers = [
        make_stepper(builder, kwargs, pictures[0], recipe(engine=engine, **settings)) for engine in ("torch", "numpy")
    ]
    steppers[1].load_weights(steppers[0].weights())
    for step in range(2):
        losses = [stepper.step(step, 0.01) for stepper in steppers]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    theirs, ours = (stepper.weights() for stepper in steppers)
    for key in theirs:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-3, atol=1e-4, err_msg=key)


def test_frozen_weights_have_no_penalty_and_no_step(pictures, recipe, engine, optimizer):
    kwargs = {"in_channels": 1, "image_size": 8, "channels": [4, 8], "num_classes": 3}
    settings = recipe(engine=engine, optimizer=optimizer, weight_decay=0.1, l1=0.1, l2=0.1)
    stepper = make_stepper("resnet", kwargs, pictures[0], settings)
    before = stepper.weights()
    stepper.step(0, 0.1)
    after = stepper.weights()
    unmoved = {key for key in before if before[key].ndim > 1 and (before[key] == after[key]).all()}
    assert unmoved == {"0.0.weight"}
