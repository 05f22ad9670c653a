"""Confusion matrices as they might be: what count metrics get their intervals from when rows are independent.

Drawing N rows with replacement and counting cells is one multinomial draw over the cells, so replicates cost the
number of cells, not of rows. Many cells are replaced by the delta method, which needs no draw. Two classes have so
few cells that a Bayesian posterior of their shares is better known than a standard error, down to a class of two rows.

References
----------
Efron, Tibshirani (1993), An Introduction to the Bootstrap, chapters 6 and 8.
Brown, Cai, DasGupta (2001), Statistical Science 16(2) (intervals from Jeffreys' prior).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trimtab.evaluation.count_metrics import CountMetric, slope
from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray, ratio
from trimtab.evaluation.intervals import Estimate, normal_quantile, wilson

REPLICATES = 1000  # the standard error is then within 5% of that of endless replicates
_LARGEST_RESAMPLED = 50  # classes; above it the delta method gives the same errors at once
_PSEUDO_ROWS = 2.0  # per class, see `smoothed`
_POSTERIOR_DRAWS = 10_000  # of the four cells of two classes; also the tails of high levels are then known
_JEFFREYS = 0.5  # pseudo rows per cell


@dataclass(frozen=True, kw_only=True)
class CellDraws:
    """Draws from which every count metric of the same rows gets its interval.

    Attributes
    ----------
    cells
        float64 [K, K], the smoothed cells that were drawn from.
    counts
        Of the drawn matrices, float64 [R, K] each; ``None`` when there are too many classes for draws.
    are_posterior
        Whether the draws are of the true shares (two classes), not of another sample's counts.
    method
        In words.
    """

    cells: FloatArray
    counts: ClassCounts | None
    are_posterior: bool
    method: str

    @classmethod
    def of(cls, confusion: IntArray, *, seed: int) -> CellDraws:
        """Return the draws of a confusion matrix [K, K] of independent rows."""
        rng, num_classes = np.random.default_rng(seed), len(confusion)
        if num_classes == 2:
            cells: FloatArray = confusion.astype(np.float64) + _JEFFREYS
            drawn = [rng.standard_gamma(share, size=_POSTERIOR_DRAWS) for share in cells.ravel()]
            method = "Jeffreys posterior over confusion cells"
            return cls(cells=cells, counts=_of_four_cells(*drawn), are_posterior=True, method=method)
        cells = smoothed(confusion)
        if num_classes > _LARGEST_RESAMPLED:
            return cls(cells=cells, counts=None, are_posterior=False, method="delta method over confusion cells")
        shares = (cells / cells.sum()).ravel()
        matrices = rng.multinomial(int(confusion.sum()), shares, size=REPLICATES).reshape(-1, *cells.shape)
        method = "multinomial bootstrap over confusion cells"
        return cls(cells=cells, counts=ClassCounts.of(matrices), are_posterior=False, method=method)

    def interval(self, value: float, metric: CountMetric, *, lowest: float, level: float) -> Estimate:
        """Return the interval of a metric; it holds the value, and its width is never zero.

        Parameters
        ----------
        value
            Of the counts themselves; above ``lowest`` and below 1 unless the draws are a posterior.
        metric
            See `trimtab.evaluation.count_metrics`.
        lowest
            The metric's least value; the largest is 1.
        level
            In (0, 1).
        """
        if self.counts is not None and self.are_posterior:
            low, high = np.nanquantile(metric(self.counts), [(1 - level) / 2, (1 + level) / 2])
            low, high = min(float(low), value), max(float(high), value)
            return Estimate(value=value, low=low, high=high, method=self.method, level=level)
        error = self._delta_error(metric) if self.counts is None else spread(metric(self.counts))
        if not error > 0:  # so few rows that no draw moves it
            share = wilson((value - lowest) / (1 - lowest), max(float(self.cells.sum()), 1.0), level=level)
            low, high = (lowest + (1 - lowest) * float(end or 0.0) for end in (share.low, share.high))
            return Estimate(value=value, low=low, high=high, method=f"{share.method} over rows", level=level)
        return _between(value, error, lowest=lowest, level=level, method=self.method)

    def _delta_error(self, metric: CountMetric) -> float:
        shares, slopes = self.cells / self.cells.sum(), slope(metric, ClassCounts.of(self.cells))
        variance = float((shares * slopes**2).sum() - (shares * slopes).sum() ** 2)
        return math.sqrt(max(variance, 0.0) / float(self.cells.sum()))


def without_empty_classes(confusion: IntArray) -> IntArray:
    """Return the matrix without classes that neither a label nor a prediction names; no metric here counts them."""
    is_named = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    return confusion[np.ix_(is_named, is_named)]


def _of_four_cells(kept: FloatArray, false: FloatArray, missed: FloatArray, found: FloatArray) -> ClassCounts:
    """Return the counts of two classes from draws of the four cells, float64 [R] each."""
    return ClassCounts(
        hits=np.stack([kept, found], axis=1),
        actual=np.stack([kept + false, missed + found], axis=1),
        predicted=np.stack([kept + missed, false + found], axis=1),
    )


def _between(value: float, error: float, *, lowest: float, level: float, method: str) -> Estimate:
    """Return the interval of a value in (``lowest``, 1) that is symmetric in the log odds of its place there."""
    share = (value - lowest) / (1 - lowest)
    reach = normal_quantile(level) * error / (1 - lowest) / (share * (1 - share))
    odds = math.log(share / (1 - share))
    low, high = (lowest + (1 - lowest) / (1 + math.exp(min(-end, 700))) for end in (odds - reach, odds + reach))
    return Estimate(value=value, low=low, high=high, method=f"{method}, logit interval", level=level)


def smoothed(confusion: IntArray) -> FloatArray:
    """Return the cells to draw from: each class shrunk to the whole by two pseudo rows, its size kept.

    A class whose few rows were all found would otherwise never fail in any replicate, and the interval of a macro
    average would miss its largest uncertainty.
    """
    matrix = confusion.astype(np.float64)
    if len(matrix) < 2:
        return matrix
    rows, actual = matrix.sum(), matrix.sum(axis=1, keepdims=True)
    right = min(np.trace(matrix), rows - 0.5) / rows
    wrong = np.tile(matrix.sum(axis=0) + 0.5, (len(matrix), 1))
    np.fill_diagonal(wrong, 0)
    wrong = ratio(wrong, wrong.sum(axis=1, keepdims=True))
    expected = right * np.eye(len(matrix)) + (1 - right) * wrong  # [K, K], rows sum to one
    cells: FloatArray = (matrix + _PSEUDO_ROWS * expected) / (actual + _PSEUDO_ROWS) * actual
    return cells


def spread(replicates: FloatArray) -> float:
    """Return the standard deviation of the replicates [R] that are defined; NaN below two of them."""
    defined = replicates[~np.isnan(replicates)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else float("nan")
