import numpy as np
import pytest

from trimtab.training.augmentation.mixing import (
    Mixture,
    cutmix,
    draw_boxes,
    draw_mixture,
    draw_shares,
    mixup,
    shares_outside,
)

SHAPE = (100, 12, 9, 3)


def random_numbers() -> np.random.Generator:
    return np.random.default_rng(0)


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    own, other = random_numbers().integers(0, 256, (2, count, *SHAPE[1:]), dtype=np.uint8)
    return own, other


def test_mixup_of_pictures_is_the_weighted_mean_to_half_a_level():
    own, other = pictures(50)
    shares = draw_shares(1.0, 50, random_numbers())
    weights = shares[:, None, None, None].astype(float)
    mixed = mixup(own, other, shares)
    assert mixed.dtype == np.uint8
    np.testing.assert_allclose(mixed, weights * own + (1 - weights) * other, atol=0.5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_all_or_nothing_gives_one_of_the_two(share):
    own, other = (np.full((1, 2, 2, 1), value, np.uint8) for value in (255, 254))
    np.testing.assert_array_equal(mixup(own, other, np.float32([share])), own if share else other)


def test_mixup_of_table_rows_is_the_weighted_mean():
    own, other = random_numbers().standard_normal((2, 5, 3), np.float32)
    shares = np.float32([0, 0.25, 0.5, 0.75, 1])
    mixed = mixup(own, other, shares)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, shares[:, None] * own + (1 - shares[:, None]) * other, rtol=1e-6)


def test_labels_are_the_mixture_that_the_rows_are():
    mixture = Mixture(shares=np.float32([0.25, 1.0, 0.5]), boxes=None)
    labels = mixture.mix_labels(np.array([0, 1, 2]), np.array([3, 0, 2]), 4)
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, [[0.25, 0, 0, 0.75], [0, 1, 0, 0], [0, 0, 1, 0]])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_have_the_spread_of_their_beta_distribution(alpha):
    shares = draw_shares(alpha, 20_000, random_numbers()).astype(float)
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    assert shares.min() >= 0
    assert shares.max() <= 1


def test_cutmix_takes_the_box_from_the_other_picture_and_nothing_else():
    own, other = pictures(60)
    boxes = draw_boxes(1.0, 60, 12, 9, random_numbers())
    for mixed, picture, pasted, (top, bottom, left, right) in zip(
        cutmix(own, other, boxes), own, other, boxes, strict=True
    ):
        expected = picture.copy()
        expected[top:bottom, left:right] = pasted[top:bottom, left:right]
        np.testing.assert_array_equal(mixed, expected)


def test_cutmix_does_not_change_what_it_is_given():
    own, other = pictures(20)
    before = own.copy()
    cutmix(own, other, draw_boxes(1.0, 20, 12, 9, random_numbers()))
    np.testing.assert_array_equal(own, before)


def test_cutmix_labels_have_the_share_of_the_area_that_was_pasted():
    own, other = np.zeros((200, 12, 9, 1), np.uint8), np.ones((200, 12, 9, 1), np.uint8)
    mixture = draw_mixture(0.0, 1.0, 200, own.shape, random_numbers())
    pasted = mixture.mix(own, other).mean(axis=(1, 2, 3))
    labels = mixture.mix_labels(np.zeros(200, np.int64), np.ones(200, np.int64), 2)
    np.testing.assert_allclose(labels, np.stack([1 - pasted, pasted], axis=1), atol=1e-6)
    assert pasted.std() > 0.1


def test_boxes_have_the_areas_of_their_distribution_but_for_what_the_border_cuts_off():
    large = draw_boxes(50.0, 4000, 200, 100, random_numbers())  # nearly all of half the area
    whole = large[(large[:, 0] > 0) & (large[:, 1] < 200) & (large[:, 2] > 0) & (large[:, 3] < 100)]
    assert len(whole) > 100
    assert shares_outside(whole, 200, 100).mean() == pytest.approx(0.5, abs=0.02)


def test_every_pixel_can_be_pasted():
    own, other = np.zeros((400, 12, 9, 1), np.uint8), np.ones((400, 12, 9, 1), np.uint8)
    assert cutmix(own, other, draw_boxes(1.0, 400, 12, 9, random_numbers())).max(axis=0).all()


def test_where_both_are_asked_for_batches_are_mixed_by_either():
    random = random_numbers()
    kinds = [draw_mixture(0.2, 1.0, 4, SHAPE, random).boxes is None for _ in range(200)]
    assert 70 < sum(kinds) < 130


def test_where_one_is_asked_for_it_is_that():
    random = random_numbers()
    assert all(draw_mixture(0.2, 0.0, 4, SHAPE, random).boxes is None for _ in range(20))
    assert all(draw_mixture(0.0, 1.0, 4, SHAPE, random).boxes is not None for _ in range(20))
