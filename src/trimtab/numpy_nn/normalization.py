"""Normalization over the batch (BatchNorm1d, BatchNorm2d, ShiftNorm2d) or over each example's features (LayerNorm).

Both make z = (x - mean) / s with s = sqrt(variance + eps), and y = weight z + bias. Since mean and s depend on x,
dx = weight / s (dy - mean(dy) - z mean(dy z)): what would only move the mean or the spread has no effect.

Legend: ``N`` values that are normalized together, ``C`` channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, final

import numpy as np

from trimtab.numpy_nn.memory import empty
from trimtab.numpy_nn.module import Array, Module, Parameter, ShapeError
from trimtab.numpy_nn.shards import all_sum, state

_PIECE = 400_000  # numbers worked on at a time; of fewer, threads would take turns more often than they compute


class _BatchNorm(Module):
    """Statistics of each channel over all else; running averages of them are used once training is over."""

    buffer_names: ClassVar[tuple[str, ...]] = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.tracks = track_running_stats
        if track_running_stats:
            self.running_mean, self.running_var = np.zeros(num_features, np.float32), np.ones(num_features, np.float32)
            self.num_batches_tracked = np.array(0)
        else:
            self.buffer_names = ()  # type: ignore[misc]

    def describe(self) -> str:
        """Return the number of channels."""
        return str(self.num_features)

    def initialize(self, rng: np.random.Generator) -> None:
        """Start over with a weight of one, a bias of zero and no statistics."""
        if self.weight is not None:
            self.weight.data.fill(1)
        if self.bias is not None:
            self.bias.data.fill(0)
        if self.tracks:
            self.running_mean[...], self.running_var[...] = 0, 1
            self.num_batches_tracked = np.array(0)

    def forward(self, x: Array) -> Array:
        """Keep the input, its mean and spread, and how many values they were taken from: zero where they are fixed."""
        self._check(x)
        rows, count = _rows(x), 0
        if self.training or not self.tracks:
            count, mean, variance = _statistics(rows)
            if self.training and count == 1:
                raise ShapeError(self, x, "more than one value per channel in training")
            if self.training and self.tracks and not state.shard:
                self._track(mean, variance, count)
        else:
            mean, variance = self.running_mean, self.running_var
        inverse = 1 / np.sqrt(variance + self.eps)
        scale = inverse if self.weight is None else inverse * self.weight.data
        shift = -mean * scale if self.bias is None else self.bias.data - mean * scale
        scale, shift = scale.astype(x.dtype), shift.astype(x.dtype)
        y = empty(rows.shape, x.dtype)
        for piece in _pieces(rows):
            np.multiply(rows[piece], scale, out=y[piece])
            y[piece] += shift
        self._keep(rows, x.shape, mean.astype(x.dtype), inverse.astype(x.dtype), count, True)
        return _restore(y, x.shape)

    def backward(self, grad: Array) -> Array:
        """Gradients of input, weight and bias."""
        rows, shape, mean, inverse, count, has_bias = self._take()
        grad, kind = _rows(grad), grad.dtype
        sums = np.zeros((2, rows.shape[1]))  # of dy and of dy z, over this part of the batch
        for piece in _pieces(rows):
            sums[0] += _column_sums(grad[piece])
            sums[1] += _column_sums((rows[piece] - mean) * grad[piece]) * inverse
        if self.weight is not None and self.weight.requires_grad:
            self.weight.add(sums[1])
        if self.bias is not None and has_bias and self.bias.requires_grad:
            self.bias.add(sums[0])
        means = all_sum(sums) / count if count else sums * 0
        if not self.input_gradient:
            return np.empty(0, kind)
        scale = inverse if self.weight is None else inverse * self.weight.data
        slope = (scale * inverse * means[1]).astype(kind)
        offset = (scale * means[0] - slope * mean).astype(kind)
        dx = empty(rows.shape, kind)
        for piece in _pieces(rows):
            np.multiply(grad[piece], scale, out=dx[piece])
            if count:
                moved = rows[piece] * slope
                moved += offset
                dx[piece] -= moved
        return _restore(dx, shape)

    def tangent(self, v: Array) -> Array:
        """Scale the direction; only where the statistics are fixed, since otherwise the layer is not linear."""
        _, shape, mean, inverse, count, _ = self._kept
        if count:
            return super().tangent(v)
        self._keep(_rows(v), shape, mean * 0, inverse, 0, False)
        scale = inverse if self.weight is None else inverse * self.weight.data
        return _restore(_rows(v) * scale, shape)

    def _track(self, mean: Array, variance: Array, count: int) -> None:
        """Move the running averages; ``momentum=None`` averages all batches alike. The variance is the unbiased one."""
        self.num_batches_tracked = self.num_batches_tracked + 1
        if count == 0:
            return
        variance = variance * count / (count - 1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean += share * (mean - self.running_mean)
        self.running_var += share * (variance - self.running_var)

    def _check(self, x: Array) -> None:
        raise NotImplementedError(f"{type(self).__name__} takes any shape.")


@final
class BatchNorm1d(_BatchNorm):
    """[B, C] or [B, C, L], normalized by channel (Ioffe and Szegedy, 2015)."""

    def _check(self, x: Array) -> None:
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise ShapeError(self, x, f"[B, {self.num_features}] or [B, {self.num_features}, L]")


@final
class BatchNorm2d(_BatchNorm):
    """[B, C, H, W], normalized by channel (Ioffe and Szegedy, 2015)."""

    def _check(self, x: Array) -> None:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ShapeError(self, x, f"[B, {self.num_features}, H, W]")


@final
class ShiftNorm2d(_BatchNorm):
    """`BatchNorm2d` whose scale stays one, so that it may change places with a maximum; the shift is trained."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(num_features, eps, momentum, affine=False)
        self.bias = Parameter(np.zeros(num_features, np.float32))

    def _check(self, x: Array) -> None:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ShapeError(self, x, f"[B, {self.num_features}, H, W]")


