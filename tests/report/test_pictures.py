"""PNG files hold the pixels that they were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trimtab.report import save_grid, save_picture
from trimtab.report.pictures import save_mistakes


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


def mistakes(count: int, name: str = "dog") -> list[dict[str, object]]:
    return [{"predicted": name, "true": "cat", "probability": 0.9}] * count


@pytest.mark.parametrize(("count", "size"), [(1, (196, 271)), (6, (1086, 271)), (7, (1086, 524))])
def test_sheet_of_mistakes_has_six_columns_at_most(tmp_path: Path, count: int, size: tuple[int, int]) -> None:
    images = [np.full((8, 8, 1), 9, dtype=np.uint8)] * count
    save_mistakes(images, mistakes(count), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as read:
        assert read.size == size


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 20, 3), (300, 500, 3), (1, 400, 3)])
def test_pictures_on_a_sheet_fit_and_words_stand_under_them(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save_mistakes([np.full(shape, 9, dtype=np.uint8)], mistakes(1), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as read:
        pixels = np.asarray(read.convert("L"))
    picture, words = pixels[:178], pixels[178:]
    rows, columns = np.nonzero(picture == 9)
    assert rows.min() >= 18
    assert columns.min() == 18
    assert columns.max() < 178
    assert (words < 200).any()


def test_a_long_name_on_a_sheet_stays_under_its_picture(tmp_path: Path) -> None:
    save_mistakes([np.full((8, 8, 1), 9, dtype=np.uint8)], mistakes(1, "an endless name " * 9), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as read:
        pixels = np.asarray(read.convert("L"))
    assert (pixels[:, 178:] == 255).all()
