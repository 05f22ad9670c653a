"""The same operations written for reading, ten lines each. Slow: the tests compare the fast ones with them.

Pictures are [B, C, H, W] here, weights [F, C, I, J], as in the definitions.
"""

from __future__ import annotations

import numpy as np

from trimtab.numpy_nn.module import Array


def convolution(x: Array, weight: Array, stride: int = 1, padding: int = 0, dilation: int = 1) -> Array:
    """y[b, f, p, q] = sum over c, i, j of x[b, c, p s + i d, q s + j d] w[f, c, i, j], with zeros around x."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    height, width = (
        (n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)
    )
    y = np.zeros((len(x), len(weight), height, width), x.dtype)
    for p, q, i, j in np.ndindex(height, width, *weight.shape[2:]):
        y[:, :, p, q] += x[:, :, p * stride + i * dilation, q * stride + j * dilation] @ weight[:, :, i, j].T
    return y


def convolution_input_gradient(
    grad: Array, weight: Array, shape: tuple[int, ...], stride: int = 1, padding: int = 0, dilation: int = 1
) -> Array:
    """Each output sends its gradient back along the weights it came through."""
    batch, channels, height, width = shape
    dx = np.zeros((batch, channels, height + 2 * padding, width + 2 * padding), grad.dtype)
    for p, q, i, j in np.ndindex(*grad.shape[2:], *weight.shape[2:]):
        dx[:, :, p * stride + i * dilation, q * stride + j * dilation] += grad[:, :, p, q] @ weight[:, :, i, j]
    return dx[:, :, padding : padding + height, padding : padding + width]


def convolution_weight_gradient(
    x: Array, grad: Array, kernel: tuple[int, int], stride: int = 1, padding: int = 0, dilation: int = 1
) -> Array:
    """Each weight collects, over all places, what it multiplied times the gradient there."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    dweight = np.zeros((grad.shape[1], x.shape[1], *kernel), grad.dtype)
    for p, q, i, j in np.ndindex(*grad.shape[2:], *kernel):
        dweight[:, :, i, j] += grad[:, :, p, q].T @ x[:, :, p * stride + i * dilation, q * stride + j * dilation]
    return dweight


def max_pool(x: Array, kernel: int, stride: int) -> Array:
    """y[b, c, p, q] = max of x[b, c, p s : p s + k, q s : q s + k]."""
    height, width = ((n - kernel) // stride + 1 for n in x.shape[2:])
    y = np.zeros((*x.shape[:2], height, width), x.dtype)
    for p, q in np.ndindex(height, width):
        window = x[:, :, p * stride : p * stride + kernel, q * stride : q * stride + kernel]
        y[:, :, p, q] = window.max(axis=(2, 3))
    return y


def batch_norm_input_gradient(x: Array, grad: Array, scale: Array, eps: float) -> Array:
    """Return dx = scale / s (dy - mean dy - z mean(dy z)) with z = (x - mean) / s, over [N, C] by column."""
    spread = np.sqrt(x.var(axis=0) + eps)
    z = (x - x.mean(axis=0)) / spread
    return scale / spread * (grad - grad.mean(axis=0) - z * (grad * z).mean(axis=0))
