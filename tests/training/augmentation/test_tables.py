import numpy as np
import pytest

from trimtab.training.augmentation.tables import augment_rows


def random_numbers(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noisy(table: np.ndarray, deviation: float, *, seed: int = 0) -> np.ndarray:
    every = np.arange(len(table))
    return augment_rows(table, every, every, deviation=deviation, random=random_numbers(seed))


@pytest.mark.parametrize("deviation", [0.05, 0.3])
def test_noise_has_the_deviation_that_was_asked_for(deviation):
    table = random_numbers(1).uniform(0.1, 0.9, (2000, 8)).astype(np.float32)
    difference = noisy(table, deviation) - table
    np.testing.assert_allclose(difference.std(axis=0), deviation, rtol=0.1)
    np.testing.assert_allclose(difference.mean(axis=0), 0, atol=4 * deviation / np.sqrt(2000))


def test_columns_of_zeros_and_ones_stay_as_they_are():
    values = random_numbers(1)
    table = np.concatenate([values.integers(0, 2, (500, 3)), values.uniform(0.1, 0.9, (500, 1))], axis=1)
    table = table.astype(np.float32)
    changed = noisy(table, 0.3) != table
    assert not changed[:, :3].any()
    assert changed[:, 3].all()


def test_only_the_bin_that_a_number_lies_in_is_moved():
    bins = np.float32([[1, 1, 0.4, 0]]).repeat(50, axis=0)  # as the encoder writes a number
    changed = noisy(bins, 0.1) != bins
    np.testing.assert_array_equal(changed.all(axis=0), [False, False, True, False])
    np.testing.assert_array_equal(changed.any(axis=0), [False, False, True, False])


def test_without_noise_rows_are_those_of_the_table():
    table = random_numbers(1).standard_normal((6, 4)).astype(np.float32)
    rows = np.array([5, 0, 2])
    picked = augment_rows(table, rows, np.array([2, 0]), deviation=0.0, random=random_numbers())
    np.testing.assert_array_equal(picked, table[[2, 5]])


def test_the_table_itself_is_not_changed():
    table = random_numbers(1).uniform(0.1, 0.9, (20, 4)).astype(np.float32)
    before = table.copy()
    noisy(table, 0.3)
    np.testing.assert_array_equal(table, before)
