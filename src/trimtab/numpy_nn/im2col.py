"""Convolutions of every kind as matrix products over columns: each window of the picture becomes one row.

The picture lies channels-last, so that the pixels of a row of a window are one run of memory and the columns are made
by one strided copy. They are made for a few pictures at a time, so that they stay in the cache, and made again in the
backward pass, so that they need not be kept.

Legend: ``B`` batch, ``H W`` height and width, ``H' W'`` of the output, ``C`` channels, ``F`` filters, ``I J`` height
and width of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from trimtab.numpy_nn.memory import contiguous, empty, product
from trimtab.numpy_nn.module import Array

Pair = int | tuple[int, int]
Finish = Callable[[Array, Array], object]  # finish(values, out) writes a piece of an output; see `write`

_COLUMNS = 250_000  # numbers made at a time: about what a second-level cache of a megabyte holds
_CHANNELS = 8  # fewer are few


def pair(value: Pair) -> tuple[int, int]:
    """Return (vertical, horizontal) of one number for both, or of two."""
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


def write(values: Array, out: Array) -> None:
    """Write a piece of an output as it is."""
    out[...] = values


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How windows lie on a picture; pairs are (vertical, horizontal), paddings (before, after) for each."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        """Refuse steps that lead nowhere."""
        if min(*self.kernel, *self.stride, *self.dilation) < 1:
            raise ValueError(
                f"kernel is {self.kernel}, stride {self.stride}, dilation {self.dilation}; expected at least 1 of each."
            )

    @property
    def extent(self) -> tuple[int, int]:
        """Pixels from the first to the last of a window, both included."""
        first, second = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        return first, second

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return how many windows fit, [H', W'] of [H, W]; below one where none does."""
        first, second = (
            (pixels + sum(padding) - extent) // stride + 1
            for pixels, padding, extent, stride in zip(size, self.padding, self.extent, self.stride, strict=True)
        )
        return first, second

    def pad(self, x: Array, value: float = 0.0, *, channels_last: bool = True) -> Array:
        """Return pictures [B, H, W, C] with their padding, in that order in memory; themselves where there is none."""
        (top, bottom), (left, right) = self.padding
        if not any((top, bottom, left, right)):
            return x
        batch, height, width, channels = x.shape
        sides = (height + top + bottom, width + left + right)
        if channels_last:
            padded = empty((batch, *sides, channels), x.dtype)
        else:
            padded = empty((batch, channels, *sides), x.dtype).transpose(0, 2, 3, 1)
        padded.fill(value)
        padded[:, top : top + height, left : left + width] = x
        return padded

    def windows(self, padded: Array, size: tuple[int, int]) -> Array:
        """Return the windows of padded pictures, a view [B, H', W', I, J, C]."""
        batch, channels = len(padded), padded.shape[3]
        picture, row, column, channel = padded.strides
        (down, across), (apart, aside) = self.stride, self.dilation
        strides = (picture, down * row, across * column, apart * row, aside * column, channel)
        return as_strided(padded, (batch, *size, *self.kernel, channels), strides)

    def flipped(self) -> Geometry:
        """Return the geometry of the convolution that gives the gradient of the input, for stride one."""
        (top, bottom), (left, right) = self.padding
        height, width = (extent - 1 for extent in self.extent)
        padding = ((height - top, height - bottom), (width - left, width - right))
        return Geometry(kernel=self.kernel, padding=padding, dilation=self.dilation)

    @property
    def can_flip(self) -> bool:
        """Whether the gradient of the input is a convolution too: stride one, no more padding than the window."""
        return self.stride == (1, 1) and min(min(pair) for pair in self.flipped().padding) >= 0


def forward(x: Array, weight: Array, geometry: Geometry, finish: Finish = write) -> Array:
    """Return the convolution [B, H', W', F] of pictures [B, H, W, C] with a weight [F, C, I, J].

    ``finish(values, out)`` writes a piece of the output while it is in the cache: adds the bias.
    """
    size = geometry.output_size(x.shape[1:3])
    y = empty((len(x), *size, len(weight)), x.dtype)
    matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, len(weight))  # [I J C, F]
    for piece in _pieces(len(x), size, sum(matrix.shape)):
        columns = _columns(x[piece], geometry, size)
        np.matmul(columns, matrix, out=y[piece].reshape(len(columns), -1))
        if finish is not write:
            finish(y[piece], y[piece])
    return y


