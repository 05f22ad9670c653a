"""Student's tails against SciPy."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from trimtab.evaluation.student import two_sided_p


@pytest.mark.parametrize("freedom", [0.5, 1, 2, 3, 7.5, 30, 1000, 100_000])
@pytest.mark.parametrize("statistic", [0.0, 1e-3, 0.1, 1.0, -1.96, 5.0, 30.0])
def test_two_sided_p_equals_scipy(statistic: float, freedom: float) -> None:
    expected = 2 * stats.t.sf(abs(statistic), freedom)
    assert two_sided_p(statistic, freedom) == pytest.approx(expected, rel=1e-9)


def test_the_limits_are_the_normal_distribution_and_certainty() -> None:
    assert two_sided_p(1.959963984540054, math.inf) == pytest.approx(0.05)
    assert two_sided_p(1.959963984540054, 1e7) == pytest.approx(0.05, rel=1e-5)
    assert two_sided_p(math.inf, 5) == 0.0
