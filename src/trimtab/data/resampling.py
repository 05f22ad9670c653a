"""A picture in another size, in NumPy: Pillow's bilinear resampling for machines without Pillow.

The weights and the rounding are Pillow's, and along one axis so is every pixel. Along both, Pillow rounds after the
first axis too, and which comes first depends on its version: a pixel may differ by one of its 256 levels.

Legend: ``H W C`` height, width, channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FRACTION = 2.0**22  # Pillow's weights are whole numbers of which this many make one


def resample(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return uint8 [H, W, C] as [height, width, C]: first its rows, then its columns, rounded after each."""
    if width != image.shape[1]:
        image = _apply(_weights(image.shape[1], width), image.transpose(1, 0, 2)).transpose(1, 0, 2)
    if height != image.shape[0]:
        image = _apply(_weights(image.shape[0], height), image)
    return np.ascontiguousarray(image)


def _apply(weights: NDArray[np.float64], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return weighted sums along the first axis; the products are whole numbers below 2^53, so the sums are exact."""
    rows = image.reshape(len(image), -1).astype(np.float64)
    sums = weights @ rows + _FRACTION / 2
    pixels = np.clip(np.floor(sums / _FRACTION), 0, 255).astype(np.uint8)
    return pixels.reshape(len(weights), *image.shape[1:])


def _weights(pixels: int, out: int) -> NDArray[np.float64]:
    """Return [out, pixels]: a triangle around each new pixel's center, as wide as what it replaces."""
    scale = pixels / out
    reach = max(scale, 1.0)
    centers = (np.arange(out) + 0.5) * scale
    first = np.maximum((centers - reach + 0.5).astype(np.int64), 0)[:, None]
    last = np.minimum((centers + reach + 0.5).astype(np.int64), pixels)[:, None]
    places = np.arange(pixels)
    heights = np.maximum(1 - np.abs((places - centers[:, None] + 0.5) * (1 / reach)), 0)
    heights[(places < first) | (places >= last)] = 0
    total = np.add.accumulate(heights, axis=1)[:, -1:]  # in order, as Pillow adds them up
    weights: NDArray[np.float64] = np.floor(heights / total * _FRACTION + 0.5)
    return weights
