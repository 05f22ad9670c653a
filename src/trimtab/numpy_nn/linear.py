"""Matrix products and what goes with them: Linear, Embedding, Dropout, Scale, and changes of shape.

Legend: ``B`` batch, ``F`` features, ``O`` outputs.
"""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np

from trimtab.numpy_nn.memory import contiguous, empty, product
from trimtab.numpy_nn.module import Array, Module, Parameter, ShapeError, fill_uniform, require, uniform_parameter
from trimtab.numpy_nn.shards import shard_start, state


@final
class Linear(Module):
    """``y = x W.T + b``: [..., F] -> [..., O]. dx = dy W, dW = dy.T x, db = the sum of dy."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.weight = uniform_parameter((out_features, in_features))
        self.bias = uniform_parameter((out_features,)) if bias else None
        self.initialize(np.random.default_rng())

    def describe(self) -> str:
        """Return the widths."""
        return f"{self.in_features}, {self.out_features}"

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw weight and bias."""
        fill_uniform(self.weight, self.in_features, rng)
        fill_uniform(self.bias, self.in_features, rng)

    def forward(self, x: Array) -> Array:
        """Keep the input."""
        fits = x.ndim > 0 and x.shape[-1] == self.in_features
        require(self, x, fits, f"[B, {self.in_features}]", self.weight)
        return self._apply(x, None if self.bias is None else self.bias.data)

    def tangent(self, v: Array) -> Array:
        """Multiply without the bias."""
        return self._apply(v, None)

    def _apply(self, x: Array, bias: Array | None) -> Array:
        rows = contiguous(x).reshape(-1, self.in_features)
        if len(rows) < self.out_features:  # BLAS is slower where the larger matrix is the transposed one
            products = product(self.weight.data, rows.T).T
        else:
            products = product(rows, self.weight.data.T)
        y = contiguous(products) if bias is None else np.add(products, bias, out=empty(products.shape, x.dtype))
        self._keep(rows, x.shape, bias is not None)
        return y.reshape(*x.shape[:-1], self.out_features)

    def backward(self, grad: Array) -> Array:
        """Gradients of input, weight and bias."""
        rows, shape, has_bias = self._take()
        grad = np.ascontiguousarray(grad).reshape(-1, self.out_features)
        if self.bias is not None and has_bias and self.bias.requires_grad:
            self.bias.add(np.ones(len(grad), grad.dtype) @ grad)
        if self.weight.requires_grad:
            self.weight.add_product(grad.T, rows)
        return product(grad, self.weight.data).reshape(shape) if self.input_gradient else np.empty(0, grad.dtype)


@final
class Embedding(Module):
    """Rows of a table: integers [...] -> [..., embedding_dim]. The gradient of a row is the sum over its uses."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx if padding_idx is None or padding_idx >= 0 else num_embeddings + padding_idx
        self.weight = Parameter(np.zeros((num_embeddings, embedding_dim), np.float32))
        self.initialize(np.random.default_rng())

    def describe(self) -> str:
        """Return the table's size."""
        return f"{self.num_embeddings}, {self.embedding_dim}"

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the table from the normal distribution; the row of ``padding_idx`` stays zero."""
        self.weight.data[...] = rng.standard_normal(self.weight.data.shape)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, x: Array) -> Array:
        """Keep which rows were used."""
        if x.dtype.kind not in "iu" or (x.size and not 0 <= x.min() <= x.max() < self.num_embeddings):
            found = f"from {x.min()} to {x.max()}" if x.size else "without elements"
            raise ValueError(
                f"{self} got {x.dtype} {found}; expected whole numbers from 0 to {self.num_embeddings - 1}."
            )
        self._keep(x)
        return self.weight.data[x]

    def backward(self, grad: Array) -> Array:
        """Add to the rows that were used; whole numbers have no gradient, so an array without elements is returned."""
        (used,) = self._take()
        if self.weight.requires_grad:
            if self.padding_idx is not None:
                grad = np.where((used == self.padding_idx)[..., None], 0, grad)
            total = np.zeros_like(self.weight.data)
            np.add.at(total, used, grad)
            self.weight.add(total)
        return np.empty(0, grad.dtype)


@final
class Dropout(Module):
    """Zero with probability ``p`` in training, the rest scaled by 1 / (1 - p): dx = dy times the same mask."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        """Accept torch's ``inplace``, which changes nothing here."""
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}; expected a probability; give a number from 0 to 1.")
        self.p = p
        self.rng = np.random.default_rng()
        self._key = 0

    def draw(self) -> None:
        """Draw the key of the next masks."""
        self._key = int(self.rng.integers(2**63))

    def describe(self) -> str:
        """Return the probability."""
        return f"p={self.p:g}"

    def forward(self, x: Array) -> Array:
        """Draw and keep the mask."""
        if not self.training or self.p == 0:
            self._keep(None)
            return x
        if state.shard is None:
            self.draw()
        mask = draw_mask(self._key, self.p, x.shape, x.dtype)
        self._keep(mask)
        return x * mask

    def backward(self, grad: Array) -> Array:
        """Apply the mask."""
        (mask,) = self._take()
        return grad if mask is None else grad * mask

    def tangent(self, v: Array) -> Array:
        """Apply the mask of the last forward pass."""
        (mask,) = self._kept
        return v if mask is None else v * mask


