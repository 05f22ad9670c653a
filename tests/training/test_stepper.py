"""Parts of a batch add up to the batch, mixed labels to mixed losses, and a step's seed to its randomness."""

import numpy as np
import pytest
import torch

from trimtab import numpy_nn
from trimtab.training.batches import step_seed
from trimtab.training.numpy_steps import NumpyStepper
from trimtab.training.stepper import batch_parts, make_stepper, part_seed
from trimtab.training.torch_steps import TorchStepper

DROPPING = ("cnn", {"in_channels": 1, "image_size": 8, "channels": [4, 8], "num_classes": 3, "dropout": 0.5})
SKIPPING = (
    "resnet",
    {"in_channels": 1, "image_size": 8, "channels": [4, 8], "num_classes": 3, "depth": 3, "stochastic_depth": 0.5},
)


@pytest.fixture
def plain(pictures, recipe, engine):
    """A function that returns a stepper whose network has no batch normalization, the same whatever the recipe."""

    def make(**settings):
        settings = recipe(engine=engine, optimizer="sgd", **settings)
        random = np.random.default_rng(0)
        nn = torch.nn if engine == "torch" else numpy_nn
        layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
        stepper = (TorchStepper if engine == "torch" else NumpyStepper)(nn.Sequential(*layers), pictures[0], settings)
        stepper.load_weights(
            {
                key: random.normal(0, 0.2, array.shape).astype(np.float32)
                for key, array in sorted(stepper.weights().items())
            }
        )
        return stepper

    return make


def assert_close(one, other, **tolerance):
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], **tolerance, err_msg=key)


@pytest.mark.parametrize("accumulate", [2, 3, 16, 99])
def test_parts_in_turn_are_the_whole_batch_without_batch_normalization(plain, accumulate):
    whole, parts = plain(), plain(accumulate=accumulate)
    for step in range(3):
        assert parts.step(step, 0.1) == pytest.approx(whole.step(step, 0.1), rel=1e-5)
    assert_close(parts.weights(), whole.weights(), rtol=1e-4, atol=1e-6)


def test_shares_of_the_loss_add_up_to_its_mean_whatever_the_parts(plain):
    stepper = plain(label_smoothing=0.1)
    whole = stepper.add_gradients(5, seed=0)
    parts = [stepper.add_gradients(5, part, seed=0) for part in (slice(0, 1), slice(1, 10), slice(10, 16))]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)
    assert parts[0] < parts[1]


def test_gradients_are_those_since_they_were_forgotten(plain):
    one, other = plain(), plain()
    one.zero_grad()
    one.add_gradients(0, seed=0)
    other.add_gradients(7, seed=0)
    other.zero_grad()
    other.add_gradients(0, seed=0)
    for stepper in (one, other):
        stepper.update(0.1)
    assert_close(one.weights(), other.weights(), rtol=0)


def test_batch_normalization_sees_each_part_alone(pictures, network, recipe, engine):
    whole, parts = (make_stepper(*network, pictures[0], recipe(engine=engine, accumulate=n)) for n in (1, 2))
    for stepper in (whole, parts):
        stepper.step(0, 0.0)
    before, after = (stepper.weights() for stepper in (whole, parts))
    (first, *_) = [key for key in before if key.endswith("num_batches_tracked")]
    assert (before[first], after[first]) == (1, 2)


class Given:
    """Batches whose labels are given."""

    def __init__(self, inputs, labels):
        self.arrays = inputs, labels

    def at(self, step, part):
        return tuple(array[part] for array in self.arrays)


@pytest.fixture
def losses(plain):
    """A function that returns the loss of a batch with these labels."""
    inputs = np.random.default_rng(1).standard_normal((16, 1, 8, 8), dtype=np.float32)

    def of(labels, **settings):
        stepper = plain(**settings)
        stepper._batches = Given(inputs, labels)
        stepper.zero_grad()
        loss = stepper.add_gradients(0, seed=0)
        stepper.update(0.1)
        return loss, stepper.weights()

    return of


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_mixture_of_one_class_is_that_class(losses, smoothing):
    labels = np.arange(16) % 3
    by_number, by_share = (losses(given, label_smoothing=smoothing) for given in (labels, one_hot(labels)))
    assert by_share[0] == pytest.approx(by_number[0], rel=1e-6)
    assert_close(by_share[1], by_number[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_mixed_labels_is_the_mixture_of_the_losses(losses, smoothing):
    first, second = np.arange(16) % 3, (np.arange(16) + 1) % 3
    mixed = np.float32(0.7) * one_hot(first) + np.float32(0.3) * one_hot(second)
    found, of_first, of_second = (losses(given, label_smoothing=smoothing)[0] for given in (mixed, first, second))
    assert found == pytest.approx(0.7 * of_first + 0.3 * of_second, rel=1e-5)


def one_hot(labels):
    return np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize("case", [DROPPING, SKIPPING], ids=["dropout", "stochastic depth"])
def test_what_a_step_leaves_out_is_a_function_of_its_seed(pictures, recipe, engine, case):
    stepper = make_stepper(*case, pictures[0], recipe(engine=engine))
    losses = [[twin(stepper).add_gradients(4, seed=seed) for _ in range(2)] for seed in (1, 2)]
    assert losses[0][0] == losses[0][1]
    assert losses[0][0] != losses[1][0]
    np.testing.assert_array_equal(twin(stepper).step(4, 0.0), twin(stepper).step(4, 0.0))


def twin(stepper):
    return stepper.copy(stepper.mode)


def test_each_part_of_a_step_has_a_seed_of_its_own_and_a_whole_batch_the_one_of_the_step():
    assert part_seed(3, 7, 0, 1) == step_seed(3, 7)
    seeds = {part_seed(3, step, part, 4) for step in range(5) for part in range(4)}
    assert len(seeds) == 20


@pytest.mark.parametrize(("batch", "count", "sizes"), [(8, 2, [4, 4]), (7, 3, [2, 2, 3]), (3, 5, [1, 1, 1])])
def test_parts_differ_by_at_most_one_row_and_make_up_the_batch(batch, count, sizes):
    parts = batch_parts(batch, count)
    assert [part.stop - part.start for part in parts] == sizes
    assert [row for part in parts for row in range(batch)[part]] == list(range(batch))


def test_an_unknown_optimizer_is_refused(recipe):
    with pytest.raises(ValueError, match="there is no optimizer 'lion'; expected one of adamw, muon, sgd; pick one"):
        recipe(optimizer="lion")
