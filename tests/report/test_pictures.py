"""PNG files hold the pixels that they were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trimtab.report import save_grid, save_picture


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_keeps_every_pixel(tmp_path: Path, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    save_picture(image, tmp_path / "deep" / "a.png")
    with Image.open(tmp_path / "deep" / "a.png") as read:
        np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)


@pytest.mark.parametrize(("count", "size"), [(1, (48, 48)), (5, (148, 98)), (200, (398, 398))])
def test_grid_is_nearly_square_enlarged_and_shows_at_most_sixty_four(
    tmp_path: Path, count: int, size: tuple[int, int]
) -> None:
    images = np.full((count, 4, 4, 3), 9, dtype=np.uint8)
    save_grid(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as read:
        assert read.size == size
        assert read.getpixel((0, 0)) == (9, 9, 9)


def test_large_pictures_are_not_enlarged(tmp_path: Path) -> None:
    save_grid(np.zeros((1, 100, 60, 1), dtype=np.uint8), tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as read:
        assert read.size == (60, 100)
