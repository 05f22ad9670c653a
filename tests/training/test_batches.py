import dataclasses
import re
import time

import numpy as np
import pytest

from trimtab.training.augmentation import LEVELS
from trimtab.training.batches import Batches, Rows, first_batch, steps_per_epoch

MIXED = [{}, {"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}]


def random_numbers():
    return np.random.default_rng(0)


def flat_pictures(count: int) -> Rows:
    """Pictures of one value each, their row's number, whose class is that number; nothing but mixing shows."""
    pictures = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    return Rows.of(pictures, np.arange(count), mean=[0.0], std=[1 / 255])


def a_table(count: int = 60) -> Rows:
    table = random_numbers().uniform(0.1, 0.9, (count, 5)).astype(np.float32)
    return Rows.of(table, random_numbers().integers(0, 3, count))


@pytest.mark.parametrize("mixing", MIXED)
@pytest.mark.parametrize("augment", LEVELS)
def test_the_batch_of_a_step_does_not_depend_on_what_was_asked_before(pictures, recipe, augment, mixing):
    settings = recipe(augment=augment, flip=True, **mixing)
    first, second = (Batches(pictures[0], settings) for _ in range(2))
    first.at(3)
    for one, other in zip(first.at(20), second.at(20), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", [1, 2])
def test_another_step_and_another_seed_give_another_batch(pictures, recipe, seed):
    settings = recipe(augment="strong", batch_size=160, seed=1)  # all rows: the same ones in every step
    batch = Batches(pictures[0], settings).at(4)[0]
    other = Batches(pictures[0], dataclasses.replace(settings, seed=seed)).at(4 if seed == 2 else 5)[0]
    assert not np.array_equal(np.sort(batch, axis=0), np.sort(other, axis=0))


@pytest.mark.parametrize("mixing", MIXED)
@pytest.mark.parametrize("augment", LEVELS)
def test_parts_are_slices_of_the_whole_batch(pictures, recipe, augment, mixing):
    batches = Batches(pictures[0], recipe(augment=augment, flip=True, **mixing))
    whole = batches.at(7)
    for part in (slice(0, 4), slice(4, 16), slice(15, 16), slice(1, 12, 3)):
        for array, expected in zip(batches.at(7, part), whole, strict=True):
            np.testing.assert_array_equal(array, expected[part])


@pytest.mark.parametrize("augment", LEVELS)
def test_parts_of_a_table_are_slices_of_the_whole_batch(recipe, augment):
    batches = Batches(a_table(), recipe(augment=augment))
    whole = batches.at(7)
    for part in (slice(0, 4), slice(4, 16)):
        for array, expected in zip(batches.at(7, part), whole, strict=True):
            np.testing.assert_array_equal(array, expected[part])


@pytest.mark.parametrize("augment", ["none", "light"])
def test_each_picture_of_a_batch_comes_from_its_own_row(recipe, augment):
    inputs, labels = Batches(flat_pictures(48), recipe(augment=augment, flip=True)).at(1)
    np.testing.assert_array_equal(inputs, labels[:, None, None, None] * np.ones((1, 1, 8, 8)))


def test_alternating_flips_show_both_images_of_a_picture_in_two_passes(recipe):
    pictures = np.zeros((48, 8, 8, 3), np.uint8)
    pictures[:, :, :2] = 200  # bright on the left
    rows = Rows.of(pictures, np.arange(48), mean=[0.5] * 3, std=[0.2] * 3)
    batches = Batches(rows, recipe(flip=True))
    sides = np.zeros((4, 48), bool)
    for step in range(4 * steps_per_epoch(48, 16)):
        inputs, labels = batches.stored(step)
        sides[step // 3, labels] = inputs[:, 4, 7, 0] > 100
    assert (sides[0] != sides[1]).all()
    np.testing.assert_array_equal(sides[:2], sides[2:])
    assert 10 < sides[0].sum() < 38


@pytest.mark.parametrize("augment", LEVELS)
def test_digits_are_never_mirrored_unless_told(recipe, augment):
    pictures = np.ones((48, 16, 16, 1), np.uint8) * np.linspace(255, 0, 16).astype(np.uint8)[:, None]  # bright to dark
    rows = Rows.of(pictures, np.zeros(48, np.int64), mean=[0.5], std=[0.2])
    for step in range(12):
        inputs = Batches(rows, recipe(augment=augment)).stored(step)[0]
        assert (inputs[:, :, :8].mean(axis=(1, 2, 3)) > inputs[:, :, 8:].mean(axis=(1, 2, 3)) + 10).all()


def test_without_augmentation_nothing_is_mirrored_whatever_the_recipe_allows(pictures, recipe):
    batches = Batches(pictures[0], recipe(augment="none", flip=True))
    unchanged = {picture.tobytes() for picture in pictures[0].inputs}
    assert all(picture.tobytes() in unchanged for picture in batches.stored(0)[0])


@pytest.mark.parametrize("mixing", MIXED[1:])
def test_labels_say_how_much_of_which_row_a_picture_holds(recipe, mixing):
    """Each picture has one value, its class: the mean of a mixture is that of its labels."""
    batches = Batches(flat_pictures(48), recipe(augment="none", **mixing))
    for step in range(10):
        inputs, labels = batches.at(step)
        assert labels.dtype == np.float32
        assert labels.shape == (16, 48)
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
        assert ((labels > 0).sum(axis=1) <= 2).all()
        np.testing.assert_allclose(inputs.mean(axis=(1, 2, 3)), labels @ np.arange(48), atol=0.5)
        assert 0.02 < labels.max(axis=1).mean() < 0.98


def test_each_row_is_mixed_with_the_one_after_it(recipe):
    own = Batches(flat_pictures(48), recipe(augment="none")).at(2)[1]
    labels = Batches(flat_pictures(48), recipe(augment="none", mixup=8.0)).at(2)[1]
    for row, (one, other) in zip(labels, zip(own, np.roll(own, -1), strict=True), strict=True):
        assert set(np.flatnonzero(row)) == {one, other}


def test_labels_are_whole_numbers_where_nothing_is_mixed(pictures, recipe):
    labels = Batches(pictures[0], recipe(augment="strong")).at(0)[1]
    assert labels.dtype == np.int64


def test_mixed_labels_have_a_place_for_classes_that_no_row_has(recipe):
    rows = Rows.of(flat_pictures(48).inputs, np.arange(48) % 2, num_classes=5, mean=[0.0], std=[1.0])
    assert Batches(rows, recipe(mixup=0.2)).at(0)[1].shape == (16, 5)


def test_a_batch_of_one_row_is_that_row(recipe):
    rows = flat_pictures(3)
    inputs, labels = Batches(rows, recipe(batch_size=1, mixup=0.4)).at(0)
    np.testing.assert_allclose(inputs.mean(axis=(1, 2, 3)), labels @ np.arange(3), atol=1e-5)
    assert labels.max() == pytest.approx(1)


def test_tables_get_noise_from_light_on_and_are_mixed_where_it_is_strong(recipe):
    rows = a_table()
    plain, light, strong = (Batches(rows, recipe(augment=augment)).at(0) for augment in LEVELS)
    deviation = LEVELS["light"].noise
    np.testing.assert_array_equal(light[1], plain[1])
    assert (light[0] - plain[0]).std() == pytest.approx(deviation, rel=0.3)
    assert strong[1].shape == (16, 3)
    assert (strong[1].max(axis=1) < 1).any()
    np.testing.assert_allclose(strong[1].sum(axis=1), 1, atol=1e-6)


def test_pictures_are_not_mixed_by_the_level_alone(pictures, recipe):
    assert Batches(pictures[0], recipe(augment="strong")).at(0)[1].ndim == 1


def test_tables_pass_through_unchanged_without_augmentation(recipe):
    rows = a_table()
    inputs, _ = Batches(rows, recipe(augment="none", batch_size=60)).at(0)
    assert {entry.tobytes() for entry in inputs} == {entry.tobytes() for entry in rows.inputs}


def test_cutmix_of_a_table_is_refused(recipe):
    words = "cutmix is 0.5 for rows that are no pictures; expected 0; use mixup."
    with pytest.raises(ValueError, match=re.escape(words)):
        Batches(a_table(), recipe(cutmix=0.5))


def test_an_unknown_augmentation_is_refused(pictures, recipe):
    with pytest.raises(ValueError, match="there is no augmentation 'auto'; expected one of none, light, strong"):
        Batches(pictures[0], recipe(augment="auto"))


@pytest.mark.parametrize("mixing", MIXED)
def test_the_first_batch_is_what_the_first_step_trains_on(pictures, recipe, mixing):
    rows = pictures[0]
    settings = recipe(augment="strong", **mixing)
    batch = first_batch(rows, settings)
    assert batch.shape == (16, 8, 8, 1)
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(rows.normalize(batch), Batches(rows, settings).at(0)[0])


def test_pictures_are_gathered_faster_than_they_are_learned_from(recipe):
    """Seconds would depend on the machine: the oracle is the plain gather that NumPy's own indexing does."""
    pictures = random_numbers().integers(0, 256, (5000, 32, 32, 3), dtype=np.uint8)
    rows = Rows.of(pictures, np.zeros(5000, np.int64), mean=[0.5] * 3, std=[0.2] * 3)
    batches = Batches(rows, dataclasses.replace(recipe(), batch_size=128, augment="light", flip=True))
    numbers, down, across = np.ix_(np.arange(128), np.arange(32), np.arange(32))

    def seconds(action):
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    ours = min(seconds(lambda: batches.at(3)) for _ in range(20))
    plain = min(seconds(lambda: pictures[numbers, down, across]) for _ in range(20))
    assert ours < 1.5 * plain
