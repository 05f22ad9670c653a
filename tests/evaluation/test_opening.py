"""The level of the k-th look at the same test rows."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.evaluation.intervals import wilson
from trimtab.evaluation.opening import level_of_look


def test_what_all_looks_may_spend_together_is_what_one_was_asked_for() -> None:
    assert level_of_look(1) == pytest.approx(0.975)
    assert level_of_look(2, level=0.9) == pytest.approx(1 - 0.1 / 6)
    spent = sum(1 - level_of_look(number) for number in range(1, 100_000))
    assert 0.0499 < spent < 0.05


@pytest.mark.parametrize(("number", "level"), [(0, 0.95), (1, 95)])
def test_numbers_and_levels_that_are_none_are_refused(number: int, level: float) -> None:
    with pytest.raises(ValueError, match="expected 1 or more, and between 0 and 1"):
        level_of_look(number, level=level)


def test_the_best_of_twenty_equal_models_lies_in_its_interval_as_often_as_was_asked_for() -> None:
    """Twenty models of accuracy 0.8 on one test set: the best one's plain interval fails far more often."""
    random = np.random.default_rng(0)
    right = random.binomial(500, 0.8, (2000, 20))

    def holds(levels: list[float]) -> float:
        lows = np.array([[wilson(k / 500, 500, level=level).low or 0.0 for k in range(501)] for level in levels])
        best = right.argmax(axis=1)
        return float((lows[best, right[np.arange(2000), best]] <= 0.8).mean())

    assert holds([0.95] * 20) < 0.65
    assert holds([level_of_look(number) for number in range(1, 21)]) > 0.95
