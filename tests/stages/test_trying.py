"""Trials are as thorough as the time allows, and never shorter than they can be."""

import dataclasses

import pytest

from trimtab.plan import Plan
from trimtab.planning import Facts, resolve
from trimtab.stages.trying import Course, minutes_for_all, plan_course

PLAN = resolve(Plan(data="t.csv"), Facts(kind="table", rows=2000, classes=3, columns=10))[0]


@pytest.mark.parametrize(
    ("seconds", "course"),
    [
        (1000, Course(seeds=5, fraction=1.0)),
        (600, Course(seeds=4, fraction=1.0)),
        (130, Course(seeds=3, fraction=1.0)),
        (90, Course(seeds=2, fraction=1.0)),
        (45, Course(seeds=2, fraction=0.5)),
        (12, Course(seeds=2, fraction=0.125)),
        (9, None),
    ],
)
def test_less_time_means_fewer_seeds_and_then_fewer_steps(seconds, course):
    assert plan_course(seconds, 10.0, 1000, seeds=5) == course


def test_no_more_seeds_than_wanted():
    assert plan_course(1e9, 1.0, 1000, seeds=2) == Course(seeds=2, fraction=1.0)


def test_a_short_training_is_not_cut_to_nothing():
    assert plan_course(45, 10.0, 15, seeds=5) is None


def test_time_for_all_is_time_for_the_most_thorough_course():
    for seconds in (0.1, 3.0, 60.0, 2000.0):
        minutes = minutes_for_all(PLAN, seconds, 1000, seeds=5)
        assert plan_course(60 * minutes - 3, seconds, 1000, seeds=5) == Course(seeds=5, fraction=1.0)


def test_more_remedies_take_more_time():
    without = dataclasses.replace(PLAN, ema=0.99, mixup=0.2)
    assert minutes_for_all(without, 60.0, 1000, seeds=5) < minutes_for_all(PLAN, 60.0, 1000, seeds=5)