@final
class LayerNorm(Module):
    """The last axes of each example, normalized together (Ba, Kiros and Hinton, 2016): [..., *normalized_shape]."""

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Parameter(np.ones(self.shape, np.float32)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.shape, np.float32)) if elementwise_affine and bias else None

    def describe(self) -> str:
        """Return the shape."""
        return str(self.shape)

    def initialize(self, rng: np.random.Generator) -> None:
        """Start over with a weight of one and a bias of zero."""
        if self.weight is not None:
            self.weight.data.fill(1)
        if self.bias is not None:
            self.bias.data.fill(0)

    def forward(self, x: Array) -> Array:
        """Keep z and one over the spread."""
        if x.shape[x.ndim - len(self.shape) :] != self.shape:
            raise ShapeError(self, x, f"[..., {', '.join(map(str, self.shape))}]")
        rows = np.ascontiguousarray(x).reshape(-1, math.prod(self.shape))
        z = rows - rows.mean(axis=1, keepdims=True)
        inverse = 1 / np.sqrt(np.einsum("nf,nf->n", z, z)[:, None] / rows.shape[1] + self.eps)
        z *= inverse.astype(x.dtype)
        self._keep(z, inverse.astype(x.dtype))
        y = z.copy() if self.weight is None else z * self.weight.data.ravel()
        if self.bias is not None:
            y += self.bias.data.ravel()
        return y.reshape(x.shape)

    def backward(self, grad: Array) -> Array:
        """Gradients of input, weight and bias."""
        z, inverse = self._take()
        rows = np.ascontiguousarray(grad).reshape(z.shape)
        if self.weight is not None and self.weight.requires_grad:
            self.weight.add(np.einsum("nf,nf->f", rows, z).reshape(self.shape))
        if self.bias is not None and self.bias.requires_grad:
            self.bias.add(rows.sum(axis=0).reshape(self.shape))
        if self.weight is not None:
            rows = rows * self.weight.data.ravel()
        share = np.einsum("nf,nf->n", rows, z)[:, None] / z.shape[1]
        return (inverse * (rows - rows.mean(axis=1, keepdims=True) - z * share)).reshape(grad.shape)


# ---- rows: [N, C] whatever the shape was ----


def _rows(x: Array) -> Array:
    """Return [B, C, ...] as [N, C], without a copy where the channels lie last."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(-1, x.shape[1])


def _restore(rows: Array, shape: tuple[int, ...]) -> Array:
    """Return [N, C] as [B, C, ...], the channels last in memory."""
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _statistics(rows: Array) -> tuple[int, Array, Array]:
    """Return how many rows there are, and mean and variance of each column, over all parts of the batch.

    The variance is that of the distances to the mean, so that nothing cancels.
    """
    sums = np.zeros((2, rows.shape[1]))
    for piece in _pieces(rows):
        sums[0] += _column_sums(rows[piece])
    sums[1] = len(rows)
    total = all_sum(sums)
    count = int(total[1, 0]) if rows.shape[1] else 0
    mean = total[0] / max(1, count)
    center, squares = mean.astype(rows.dtype), np.zeros(rows.shape[1])
    for piece in _pieces(rows):
        squares += _column_sums(np.square(rows[piece] - center))
    return count, mean, all_sum(squares) / max(1, count) - (mean - center) ** 2


def _column_sums(rows: Array) -> Array:
    return np.ones(len(rows), rows.dtype) @ rows


def _pieces(rows: Array) -> Iterator[slice]:
    """Yield pieces of the rows that stay in the cache from one operation to the next."""
    height = max(1, _PIECE // max(1, rows.shape[1]))
    yield from (slice(start, start + height) for start in range(0, len(rows), height))
