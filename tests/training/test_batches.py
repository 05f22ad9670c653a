import dataclasses
import time

import numpy as np
import pytest

from trimtab.training.batches import Batches, Order, Rows, augmented, channel_statistics, first_batch, steps_per_epoch


def random_numbers():
    return np.random.default_rng(0)


def test_a_pass_shows_every_row_once():
    order = Order(48, 16, seed=1)
    seen = np.concatenate([order.at(step) for step in range(steps_per_epoch(48, 16))])
    assert sorted(seen.tolist()) == list(range(48))


def test_the_batch_of_a_step_does_not_depend_on_what_was_asked_before(pictures, recipe):
    first, second = (Batches(pictures[0], recipe()) for _ in range(2))
    first.at(3)
    for one, other in zip(first.at(20), second.at(20), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_gives_another_order():
    assert not np.array_equal(Order(100, 16, seed=1).at(0), Order(100, 16, seed=2).at(0))


def test_fewer_rows_than_a_batch_make_one_batch():
    assert sorted(Order(5, 16, seed=0).at(7).tolist()) == list(range(5))


def test_shifted_pictures_hold_only_pixels_of_the_picture():
    picture = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    out = augmented(picture, np.zeros(200, np.int64), "shift", random_numbers())
    centers = np.unique(out[:, 3, 3, 0]).tolist()
    assert centers == [18, 19, 20, 26, 27, 28, 34, 35, 36]  # one pixel at most, each way, on 8 x 8
    assert len({entry.tobytes() for entry in out}) == 9


def test_what_lies_beyond_the_border_is_reflected():
    picture = np.arange(8, dtype=np.uint8).reshape(1, 1, 8, 1).repeat(8, axis=1)
    out = augmented(picture, np.zeros(100, np.int64), "shift", random_numbers())
    lines = {tuple(entry[0, :, 0].tolist()) for entry in out}
    assert lines == {(1, 0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 4, 5, 6, 7), (1, 2, 3, 4, 5, 6, 7, 6)}


def test_flipping_mirrors_about_half_of_the_pictures():
    picture = np.zeros((1, 8, 8, 3), np.uint8)
    picture[:, :, :2] = 200  # bright on the left
    out = augmented(picture, np.zeros(400, np.int64), "flip+shift", random_numbers())
    is_mirrored = out[:, 4, 7, 0] > 100
    assert 150 < is_mirrored.sum() < 250


@pytest.mark.parametrize("augment", ["none", "shift", "flip+shift"])
def test_each_picture_of_a_batch_comes_from_its_own_row(augment):
    pictures = np.arange(50, dtype=np.uint8)[:, None, None, None] * np.ones((1, 9, 7, 3), np.uint8)
    rows = np.array([5, 49, 0, 5])
    out = augmented(pictures, rows, augment, random_numbers())
    np.testing.assert_array_equal(out, pictures[rows])


def test_tables_pass_through_unchanged():
    table = random_numbers().standard_normal((6, 4), dtype=np.float32)
    rows = np.array([5, 0])
    np.testing.assert_array_equal(augmented(table, rows, "none", random_numbers()), table[rows])
    np.testing.assert_array_equal(Rows.of(table, np.zeros(6, np.int64)).normalize(table), table)


def test_the_network_sees_standardized_channels():
    images = random_numbers().integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)) / 255, rtol=1e-12)
    np.testing.assert_allclose(std, images.std((0, 1, 2)) / 255, rtol=1e-9)
    rows = Rows.of(images, np.zeros(40, np.int64), mean=mean, std=std)
    batch = rows.normalize(rows.inputs)
    assert batch.shape == (40, 3, 6, 6)
    assert batch.dtype == np.float32
    assert batch.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_allclose(batch.mean((0, 2, 3)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(batch.std((0, 2, 3)), np.ones(3), atol=1e-5)


def test_a_channel_without_variation_does_not_divide_by_zero():
    assert channel_statistics(np.full((2, 3, 3, 1), 51, np.uint8)) == ([0.2], [1.0])


def test_the_first_batch_is_what_the_first_step_trains_on(pictures, recipe):
    rows = pictures[0]
    batch = first_batch(rows, recipe())
    assert batch.shape == (16, 8, 8, 1)
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(rows.normalize(batch), Batches(rows, recipe()).at(0)[0])


def test_pictures_are_gathered_faster_than_they_are_learned_from(recipe):
    """Seconds would depend on the machine: the oracle is the plain gather that NumPy's own indexing does."""
    pictures = random_numbers().integers(0, 256, (5000, 32, 32, 3), dtype=np.uint8)
    rows = Rows.of(pictures, np.zeros(5000, np.int64), mean=[0.5] * 3, std=[0.2] * 3)
    batches = Batches(rows, dataclasses.replace(recipe(), batch_size=128, augment="flip+shift"))
    numbers, down, across = np.ix_(np.arange(128), np.arange(32), np.arange(32))

    def seconds(action):
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    ours = min(seconds(lambda: batches.at(3)) for _ in range(20))
    plain = min(seconds(lambda: pictures[numbers, down, across]) for _ in range(20))
    assert ours < 1.5 * plain
