"""One family of tests for all trials; suspect labels are judged by trusted rows."""

import numpy as np
import pytest

from trimtab.generalization.conclusions import Extra, best_of, conclude
from trimtab.generalization.gains import Gain
from trimtab.generalization.remedies import Remedy
from trimtab.generalization.trials import Outcome

RNG = np.random.default_rng(0)


def outcome(name, gain, *, cause="OVERFIT", right=0.0, rows=200, seeds=3):
    shape = (seeds, rows)
    chances = np.clip([0.05 - right / 2, 0.9, 0.05 + right / 2], 0, 1)
    return Outcome(
        remedy=Remedy(cause=cause, name=name, settings={"dropout": 0.2}),
        gains=gain + 0.3 * RNG.normal(size=rows) + 0.05 * RNG.normal(size=shape),
        right_gains=RNG.choice([-1.0, 0.0, 1.0], shape, p=chances / chances.sum()),
        training_gain=0.1,
        seconds=1.0,
    )


def nothing(name):
    empty = np.zeros((0, 200))
    return Outcome(
        remedy=Remedy(cause="OVERFIT", name=name), gains=empty, right_gains=empty, training_gain=0.0, seconds=2
    )


def test_what_helps_is_told_from_what_does_not():
    found = conclude([outcome("much", 0.3), outcome("none", 0.0), outcome("harm", -0.3)])
    assert [each.trial.has_helped for each in found] == [True, False, False]
    much = found[0].trial
    assert 0 < much.low < much.gain < much.high
    assert (much.remedy, much.settings, much.metric) == ("much", {"dropout": 0.2}, "log loss of 200 validation rows")


def test_every_trial_is_listed_also_what_diverged():
    found = conclude([nothing("wild"), outcome("much", 0.3)])
    assert [each.trial.remedy for each in found] == ["wild", "much"]
    assert found[0].trial.metric == "none: training diverged"
    assert (found[0].trial.low, found[0].trial.p_value, found[0].trial.has_helped) == (None, None, False)


def test_more_trials_make_wider_intervals():
    much = outcome("much", 0.3)
    alone = conclude([much, outcome("none", 0.0)])[0].trial
    among = conclude([much, *(outcome("none", 0.0) for _ in range(9))])[0].trial
    assert among.low < alone.low


def test_suspect_labels_are_judged_by_trusted_rows():
    is_trusted = np.arange(200) < 150
    trial = outcome("likelier labels for suspects", -0.5, cause="LABEL_NOISE", right=0.0)
    trial.right_gains[:, :150] = np.where(np.arange(150) % 3 == 0, 1.0, 0.0)
    trial.right_gains[:, 150:] = -1.0
    found = conclude([trial, outcome("none", 0.0)], is_trusted=is_trusted)[0]
    assert found.trial.has_helped
    assert found.trial.gain == pytest.approx(1 / 3)
    assert found.trial.metric == "accuracy on 150 validation rows whose labels are not suspect"
    assert found.accuracy_gain == pytest.approx((50 - 50) / 200)


def test_a_few_rows_that_turn_right_show_nothing():
    trial = outcome("likelier labels for suspects", 0.0, cause="LABEL_NOISE")
    trial.right_gains[:] = 0.0
    trial.right_gains[:, :3] = 1.0
    assert not conclude([trial], is_trusted=np.ones(200, np.bool_))[0].trial.has_helped


def test_what_nothing_was_trained_for_is_in_the_family():
    extra = Extra(
        remedy=Remedy(cause="UNCALIBRATED", name="temperature 2"),
        metric="log loss of 200 validation rows",
        gain=Gain(value=0.1, error=0.01, freedom=199),
    )
    found = conclude([outcome("none", 0.0)], extras=[extra])
    assert [each.remedy.cause for each in found] == ["OVERFIT", "UNCALIBRATED"]
    assert found[1].trial.has_helped
    assert found[1].accuracy_gain is None
    assert conclude([], extras=[extra])[0].trial.low == pytest.approx(0.0803, abs=1e-4)


def test_the_best_is_shown_to_help_and_names_no_fewer_rows_right():
    most, some, less_right = outcome("most", 0.4), outcome("some", 0.3), outcome("less right", 0.6)
    for each, right in ((most, 0.0), (some, 1.0), (less_right, -1.0)):
        each.right_gains[:] = 0.0
        each.right_gains[:, 0] = right
    found = conclude([some, less_right, most, outcome("none", 0.0)])
    assert [each.trial.has_helped for each in found] == [True, True, True, False]
    assert best_of(found).remedy.name == "most"
    assert best_of(conclude([outcome("none", 0.0)])) is None
