"""The seconds of a fold: its part of what is left, less what comes after, which follows the load of the machine."""

from types import SimpleNamespace

import pytest

from trimtab.stages.folding import FoldShare
from trimtab.training.probe import Probe


@pytest.fixture
def job():
    """A hundred seconds, of which ten are gone."""
    job = SimpleNamespace(spent=10.0, plan=SimpleNamespace(test_time="none"))
    job.seconds = lambda: job.spent
    job.seconds_left = lambda: 100.0 - job.spent
    return job


def test_a_fold_has_its_part_of_what_the_end_leaves(job):
    assert FoldShare(job, 0.5, lambda: 3.0).seconds_left() == pytest.approx((90 - 3) / 2)
    assert FoldShare(job, 1.0, lambda: 3.0).seconds_left() == pytest.approx(90 - 3)


def test_a_machine_that_gets_busy_in_between_leaves_less_to_train(job):
    seconds = [2.0]
    share = FoldShare(job, 1.0, lambda: seconds[0])
    job.spent = 40.0
    assert share.seconds_left() == pytest.approx(60 - 2)
    seconds[0] = 8.0
    assert share.seconds_left() == pytest.approx(60 - 8)


def test_two_thirds_are_left_for_training_however_busy_the_machine_is(job):
    assert FoldShare(job, 1.0, lambda: 1000.0).seconds_left() == pytest.approx(60)


def test_what_predictions_will_take_is_kept_once_it_is_known(job):
    share = FoldShare(job, 1.0, lambda: 0.0)
    fold = SimpleNamespace(test=range(30), selection=range(10))
    share.note(Probe(mode=None, reason="", validation_seconds=0.5), [fold])
    assert share.seconds_left() == pytest.approx(90 - 1.5)
