"""Depthwise convolutions, each filter over one channel: no matrix product, a sum of shifted and scaled pictures.

Legend as in `trimtab.numpy_nn.im2col`, and ``M`` filters per channel, so that F = C M.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trimtab.numpy_nn.im2col import Finish, Geometry, write
from trimtab.numpy_nn.memory import empty
from trimtab.numpy_nn.module import Array
from trimtab.numpy_nn.threads import in_shards


def forward(x: Array, weight: Array, geometry: Geometry, finish: Finish = write) -> Array:
    """Return [B, H', W', F] of pictures [B, H, W, C] and a weight [F, 1, I, J]; ``finish`` as there."""
    size = geometry.output_size(x.shape[1:3])
    channels = x.shape[3]
    y = empty((len(x), *size, channels, len(weight) // channels), x.dtype)
    taps = _taps(weight, channels)

    def compute(start: int, stop: int) -> None:
        product = np.empty(y.shape[1:], x.dtype)
        for picture in range(start, stop):
            windows = geometry.windows(geometry.pad(x[picture : picture + 1]), size)[0]
            y[picture] = 0
            for i, j in np.ndindex(geometry.kernel):
                np.multiply(windows[:, :, i, j, :, None], taps[i, j], out=product)
                y[picture] += product
            whole = y[picture].reshape(*size, -1)
            finish(whole, whole)

    in_shards(len(x), y.size, compute)
    return y.reshape(*y.shape[:3], -1)


def weight_gradient(x: Array, grad: Array, geometry: Geometry) -> Array:
    """Return the gradient of the weight [F, 1, I, J] for inputs [B, H, W, C] and gradients [B, H', W', F]."""
    size, channels = (grad.shape[1], grad.shape[2]), x.shape[3]
    grad = grad.reshape(*grad.shape[:3], channels, -1)  # [B, H', W', C, M]

    def compute(start: int, stop: int) -> Array:
        total = np.zeros((*geometry.kernel, channels, grad.shape[4]), grad.dtype)
        product = np.empty(grad.shape[1:], grad.dtype)
        rows = product.reshape(size[0] * size[1], -1)
        ones = np.ones(len(rows), grad.dtype)
        for picture in range(start, stop):
            windows = geometry.windows(geometry.pad(x[picture : picture + 1]), size)[0]
            for i, j in np.ndindex(geometry.kernel):
                np.multiply(windows[:, :, i, j, :, None], grad[picture], out=product)
                total[i, j] += (ones @ rows).reshape(channels, -1)
        return total

    total: Array = sum(in_shards(len(x), grad.size, compute))
    return total.reshape(*geometry.kernel, -1, 1).transpose(2, 3, 0, 1)


def input_gradient(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Geometry) -> Array:
    """Return the gradient of the input, of ``shape`` [B, H, W, C], for gradients [B, H', W', F]."""
    size, channels = (grad.shape[1], grad.shape[2]), shape[3]
    (top, bottom), (left, right) = geometry.padding
    dx, taps = empty(shape, grad.dtype), _taps(weight, channels)

    def compute(start: int, stop: int) -> None:
        padded = np.empty((1, shape[1] + top + bottom, shape[2] + left + right, channels), grad.dtype)
        for picture in range(start, stop):
            padded.fill(0)
            windows = geometry.windows(padded, size)[0]
            for (i, j), scaled in _scaled(grad[picture].reshape(*size, channels, -1), taps):
                windows[:, :, i, j] += scaled
            dx[picture] = padded[0, top : top + shape[1], left : left + shape[2]]

    in_shards(len(grad), dx.size, compute)
    return dx


def _taps(weight: Array, channels: int) -> Array:
    """Return the weight as [I, J, C, M]."""
    return np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0)).reshape(*weight.shape[2:], channels, -1)


def _scaled(grad: Array, taps: Array) -> Iterator[tuple[tuple[int, int], Array]]:
    """Yield for each place of the kernel what [H', W', C, M] sends back through it: [H', W', C]."""
    for i, j in np.ndindex(taps.shape[0], taps.shape[1]):
        scaled = grad * taps[i, j]
        yield (i, j), scaled[..., 0] if scaled.shape[3] == 1 else scaled.sum(3)
