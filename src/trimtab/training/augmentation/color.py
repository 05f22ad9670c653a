"""Pictures in other colors: brightness, contrast and saturation, all three at once.

Shapes: B batch, H W C height, width, channels, P pixels of a picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.training.augmentation.groups import groups

_LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601)


def recolor(
    pictures: NDArray[np.uint8],
    brightness: NDArray[np.float64],
    contrast: NDArray[np.float64],
    saturation: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Return pictures uint8 [B, H, W, C] in other colors, each with its factors [B]; factors of 1 change nothing.

    In this order: every value times the brightness; its distance from the picture's mean grey times the contrast; its
    distance from the grey of its own pixel times the saturation. All three together are one matrix and one constant
    for each picture, so only the outcome is rounded, and cut off at 0 and 255.
    """
    count, height, width, channels = pictures.shape
    luma = np.array(_LUMA if channels == len(_LUMA) else [1 / channels] * channels, np.float32)
    bright, sharp, vivid = (x.astype(np.float32)[:, None, None] for x in (brightness, contrast, saturation))
    own, grey = np.eye(channels, dtype=np.float32), np.tile(luma[:, None], channels)
    matrices = bright * sharp * (vivid * own + (1 - vivid) * grey)  # [B, C, C]
    recolored = np.empty_like(pictures)
    for part in groups(count, height * width):
        pixels = pictures[part].reshape(-1, height * width, channels).astype(np.float32)  # [B, P, C]
        mean = _mean(pixels) @ luma[:, None]  # [B, 1, 1]
        values = pixels @ matrices[part]
        values += (1 - sharp[part]) * bright[part] * mean + np.float32(0.5)
        np.clip(values, 0, 255, out=values)
        recolored[part] = values.reshape(-1, height, width, channels)
    return recolored


def _mean(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean pixels [B, 1, C] of [B, P, C]: a product, as NumPy is slow on sums of short rows."""
    shares = np.full((1, pixels.shape[1]), 1 / pixels.shape[1], np.float32)
    mean: NDArray[np.float32] = shares @ pixels
    return mean
