"""Whole-pixel moves are indexing; resampling is compared with NumPy's rotation and with interpolation by hand."""

import numpy as np
import pytest

from trimtab.training.augmentation.geometry import crop, reach, rotation, shear, shift, warp

NOT_MIRRORED = np.zeros(1, np.bool_)


def noise(count: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def smooth(size: int) -> np.ndarray:
    """A picture without sharp edges, [1, S, S, 1]."""
    place = np.linspace(-1, 1, size)
    return (127 + 60 * np.sin(2 * place[:, None]) + 60 * np.cos(3 * place))[None, :, :, None].astype(np.uint8)


@pytest.mark.parametrize("offset", [(0, 0), (2, -3), (-4, 4)])
def test_a_shift_is_that_of_the_picture_padded_by_reflection(offset):
    pictures = noise(3, 9, 7, 3)
    padded = np.pad(pictures, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    down, across = offset
    expected = padded[1:2, 4 + down : 13 + down, 4 + across : 11 + across]
    np.testing.assert_array_equal(shift(pictures, np.array([1]), np.array([offset]), NOT_MIRRORED), expected)


def test_a_mirror_image_has_left_and_right_exchanged():
    pictures = noise(2, 5, 6, 3)
    rows, no_offsets = np.array([1, 0]), np.zeros((2, 2), np.int64)
    mirrored = shift(pictures, rows, no_offsets, np.array([True, False]))
    np.testing.assert_array_equal(mirrored, [pictures[1, :, ::-1], pictures[0]])


@pytest.mark.parametrize(("side", "pixels"), [(32, 4), (64, 4), (8, 1), (9, 2), (1, 0)])
def test_a_shift_reaches_an_eighth_of_a_side_but_no_more_than_four_pixels(side, pixels):
    assert reach(side, 1 / 8) == pixels


def test_without_translation_nothing_is_shifted():
    assert reach(32, 0.0) == 0


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("turns", [-1, 0, 1, 2])
def test_rotation_by_right_angles_is_that_of_numpy(turns, channels):
    pictures = noise(2, 12, 12, channels)
    turned = warp(pictures, rotation(np.full(2, turns * np.pi / 2)))
    np.testing.assert_array_equal(turned, np.rot90(pictures, turns, axes=(1, 2)))


def test_each_picture_is_resampled_by_its_own_matrix():
    pictures = noise(40, 32, 32, 3)  # more than one group
    turns = np.arange(40) % 4
    turned = warp(pictures, rotation(turns * np.pi / 2))
    for picture, result, turn in zip(pictures, turned, turns, strict=True):
        np.testing.assert_array_equal(result, np.rot90(picture, turn))


def test_rotation_forth_and_back_nearly_returns_the_picture():
    picture = smooth(32)
    back = warp(warp(picture, rotation(np.array([0.3]))), rotation(np.array([-0.3])))
    middle = slice(8, 24)
    difference = np.abs(back[:, middle, middle].astype(int) - picture[:, middle, middle])
    assert difference.max() <= 3


def test_places_between_pixels_are_interpolated_in_both_directions():
    picture = np.array([[0, 100], [200, 40]], np.uint8).reshape(1, 2, 2, 1)
    sizes, middle = np.array([0.5]), np.zeros((1, 2))
    enlarged = warp(picture, crop(sizes, middle, 2, 2))[0, :, :, 0]  # places a quarter and three quarters between
    by_hand = [[(9 * 0 + 3 * 100 + 3 * 200 + 40) / 16, (3 * 0 + 9 * 100 + 200 + 3 * 40) / 16]]
    by_hand += [[(3 * 0 + 100 + 9 * 200 + 3 * 40) / 16, (0 + 3 * 100 + 3 * 200 + 9 * 40) / 16]]
    np.testing.assert_allclose(enlarged, by_hand, atol=0.51)


def test_shear_moves_lines_by_their_distance_from_the_middle():
    picture = np.zeros((1, 9, 9, 1), np.uint8)
    picture[:, :, 4] = 255  # a vertical line
    slanted = warp(picture, shear(np.array([0.5])))[0, ::2, :, 0]
    np.testing.assert_array_equal(slanted.argmax(axis=1), [2, 3, 4, 5, 6])  # below the middle to the right


def test_a_crop_is_the_part_of_the_picture_at_its_place():
    height, width = 9, 13
    pictures = noise(1, height, width, 3).repeat(3, axis=0)
    places = np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 1.0]])
    kept = warp(pictures, crop(np.full(3, 0.5), places, height, width))
    # Every second pixel of the result is one of the source.
    np.testing.assert_array_equal(kept[0, ::2, ::2], pictures[0, :5, :7])
    np.testing.assert_array_equal(kept[1, ::2, ::2], pictures[0, 4:, 6:])
    np.testing.assert_array_equal(kept[2, ::2, ::2], pictures[0, 2:7, 6:])


def test_a_crop_of_everything_changes_nothing():
    pictures = noise(2, 6, 5, 3)
    np.testing.assert_array_equal(warp(pictures, crop(np.ones(2), np.ones((2, 2)), 6, 5)), pictures)


def test_what_lies_beyond_the_border_is_reflected():
    picture = np.arange(8, dtype=np.uint8).reshape(1, 1, 8, 1).repeat(3, axis=1)
    further = np.tile(np.eye(3), (1, 1, 1))
    further[0, 1, 2] = 3  # pixels to the right
    np.testing.assert_array_equal(warp(picture, further)[0, 0, :, 0], [3, 4, 5, 6, 7, 6, 5, 4])


def test_far_beyond_the_border_the_last_reflected_pixel_is_repeated():
    pictures = np.arange(8, dtype=np.uint8).reshape(2, 1, 4, 1)
    further = np.tile(np.eye(3), (2, 1, 1))
    further[:, 1, 2] = 5  # more than the picture, which is reflected once
    np.testing.assert_array_equal(warp(pictures, further)[..., 0], [[[1, 0, 0, 0]], [[5, 4, 4, 4]]])


def test_extreme_values_stay_what_they_are():
    white = np.full((1, 16, 16, 3), 255, np.uint8)
    np.testing.assert_array_equal(warp(white, rotation(np.array([0.4]))), white)


def test_a_picture_of_one_column_can_be_resampled():
    picture = noise(1, 4, 1, 3)
    np.testing.assert_array_equal(warp(picture, rotation(np.array([np.pi]))), picture[:, ::-1])