def draw_mask(key: int, p: float, shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    """Return zeros with probability ``p`` and 1 / (1 - p) elsewhere: the same, whoever computes a part of the batch."""
    bits = np.random.PCG64(key)
    bits.advance(shard_start() * math.prod(shape[1:]))  # one number each
    scale = 1 / (1 - p) if p < 1 else 0.0
    mask: Array = (np.random.Generator(bits).random(shape) >= p) * kind.type(scale)
    return mask


@final
class Scale(Module):
    """``x`` times a fixed factor: dx = dy times the same."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def describe(self) -> str:
        """Return the factor."""
        return f"{self.factor:g}"

    def forward(self, x: Array) -> Array:
        """Keep nothing."""
        self._keep()
        return self.tangent(x)

    def backward(self, grad: Array) -> Array:
        """Scale the gradient."""
        self._take()
        return self.tangent(grad)

    def tangent(self, v: Array) -> Array:
        """Scale the direction."""
        return v * v.dtype.type(self.factor)


class _Reshape(Module):
    """The same numbers in another shape: dx is dy in the shape of x."""

    def forward(self, x: Array) -> Array:
        """Keep the shape."""
        shape = self._shape(x)
        self._keep(x.shape)
        return contiguous(x).reshape(shape)

    def backward(self, grad: Array) -> Array:
        """Restore the shape."""
        (shape,) = self._take()
        return contiguous(grad).reshape(shape)

    def tangent(self, v: Array) -> Array:
        """Reshape the direction."""
        return np.reshape(v, self._shape(v))

    def _shape(self, x: Array) -> tuple[int, ...]:
        raise NotImplementedError(f"{type(self).__name__} has no shape.")


@final
class Flatten(_Reshape):
    """The axes from ``start_dim`` to ``end_dim`` as one, in torch's order: [B, C, H, W] -> [B, C H W]."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim
        self.mixes_examples = start_dim < 1

    def describe(self) -> str:
        """Return the axes."""
        return f"{self.start_dim}, {self.end_dim}"

    def _shape(self, x: Array) -> tuple[int, ...]:
        axes = max(x.ndim, 1)
        needed = max(-dim if dim < 0 else dim + 1 for dim in (self.start_dim, self.end_dim))
        if axes < needed:
            raise ShapeError(self, x, f"at least {needed} axes")
        start, end = self.start_dim % axes, self.end_dim % axes
        if start > end:
            raise ShapeError(self, x, "its first axis before its last")
        return (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


@final
class Unflatten(_Reshape):
    """One axis as several: ``Unflatten(1, (C, H, W))`` makes [B, C, H, W] of [B, C H W]."""

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)
        self.mixes_examples = dim < 1

    def describe(self) -> str:
        """Return the axis and its new shape."""
        return f"{self.dim}, {self.unflattened_size}"

    def _shape(self, x: Array) -> tuple[int, ...]:
        known = math.prod(size for size in self.unflattened_size if size != -1)
        is_open = -1 in self.unflattened_size
        if not -x.ndim <= self.dim < x.ndim or (
            x.shape[self.dim] % max(1, known) if is_open else x.shape[self.dim] - known
        ):
            raise ShapeError(
                self, x, f"an axis {self.dim} of {known} elements" + (" times any number" if is_open else "")
            )
        dim = self.dim % x.ndim
        sizes = [x.shape[dim] // max(1, known) if size == -1 else size for size in self.unflattened_size]
        return (*x.shape[:dim], *sizes, *x.shape[dim + 1 :])
