import numpy as np

from trimtab.training.order import Order, steps_per_epoch


def test_a_pass_shows_every_row_once():
    order = Order(48, 16, seed=1)
    seen = np.concatenate([order.at(step) for step in range(steps_per_epoch(48, 16))])
    assert sorted(seen.tolist()) == list(range(48))


def test_the_order_of_a_step_does_not_depend_on_what_was_asked_before():
    first, second = Order(100, 16, seed=1), Order(100, 16, seed=1)
    first.at(40)
    np.testing.assert_array_equal(first.at(3), second.at(3))


def test_another_seed_and_another_pass_give_another_order():
    assert not np.array_equal(Order(100, 16, seed=1).at(0), Order(100, 16, seed=2).at(0))
    assert not np.array_equal(Order(96, 16, seed=1).at(0), Order(96, 16, seed=1).at(6))


def test_fewer_rows_than_a_batch_make_one_batch():
    assert sorted(Order(5, 16, seed=0).at(7).tolist()) == list(range(5))


def test_the_pass_of_a_step_counts_whole_passes():
    order = Order(50, 16, seed=0)  # three batches a pass; two rows wait
    assert [order.pass_of(step) for step in (0, 2, 3, 5, 6)] == [0, 0, 1, 1, 2]
