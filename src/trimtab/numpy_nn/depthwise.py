"""Depthwise convolutions, each filter over one channel: no matrix product, a sum of shifted and scaled pictures.

Legend as in `trimtab.numpy_nn.im2col`, and ``M`` filters per channel, so that F = C M.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trimtab.numpy_nn.im2col import Finish, Geometry, write
from trimtab.numpy_nn.memory import empty
from trimtab.numpy_nn.module import Array

_PIECE = 800_000  # numbers of pictures worked on at a time


def forward(x: Array, weight: Array, geometry: Geometry, finish: Finish = write) -> Array:
    """Return [B, H', W', F] of pictures [B, H, W, C] and a weight [F, 1, I, J]; ``finish`` as there."""
    size, channels = geometry.output_size(x.shape[1:3]), x.shape[3]
    y = empty((len(x), *size, len(weight)), x.dtype)
    taps = _taps(weight, channels, size[1])
    for piece in _pieces(x, y):
        windows = geometry.windows(geometry.pad(x[piece]), size)
        total, product = (empty((len(windows), *size, channels, taps.shape[4]), x.dtype) for _ in range(2))
        for place, (i, j) in enumerate(np.ndindex(geometry.kernel)):
            np.multiply(windows[:, :, :, i, j, :, None], taps[i, j], out=product if place else total)
            if place:
                total += product
        finish(total.reshape(y[piece].shape), y[piece])
    return y


def weight_gradient(x: Array, grad: Array, geometry: Geometry) -> Array:
    """Return the gradient of the weight [F, 1, I, J] for inputs [B, H, W, C] and gradients [B, H', W', F]."""
    size, channels = (grad.shape[1], grad.shape[2]), x.shape[3]
    total = np.zeros((*geometry.kernel, grad.shape[3]), grad.dtype)
    for piece in _pieces(x, grad):
        windows = geometry.windows(geometry.pad(x[piece]), size)
        slopes = grad[piece].reshape(-1, *size, channels, grad.shape[3] // channels)
        product = empty(slopes.shape, grad.dtype)
        rows = product.reshape(-1, grad.shape[3])
        ones = np.ones(len(rows), grad.dtype)
        for i, j in np.ndindex(geometry.kernel):
            np.multiply(windows[:, :, :, i, j, :, None], slopes, out=product)
            total[i, j] += ones @ rows
    return total[..., None].transpose(2, 3, 0, 1)


def input_gradient(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Geometry) -> Array:
    """Return the gradient of the input, of ``shape`` [B, H, W, C], for gradients [B, H', W', F]."""
    size, channels = (grad.shape[1], grad.shape[2]), shape[3]
    (top, bottom), (left, right) = geometry.padding
    dx, taps = empty(shape, grad.dtype), _taps(weight, channels, size[1])
    for piece in _pieces(dx, grad):
        slopes = grad[piece].reshape(-1, *size, channels, taps.shape[4])
        product = empty(slopes.shape, grad.dtype)
        padded = empty((len(slopes), shape[1] + top + bottom, shape[2] + left + right, channels), grad.dtype)
        padded.fill(0)
        windows = geometry.windows(padded, size)
        for i, j in np.ndindex(geometry.kernel):
            np.multiply(slopes, taps[i, j], out=product)
            windows[:, :, :, i, j] += product[..., 0] if taps.shape[4] == 1 else product.sum(4)
        dx[piece] = padded[:, top : top + shape[1], left : left + shape[2]]
    return dx


def _taps(weight: Array, channels: int, width: int) -> Array:
    """Return the weight as [I, J, W', C, M]: repeated along a line, so that lines are multiplied and not pixels."""
    taps = weight[:, 0].transpose(1, 2, 0).reshape(*weight.shape[2:], 1, channels, -1)
    return np.repeat(taps, width, axis=2)


def _pieces(x: Array, y: Array) -> Iterator[slice]:
    """Yield pieces of a batch of which input and output fit into the cache."""
    count = max(1, _PIECE * len(x) // max(1, x.size + y.size))
    yield from (slice(start, start + count) for start in range(0, len(x), count))
