"""Penalties on the gradient of a network with respect to its input: R1 on real examples, R2 on generated ones.

References
----------
Mescheder, Geiger and Nowozin, Which Training Methods for GANs do actually Converge?, ICML 2018, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from trimtab.numpy_nn.module import Array, Module


def gradient_penalty(network: Module, x: Array, strength: float, *, features: int | None = None) -> float:
    """Return strength / 2 times the mean squared norm of dD/dx, and add its gradient to those of the parameters.

    The derivative of a derivative is not needed. Around x a piecewise-linear network is linear, D(x + v) - D(x) =
    D'(x) v: one more forward pass with the same masks and no biases, the tangent. With v the gradient g itself,
    frozen, that pass gives D'(x) g = |g|^2, and its ordinary backward pass gives d(|g|^2 / 2) for every parameter.

    Parameters
    ----------
    network
        Piecewise linear, one number per example: [B, ...] -> [B] or [B, 1].
    x
        Where the gradient is taken.
    strength
        Often called gamma.
    features
        How many of the first features, or channels, count: not those that only tell the class. All unless given.

    Raises
    ------
    TypeError
        If a layer is not piecewise linear.
    """
    with _retaining(network):
        value = network(x)
        gradient = _input_gradient(network, np.ones_like(value))
        if features is not None:
            gradient[:, features:] = 0
        along = network.tangent(gradient * (strength / len(x)))
        network.backward(np.ones_like(along))
    return float(along.sum() / 2)


def _input_gradient(network: Module, grad: Array) -> Array:
    """Return the gradient of the input, those of the parameters left alone."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    wanted, network.input_gradient = network.input_gradient, True
    for parameter in trained:
        parameter.requires_grad = False
    try:
        return network.backward(grad)
    finally:
        network.input_gradient = wanted
        for parameter in trained:
            parameter.requires_grad = True


@contextmanager
def _retaining(network: Module) -> Iterator[None]:
    """Let backward passes be repeated within the block."""
    before = {module: module.retains for module in network.modules()}
    for module in before:
        module.retains = True
    try:
        yield
    finally:
        for module, retains in before.items():
            module.retains = retains
            module.forget()
