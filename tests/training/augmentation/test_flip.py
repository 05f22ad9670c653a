import numpy as np

from trimtab.training.augmentation.flip import alternate, throw_coins

ROWS = np.arange(1000)


def test_two_passes_show_both_images_of_every_row():
    coins = throw_coins(1000, seed=3)
    for start in (0, 1, 6):
        one, next_one = (alternate(coins, ROWS, number) for number in (start, start + 1))
        assert (one != next_one).all()


def test_a_row_is_the_same_way_round_in_every_other_pass():
    coins = throw_coins(1000, seed=3)
    np.testing.assert_array_equal(alternate(coins, ROWS, 0), alternate(coins, ROWS, 4))


def test_each_pass_mirrors_about_half_of_the_rows():
    coins = throw_coins(1000, seed=3)
    assert all(440 < alternate(coins, ROWS, number).sum() < 560 for number in (0, 1))


def test_coins_depend_on_the_seed_and_not_on_how_many_others_there_are():
    assert (throw_coins(1000, seed=3) != throw_coins(1000, seed=4)).sum() > 400
    np.testing.assert_array_equal(throw_coins(1000, seed=3)[:100], throw_coins(100, seed=3))


def test_the_coin_belongs_to_the_row_wherever_it_stands_in_a_batch():
    coins = throw_coins(1000, seed=3)
    rows = np.array([7, 500, 7])
    np.testing.assert_array_equal(alternate(coins, rows, 0), coins[rows])
