"""Activations, element by element, each with its derivative: dx = dy * f'(x)."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from trimtab.numpy_nn.memory import empty_like
from trimtab.numpy_nn.module import Array, Module

_STEP = 1 / 32  # between the nodes of the error function's table


class LeakyReLU(Module):
    """``x`` where it is positive, ``negative_slope * x`` elsewhere. f' = 1 or ``negative_slope``."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        """Accept torch's ``inplace``, which changes nothing here."""
        self.negative_slope = negative_slope

    def describe(self) -> str:
        """Return the slope."""
        return f"{self.negative_slope:g}"

    def forward(self, x: Array) -> Array:
        """Keep where x is positive."""
        self._keep(x > 0)
        return np.where(x > 0, x, x * x.dtype.type(self.negative_slope))

    def backward(self, grad: Array) -> Array:
        """Return dx = dy where x > 0, slope * dy elsewhere."""
        (is_positive,) = self._take()
        return np.where(is_positive, grad, grad * grad.dtype.type(self.negative_slope))

    def tangent(self, v: Array) -> Array:
        """Apply the slopes of the last forward pass."""
        (is_positive,) = self._kept
        return np.where(is_positive, v, v * v.dtype.type(self.negative_slope))


class ReLU(Module):
    """``max(x, 0)``. f' = 1 where the output is positive, else 0."""

    def __init__(self, inplace: bool = False) -> None:
        """Accept torch's argument, which changes nothing here."""

    def forward(self, x: Array) -> Array:
        """Keep the output."""
        y = np.maximum(x, 0, out=empty_like(x))
        self._keep(y)
        return y

    def backward(self, grad: Array) -> Array:
        """Return dx = dy where y > 0."""
        (y,) = self._take()
        return self._mask(grad, y)

    def tangent(self, v: Array) -> Array:
        """Apply the mask of the last forward pass."""
        (y,) = self._kept
        return self._mask(v, y)

    def _mask(self, values: Array, y: Array) -> Array:
        masked = empty_like(y)
        if values.strides == y.strides:
            return np.multiply(values, y > 0, out=masked)
        masked[...] = values  # first into the same order in memory
        masked *= y > 0
        return masked


class Tanh(Module):
    """``tanh(x)``. f' = 1 - y^2."""

    def forward(self, x: Array) -> Array:
        """Keep the output."""
        y = np.tanh(x, out=empty_like(x))
        self._keep(y)
        return y

    def backward(self, grad: Array) -> Array:
        """Return dx = dy (1 - y^2)."""
        (y,) = self._take()
        return grad * (1 - y * y)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``. f' = y (1 - y)."""

    def forward(self, x: Array) -> Array:
        """Keep the output."""
        y = sigmoid(x)
        self._keep(y)
        return y

    def backward(self, grad: Array) -> Array:
        """Return dx = dy y (1 - y)."""
        (y,) = self._take()
        return grad * (y * (1 - y))


class SiLU(Module):
    """``x sigmoid(x)``. With s = sigmoid(x): f' = s (1 + x (1 - s))."""

    def __init__(self, inplace: bool = False) -> None:
        """Accept torch's argument, which changes nothing here."""

    def forward(self, x: Array) -> Array:
        """Keep the input and its sigmoid."""
        gate = sigmoid(x)
        self._keep(x, gate)
        return x * gate

    def backward(self, grad: Array) -> Array:
        """Return dx = dy s (1 + x (1 - s))."""
        x, gate = self._take()
        return grad * (gate * (1 + x * (1 - gate)))


class GELU(Module):
    """``x P(x)`` with the normal distribution function P (Hendrycks and Gimpel, 2016). f' = P(x) + x p(x).

    ``approximate="tanh"``: P(x) = (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3).
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate is '{approximate}'; expected none or tanh; choose one.")
        self.approximate = approximate

    def describe(self) -> str:
        """Return the approximation."""
        return f"approximate='{self.approximate}'"

    def forward(self, x: Array) -> Array:
        """Keep the input and P(x)."""
        share = self._share(x)
        self._keep(x, share)
        return x * share

    def backward(self, grad: Array) -> Array:
        """Return dx = dy (P + x p); in the approximation p = 2 P (1 - P) du/dx."""
        x, share = self._take()
        if self.approximate == "none":
            density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        else:
            slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
            density = 2 * share * (1 - share) * slope
        return (grad * (share + x * density)).astype(x.dtype)

    def _share(self, x: Array) -> Array:
        if self.approximate == "none":
            return ((1 + erf(x / math.sqrt(2))) / 2).astype(x.dtype)
        return sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))  # (1 + tanh u) / 2 = sigmoid(2 u)


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``, without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def erf(x: Array) -> Array:
    """Return the error function in float64, to 1e-14: the exact value at the nearest node, Taylor's series from there.

    The n-th derivative is (-1)^(n-1) H_(n-1)(x) f(x): f the first one, 2 / sqrt(pi) exp(-x^2), H Hermite's polynomials.
    """
    magnitude = np.minimum(np.abs(x), 6.0).astype(np.float64)  # beyond 6 it is one to the last bit
    node = np.rint(np.nan_to_num(magnitude) / _STEP).astype(np.intp)
    start, step = node * _STEP, magnitude - node * _STEP
    total = np.zeros_like(step)
    hermite, following, factor = np.ones_like(start), 2 * start, step
    for order in range(1, 10):
        total += factor * hermite
        hermite, following = following, 2 * start * following - 2 * order * hermite
        factor = factor * -step / (order + 1)
    slope = 2 / math.sqrt(math.pi) * np.exp(-start * start)
    return np.copysign(_erf_table()[node] + slope * total, x)


@cache
def _erf_table() -> Array:
    return np.array([math.erf(node * _STEP) for node in range(int(6 / _STEP) + 1)])
