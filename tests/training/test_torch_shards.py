"""Logical shards in one process: what a step is made of. That workers change nothing is shown in `distributed`."""

from itertools import chain

import numpy as np
import pytest
import torch
from tests.training.conftest import CNN, make_pictures, make_recipe

from trimtab.training.stepper import batch_parts, make_stepper, part_seed
from trimtab.training.torch_shards import own_parts

NO_DROPOUT = ("cnn", {**CNN[1], "dropout": 0.0})
ROWS = make_pictures(64, 0)


def stepper_of(network=NO_DROPOUT, **settings):
    return make_stepper(*network, ROWS, make_recipe(threads=1, **settings))


@pytest.mark.parametrize("parts", range(1, 7))
@pytest.mark.parametrize("workers", range(1, 5))
def test_every_part_has_one_owner_and_the_order_is_kept(parts, workers):
    owned = [list(own_parts(parts, rank, workers)) for rank in range(workers)]
    assert list(chain(*owned)) == list(range(parts))
    assert max(map(len, owned)) - min(map(len, owned)) <= 1


def gradients(stepper):
    return [parameter.grad.clone() for parameter in stepper.model.parameters()]


def test_the_gradient_is_the_sum_of_those_of_the_shards_each_normalized_by_itself():
    together, apart = stepper_of(shards=4, batch_size=15), stepper_of(batch_size=15)
    loss = together.step(0, 0.0)
    losses = [
        apart.add_gradients(0, part, seed=part_seed(3, 0, index, 4)) for index, part in enumerate(batch_parts(15, 4))
    ]
    assert loss == pytest.approx(sum(losses), abs=1e-6)
    for found, expected in zip(gradients(together), gradients(apart), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_running_statistics_are_the_mean_over_shards_that_all_began_alike():
    together, begun = stepper_of(shards=4), stepper_of().weights()
    expected = []
    for index, part in enumerate(batch_parts(16, 4)):
        apart = stepper_of()
        apart.add_gradients(0, part, seed=part_seed(3, 0, index, 4))
        expected.append(apart.weights())
    together.step(0, 0.0)
    found = together.weights()
    names = [name for name in found if "running" in name]
    assert names
    for name in names:
        np.testing.assert_allclose(found[name], np.mean([each[name] for each in expected], axis=0), atol=1e-6)
        assert not np.array_equal(found[name], begun[name])
    assert {int(found[name]) for name in found if "num_batches" in name} == {1}


def test_dropout_draws_anew_for_every_shard():
    """With all shards alike a shared mask would give each the same gradient."""
    network = ("mlp", {"in_features": 4, "hidden": [64], "num_classes": 2, "dropout": 0.5})
    rows = type(ROWS).of(np.tile(np.float32([[1, 2, 3, 4], [4, 3, 2, 1]]), (8, 1)), np.tile([0, 1], 8))
    stepper = make_stepper(*network, rows, make_recipe(threads=1, shards=4, augment="none"))
    seen = []
    stepper.model[3].register_forward_hook(lambda layer, given, found: seen.append(found == 0))
    stepper.step(0, 0.0)
    assert len(seen) == 4
    assert not torch.equal(seen[0], seen[1])


def test_the_same_step_twice_gives_the_same_bits_and_another_number_of_shards_others():
    weights = []
    for shards in (4, 4, 2):
        stepper = stepper_of(CNN, shards=shards)
        for step in range(3):
            stepper.step(step, 0.01)
        weights.append(b"".join(array.tobytes() for array in stepper.weights().values()))
    assert weights[0] == weights[1] != weights[2]
