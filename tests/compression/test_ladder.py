"""Which rung is delivered, from measurements alone."""

from __future__ import annotations

import json

import pytest

from trimtab.compression.ladder import AS_TRAINED, Drop, Rung, Wanted, choose_rung, is_finished, pareto
from trimtab.evaluation.cost import Latency
from trimtab.evaluation.intervals import Estimate


def rung(
    number_format: str,
    *,
    megabytes: float = 1.0,
    milliseconds: float = 1.0,
    accuracy: float = 0.9,
    bound: float | None = 0.1,
    group: int = 0,
    network: str = AS_TRAINED,
) -> Rung:
    return Rung(
        network=network,
        number_format=number_format,
        group=group,
        megabytes=megabytes,
        latency=Latency(p50_ms=milliseconds, p95_ms=milliseconds, p99_ms=milliseconds, threads=1, repeats=50),
        milliseconds_of_32=10.0,
        parameters=10,
        macs=100,
        accuracy=Estimate(value=accuracy, low=accuracy - 0.01, high=accuracy + 0.01, method="Wilson"),
        drop=None if bound is None else Drop(points=bound - 0.1, low=bound - 0.2, high=bound, bound=bound),
        seconds=1.0,
    )


BASE = rung("float32", megabytes=4.0, milliseconds=4.0, bound=None)
HALF = rung("float16", megabytes=2.0, milliseconds=4.0, group=1)
INT8 = rung("int8", megabytes=1.0, milliseconds=2.0, bound=0.8, group=3)


def test_first_rung_within_the_limits_is_chosen_though_a_later_one_is_smaller() -> None:
    chosen = choose_rung([BASE, HALF, INT8], Wanted(megabytes=2.5))
    assert (chosen.rung, chosen.is_good_enough) == (HALF, True)
    assert chosen.reason == "the first within 2.5 MB that loses at most 0.1 points of accuracy (95% bound; 1 allowed)"


def test_float_model_is_chosen_when_it_meets_the_limits() -> None:
    assert choose_rung([BASE, INT8], Wanted(megabytes=5, milliseconds=5)).rung is BASE


def test_both_limits_have_to_be_met() -> None:
    assert choose_rung([BASE, HALF, INT8], Wanted(megabytes=2.5, milliseconds=3)).rung is INT8


def test_without_limits_the_smallest_that_loses_little_enough_is_chosen() -> None:
    assert choose_rung([BASE, HALF, INT8], Wanted(max_drop=1.0)).rung is INT8
    assert choose_rung([BASE, HALF, INT8], Wanted(max_drop=0.5)).rung is HALF
    assert choose_rung([BASE, HALF, INT8], Wanted(max_drop=0.0)).rung is BASE


def test_the_best_of_a_group_is_chosen_not_its_first() -> None:
    pruned = rung("int8", megabytes=0.3, group=9, network="pruned to 50%", accuracy=0.88, bound=0.9)
    alone = rung("int8", megabytes=0.3, group=9, network="50% as wide, alone", accuracy=0.89, bound=0.5)
    later = rung("int8", megabytes=0.2, group=10, network="pruned to 40%", accuracy=0.9, bound=0.5)
    assert choose_rung([BASE, INT8, pruned, alone, later], Wanted(megabytes=0.5)).rung is alone


def test_most_accurate_within_the_limits_is_delivered_when_all_lose_too_much() -> None:
    small = rung("int8", megabytes=0.3, accuracy=0.80, bound=12, network="pruned to 30%", group=9)
    smaller = rung("int8", megabytes=0.2, accuracy=0.75, bound=16, network="pruned to 20%", group=10)
    chosen = choose_rung([BASE, INT8, small, smaller], Wanted(megabytes=0.5))
    assert (chosen.rung, chosen.is_good_enough) == (small, False)
    assert chosen.reason == "the most accurate within 0.5 MB, but may lose 12 points"


def test_nearest_to_the_limits_is_delivered_when_none_is_within_them() -> None:
    chosen = choose_rung([BASE, HALF, INT8], Wanted(megabytes=0.5, milliseconds=1.5))
    assert (chosen.rung, chosen.is_good_enough) == (INT8, False)
    assert chosen.reason.startswith("none is within 0.5 MB and 1.5 ms; this is nearest: 1 MB is too large; 2 ms is too")


def test_climbing_ends_with_the_first_good_one_under_limits_only() -> None:
    assert not is_finished([BASE, HALF], Wanted(megabytes=1.5))
    assert is_finished([BASE, HALF, INT8], Wanted(megabytes=1.5))
    assert not is_finished([BASE, HALF, INT8], Wanted(max_drop=1.0))


def test_rungs_that_another_one_beats_are_not_on_the_front() -> None:
    beaten = rung("int4 weights", megabytes=1.5, milliseconds=4.0, accuracy=0.88)
    small = rung("int8", megabytes=0.2, milliseconds=0.5, accuracy=0.7, network="pruned to 20%")
    front = pareto([small, BASE, HALF, INT8, beaten])
    assert front == [INT8, small]  # equally accurate, and faster and smaller than the first two


def test_equal_rungs_are_both_on_the_front() -> None:
    assert len(pareto([INT8, rung("int8", megabytes=1.0, milliseconds=2.0)])) == 2


def test_a_rung_survives_json() -> None:
    for each in (BASE, INT8):
        assert Rung.from_dict(json.loads(json.dumps(each.to_dict()))) == each


def test_no_rungs_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the float model at least"):
        choose_rung([], Wanted())
