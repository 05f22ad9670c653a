"""Pictures moved: shifts, mirror images, rotation, shear and crops. What lies beyond the border is reflected.

Shifts by whole pixels and mirror images take pixels as they are, in the gather that selects the rows (`shift`). The
others are matrices, whose product is one resampling (`warp`): each leads from the place of a pixel in the result,
counted in pixels down and across from the middle, to the place in the source that it comes from.

Shapes: N rows, B batch, H W C height, width, channels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.training.augmentation.groups import groups

Matrices = NDArray[np.float64]  # [B, 3, 3]: the first two rows give down and across, from (down, across, 1)

_REACH = 4  # pixels that a picture is shifted at most
_BITS = 8  # of a pixel: how finely a place in the source is told
_PARTS = 1 << _BITS
_HALVES = 0x0080_0080_0080_0080  # half of `_PARTS` in each of the four 16-bit numbers of a 64-bit one


def shift(
    inputs: NDArray[np.uint8], rows: NDArray[np.int64], offsets: NDArray[np.int64], is_mirrored: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return rows of pictures, each shifted by whole pixels and possibly mirrored left and right.

    Parameters
    ----------
    inputs
        uint8 [N, H, W, C].
    rows
        int64 [B].
    offsets
        int64 [B, 2]: how many pixels further down and further across in the source each pixel lies.
    is_mirrored
        [B].

    Returns
    -------
    NDArray
        uint8 [B, H, W, C].
    """
    _, height, width, channels = inputs.shape
    down = _reflected(np.arange(height) + offsets[:, :1], height - 1)
    across = _reflected(np.arange(width) + offsets[:, 1:], width - 1)
    across = np.where(is_mirrored[:, None], across[:, ::-1], across)
    lines = (rows[:, None] * height + down) * width  # [B, H]: where each line starts in the flat array of pixels
    flat = inputs.reshape(-1, channels)
    shifted = np.empty((len(rows), height, width, channels), inputs.dtype)
    for part in groups(len(rows), height * width):
        pixels = lines[part, :, None] + across[part, None, :]  # [group, H, W]
        flat.take(pixels, axis=0, out=shifted[part], mode="clip")  # none is outside; "raise" would copy
    return shifted


def reach(side: int, share: float) -> int:
    """Return the pixels that a side may be shifted by: the share, rounded up, but no more than can be reflected."""
    return min(_REACH, math.ceil(side * share), side - 1)


def rotation(angles: NDArray[np.float64]) -> Matrices:
    """Return what turns pictures by angles [B], in radians, in the direction of `numpy.rot90`."""
    cosine, sine = np.cos(angles), np.sin(angles)
    return _matrices((cosine, sine), (-sine, cosine))


def shear(slopes: NDArray[np.float64]) -> Matrices:
    """Return what moves each line of pixels across by its distance below the middle times a slope [B]."""
    none, one = np.zeros(len(slopes)), np.ones(len(slopes))
    return _matrices((one, none), (-slopes, one))


def crop(sizes: NDArray[np.float64], places: NDArray[np.float64], height: int, width: int) -> Matrices:
    """Return what cuts a part out of pictures and enlarges it to their size.

    Parameters
    ----------
    sizes
        Share of each side that is kept, [B], above 0, at most 1.
    places
        Where the part lies, [B, 2] down and across: from -1, at the upper or left border, to 1, at the other.
    height, width
        Of the pictures.
    """
    none = np.zeros(len(sizes))
    matrices = _matrices((sizes, none), (none, sizes))
    matrices[:, :2, 2] = places * (1 - sizes[:, None]) * ((height - 1) / 2, (width - 1) / 2)
    return matrices


def warp(pictures: NDArray[np.uint8], matrices: Matrices) -> NDArray[np.uint8]:
    """Return pictures uint8 [B, H, W, C] resampled, each by its matrix, with bilinear interpolation.

    Places are rounded to a 256th of a pixel, and so are the weights of the four pixels around. Beyond the border a
    picture is reflected once; further out the last pixel of the reflection is repeated.
    """
    height, width = pictures.shape[1:3]
    down, across = (_places(matrices, axis, height, width) for axis in (0, 1))
    warped = np.empty_like(pictures)
    for part in groups(len(pictures), height * width):
        warped[part] = _interpolated(
            pictures[part],
            _reflected(down[0][part] + down[1][part], _PARTS * (height - 1)),
            _reflected(across[0][part] + across[1][part], _PARTS * (width - 1)),
        )
    return warped


def _matrices(*lines: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Matrices:
    """Return matrices that leave the middle where it is, from the two lines of what turns the rest around it."""
    matrices = np.tile(np.eye(3), (len(lines[0][0]), 1, 1))
    for line, entries in enumerate(lines):
        matrices[:, line, :2] = np.stack(entries, axis=1)
    return matrices


def _places(matrices: Matrices, axis: int, height: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return [B, H, 1] and [B, 1, W], whose sum says where along an axis pixels come from, in parts of a pixel."""
    middles = (height - 1) / 2, (width - 1) / 2
    by_down, by_across, constant = (matrices[:, axis, entry, None] for entry in range(3))
    lines = by_down * (np.arange(height) - middles[0]) + constant + middles[axis]
    columns = by_across * (np.arange(width) - middles[1])
    return _in_parts(lines)[:, :, None], _in_parts(columns)[:, None, :]


def _in_parts(places: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(_PARTS * places).astype(np.int32)


def _interpolated(pictures: NDArray[np.uint8], down: NDArray[np.int32], across: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the pixels at places within the pictures, [B, H, W] each, in parts of a pixel.

    The channels of a pixel lie side by side in 64-bit numbers, 16 bits for each, so that one multiplication weighs
    four of them; as the weights add up to 256, no sum exceeds its 16 bits.
    """
    count, height, width, channels = pictures.shape
    packed = np.zeros((count * height * width, -(-channels // 4) * 4), np.uint16)
    packed[:, :channels] = pictures.reshape(-1, channels)
    pixels = packed.view(np.uint64)  # [B * H * W, C / 4]
    first = np.arange(count).reshape(-1, 1, 1) * (height * width) + (down >> _BITS) * width + (across >> _BITS)
    below, right = ((places & (_PARTS - 1)).astype(np.uint64) for places in (down, across))  # the further pixel's share
    both = below * right >> _BITS
    total = np.full((*first.shape, pixels.shape[1]), _HALVES, np.uint64)
    weights = (_PARTS + both - below - right, right - both, below - both, both)
    for distance, weight in zip((0, 1, width, width + 1), weights, strict=True):  # zero beyond the last line or column
        total += pixels.take(first + distance, axis=0, mode="clip") * weight[..., None]
    return (total.view(np.uint16)[..., :channels] >> _BITS).astype(np.uint8)


def _reflected(places: NDArray[Any], last: int) -> NDArray[Any]:
    """Return places from 0 to ``last``; changes the given ones."""
    np.abs(places, out=places)
    np.minimum(places, 2 * last - places, out=places)
    np.maximum(places, 0, out=places)
    return places
