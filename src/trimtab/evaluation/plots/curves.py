"""The numbers behind ROC and precision-recall curves: a few hundred exact thresholds, and 95% bands around them.

Nothing is drawn here. After one sort of the scores everything costs the thresholds that are kept, not the rows.

Shapes: ``N`` rows, ``P`` kept thresholds, ``G`` places along the horizontal axis, ``R`` replicates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import FloatArray, ratio
from trimtab.evaluation.intervals import wilson
from trimtab.evaluation.sorted_scores import SortedScores
from trimtab.evaluation.statistics import Statistics

_LEVEL = 0.95
_ALL_KEPT = 2000  # rows; with fewer, each score is a threshold
_STEPS, _COARSE_STEPS = 100, 40  # moves per whole axis: of a curve, of its band
_STEPS_PER_DOUBLING = 0.05  # as many more, of the rows found, taken and missed, for the corners of the picture
_REPLICATES = 1000


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What each threshold finds, from the strictest, which finds nothing, to the loosest, which takes all.

    Attributes
    ----------
    found, taken
        float64 [P], positives and negatives above the threshold: exact whole numbers.
    """

    found: FloatArray
    taken: FloatArray

    @property
    def found_share(self) -> FloatArray:
        """Recall, which is the true positive rate, [P]."""
        return ratio(self.found, self.found[-1:])

    @property
    def taken_share(self) -> FloatArray:
        """False positive rate, [P]."""
        return ratio(self.taken, self.taken[-1:])

    @property
    def precision(self) -> FloatArray:
        """Share of positives above each threshold, [P]; NaN where nothing is."""
        return ratio(self.found, self.found + self.taken)

    @property
    def prevalence(self) -> float:
        """Share of positives: the precision of answers by chance."""
        return float(self.precision[-1])


@dataclass(frozen=True, kw_only=True)
class Band:
    """A pointwise 95% band, float64 [G] each: places along the horizontal axis, lower and upper end."""

    at: FloatArray
    low: FloatArray
    high: FloatArray


def class_curves(statistics: Statistics) -> dict[int, Curve]:
    """Return the curve of each class against the rest, of two classes only that of the second.

    A class that has no row, or all of them, is left out; so are all when there are no probabilities. Where only a
    histogram of the scores was kept, its bins are the thresholds.
    """
    support = statistics.confusion.sum(axis=1)
    is_mixed = (support > 0) & (support < statistics.num_rows)
    classes = [1] if statistics.num_classes == 2 else range(statistics.num_classes)
    curves = {}
    for k in (k for k in classes if is_mixed[k]):
        if statistics.rows is not None and statistics.rows.probabilities is not None:
            curves[k] = score_curve(statistics.rows.labels == k, statistics.rows.probabilities[:, k])
        elif statistics.scores is not None and statistics.scores.histogram is not None:
            histogram = statistics.scores.histogram
            counts = np.array([histogram.own[k], histogram.others[k]], dtype=np.float64)
            curves[k] = _curve([counts[:, counts.any(axis=0)]], counts.sum(axis=1, keepdims=True))
    return curves


