import math

import pytest

from trimtab.budget import Budget, Cost, Verdict


def cost(**changes: float) -> Cost:
    fields = {
        "seconds": 30.0,
        "megabytes": 0.4,
        "milliseconds_p50": 0.2,
        "milliseconds_p95": 0.3,
        "milliseconds_p99": 0.5,
        "threads": 1,
        "parameters": 100,
        "macs": 1000,
        "training_seconds": 20.0,
        "peak_memory_megabytes": 300.0,
    }
    return Cost(**{**fields, **changes})


def test_a_budget_without_limits_is_met_by_any_cost():
    assert Budget().check(cost(seconds=1e9)).is_met


def test_a_cost_at_the_limit_meets_it():
    assert Budget(minutes=0.5).check(cost(seconds=30.0)).is_met


def test_every_excess_is_listed_with_its_fraction():
    verdict = Budget(minutes=1, megabytes=0.2, milliseconds=0.1).check(cost())
    assert verdict.word == "missed"
    assert {line.name: round(line.excess, 6) for line in verdict.excesses} == {"megabytes": 1.0, "milliseconds": 2.0}


@pytest.mark.parametrize("limit", [0, -1, math.inf, math.nan])
def test_a_limit_that_means_nothing_is_refused(limit):
    with pytest.raises(ValueError, match="expected a finite number above 0"):
        Budget(megabytes=limit)


def test_cost_and_verdict_survive_json():
    verdict = Budget(megabytes=0.2).check(cost())
    assert Verdict.from_dict(verdict.to_dict()) == verdict
    assert Cost.from_dict(cost().to_dict()) == cost()
