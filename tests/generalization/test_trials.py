"""Trials are paired with baselines of the same seeds, keep to the time, and touch no other rows than they should."""

import math

import numpy as np
import pytest

from trimtab.generalization.material import Material
from trimtab.generalization.remedies import Remedy
from trimtab.generalization.second_opinions import second_opinions
from trimtab.training.rows import Rows


def remedy(name="nothing", **settings):
    return Remedy(cause="OVERFIT", name=name, settings=settings)


class Countdown:
    """Seconds that are left, until `stop` is called."""

    def __init__(self):
        self.left = math.inf

    def __call__(self):
        return self.left


def test_the_parts_of_a_table_come_together_in_one_array(make_bench):
    material = make_bench().material
    assert material.training.inputs is material.validation.inputs
    assert len(material.training.inputs) == 320
    assert set(material.training.numbers).isdisjoint(material.validation.numbers)
    assert len(material.watched) == 200
    answering = material.answering(material.watched[:5])
    assert len(answering) == 125
    assert (answering.labels[120:] == material.training.labels[material.watched[:5]]).all()


def test_pictures_are_not_copied():
    pictures = np.zeros((30, 8, 8, 1), np.uint8)
    labels = np.arange(30) % 2
    parts = [Rows.of(pictures, labels[own], numbers=own, num_classes=2) for own in (np.arange(20), np.arange(20, 30))]
    material = Material.of(*parts, seed=0)
    assert np.shares_memory(material.answering(material.watched).inputs, pictures)


def test_groups_share_a_fold(make_bench):
    material = make_bench(groups=np.arange(120) // 4).material
    for unit in range(30):
        assert len(set(material.folds[material.units == unit])) == 1


def test_a_change_that_changes_nothing_gains_nothing(make_bench):
    bench = make_bench()
    assert bench.run_baselines()
    outcome = bench.attempt(remedy(weight_decay=0.0))
    assert not outcome.gains.any()
    assert not outcome.right_gains.any()
    assert outcome.training_gain == 0


def test_what_gains_nothing_is_given_up_after_one_seed(make_bench):
    bench = make_bench()
    bench.run_baselines()
    assert len(bench.attempt(remedy(learning_rate=1e-7)).gains) == 1


def test_what_gains_is_tried_with_every_seed(make_bench):
    bench = make_bench()
    bench.setup_of = lambda settings, own=bench.setup_of: own({"learning_rate": 1e-5, **settings})
    bench.run_baselines()
    outcome = bench.attempt(remedy(learning_rate=0.01))
    assert outcome.gains.shape == (2, 120)
    assert outcome.gains.mean() > 0.1
    assert outcome.training_gain > 0.1
    assert bench.outcomes == [outcome]


def test_what_diverges_is_noted(make_bench):
    bench = make_bench()
    bench.run_baselines()
    outcome = bench.attempt(remedy(optimizer="sgd", learning_rate=1e30))
    assert outcome.has_diverged
    assert bench.outcomes == [outcome]


def test_without_time_nothing_is_trained(make_bench):
    countdown = Countdown()
    bench = make_bench(seconds_left=countdown)
    bench.run_baselines()
    countdown.left = 0.0
    wanted = remedy(dropout=0.1)
    assert bench.attempt(wanted) is None
    assert (bench.untried, bench.outcomes) == ([wanted], [])
    assert second_opinions(bench) is None


def test_a_training_that_comes_too_late_does_not_count(make_bench):
    bench = make_bench(seconds_left=lambda: 0.0)
    assert bench.record({}, 1) is None
    assert not bench.run_baselines()


def test_answers_are_recorded_at_every_validation(make_bench):
    bench = make_bench()
    recorded = bench.record({}, 1)
    assert recorded.validation.shape[1:] == (120, 3)
    assert recorded.training.shape == (len(recorded.validation), 200, 3)
    assert 8 <= len(recorded.validation) <= 40
    bench.run_baselines()
    history = bench.history(10.0)
    assert history[-1]["epoch"] == 10
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]


def test_fewer_rows_are_trained_on_in_as_many_passes(make_bench):
    bench = make_bench()
    half = np.arange(0, 200, 2)
    few, all_rows = bench.record({}, 1, half, half[:3]), bench.record({}, 1)
    assert few.training.shape[1] == 3
    assert not np.array_equal(few.validation[-1], all_rows.validation[-1])


def test_moved_labels_are_suspect(make_bench):
    bench = make_bench(flipped=0.3, rows=(600, 300))
    bench.run_baselines()
    opinions = second_opinions(bench, 2)
    clean = make_bench(rows=(600, 300))
    moved = bench.material.training.labels != clean.material.training.labels
    suspect = opinions.training.is_suspect
    assert suspect[moved].mean() > 0.6
    assert suspect[~moved].mean() < 0.25
    assert len(opinions.validation.is_suspect) == 300
    assert opinions.training.share == pytest.approx(suspect.mean())


def test_a_vote_of_several_rounds_is_right_more_often_than_one(make_bench):
    bench, clean = make_bench(flipped=0.4, rows=(600, 300)), make_bench(rows=(600, 300))
    bench.run_baselines()
    moved = bench.material.training.labels != clean.material.training.labels
    wrong = [np.mean(second_opinions(bench, rounds).training.is_suspect != moved) for rounds in (1, 4)]
    assert wrong[1] < wrong[0] < 0.4


def test_other_labels_are_trained_on_and_the_rows_keep_their_own(make_bench):
    bench, clean = make_bench(flipped=0.4, rows=(600, 300)), make_bench(rows=(600, 300))
    bench.run_baselines()
    before = bench.material.training.labels.copy()
    outcome = bench.attempt(remedy(), clean.material.training.labels)
    assert outcome.right_gains.mean() > 0.02
    np.testing.assert_array_equal(bench.material.training.labels, before)


def test_baselines_that_there_are_are_not_trained_again(make_bench):
    bench = make_bench(seeds=[1])
    bench.run_baselines()
    (first,) = bench.recorded
    bench.seeds = [1, 2]
    assert bench.run_baselines()
    assert bench.recorded[0] is first
    assert len(bench.baselines) == 2


def test_without_watched_rows_validation_rows_alone_answer(make_bench):
    bench = make_bench()
    bench.material = bench.material.unwatched()
    assert bench.run_baselines()
    assert bench.recorded[0].training.shape[1] == 0
    assert bench.attempt(remedy(weight_decay=0.1)).training_gain == 0


def test_a_training_ends_when_somebody_stops_it(make_bench):
    asked = []
    bench = make_bench(seconds_left=lambda: asked.append(0) or 10.0 - len(asked))
    assert bench.record({}, 1) is None
    assert 10 <= len(asked) < 20
