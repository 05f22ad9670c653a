"""Sums that do not depend on the order of the rows or on how they were divided among workers.

Floating-point addition rounds after each step, so a sum over shards differs in its last bits from the sum over all
rows. Here each value is rounded once, to a whole number of units of 2**-75, and whole numbers are added without
rounding: the same rows give the same bits, however they are shuffled, split and merged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_COARSE_BITS, _UNIT_BITS = 32, 75
_LARGEST = 2.0**16  # of a value; a block of them then stays below 2**63 in coarse units
_BLOCK = 2**14


def exact_sum(values: NDArray[np.float64]) -> int:
    """Return the sum in units of 2**-75.

    Parameters
    ----------
    values
        float64 [N], finite, of a magnitude below 2**16.

    Raises
    ------
    ValueError
        If a value is not finite or too large.
    """
    total = 0
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        if not np.abs(block).max() < _LARGEST:
            raise ValueError(f"a value is {np.abs(block).max()}; expected less than {_LARGEST:g}; check the rows.")
        coarse = np.rint(block * 2.0**_COARSE_BITS)
        rest = block - coarse * 2.0**-_COARSE_BITS  # without rounding: both are multiples of the last bit of the value
        fine = np.rint(rest * 2.0**_UNIT_BITS)
        total += int(coarse.astype(np.int64).sum()) << (_UNIT_BITS - _COARSE_BITS)
        total += int(fine.astype(np.int64).sum())
    return total


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Count, sum, sum of squares and sum of cubes of values; those of shards add up.

    Attributes
    ----------
    count
        Number of values.
    first, second, third
        Sums of the values, their squares and their cubes, in units of 2**-75.
    """

    count: int = 0
    first: int = 0
    second: int = 0
    third: int = 0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Moments:
        """Return the moments of float64 [N], each of a magnitude of at most 40."""
        squares = values * values
        return cls(
            count=len(values),
            first=exact_sum(values),
            second=exact_sum(squares),
            third=exact_sum(squares * values),
        )

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of values together."""
        return Moments(
            count=self.count + other.count,
            first=self.first + other.first,
            second=self.second + other.second,
            third=self.third + other.third,
        )

    @property
    def mean(self) -> float:
        """The mean, rounded once; NaN without values."""
        return self.first / (self.count << _UNIT_BITS) if self.count else float("nan")

    @property
    def variance(self) -> float:
        """The unbiased variance; NaN below two values."""
        n = self.count
        if n < 2:
            return float("nan")
        unit = 1 << _UNIT_BITS
        return max(0.0, (n * self.second * unit - self.first**2) / (n * (n - 1) * unit**2))

    @property
    def skewness(self) -> float:
        """The third central moment over the cube of the standard deviation; 0 where there is no spread."""
        n, unit = self.count, 1 << _UNIT_BITS
        if n < 3 or self.variance <= 0:
            return 0.0
        central = n**2 * self.third * unit**2 - 3 * n * self.first * self.second * unit + 2 * self.first**3
        spread = (n - 1) / n * self.variance
        return float(central / (n**3 * unit**3) / spread**1.5)
