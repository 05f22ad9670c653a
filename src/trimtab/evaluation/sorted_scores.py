"""Scores of two sides in one sorted array: areas under both curves in a single pass.

A score's bits, as a whole number, are in the order of the scores; the sign bit, free once signs are set apart, makes
room for the label in the last bit. So one sort of plain whole numbers, the fastest that NumPy has, brings scores and
labels into order together, without an index and with one copy of the scores. The pass over it counts in whole
numbers: the areas and DeLong's variance depend on the rows alone, not on their order, and are not worn by rounding
even where the area is within a millionth of one.

Legend: ``N`` rows, ``m`` positives, ``n`` negatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import FloatArray

Keys = NDArray[Any]  # uint32 or uint64
_BLOCK = 2**12  # rows; a block stays in the processor's cache, and its sums of cubes are exact in float64


@dataclass(frozen=True, kw_only=True)
class Areas:
    """The areas under both curves, with what their variances are made of.

    Attributes
    ----------
    roc_auc
        The probability that a random positive outranks a random negative, ties one half; NaN when a side is empty.
    average_precision
        Mean over the positives of the precision at their score; NaN without a positive.
    positives, negatives
        m and n.
    positive_variance, negative_variance
        Unbiased variance of the share of negatives below a positive, and of positives above a negative; 0 for a
        side of one row. DeLong's variance is the first over m plus the second over n.
    average_precision_error
        Standard error from the influence of each row; NaN without a positive.
    roc_auc_lean, average_precision_lean
        How far the area's distribution leans to low values: minus the sum of the cubes of the rows' influences over
        the 1.5th power of the sum of their squares; 0 without a spread.
    """

    roc_auc: float
    average_precision: float
    positives: int
    negatives: int
    positive_variance: float
    negative_variance: float
    average_precision_error: float
    roc_auc_lean: float
    average_precision_lean: float

    @property
    def roc_auc_error(self) -> float:
        """DeLong's standard error; NaN when a side is empty."""
        if not self.positives or not self.negatives:
            return math.nan
        return math.sqrt(self.positive_variance / self.positives + self.negative_variance / self.negatives)


