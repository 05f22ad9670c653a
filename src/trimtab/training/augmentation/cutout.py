"""Squares cut out of pictures, so that a network does not rely on any one part.

Shapes: B batch, H W C height, width, channels.

References
----------
DeVries and Taylor, Improved regularization of convolutional neural networks with cutout, 2017. There, a square may lie
partly beyond the border; here it is always whole.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def square_side(share: float, height: int, width: int) -> int:
    """Return the side, in pixels, of a square that covers a share of the picture; the shorter side at most."""
    return min(round(math.sqrt(share * height * width)), height, width)


def cut_out(pictures: NDArray[np.uint8], corners: NDArray[np.int64], side: int, fill: NDArray[np.uint8]) -> None:
    """Fill a square of each picture uint8 [B, H, W, C], in place.

    Parameters
    ----------
    pictures
        Changed.
    corners
        int64 [B, 2]: the first line and column of each square.
    side
        In pixels.
    fill
        What is put there, uint8 [C].
    """
    for picture, (top, left) in zip(pictures, corners.tolist(), strict=True):
        picture[top : top + side, left : left + side] = fill
