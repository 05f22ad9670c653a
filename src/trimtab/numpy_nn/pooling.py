"""Maxima and means over windows that slide over each channel.

Legend as in `trimtab.numpy_nn.im2col`: pictures lie channels-last in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import final

import numpy as np

from trimtab.numpy_nn.im2col import Geometry, Pair, pair
from trimtab.numpy_nn.memory import empty
from trimtab.numpy_nn.module import Array, Module, ShapeError

_PIECE = 600_000  # numbers of pictures worked on at a time


class _Pool(Module):
    """What windows that slide over each channel have in common."""

    geometry: Geometry
    ceil_mode: bool

    def describe(self) -> str:
        """Return the window and its stride."""
        return f"{self.geometry.kernel}, stride={self.geometry.stride}"

    def _fit(self, x: Array) -> Geometry:
        """Return the geometry for pictures [B, C, H, W]; with ``ceil_mode`` more padding, so that all is covered."""
        if x.ndim != 4:
            raise ShapeError(self, x, "[B, C, H, W]")
        geometry = self.geometry
        if self.ceil_mode:
            axes = zip(x.shape[2:], geometry.padding, geometry.extent, geometry.stride, strict=True)
            vertical, horizontal = (_ceil_padding(*axis) for axis in axes)
            geometry = replace(geometry, padding=(vertical, horizontal))
        if min(geometry.output_size(x.shape[2:])) < 1:
            raise ShapeError(self, x, f"at least {geometry.extent} pixels, padding included")
        return geometry


@final
class MaxPool2d(_Pool):
    """Maximum over windows: [B, C, H, W] -> [B, C, H', W'].

    dx is dy at the place of the maximum, the first one where several are equal, and zero elsewhere. ``indices`` holds
    the places after a forward pass with ``return_indices``: int64 [B, C, H', W'], into H W.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.geometry = _window(kernel_size, stride, padding, dilation)
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        self.mixes_examples = return_indices  # of the whole batch
        self.indices: Array | None = None

    def forward(self, x: Array) -> Array:
        """Keep which pixel of each window was the largest."""
        geometry, pictures = self._fit(x), x.transpose(0, 2, 3, 1)
        size = geometry.output_size(x.shape[2:])
        y = empty((len(x), *size, x.shape[1]), x.dtype)
        keeps = self._keeps or self.return_indices
        kind = np.uint8 if math.prod(geometry.kernel) <= 256 else np.int32
        places = empty(y.shape if keeps else (len(x), 0), kind)
        first = _first_pixels(geometry, size).astype(kind) if keeps and any(map(any, geometry.padding)) else 0
        for piece in _pieces(pictures):
            padded = geometry.pad(pictures[piece], -np.inf)
            places[piece] = first
            _largest(geometry.windows(padded, size), y[piece], places[piece] if keeps else None)
        self._keep(places, geometry, pictures.shape)
        if self.return_indices:
            self.indices = _flat_indices(places, geometry, pictures.shape).transpose(0, 3, 1, 2)
        return y.transpose(0, 3, 1, 2)

    def backward(self, grad: Array) -> Array:
        """Send each gradient to the pixel that was the largest."""
        places, geometry, shape = self._take()
        grad, dx = grad.transpose(0, 2, 3, 1), empty(shape, grad.dtype)
        for piece in _pieces(dx):
            _send_back(grad[piece], places[piece], dx[piece], geometry)
        return dx.transpose(0, 3, 1, 2)

    def tangent(self, v: Array) -> Array:
        """Take the directions of the pixels that were the largest."""
        places, geometry, _ = self._kept
        windows = geometry.windows(geometry.pad(v.transpose(0, 2, 3, 1)), places.shape[1:3])
        moved = np.zeros(places.shape, v.dtype)
        for place, (i, j) in enumerate(np.ndindex(geometry.kernel)):
            moved += windows[:, :, :, i, j] * (places == place)
        return moved.transpose(0, 3, 1, 2)