class SortedScores:
    """Scores and labels, sorted once.

    Parameters
    ----------
    is_positive
        bool or integers 0 and 1 [N].
    scores
        float [N]; other than float32 and float64 are compared as float64.

    Raises
    ------
    ValueError
        If a score is NaN or infinite.
    """

    def __init__(self, is_positive: NDArray[np.bool_] | NDArray[np.integer], scores: NDArray[np.floating]) -> None:
        if scores.dtype not in (np.float32, np.float64):
            scores = scores.astype(np.float64)
        if any((block < 0).any() for block in _blocks(scores)):
            below = scores < 0
            lower = _sorted_keys(is_positive[below], -scores[below], is_reversed=True)
            self._parts = [lower, _sorted_keys(is_positive[~below], scores[~below])]
        else:
            self._parts = [_sorted_keys(is_positive, scores)]

    def distinct(self) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield, from the lowest score up, how many positives and negatives have each distinct score, block by block.

        Both are whole numbers as float64 [D]; a score is never divided among two blocks.
        """
        for keys in self._parts:
            yield from _distinct(keys)

    def areas(self, *, has_precision: bool = True) -> Areas:
        """Return both areas and what their variances are made of; without average precision, NaN stands for it."""
        m = sum(int(np.count_nonzero(block & keys.dtype.type(1))) for keys in self._parts for block in _blocks(keys))
        return _areas(self.distinct(), m, sum(map(len, self._parts)) - m, _Precision() if has_precision else None)


def areas_of_counts(positives: FloatArray, negatives: FloatArray) -> Areas:
    """Return the areas of rows that were counted: whole numbers [D] of each side per score, from the lowest up."""
    is_used = positives + negatives > 0
    return _areas(
        iter([(positives[is_used], negatives[is_used])]), int(positives.sum()), int(negatives.sum()), _Precision()
    )


def _areas(distinct: Iterator[tuple[FloatArray, FloatArray]], m: int, n: int, precision: _Precision | None) -> Areas:
    pairs = _Pairs()
    for positives, negatives in distinct:
        found, passed = np.cumsum(positives), np.cumsum(negatives)
        reached = found - positives  # positives below
        if precision is not None:
            at_or_above = m - pairs.positives - reached
            precision.add(positives, negatives, at_or_above, n - pairs.negatives - passed + negatives)
        pairs.add(positives, negatives, reached + found, passed + passed - negatives)
    of_positives, of_negatives = _Spread.of(pairs.of_positives, m, 2 * n), _Spread.of(pairs.of_negatives, n, 2 * m)
    return Areas(
        roc_auc=pairs.of_positives[0] / (2 * m * n) if m and n else math.nan,
        average_precision=precision.total / m if precision and m else math.nan,
        positives=m,
        negatives=n,
        positive_variance=of_positives.variance,
        negative_variance=of_negatives.variance,
        average_precision_error=precision.error(m) if precision else math.nan,
        roc_auc_lean=_lean(of_positives, of_negatives),
        average_precision_lean=precision.lean(m) if precision else math.nan,
    )


class _Precision:
    """Sums over the rows for the average precision and its variance, from the lowest score up.

    One more positive at a score raises the precision there and at all lower scores, one more negative lowers it:
    m times the influence of a positive is its own precision, plus what it adds for those at or below, less the mean.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._powers = np.zeros(3)  # sums of the positives' influences, their squares and cubes, less the mean
        self._lost = np.zeros(2)  # sums of the squares and cubes of the negatives'
        self._gain = self._loss = 0.0  # summed over the positives so far

    def add(self, positives: FloatArray, negatives: FloatArray, found: FloatArray, others: FloatArray) -> None:
        """Take in the next higher distinct scores: rows [D], and positives and negatives at or above each."""
        per_row = 1 / (found + others)
        precision = found * per_row
        weighted = positives * precision
        losses = weighted * per_row
        loss = np.cumsum(losses) + self._loss  # to those at or below, by a negative here
        gain = np.cumsum(positives * per_row - losses) + self._gain  # by a positive here
        influence = precision + gain
        once = positives * influence
        twice = once * influence
        lost = negatives * loss * loss
        self.total += float(weighted.sum())
        self._powers += (once.sum(), twice.sum(), np.einsum("i,i->", twice, influence))
        self._lost += (lost.sum(), np.einsum("i,i->", lost, loss))
        self._loss, self._gain = float(loss[-1]), float(gain[-1])

    def error(self, m: int) -> float:
        """Return the standard error, with ``m`` positives."""
        return math.sqrt(max(self._squares(m), 0.0)) / m if m else math.nan

    def lean(self, m: int) -> float:
        """Return the lean to low values, with ``m`` positives."""
        squares = self._squares(m) if m else 0.0
        if squares <= 0:
            return 0.0
        (first, second, third), mean = (float(power) for power in self._powers), self.total / m
        cubes = third - 3 * mean * second + 3 * mean**2 * first - m * mean**3 - float(self._lost[1])
        return float(-cubes / squares**1.5)

    def _squares(self, m: int) -> float:
        mean = self.total / m
        return float(self._powers[1] - 2 * mean * self._powers[0] + m * mean**2 + self._lost[0])


class _Pairs:
    """Over the rows of each side, sums of powers of twice the number of the other side's rows below, ties once."""

    def __init__(self) -> None:
        self.positives = self.negatives = 0  # so far
        self.of_positives = self.of_negatives = (0, 0, 0)  # first, second and third power

    def add(
        self, positives: FloatArray, negatives: FloatArray, positives_below: FloatArray, negatives_below: FloatArray
    ) -> None:
        """Take in the next higher distinct scores, with twice the rows of the block below each."""
        m, n = int(positives.sum()), int(negatives.sum())
        of_positives = _powers(positives, negatives_below, count=m, before=2 * self.negatives)
        of_negatives = _powers(negatives, positives_below, count=n, before=2 * self.positives)
        self.of_positives = _added(self.of_positives, of_positives)
        self.of_negatives = _added(self.of_negatives, of_negatives)
        self.positives, self.negatives = self.positives + m, self.negatives + n


_Powers = tuple[int, int, int]


def _added(first: _Powers, second: _Powers) -> _Powers:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


def _powers(rows: FloatArray, below: FloatArray, *, count: int, before: int) -> _Powers:
    """Return the sums of the first three powers of ``before + below`` over ``rows``, of which there are ``count``.

    Within a block the numbers are small enough for float64 to be exact; what came before is added as integers.
    """
    if float(below[-1]) > 2 * _BLOCK or count > _BLOCK:  # many rows with one score, or counts from elsewhere
        first, second, third = _exact_powers(rows, below)
    else:
        once = rows * below
        twice = once * below
        first, second, third = int(once.sum()), int(twice.sum()), int(np.einsum("i,i->", twice, below))
    return (
        before * count + first,
        before**2 * count + 2 * before * first + second,
        before**3 * count + 3 * before**2 * first + 3 * before * second + third,
    )


