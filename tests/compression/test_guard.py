from __future__ import annotations

import numpy as np
import pytest

from trimtab.budget import Budget
from trimtab.compression import Measured, accept
from trimtab.evaluation import Comparison, compare_accuracy

FLOAT = Measured(variant="float32", megabytes=2.0, milliseconds_p95=3.0)
INT8 = Measured(variant="int8", megabytes=0.5, milliseconds_p95=1.0)


def compare(*, rows: int, lost: int, gained: int) -> Comparison:
    labels = np.zeros(rows, dtype=np.int64)
    right, wrong = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    base, compressed = np.tile(right, (rows, 1)), np.tile(right, (rows, 1))
    compressed[:lost] = wrong
    base[lost : lost + gained] = wrong
    return compare_accuracy(labels, base, compressed)


GOOD = compare(rows=5000, lost=30, gained=20)
BAD = compare(rows=5000, lost=130, gained=20)
FEW = compare(rows=100, lost=0, gained=0)


def test_smaller_model_that_loses_little_is_delivered() -> None:
    decision = accept(FLOAT, INT8, GOOD)
    assert decision.variant == "int8"
    assert decision.guard_passed
    assert decision.drop_points == pytest.approx(0.2)
    assert decision.drop_points < decision.drop_bound_points < 0.6
    assert decision.reason == (
        f"int8 is 4.0 times smaller (0.5 MB against 2 MB) and loses at most {decision.drop_bound_points:.2g} points of "
        "accuracy (95% bound from 5,000 validation rows; allowed 1)"
    )
    assert decision.to_dict()["variant"] == "int8"


def test_model_that_loses_too_much_is_not_delivered() -> None:
    decision = accept(FLOAT, INT8, BAD)
    assert (decision.variant, decision.guard_passed) == ("float32", False)
    assert decision.reason == (
        f"int8 may lose up to {decision.drop_bound_points:.2g} points of accuracy (95% bound from 5,000 validation "
        "rows; more than the allowed 1)"
    )


def test_few_rows_prove_nothing() -> None:
    assert accept(FLOAT, INT8, FEW).variant == "float32"
    assert accept(FLOAT, INT8, FEW, max_drop_points=5).variant == "int8"


def test_no_loss_at_all_is_not_a_negative_one() -> None:
    better = compare(rows=5000, lost=0, gained=200)
    assert "loses at most 0 points" in accept(FLOAT, INT8, better).reason


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (Budget(megabytes=1), "1 MB"),
        (Budget(milliseconds=2), "2 ms"),
        (Budget(megabytes=1, milliseconds=2.5), "1 MB and 2.5 ms"),
    ],
)
def test_limit_that_only_int8_meets_outweighs_the_guard(budget: Budget, limit: str) -> None:
    decision = accept(FLOAT, INT8, BAD, budget=budget)
    assert (decision.variant, decision.guard_passed) == ("int8", False)
    assert decision.reason.startswith(f"only int8 meets the limit of {limit}, although it may lose up to ")


def test_limit_that_neither_meets_leaves_the_guard_to_decide() -> None:
    assert accept(FLOAT, INT8, BAD, budget=Budget(megabytes=0.001)).variant == "float32"
    assert accept(FLOAT, INT8, GOOD, budget=Budget(megabytes=0.001)).variant == "int8"


def test_limit_that_only_float_meets_keeps_float() -> None:
    slow = Measured(variant="int8", megabytes=0.5, milliseconds_p95=9.0)
    decision = accept(FLOAT, slow, GOOD, budget=Budget(milliseconds=5))
    assert (decision.variant, decision.reason) == ("float32", "int8 misses the limit of 5 ms")


def test_model_that_is_not_smaller_is_not_delivered() -> None:
    large = Measured(variant="int8", megabytes=2.0, milliseconds_p95=1.0)
    decision = accept(FLOAT, large, GOOD)
    assert (decision.variant, decision.reason) == ("float32", "int8 is not smaller (2 MB against 2 MB)")


def test_negative_allowance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^max_drop_points is -1; expected 0 or more\.$"):
        accept(FLOAT, INT8, GOOD, max_drop_points=-1)
