"""The seconds of a fold: its part of what is left, less what comes after, which follows the load of the machine."""

import time
from types import SimpleNamespace

import pytest

from trimtab.stages.fold_training import FoldClock, Kept
from trimtab.training.probe import Probe


class Busy:
    """A load that is told."""

    def __init__(self):
        self.ratio = 1.0

    def contention(self):
        return self.ratio


@pytest.fixture
def now(monkeypatch):
    """A clock that is told, at 10 of 100 seconds."""
    told = SimpleNamespace(seconds=10.0)
    monkeypatch.setattr(time, "monotonic", lambda: told.seconds)
    return told


def _clock(part, seconds, load=None):
    return FoldClock(started=0.0, budget_end=100.0, begun=10.0, part=part, kept=Kept(seconds, load or Busy()))


@pytest.mark.usefixtures("now")
def test_a_fold_has_its_part_of_what_the_end_leaves():
    assert _clock(0.5, 3.0).seconds_left() == pytest.approx((90 - 3) / 2)
    assert _clock(1.0, 3.0).seconds_left() == pytest.approx(90 - 3)


def test_a_machine_that_gets_busy_in_between_leaves_less_to_train(now):
    load = Busy()
    clock = _clock(1.0, 2.0, load)
    now.seconds = 40.0
    assert clock.seconds_left() == pytest.approx(60 - 2)
    load.ratio = 4.0
    assert clock.seconds_left() == pytest.approx(60 - 8)


@pytest.mark.usefixtures("now")
def test_two_thirds_are_left_for_training_however_busy_the_machine_is():
    assert _clock(1.0, 1000.0).seconds_left() == pytest.approx(60)


@pytest.mark.usefixtures("now")
def test_what_predictions_will_take_is_kept_once_it_is_known():
    clock = _clock(1.0, 0.0)
    fold = SimpleNamespace(test=range(30), selection=range(10))
    clock.note(Probe(mode=None, reason="", validation_seconds=0.5), [fold], {})
    assert clock.seconds_left() == pytest.approx(90 - 1.2 * 1.5)


@pytest.mark.usefixtures("now")
def test_without_a_budget_a_fold_has_all_the_time():
    clock = FoldClock(started=0.0, budget_end=float("inf"), begun=10.0, part=0.2, kept=Kept(3.0, Busy()))
    assert clock.seconds_left() == float("inf")