def weight_gradient(x: Array, grad: Array, geometry: Geometry) -> Array:
    """Return the gradient of the weight [F, C, I, J] for inputs [B, H, W, C] and gradients [B, H', W', F]."""
    channels, filters = x.shape[3], grad.shape[3]
    size = (grad.shape[1], grad.shape[2])
    width = channels * geometry.kernel[0] * geometry.kernel[1]

    total, summand = (empty((width, filters), grad.dtype) for _ in range(2))
    total.fill(0)
    for piece in _pieces(len(x), size, width + filters):
        columns = _columns(x[piece], geometry, size)
        np.matmul(columns.T, contiguous(grad[piece]).reshape(len(columns), filters), out=summand)
        total += summand
    return total.reshape(*geometry.kernel, channels, filters).transpose(3, 2, 0, 1)


def input_gradient(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Geometry) -> Array:
    """Return the gradient of the input, of ``shape`` [B, H, W, C], for gradients [B, H', W', F].

    With stride one it is the convolution with the weight turned by half a turn and its channels exchanged; otherwise
    the gradients of the columns are added up where they came from.
    """
    gathers = len(weight) <= shape[3]  # the columns of the one way have F I J numbers, of the other C I J
    if gathers and geometry.can_flip and geometry.flipped().output_size(grad.shape[1:3]) == shape[1:3]:
        return forward(grad, weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), geometry.flipped())
    dx = empty(shape, grad.dtype)
    matrix = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(len(weight), -1)  # [F, I J C]
    size = (grad.shape[1], grad.shape[2])

    for piece in _pieces(len(grad), size, sum(matrix.shape)):
        columns = product(contiguous(grad[piece]).reshape(-1, len(weight)), matrix)
        _add_columns(columns.reshape(-1, *size, *geometry.kernel, shape[3]), dx[piece], geometry)
    return dx


def _pieces(batch: int, size: tuple[int, int], width: int) -> list[slice]:
    """Return pieces of the batch whose columns and outputs, ``width`` numbers for a window, fit into the cache."""
    pictures = max(1, _COLUMNS // max(1, size[0] * size[1] * width))
    return [slice(start, start + pictures) for start in range(0, batch, pictures)]


def _columns(x: Array, geometry: Geometry, size: tuple[int, int]) -> Array:
    """Return the windows of some pictures as rows of a matrix [B H' W', I J C].

    Of few channels a row of a window is a short run of memory, and a line of windows a long one: then the matrix is
    made by columns, and lies transposed in memory.
    """
    lies_by_column = x.shape[3] < _CHANNELS
    windows = geometry.windows(geometry.pad(x, channels_last=not lies_by_column), size)
    width = windows.shape[3] * windows.shape[4] * windows.shape[5]
    if lies_by_column:
        windows = windows.transpose(3, 4, 5, 0, 1, 2)
    columns = empty(windows.shape, x.dtype)
    columns[...] = windows
    return columns.reshape(width, -1).T if lies_by_column else columns.reshape(-1, width)


def _add_columns(columns: Array, dx: Array, geometry: Geometry) -> None:
    """Add up columns [B, H', W', I, J, C] into pictures [B, H, W, C]: the adjoint of `_columns`."""
    (top, bottom), (left, right) = geometry.padding
    height, width = dx.shape[1:3]
    padded = empty((len(dx), height + top + bottom, width + left + right, dx.shape[3]), dx.dtype)
    padded.fill(0)
    windows = geometry.windows(padded, (columns.shape[1], columns.shape[2]))
    for i in range(geometry.kernel[0]):
        for j in range(geometry.kernel[1]):  # windows overlap; the pixels at one place of all windows do not
            windows[:, :, :, i, j] += columns[:, :, :, i, j]
    dx[...] = padded[:, top : top + height, left : left + width]
