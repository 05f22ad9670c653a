"""The gradient penalty is torch's derivative of a derivative; nothing else about the network changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.numpy_nn.parity import Case, assert_same, network, twins

from trimtab import numpy_nn as nn


def perceptron(nn):
    return nn.Sequential(
        nn.Linear(6, 9), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(9, 7), nn.LeakyReLU(0.2), nn.Linear(7, 1)
    )


def discriminator(nn):
    return nn.Sequential(
        nn.Conv2d(3, 6, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(3, 2, 1),
        nn.BatchNorm2d(6),
        nn.Residual(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.LeakyReLU(0.1))),
        nn.AvgPool2d(2, padding=1),
        nn.Flatten(),
        nn.Linear(24, 5),
        nn.ReLU(),
        nn.Linear(5, 1),
    )


def everything_linear(nn):
    """Return a network of the piecewise-linear layers that are not in the discriminator."""
    return nn.Sequential(
        nn.Unflatten(1, (2, 4, 4)),
        nn.Conv2d(2, 4, 3, padding=1, groups=2, algorithm="im2col"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(4, 4, 3, padding=1, algorithm="winograd"),
        nn.LeakyReLU(0.3),
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        nn.ConvTranspose2d(8, 3, 2, stride=2, padding=1),
        nn.Identity(),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.LeakyReLU(0.3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(0),
        nn.Unflatten(0, (-1, 3)),
        nn.BatchNorm1d(3),
        nn.Linear(3, 1, bias=False),
    )


NETWORKS = [
    network("multi-layer perceptron", (5, 6), perceptron, training=False),
    network("discriminator", (4, 3, 12, 12), discriminator, training=False),
    network("every other linear layer", (5, 32), everything_linear, training=False),
    network("one matrix", (4, 3), lambda nn: nn.Linear(3, 1)),
    network("one number without an axis", (4, 3), lambda nn: nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))),
    network(
        "normalization alone", (4, 3), lambda nn: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)), training=False
    ),
]


def of_torch(layer, x, strength):
    """Return value and parameter gradients, by a derivative of the derivative."""
    tensor = torch.tensor(x, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(tensor).sum(), tensor, create_graph=True)
    value = strength / 2 * gradient.square().flatten(1).sum(1).mean()
    value.backward()
    found = {"value": value.detach().numpy()}
    for name, parameter in layer.named_parameters():
        has_effect = parameter.grad is not None  # the derivative does not depend on the last bias
        found[name] = parameter.grad.numpy() if has_effect else np.zeros(tuple(parameter.shape))
    return found


def of_engine(layer, x, strength):
    value = nn.gradient_penalty(layer, x, strength)
    return {"value": np.asarray(value), **{name: parameter.grad for name, parameter in layer.named_parameters()}}


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("strength", [10.0, 0.1])
def test_value_and_gradients_are_those_of_a_derivative_of_the_derivative(case, strength, rng):
    theirs, ours = twins(case, rng)
    (x,) = case.inputs(rng)
    assert_same(of_engine(ours, x, strength), of_torch(theirs, x, strength))


@pytest.mark.parametrize("case", NETWORKS)
def test_threads_change_nothing_but_rounding(case, rng, small_pieces):
    theirs, ours = twins(case, rng)
    (x,) = case.inputs(rng)
    with nn.threads(3):
        found = of_engine(ours, x, 2.0)
    assert_same(found, of_torch(theirs, x, 2.0))


@pytest.mark.parametrize("case", NETWORKS)
def test_float32_is_as_good_as_its_rounding(case, rng):
    theirs, ours = twins(case, rng, np.float32)
    (x,) = case.inputs(rng)
    assert_same(of_engine(ours, x.astype(np.float32), 2.0), of_torch(theirs, x, 2.0), 1e-5)


@pytest.mark.parametrize("mean", [0, 100])
def test_a_large_running_mean_costs_no_digits(mean, rng):
    """Normalization keeps its input less the mean; a direction is small beside that."""
    case = Case(lambda nn: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1)), (5, 4), training=False)
    theirs, ours = twins(case, rng, np.float32)
    theirs.state_dict()["1.running_mean"].fill_(mean)
    ours[1].running_mean[...] = mean
    (x,) = case.inputs(rng)
    assert_same(of_engine(ours, x.astype(np.float32), 0.01), of_torch(theirs, x, 0.01), 1e-5)


def test_a_value_is_a_number():
    assert isinstance(nn.gradient_penalty(nn.Linear(3, 1), np.ones((2, 3), np.float32), 1.0), float)


def test_no_strength_costs_nothing():
    layer = nn.Linear(3, 1)
    assert nn.gradient_penalty(layer, np.ones((2, 3), np.float32), 0.0) == 0
    assert not layer.weight.grad.any()


@pytest.mark.parametrize("case", NETWORKS)
def test_gradients_are_added_to_what_is_there(case, rng):
    _, ours = twins(case, rng)
    (x,) = case.inputs(rng)
    for parameter in ours.parameters():
        parameter.grad += 3
    found = of_engine(ours, x, 2.0)
    theirs, _ = twins(case, np.random.default_rng(0))
    expected = of_torch(theirs, x, 2.0)
    assert_same(found, {name: array + 3 * (name != "value") for name, array in expected.items()})


def test_after_a_loss_the_sum_of_both_gradients_is_that_of_torch(rng):
    case = NETWORKS[1].values[0]
    theirs, ours = twins(case, rng)
    (x,) = case.inputs(rng)
    loss = nn.binary_cross_entropy_with_logits
    ours.backward(loss(ours(x), np.ones((4, 1)))[1])
    torch.nn.functional.binary_cross_entropy_with_logits(theirs(torch.tensor(x)), torch.ones(4, 1).double()).backward()
    assert_same(of_engine(ours, x, 2.0), of_torch(theirs, x, 2.0))


def test_frozen_parameters_stay_frozen_and_settings_as_they_are(rng):
    _, layers = twins(NETWORKS[1].values[0], rng)
    names = {name: index % 3 != 0 for index, (name, _) in enumerate(layers.named_parameters())}
    for name, parameter in layers.named_parameters():
        parameter.requires_grad = names[name]
    layers.input_gradient = False
    state = layers.state_dict()
    nn.gradient_penalty(layers, rng.standard_normal((4, 3, 12, 12)), 2.0)
    assert {name: parameter.requires_grad for name, parameter in layers.named_parameters()} == names
    assert not any(parameter.grad.any() for parameter in layers.parameters() if not parameter.requires_grad)
    assert any(parameter.grad.any() for parameter in layers.parameters())
    assert layers.input_gradient is False
    assert not any(layer.training for layer in layers.modules())
    assert all(np.array_equal(values, state[name]) for name, values in layers.state_dict().items())


def test_a_network_goes_on_training_after_it(rng):
    layers = perceptron(nn).train().seed(0)
    x = rng.standard_normal((5, 6)).astype(np.float32)
    nn.gradient_penalty(layers, x, 2.0)
    assert all(layer.training for layer in layers.modules())
    y = layers(x)
    assert layers.backward(np.ones_like(y)).shape == x.shape


def assert_nothing_kept(layers):
    assert not any(layer.retains for layer in layers.modules())
    assert all(layer._kept is None for layer in layers.modules())
    with pytest.raises(RuntimeError, match="has nothing to go back from"):
        layers.backward(np.ones((4, 1)))


def test_afterwards_nothing_is_kept(rng):
    _, layers = twins(NETWORKS[1].values[0], rng)
    nn.gradient_penalty(layers, rng.standard_normal((4, 3, 12, 12)), 2.0)
    assert_nothing_kept(layers)


# ---- layers that are not piecewise linear ----

TEXT = (
    "{} is not piecewise linear; expected layers such as Linear, Conv2d, ReLU, LeakyReLU and pooling; "
    "use LeakyReLU in a network whose gradient is penalized."
)


@pytest.mark.parametrize(
    "layer", [nn.Tanh(), nn.Sigmoid(), nn.SiLU(), nn.GELU(), nn.LayerNorm(3), nn.BatchNorm1d(3), nn.Embedding(3, 3)]
)
def test_a_layer_that_is_not_piecewise_linear_has_no_tangent(layer):
    x = np.ones((2, 3), int if isinstance(layer, nn.Embedding) else np.float32)
    layer(x)
    with pytest.raises(TypeError) as raised:
        layer.tangent(x)
    assert str(raised.value) == TEXT.format(layer)


def test_a_network_with_such_a_layer_is_an_error_that_leaves_everything_as_it_was(rng):
    layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(np.float64)
    layers[0].weight.requires_grad = False
    layers.input_gradient = False
    with pytest.raises(TypeError) as raised:
        nn.gradient_penalty(layers, rng.standard_normal((4, 3)), 1.0)
    assert str(raised.value) == TEXT.format("Tanh()")
    assert [parameter.requires_grad for parameter in layers.parameters()] == [False, True, True, True]
    assert not any(parameter.grad.any() for parameter in layers.parameters())
    assert layers.input_gradient is False
    assert_nothing_kept(layers)


def test_normalization_by_the_batch_is_not_linear(rng):
    layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to(np.float64)
    x = rng.standard_normal((4, 3))
    with pytest.raises(TypeError, match=r"^BatchNorm1d\(4\) is not piecewise linear; "):
        nn.gradient_penalty(layers, x, 1.0)
    assert nn.gradient_penalty(layers.eval(), x, 1.0) > 0
