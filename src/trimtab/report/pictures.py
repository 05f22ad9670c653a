"""Pictures as PNG files: one example, or a first batch side by side."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.storage import write_bytes

_MOST_IN_A_GRID = 64
_GAP = 2  # pixels
_SIDE = 48  # pixels that a picture in a grid should come near to


def save_picture(image: NDArray[np.uint8], path: Path) -> None:
    """Write one picture, uint8 [H, W, C] with C of 1 or 3, as a PNG file; replaced when it exists."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, format="PNG")
    write_bytes(path, content.getvalue())


def save_grid(images: NDArray[np.uint8], path: Path) -> None:
    """Write the first pictures of a batch, at most 64, as one PNG file; small ones are enlarged to be seen.

    Parameters
    ----------
    images
        uint8 [B, H, W, C] with C of 1 or 3 and B of 1 at least.
    path
        Replaced when it exists.
    """
    images = images[:_MOST_IN_A_GRID]
    factor = max(1, _SIDE // max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cell_height, cell_width = height + _GAP, width + _GAP
    sheet = np.full((rows * cell_height - _GAP, columns * cell_width - _GAP, channels), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * cell_height, index % columns * cell_width
        sheet[top : top + height, left : left + width] = image
    save_picture(sheet, path)
