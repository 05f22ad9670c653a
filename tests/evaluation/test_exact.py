"""Sums without rounding: exact to the unit, the same bits in any order and division, moments as NumPy has them."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import skew
from tests.evaluation.cases import law

from trimtab.evaluation.exact import Moments, exact_sum

UNIT = Fraction(1, 2**75)
losses = hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(-40, 40))


@law
@given(hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(-65535, 65535)))
def test_each_value_is_rounded_once_to_a_whole_number_of_units(values: np.ndarray) -> None:
    expected = sum((round(Fraction(value) / UNIT) for value in values.tolist()), 0)
    assert exact_sum(values) == expected


@law
@given(losses, st.lists(st.integers(0, 30), max_size=4), st.randoms(use_true_random=False))
def test_any_order_and_division_gives_equal_moments(values: np.ndarray, cuts: list[int], random: st.randoms) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    parts = np.split(values[order], sorted(min(cut, len(values)) for cut in cuts))
    assert reduce(lambda a, b: a + b, map(Moments.of, parts)) == Moments.of(values)


@law
@given(losses)
def test_moments_equal_numpys(values: np.ndarray) -> None:
    moments = Moments.of(values)
    assert moments.count == len(values)
    assert moments.mean == pytest.approx(values.mean() if len(values) else math.nan, abs=1e-12, nan_ok=True)
    variance = values.var(ddof=1) if len(values) > 1 else math.nan
    assert moments.variance == pytest.approx(variance, abs=1e-12, rel=1e-9, nan_ok=True)
    if len(values) > 2 and variance > 1e-6:
        assert moments.skewness == pytest.approx(skew(values), abs=1e-6, rel=1e-6)


def test_equal_values_have_no_spread_and_no_skewness() -> None:
    moments = Moments.of(np.full(1000, 0.1))
    assert moments.mean == 0.1
    assert moments.variance == pytest.approx(0.0, abs=1e-17)
    assert Moments.of(np.full(3, 2.0)).skewness == Moments.of(np.array([1.0, 5.0])).skewness == 0.0


def test_many_blocks_are_as_exact_as_one() -> None:
    values = np.random.default_rng(0).exponential(size=50_000)
    assert exact_sum(values) * float(UNIT) == math.fsum(values)
    assert exact_sum(values) == exact_sum(values[::-1]) == sum(exact_sum(part) for part in np.split(values, 500))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 2.0**16, -(2.0**16)])
def test_values_that_cannot_be_summed_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        exact_sum(np.array([1.0, bad]))
    assert str(caught.value) == f"a value is {abs(bad)}; expected less than 65536; check the rows."
