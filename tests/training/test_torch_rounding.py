"""Training with int8's rounding: what is rounded, how gradients pass, and that it helps where rounding hurts."""

import numpy as np
import pytest
import torch

from trimtab.training.stepper import make_stepper
from trimtab.training.torch_rounding import round_activation, round_weight

CNN = ("cnn", {"in_channels": 1, "image_size": 8, "channels": [4, 8], "num_classes": 3})


def test_weights_take_129_levels_in_each_output_channel():
    weight = torch.randn(3, 500, 1, 1, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 10, 0.1]
    ).reshape(3, 1, 1, 1)
    rounded = round_weight(weight)
    for before, after in zip(weight, rounded, strict=True):
        step = before.abs().max() / 64
        codes = after / step
        torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0)
        assert codes.abs().max() == pytest.approx(64, abs=1e-3)
        assert (after - before).abs().max() <= step / 2 + 1e-7


def test_activations_take_256_levels_with_zero_among_them():
    x = torch.cat([torch.zeros(1), torch.rand(5000, generator=torch.Generator().manual_seed(0)) * 3 - 1])
    rounded = round_activation(x)
    assert rounded[0] == 0
    assert len(rounded.unique()) <= 256
    assert (rounded - x).abs().max() <= 3 / 255 / 2 + 1e-5


def test_activations_that_are_all_positive_use_all_levels_for_them():
    x = torch.linspace(2, 3, 100)
    assert (round_activation(x) - x).abs().max() <= 3 / 255 / 2 + 1e-6


@pytest.mark.parametrize("round_numbers", [round_weight, round_activation])
def test_gradients_pass_as_if_nothing_was_rounded(round_numbers):
    x = torch.randn(4, 6, requires_grad=True)
    factor = torch.randn(4, 6)
    (round_numbers(x) * factor).sum().backward()
    torch.testing.assert_close(x.grad, factor)


def test_zeros_stay_zeros():
    assert not round_weight(torch.zeros(2, 3)).any()
    assert not round_activation(torch.zeros(2, 3)).any()


@pytest.fixture
def steppers(pictures, recipe):
    return [make_stepper(*CNN, pictures[0], recipe(engine="torch", rounding=rounding)) for rounding in (False, True)]


def test_network_answers_as_one_with_rounded_numbers_and_keeps_its_own(steppers, pictures):
    plain, rounding = steppers
    for key, array in plain.weights().items():
        np.testing.assert_array_equal(array, rounding.weights()[key])
    ours, theirs = (each.logits(pictures[1]) for each in steppers)
    assert 0 < np.abs(ours - theirs).max() < 0.1
    for name, layer in plain.model.named_modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.weight.data = round_weight(layer.weight.data)
            layer.register_forward_pre_hook(lambda _, arguments: (round_activation(arguments[0]),))
        elif name.endswith("module"):
            layer.register_forward_hook(lambda _, __, output: round_activation(output))
    np.testing.assert_allclose(plain.logits(pictures[1]), theirs, atol=1e-5)


def test_steps_move_the_weights_in_floating_point(steppers):
    rounding = steppers[1]
    before = rounding.weights()
    losses = [rounding.step(step, 1e-3) for step in range(3)]
    assert all(np.isfinite(losses))
    moved = rounding.weights()["0.0.weight"] - before["0.0.weight"]
    assert 0 < np.abs(moved).max() < 0.1


def test_numpy_engine_refuses(pictures, recipe):
    with pytest.raises(ValueError, match="expected the engine 'torch'"):
        make_stepper(*CNN, pictures[0], recipe(engine="numpy", rounding=True))
