import numpy as np
import pytest

from trimtab.training.augmentation.cutout import cut_out, square_side


@pytest.mark.parametrize(("share", "height", "width"), [((3 / 8) ** 2, 32, 32), (0.25, 40, 10), (0.1, 64, 48)])
def test_the_square_covers_the_share_that_was_asked_for(share, height, width):
    pictures = np.zeros((3, height, width, 3), np.uint8)
    side = square_side(share, height, width)
    cut_out(pictures, np.zeros((3, 2), np.int64), side, np.array([9, 8, 7], np.uint8))
    covered = (pictures == [9, 8, 7]).all(axis=3).mean(axis=(1, 2))
    np.testing.assert_allclose(covered, share, rtol=1 / side)  # to a pixel


def test_a_square_is_no_larger_than_the_picture():
    assert square_side(0.9, 40, 10) == 10


def test_the_square_is_at_its_corner_and_the_rest_is_untouched():
    pictures = np.random.default_rng(0).integers(0, 200, (2, 8, 8, 1), dtype=np.uint8)
    before = pictures.copy()
    cut_out(pictures, np.array([[0, 5], [2, 1]]), 3, np.array([255], np.uint8))
    assert (pictures[0, :3, 5:] == 255).all()
    assert (pictures[1, 2:5, 1:4] == 255).all()
    assert ((pictures != before).sum(axis=(1, 2, 3)) == 9).all()
