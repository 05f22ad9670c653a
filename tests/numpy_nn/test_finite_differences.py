"""The definition of a gradient, without torch: central differences along random directions, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.numpy_nn.parity import LAYERS, network

from trimtab import numpy_nn as nn

STEP = 1e-6
CLOSE = 1e-7  # relative to the lengths involved; the error of the differences themselves is some 1e-9


def slope(value: Callable[[float], float]) -> float:
    """Return the derivative at zero."""
    return (value(STEP) - value(-STEP)) / (2 * STEP)


def direction(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return a random array of length one."""
    along = np.asarray(rng.standard_normal(shape))
    return along / np.linalg.norm(along)


def assert_slope(value: Callable[[float], float], grad: np.ndarray, along: np.ndarray) -> None:
    """Check that ``grad`` says how ``value`` changes along a direction."""
    assert grad.shape == along.shape
    assert slope(value) == pytest.approx(np.vdot(grad, along), rel=0, abs=CLOSE * max(1, np.linalg.norm(grad)))


NETWORKS = [
    network(
        "Dropout in training",
        (4, 6),
        lambda nn: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 6), nn.Dropout(0.2), nn.Tanh()),
    ),
    network(
        "deep network",
        (3, 2, 8, 8),
        lambda nn: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, algorithm="winograd"),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU())),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LayerNorm(4),
            nn.Linear(4, 3),
        ),
    ),
]


@pytest.mark.parametrize("case", [*LAYERS, *NETWORKS])
def test_gradients_of_a_layer_are_its_slopes(case, rng):
    layer = case.make(nn).reset_parameters(rng).to(np.float64).train(case.training)
    for parameter in layer.parameters():
        parameter.data += 0.3 * rng.standard_normal(parameter.data.shape)
    (x,) = case.inputs(rng)
    grad = rng.standard_normal(layer.seed(0)(x).shape)

    def value(x: np.ndarray) -> float:
        return float(np.vdot(layer.seed(0)(x), grad))

    dx = layer.backward(grad)
    if case.classes is None:
        along = direction(rng, x.shape)
        assert_slope(lambda step: value(x + step * along), dx, along)
    for parameter in layer.parameters():
        start, along = parameter.data, direction(rng, parameter.data.shape)

        def moved(step: float, parameter=parameter, start=start, along=along) -> float:
            parameter.data = start + step * along
            return value(x)

        assert_slope(moved, parameter.grad, along)
        parameter.data = start


CLASSES = np.array([1, 0, 3, 3])
LOSSES = {
    "cross entropy": lambda x: nn.cross_entropy(x, CLASSES),
    "cross entropy, smoothed": lambda x: nn.cross_entropy(x, CLASSES, label_smoothing=0.2),
    "cross entropy, weighted": lambda x: nn.cross_entropy(
        x, CLASSES, weight=np.array([1, 2, 0.5, 3]), ignore_index=0, label_smoothing=0.1
    ),
    "cross entropy of probabilities": lambda x: nn.cross_entropy(x, nn.softmax(np.arange(16.0).reshape(4, 4))),
    "cross entropy, summed": lambda x: nn.cross_entropy(x, CLASSES, reduction="sum"),
    "negative log likelihood": lambda x: nn.nll_loss(x, CLASSES, weight=np.array([1, 2, 0.5, 3])),
    "binary cross entropy": lambda x: nn.binary_cross_entropy_with_logits(x, np.eye(4), pos_weight=np.arange(4.0)),
    "binary cross entropy, weighted": lambda x: nn.binary_cross_entropy_with_logits(
        x, np.full((4, 4), 0.3), weight=np.arange(4.0)
    ),
    "squared error": lambda x: nn.mse_loss(x, np.arange(16.0).reshape(4, 4)),
    "squared error, summed": lambda x: nn.mse_loss(x, np.ones((4, 4)), reduction="sum"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_a_loss_are_its_slopes(name, rng):
    loss, x, along = LOSSES[name], rng.standard_normal((4, 4)), direction(rng, (4, 4))
    _, grad = loss(x)
    assert_slope(lambda step: loss(x + step * along)[0], grad, along)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_through_a_network_into_a_loss_are_slopes(name, rng):
    layers = nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 4)).to(np.float64)
    x, along = rng.standard_normal((4, 5)), direction(rng, (4, 5))
    _, grad = LOSSES[name](layers(x))
    assert_slope(lambda step: LOSSES[name](layers(x + step * along))[0], layers.backward(grad), along)


@pytest.mark.parametrize("penalty", [nn.l1_penalty, nn.l2_penalty])
def test_gradients_of_a_penalty_are_its_slopes(penalty, rng):
    parameter = nn.Parameter(rng.standard_normal((3, 4)))
    start, along = parameter.data.copy(), direction(rng, (3, 4))
    penalty([parameter], 0.7)

    def value(step: float) -> float:
        return penalty([nn.Parameter(start + step * along)], 0.7)

    assert_slope(value, parameter.grad, along)


def test_the_gradient_of_the_gradient_penalty_is_its_slope(rng):
    layers = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(36, 1)
    ).to(np.float64)
    x = rng.standard_normal((3, 2, 6, 6))
    nn.gradient_penalty(layers, x, 2.0)
    grads = {name: parameter.grad.copy() for name, parameter in layers.named_parameters()}
    for name, parameter in layers.named_parameters():
        start, along = parameter.data, direction(rng, parameter.data.shape)

        def value(step: float, parameter=parameter, start=start, along=along) -> float:
            parameter.data = start + step * along
            return nn.gradient_penalty(layers, x, 2.0)

        assert_slope(value, grads[name], along)
        parameter.data = start


def test_a_wrong_gradient_is_noticed(rng, monkeypatch):
    right = nn.Tanh.backward
    monkeypatch.setattr(nn.Tanh, "backward", lambda layer, grad: right(layer, grad) * (1 + 1e-4))
    layer, x, along = nn.Tanh(), rng.standard_normal((3, 4)), direction(rng, (3, 4))
    layer(x)
    dx = layer.backward(np.ones((3, 4)))
    with pytest.raises(AssertionError):
        assert_slope(lambda step: float(layer(x + step * along).sum()), dx, along)
