"""Pictures made larger or smaller by a linear map along each axis: AdaptiveAvgPool2d and Upsample.

y = D x A.T for each channel, with matrices D [H', H] and A [W', W], so that dx = D.T dy A.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np

from trimtab.numpy_nn.im2col import Pair
from trimtab.numpy_nn.module import Array, Module, ShapeError

OptionalPair = int | None | tuple[int | None, int | None]


class _Resample(Module):
    """A layer that says only which matrix each axis is multiplied with."""

    def forward(self, x: Array) -> Array:
        """Keep the two matrices."""
        if x.ndim != 4:
            raise ShapeError(self, x, "[B, C, H, W]")
        maps = [self._map(axis, x.shape[2 + axis]).astype(x.dtype) for axis in (0, 1)]
        self._keep(*maps)
        return _resample(x, *maps)

    def backward(self, grad: Array) -> Array:
        """Apply the transposed matrices."""
        return _resample(grad, *(matrix.T for matrix in self._take()))

    def tangent(self, v: Array) -> Array:
        """Resample the direction: the layer is linear."""
        return self.forward(v)

    def _map(self, axis: int, pixels: int) -> Array:
        """Return the matrix [out, in] of an axis of so many pixels."""
        raise NotImplementedError(f"{type(self).__name__} has no map.")


@final
class AdaptiveAvgPool2d(_Resample):
    """Mean over windows that cover the picture evenly: [B, C, H, W] -> [B, C, H', W'].

    Output i averages the pixels from floor(i H / H') to ceil((i + 1) H / H').
    """

    def __init__(self, output_size: OptionalPair) -> None:
        is_one = output_size is None or isinstance(output_size, int)
        self.output_size = (output_size, output_size) if is_one else tuple(output_size)  # type: ignore[arg-type]

    def describe(self) -> str:
        """Return the size."""
        return str(self.output_size)

    def _map(self, axis: int, pixels: int) -> Array:
        wanted = self.output_size[axis]
        out = wanted if isinstance(wanted, int) else pixels
        matrix = np.zeros((out, pixels))
        for row in range(out):
            start, stop = row * pixels // out, -(-(row + 1) * pixels // out)
            matrix[row, start:stop] = 1 / (stop - start)
        return matrix


@final
class Upsample(_Resample):
    """Pictures at another size, by the nearest pixel or bilinearly: [B, C, H, W] -> [B, C, H', W']."""

    def __init__(
        self,
        size: Pair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError(f"size is {size} and scale_factor {scale_factor}; expected one of the two; give one.")
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f"mode is '{mode}'; expected nearest or bilinear; choose one.")
        self.size = (size, size) if isinstance(size, int) else size
        self.scale = scale_factor if isinstance(scale_factor, tuple) else (scale_factor, scale_factor)
        self.mode, self.align_corners = mode, bool(align_corners)

    def describe(self) -> str:
        """Return the size or the factor, and the mode."""
        return f"size={self.size}, scale_factor={self.scale}, mode='{self.mode}'"

    def _map(self, axis: int, pixels: int) -> Array:
        factor = self.scale[axis]
        out = self.size[axis] if self.size is not None else math.floor(pixels * (factor or 1))
        if out == pixels:
            return np.eye(pixels)
        step = 1 / factor if factor else pixels / out
        if self.mode == "nearest":
            step = 0.5 if out == 2 * pixels else step  # as torch does, whatever the factor was
            source = np.minimum(np.floor(np.arange(out) * step).astype(int), pixels - 1)
            return np.eye(pixels)[source]
        if self.align_corners:
            position = np.arange(out) * ((pixels - 1) / (out - 1) if out > 1 else 0.0)
        else:
            position = np.maximum((np.arange(out) + 0.5) * step - 0.5, 0)
        left = np.minimum(np.floor(position).astype(int), pixels - 1)
        right, share = np.minimum(left + 1, pixels - 1), (position - left)[:, None]
        return (1 - share) * np.eye(pixels)[left] + share * np.eye(pixels)[right]


def _resample(x: Array, down: Array, across: Array) -> Array:
    """Return ``down @ x @ across.T`` of the pictures: [B, C, H, W] -> [B, C, H', W'], channels last in memory."""
    pictures = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    rows = np.matmul(down, pictures.reshape(len(x), x.shape[2], x.shape[3] * x.shape[1]))
    columns = np.matmul(across, rows.reshape(len(x), len(down), x.shape[3], x.shape[1]))
    return columns.transpose(0, 3, 1, 2)
