from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from trimtab.data.images import resize_image
from trimtab.data.resampling import resample


def by_pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    flat = image[:, :, 0] if image.shape[2] == 1 else image
    return np.array(Image.fromarray(flat).resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)


def random_image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [1, 2, 7, 24, 32, 50, 129])
@pytest.mark.parametrize("channels", [1, 3])
def test_along_one_axis_every_pixel_is_pillows(size: int, channels: int) -> None:
    image = random_image(50, 33, channels)
    np.testing.assert_array_equal(resample(image, size, 33), by_pillow(image, size, 33))
    np.testing.assert_array_equal(resample(image, 50, size), by_pillow(image, 50, size))


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (5, 90), (1, 1), (7, 3), (200, 9), (32, 32)])
def test_along_both_axes_pixels_are_within_a_level(shape: tuple[int, int]) -> None:
    image = random_image(*shape, 3)
    for size in (8, 32, 64):
        difference = resample(image, size, size).astype(int) - by_pillow(image, size, size)
        assert np.abs(difference).max() <= 1


def test_pictures_are_resized_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    image = random_image(50, 32, 3)
    expected = resize_image(image[:, :, :1], 32)
    monkeypatch.setitem(sys.modules, "PIL", None)
    resized = resize_image(image[:, :, :1], 32)
    np.testing.assert_array_equal(resized, expected)
    assert resized.flags.c_contiguous