def _exact_powers(rows: FloatArray, below: FloatArray) -> _Powers:
    first = second = third = 0
    for count, number in zip(rows.astype(np.int64).tolist(), below.astype(np.int64).tolist(), strict=True):
        first += count * number
        second += count * number**2
        third += count * number**3
    return first, second, third


@dataclass(frozen=True)
class _Spread:
    """Variance and third central moment of the shares that one side's rows outrank."""

    count: int
    variance: float
    cubes: float  # sum of the cubes of the distances from the mean

    @classmethod
    def of(cls, powers: _Powers, count: int, scale: int) -> _Spread:
        """Return the spread of whole numbers divided by ``scale``, from the sums of their powers."""
        if count < 2 or not scale:
            return cls(count, 0.0, 0.0)
        first, second, third = powers
        variance = (count * second - first**2) / (count * (count - 1) * scale**2)
        cubes = (count**2 * third - 3 * count * first * second + 2 * first**3) / (count**2 * scale**3)
        return cls(count, variance, cubes)


def _lean(positives: _Spread, negatives: _Spread) -> float:
    """Return the lean of the area to low values, from the two sides' influences."""
    sides = [side for side in (positives, negatives) if side.count > 1]
    variance = sum(side.variance / side.count for side in sides)
    if variance <= 0:
        return 0.0
    signs = {id(positives): 1.0, id(negatives): -1.0}  # a negative that outranks more lowers the area
    cubes = sum(signs[id(side)] * side.cubes / (side.count * (side.count - 1)) ** 1.5 for side in sides)
    return float(-cubes / variance**1.5)


def _sorted_keys(
    is_positive: NDArray[np.bool_] | NDArray[np.integer], scores: NDArray[np.floating], *, is_reversed: bool = False
) -> Keys:
    """Return the bits of scores that are not below zero, shifted by one, with the label in the last bit; sorted."""
    width: Any = np.uint32 if scores.dtype == np.float32 else np.uint64
    infinite = np.array(np.inf, scores.dtype).view(width)
    keys: Keys = np.empty(len(scores), width)
    for start in range(0, len(scores), _BLOCK):
        bits: Keys = (scores[start : start + _BLOCK] + scores.dtype.type(0)).view(width)  # minus zero becomes zero
        bits &= width(np.iinfo(width).max >> 1)
        if (bits >= infinite).any():
            raise ValueError("scores hold NaN or infinity; expected finite numbers; look for a fault in the model.")
        if is_reversed:
            bits = infinite - bits
        np.left_shift(bits, width(1), out=keys[start : start + _BLOCK])
        keys[start : start + _BLOCK] |= is_positive[start : start + _BLOCK].astype(width)
    keys.sort()
    return keys


def _distinct(keys: Keys) -> Iterator[tuple[FloatArray, FloatArray]]:
    one = keys.dtype.type(1)
    start = 0
    while start < len(keys):
        block = keys[start : start + _BLOCK]
        lowest = (block[-1] >> one) << one  # the smallest key of the last score
        end = len(block) if start + _BLOCK >= len(keys) else int(np.searchsorted(block, lowest))
        if end == 0:  # one score fills the block
            change = start + int(np.searchsorted(keys[start:], lowest | one))
            end = int(np.searchsorted(keys[start:], lowest | one, side="right"))
            yield np.array([start + end - change], np.float64), np.array([change - start], np.float64)
        else:
            yield _count_sides(block[:end], one)
        start += end


def _count_sides(block: Keys, one: Any) -> tuple[FloatArray, FloatArray]:
    """Return the positives and the negatives of each distinct score of a block."""
    is_positive = (block & one).astype(np.float64)
    is_last = (block[1:] ^ block[:-1]) > one
    if is_last.all():  # no ties
        return is_positive, 1.0 - is_positive
    last = np.append(np.flatnonzero(is_last), len(block) - 1)
    positives = np.diff(np.cumsum(is_positive)[last], prepend=0.0)
    return positives, np.diff(last + 1.0, prepend=0.0) - positives


def _blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(values), _BLOCK):
        yield values[start : start + _BLOCK]
