"""Which networks are trained together: small ones on plain rows, where the cost model says that it pays."""

import dataclasses

import numpy as np
import pytest

from trimtab.training.rows import Rows
from trimtab.training.stacking import how_many_together, step_costs

SMALL = {"in_features": 64, "hidden": [64, 32], "num_classes": 10, "dropout": 0.2}
WIDE = {"in_features": 1000, "hidden": [2048, 1024], "num_classes": 10, "dropout": 0.2}
ROWS = Rows.of(np.zeros((100, 64), np.float32), np.arange(100) % 10)


def count(recipe, kwargs=SMALL, counts=(100,) * 5, rows=ROWS, builder="mlp", **changes):
    settings = {"augment": "none", "steps": 10} | changes
    return how_many_together(builder, kwargs, recipe(**settings), counts, rows=rows)


def test_together_pays_for_small_networks_and_not_for_wide_ones():
    assert step_costs(SMALL, batch=16, count=5).pays
    assert not step_costs(WIDE, batch=256, count=5).pays
    assert step_costs(SMALL, batch=16, count=10).together < 10 * step_costs(SMALL, batch=16, count=1).in_turn


def test_networks_that_leave_no_room_in_the_caches_are_not_trained_together():
    middling = {**SMALL, "hidden": [1024, 512]}
    assert step_costs(middling, batch=16, count=5).pays
    assert not step_costs(middling, batch=16, count=16).pays


def test_more_networks_cost_more_but_less_each():
    five, ten = (step_costs(SMALL, batch=16, count=number) for number in (5, 10))
    assert five.together < ten.together < 2 * five.together
    assert ten.in_turn == pytest.approx(2 * five.in_turn)


def test_all_folds_of_a_small_network_are_trained_together(recipe):
    assert count(recipe) == 5
    assert count(recipe, kwargs=WIDE, batch_size=100) == 1


def test_there_are_at_most_sixteen_at_a_time(recipe):
    assert count(recipe, counts=(100,) * 40) == 16


def test_folds_of_other_sizes_are_not_trained_with_the_first(recipe):
    assert count(recipe, counts=(100, 99, 98, 60, 100)) == 3
    assert count(recipe, counts=(100, 200, 300)) == 1
    assert count(recipe, counts=(100,)) == 1


def test_a_fold_with_less_than_a_batch_of_rows_is_trained_alone(recipe):
    assert count(recipe, batch_size=128) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "numpy"},
        {"optimizer": "muon"},
        {"optimizer": "sgd"},
        {"l1": 1e-5},
        {"l2": 1e-5},
        {"ema": 0.9},
        {"mixup": 0.2},
        {"augment": "light"},
        {"augment": "strong"},
        {"accumulate": 2},
        {"shards": 4},
        {"precision": "bfloat16"},
        {"builder": "cnn"},
        {"rows": dataclasses.replace(ROWS, targets=np.full((100, 10), 0.1, np.float32))},
        {"rows": Rows.of(np.zeros((100, 8, 8, 1), np.uint8), np.arange(100) % 10, mean=[0.5], std=[0.2])},
    ],
)
def test_what_a_step_together_cannot_do_is_trained_alone(recipe, changes):
    assert count(recipe, **changes) == 1