@final
class AvgPool2d(_Pool):
    """Mean over windows: [B, C, H, W] -> [B, C, H', W']. Each pixel gets its share of dy from every window it is in.

    The sum is divided by the size of the window, padding included, by the number of pixels of the picture in it
    (``count_include_pad=False``), or by ``divisor_override``; as in torch.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.geometry = _window(kernel_size, stride, padding, 1)
        self.ceil_mode, self.count_include_pad, self.divisor = ceil_mode, count_include_pad, divisor_override

    def forward(self, x: Array) -> Array:
        """Keep the shape."""
        geometry, pictures = self._fit(x), x.transpose(0, 2, 3, 1)
        size = geometry.output_size(x.shape[2:])
        windows = geometry.windows(geometry.pad(pictures), size)
        y = np.zeros((len(x), *size, x.shape[1]), x.dtype)
        for i, j in np.ndindex(geometry.kernel):
            y += windows[:, :, :, i, j]
        shares = self._shares(geometry, pictures.shape).astype(x.dtype)
        y *= shares
        self._keep(geometry, pictures.shape, shares)
        return y.transpose(0, 3, 1, 2)

    def backward(self, grad: Array) -> Array:
        """Spread each gradient over its window."""
        geometry, shape, shares = self._take()
        return _spread(grad.transpose(0, 2, 3, 1) * shares, geometry, shape).transpose(0, 3, 1, 2)

    def tangent(self, v: Array) -> Array:
        """Average the directions: the layer is linear."""
        return self.forward(v)

    def _shares(self, geometry: Geometry, shape: tuple[int, ...]) -> Array:
        """Return one over the divisor of each window: [H', W', 1]."""
        size = geometry.output_size((shape[1], shape[2]))
        if self.divisor is not None:
            return np.full((*size, 1), 1 / self.divisor)
        counted = np.ones((1, *shape[1:3], 1))
        if self.count_include_pad:  # torch counts its own padding, but not what ceil_mode adds beyond it
            counted = self.geometry.pad(counted, 1.0)
            bottom, right = (
                after - own for (_, after), (_, own) in zip(geometry.padding, self.geometry.padding, strict=True)
            )
            counted = Geometry(kernel=(1, 1), padding=((0, bottom), (0, right))).pad(counted)
        else:
            counted = geometry.pad(counted)
        return 1 / geometry.windows(counted, size).sum(axis=(0, 3, 4))


# ---- windows ----


def _largest(windows: Array, y: Array, places: Array | None) -> None:
    """Fill the maxima [B, H', W', C] of windows [B, H', W', I, J, C], and which of the I J pixels each first was.

    ``places`` holds the first pixels that are on the picture. The last pixel that is larger than all before it is the
    maximum: ``places = max(places, larger * place)``, on whole numbers far faster than a masked copy.
    """
    y[...] = windows[:, :, :, 0, 0]
    larger = np.empty(y.shape if places is not None else 0, bool)
    step = None if places is None else empty(places.shape, places.dtype)
    for place, (i, j) in list(enumerate(np.ndindex(windows.shape[3:5])))[1:]:
        pixels = windows[:, :, :, i, j]
        if places is not None:
            np.greater(pixels, y, out=larger)
            step = np.multiply(larger.view(np.uint8), places.dtype.type(place), out=step)
            np.maximum(places, step, out=places)
        np.maximum(y, pixels, out=y)


def _first_pixels(geometry: Geometry, size: tuple[int, int]) -> Array:
    """Return which of the I J pixels of each window is the first one that is not padding: [H', W', 1]."""
    rows, columns = (
        np.maximum(0, -((stride * np.arange(windows) - before) // apart))
        for windows, stride, (before, _), apart in zip(
            size, geometry.stride, geometry.padding, geometry.dilation, strict=True
        )
    )
    first: Array = rows[:, None, None] * geometry.kernel[1] + columns[:, None]
    return first


def _send_back(grad: Array, places: Array, dx: Array, geometry: Geometry) -> None:
    """Fill the gradient [B, H, W, C] of some pictures for that of their maxima [B, H', W', C]."""
    (top, _), (left, _) = geometry.padding
    has_padding = any(map(any, geometry.padding))
    batch, height, width, channels = dx.shape
    size = (grad.shape[1], grad.shape[2])
    target = empty((batch, *_padded_size(geometry, dx.shape[1:]), channels), grad.dtype) if has_padding else dx
    is_tiled = geometry.kernel == geometry.stride and geometry.dilation == (1, 1)
    if not is_tiled or target.shape[1:3] != tuple(np.multiply(size, geometry.stride)):
        target.fill(0)
    windows = geometry.windows(target, size)
    for place, (i, j) in enumerate(np.ndindex(geometry.kernel)):
        if is_tiled:
            np.multiply(grad, places == place, out=windows[:, :, :, i, j])
        else:
            windows[:, :, :, i, j] += grad * (places == place)
    if has_padding:
        dx[...] = target[:, top : top + height, left : left + width]


def _pieces(pictures: Array) -> Iterator[slice]:
    """Yield pieces of a batch that fit into the cache."""
    count = max(1, _PIECE * len(pictures) // max(1, pictures.size))
    yield from (slice(start, start + count) for start in range(0, len(pictures), count))


def _spread(grad: Array, geometry: Geometry, shape: tuple[int, ...]) -> Array:
    """Add each gradient [B, H', W', C] to all pixels of its window: [B, H, W, C]."""
    (top, _), (left, _) = geometry.padding
    padded = np.zeros((shape[0], *_padded_size(geometry, shape[1:]), shape[3]), grad.dtype)
    windows = geometry.windows(padded, (grad.shape[1], grad.shape[2]))
    for i, j in np.ndindex(geometry.kernel):
        windows[:, :, :, i, j] += grad
    return padded[:, top : top + shape[1], left : left + shape[2]]


def _padded_size(geometry: Geometry, shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0] + sum(geometry.padding[0]), shape[1] + sum(geometry.padding[1])


def _flat_indices(places: Array, geometry: Geometry, shape: tuple[int, ...]) -> Array:
    """Return torch's indices, into the H W pixels without padding."""
    (top, _), (left, _) = geometry.padding
    down, across = np.divmod(places.astype(np.int64), geometry.kernel[1])
    rows: Array = np.arange(places.shape[1])[:, None, None] * geometry.stride[0] - top + down * geometry.dilation[0]
    columns = np.arange(places.shape[2])[:, None] * geometry.stride[1] - left + across * geometry.dilation[1]
    return rows * shape[2] + columns


def _window(kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair) -> Geometry:
    kernel, (top, left) = pair(kernel_size), pair(padding)
    steps = kernel if stride is None else pair(stride)
    if 2 * top > kernel[0] or 2 * left > kernel[1]:
        raise ValueError(f"padding is {(top, left)} for windows of {kernel}; expected at most half of them; lower it.")
    return Geometry(kernel=kernel, stride=steps, padding=((top, top), (left, left)), dilation=pair(dilation))


def _ceil_padding(pixels: int, padding: tuple[int, int], extent: int, stride: int) -> tuple[int, int]:
    """Return the padding with which a last window that is only partly on the picture is counted too.

    As in torch, that window must begin on the picture or on the padding before it.
    """
    before = padding[0]
    windows = -(-(pixels + 2 * before - extent) // stride) + 1
    if (windows - 1) * stride >= pixels + before:
        windows -= 1
    return before, max(before, (windows - 1) * stride + extent - pixels - before)