def score_curve(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Curve:
    """Return the curve of scores, thinned to what a picture can show.

    Parameters
    ----------
    is_positive
        bool [N], some and not all true.
    scores
        float [N], finite; higher means more likely positive.
    """
    positives = np.count_nonzero(is_positive)
    sides = np.array([[positives], [len(scores) - positives]], dtype=np.float64)
    return _curve(map(np.array, SortedScores(is_positive, scores).distinct()), sides)


def _curve(blocks: Iterable[FloatArray], sides: FloatArray) -> Curve:
    """Return the thinned curve of both sides' rows by distinct score [2, D], from the lowest up; ``sides`` are all."""
    kept, passed = [np.zeros((2, 1))], np.zeros((2, 1))
    for block in blocks:
        below = np.hstack([passed, passed + np.cumsum(block, axis=1)])
        kept.append(below[:, _corners(sides - below, sides, _STEPS) | (sides.sum() <= _ALL_KEPT)])
        passed = below[:, -1:]
    below = np.hstack([*kept, sides])
    is_new = np.append(True, np.diff(below).any(axis=0))
    found, taken = (sides - below[:, is_new])[:, ::-1]
    return Curve(found=found, taken=taken)


def _corners(above: FloatArray, sides: FloatArray, steps: int) -> NDArray[np.bool_]:
    """Return which thresholds lie on either side of a move that a picture would show, bool [P].

    Parameters
    ----------
    above
        float64 [2, P], positives and negatives above the threshold.
    sides
        float64 [2, 1], all of them.
    steps
        Moves per whole axis; a part of them more for each doubling of the positives found, the negatives taken and
        the positives missed, so that each of the first few rows is a move by itself.
    """
    along = (above / sides).sum(axis=0)
    doublings = np.log2(1 + above).sum(axis=0) - np.log2(1 + sides[0] - above[0])
    moves = np.diff(np.floor(steps * (along + _STEPS_PER_DOUBLING * doublings))) != 0
    corners: NDArray[np.bool_] = np.append(moves, False) | np.append(False, moves)
    return corners


def _coarse(curve: Curve) -> Curve:
    """Return the curve with fewer thresholds: a band is smooth."""
    above = np.array([curve.found, curve.taken])
    is_kept = _corners(above, above[:, -1:], _COARSE_STEPS)
    is_kept[[0, -1]] = True
    return Curve(found=curve.found[is_kept], taken=curve.taken[is_kept])


def roc_band(curve: Curve, *, seed: int = 0) -> Band:
    """Return the vertical band of the share found at each false positive rate.

    The cells between kept thresholds are resampled, each side for itself (the Bayesian bootstrap, whose shares are
    Dirichlet), so that the threshold is as uncertain as the share; the band is never narrower than Wilson's interval
    of the share found, which keeps its width where a resampling has none, as at perfect separation. It is rather too
    wide than too narrow: of normal scores it held the true curve in 93% to 100% of samples of 200 to 20,000 rows, but
    in 91% at a rate of two negatives.

    Parameters
    ----------
    curve
        With positives and negatives.
    seed
        Of the resampling.

    References
    ----------
    Rubin (1981), The Bayesian bootstrap, Annals of Statistics 9(1).
    """
    curve = _coarse(curve)
    found, taken = _replicates(curve, seed)
    places = np.flatnonzero(np.append(np.diff(curve.taken), 1))  # the upper ends of vertical pieces
    at = curve.taken_share[places]
    ends = _quantiles(taken / taken[:, -1:], found / found[:, -1:], at + 1e-9)  # above a vertical piece at zero
    least = _wilson(curve.found_share[places], np.full(len(at), curve.found[-1]))
    low, high = np.minimum(ends[0], least[0]), np.maximum(ends[1], least[1])
    low[-1] = 1.0  # who takes all finds all
    return Band(at=at, low=low, high=high)


def precision_band(curve: Curve, *, seed: int = 0) -> Band:
    """Return the vertical band of the precision at each recall; parameters and method as for `roc_band`.

    Wilson's interval is that of the precision among the rows above the threshold.
    """
    curve = _coarse(curve)
    found, taken = _replicates(curve, seed)
    places = np.flatnonzero(np.diff(curve.found, prepend=0.0))  # the upper ends of vertical pieces
    at = curve.found_share[places]
    ends = _quantiles(found / found[:, -1:], ratio(found, found + taken), at)
    least = _wilson(curve.precision[places], (curve.found + curve.taken)[places])
    low, high = np.minimum(ends[0], least[0]), np.maximum(ends[1], least[1])
    return Band(at=np.append(0.0, at), low=np.append(low[0], low), high=np.append(high[0], high))


def _replicates(curve: Curve, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return resampled ``found`` and ``taken``, [R, P] each, from zero up."""
    rng = np.random.default_rng(seed)
    cells = (np.diff(counts, prepend=0.0) for counts in (curve.found, curve.taken))
    found, taken = (np.cumsum(rng.standard_gamma(side, size=(_REPLICATES, len(side))), axis=1) for side in cells)
    return found, taken


def _quantiles(across: FloatArray, up: FloatArray, at: FloatArray) -> FloatArray:
    """Return the ends of the central 95% of replicates [R, P] where each has come to ``at``: [2, G]."""
    apart = 1e-12 * np.arange(across.shape[1])  # interpolation needs places that differ
    start = 1 if np.isnan(up[0, 0]) else 0  # a precision of nothing
    rows = [np.interp(at, x[start:] + apart[start:], y[start:]) for x, y in zip(across, up, strict=True)]
    tail = (1 - _LEVEL) / 2
    return np.asarray(np.quantile(rows, [tail, 1 - tail], axis=0), dtype=np.float64)


def _wilson(values: FloatArray, trials: FloatArray) -> FloatArray:
    """Return the ends of the intervals of proportions [G]: [2, G]."""
    estimates = [wilson(float(value), float(n), level=_LEVEL) for value, n in zip(values, trials, strict=True)]
    return np.array([[estimate.low for estimate in estimates], [estimate.high for estimate in estimates]])
