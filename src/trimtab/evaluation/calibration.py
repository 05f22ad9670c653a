"""Whether a confidence of 80% means right in 80% of the cases: smooth calibration error, its interval, the diagram.

Everything is made from three integers per bin of confidence, which merge over shards exactly and in any order. For
two classes the confidence is the probability of class 1, and being right means being of class 1; for more it is the
largest probability, and whether its class was the true one. Drawing is in `trimtab.evaluation.plots`.

Shapes: ``N`` rows, ``B`` bins, ``T`` points of the curve, ``...`` any leading axes.

References
----------
Blasiok, Nakkiran (2023), Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing, arXiv 2309.12236.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import FloatArray, IntArray, ratio
from trimtab.evaluation.intervals import Estimate, undefined, wilson

BINS = 2048
_FIXED_POINT = 2.0**32  # confidences are summed as integers of this many parts
_CHUNK = 2**20  # rows whose sum of fixed-point confidences is still exact in float64
_STEPS = 60  # of the search for the kernel width, at most
_TOLERANCE = 1e-10
_CURVE_POINTS = 201
_BINS_PER_WIDTH = 4  # of the kernel, in the draws
_FEWEST_BINS = 64
_FEW = 10  # errors, or hits
_REPLICATES = 200  # for each multiple
_DEVIATIONS = 4.0  # squared, below which a miscalibration is taken for noise
_MULTIPLES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25)  # of the observed curve, for the lower end
_RISING = (0.6, 0.8, 1.0, 1.25, 1.6, 2.2, 3.2, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0, 100.0)  # for the upper end


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """What calibration is judged from: int64 [B] each, over uniform bins of confidence.

    Attributes
    ----------
    counts
        Rows in the bin.
    hits
        Rows in the bin that were right.
    confidence_sums
        The sum of their confidences in units of 2**-32; good for two billion rows.
    """

    counts: IntArray
    hits: IntArray
    confidence_sums: IntArray

    @classmethod
    def of(cls, confidence: NDArray[np.floating], is_right: NDArray[np.bool_]) -> Reliability:
        """Return the bins of rows.

        Parameters
        ----------
        confidence
            float [N], in [0, 1].
        is_right
            bool [N].
        """
        cells, sums = np.zeros(2 * BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64)
        for start in range(0, len(confidence), _CHUNK):
            part = confidence[start : start + _CHUNK].astype(np.float64)
            bins = np.minimum((part * BINS).astype(np.int64), BINS - 1)
            sums += np.bincount(bins, weights=np.rint(part * _FIXED_POINT), minlength=BINS).astype(np.int64)
            cells += np.bincount(2 * bins + is_right[start : start + _CHUNK], minlength=2 * BINS)
        wrong, right = cells.reshape(BINS, 2).T
        return cls(counts=wrong + right, hits=right, confidence_sums=sums)

    def __add__(self, other: Reliability) -> Reliability:
        """Return the bins of the rows of both."""
        return Reliability(
            counts=self.counts + other.counts,
            hits=self.hits + other.hits,
            confidence_sums=self.confidence_sums + other.confidence_sums,
        )

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return int(self.counts.sum())

    @property
    def mean_confidences(self) -> FloatArray:
        """Mean confidence in each bin, float64 [B]; 0 in an empty one."""
        return np.nan_to_num(ratio(self.confidence_sums / _FIXED_POINT, self.counts.astype(np.float64)))

    @property
    def residuals(self) -> FloatArray:
        """What each bin adds to the mean of (right - confidence), float64 [B]."""
        return np.asarray((self.hits - self.confidence_sums / _FIXED_POINT) / self.rows)

    def coarsened(self, bins: int) -> Reliability:
        """Return the same rows in fewer bins; ``bins`` divides their number."""
        return Reliability(
            counts=self.counts.reshape(bins, -1).sum(axis=1),
            hits=self.hits.reshape(bins, -1).sum(axis=1),
            confidence_sums=self.confidence_sums.reshape(bins, -1).sum(axis=1),
        )


@dataclass(frozen=True, kw_only=True)
class ReliabilityCurve:
    """A reliability diagram without bins: float64 [T] each.

    Attributes
    ----------
    confidence
        Where the curve was computed, rising.
    accuracy
        The kernel-smoothed share of right rows; NaN where hardly a row is near.
    low, high
        Its pointwise band.
    density
        Of the rows' confidences, integrating to one.
    width
        The standard deviation of the kernel.
    """

    confidence: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray
    density: FloatArray
    width: float


def smooth_ece(reliability: Reliability) -> float:
    """Return the smooth expected calibration error, in [0, 1]; NaN without rows.

    The mean distance between confidence and share of right rows after both were smoothed by a Gaussian kernel,
    reflected at 0 and 1, whose width equals the result (the one fixed point; never below the width of a bin).
    Consistent, free of a choice of bins. Misleads on few rows, where noise alone makes it positive: see the interval,
    and compare values only between equal numbers of rows.

    Parameters
    ----------
    reliability
        Of the rows.
    """
    return float(_kernel_error(reliability.residuals)) if reliability.rows else math.nan


def smooth_ece_interval(reliability: Reliability, *, level: float, seed: int) -> Estimate:
    """Return the smooth calibration error with an interval that knows how far noise alone pushes it up.

    The interval holds every true error at which the observed one would be unremarkable. Samples are drawn from models
    whose miscalibration is a multiple of the observed curve; the multiple 0 is a test of perfect calibration that
    decides whether 0 is inside. The value itself is not corrected, so it may lie near the upper end.

    Simulated coverage of 95% lay between 93.5 and 97% for calibrated models and for errors well above the noise.
    Smaller ones, which noise hides (the lower end is 0 or close to it), are held in 97 to 100% of the cases. With
    fewer than about 25 hits or errors it is a cautious guess from their number.

    Parameters
    ----------
    reliability
        Of rows that are independent of each other.
    level
        Of the interval, in (0, 1).
    seed
        Of the draws.
    """
    if not reliability.rows:
        return undefined("there are no rows", level=level)
    value = smooth_ece(reliability)
    coarse, rng = reliability.coarsened(_bins_for(value)), np.random.default_rng(seed)
    observed = float(_kernel_error(coarse.residuals))
    curve = _miscalibration(coarse, coarse.residuals, observed)
    low = _lower_end(coarse, observed, _without_noise(coarse, observed, curve, rng), level=level, rng=rng)
    high = _upper_end(coarse, observed, curve, level=level, rng=rng)
    high = max(high, _bound_in_the_large(reliability, level=level))
    method = "inverted test over multiples of the smoothed miscalibration"
    return Estimate(value=value, low=min(low, value), high=max(high, value), method=method, level=level)


def _kernel_error(residuals: FloatArray, *, tolerance: float = _TOLERANCE) -> FloatArray:
    """Return the smooth calibration error of residuals [..., B]: float64 [...]; see `smooth_ece`."""
    bins, spectrum = residuals.shape[-1], _spectrum(residuals)

    def excess(widths: FloatArray) -> FloatArray:
        return np.asarray(np.abs(_smoothed(spectrum, widths)).sum(axis=-1) - widths)

    low, high = np.full(residuals.shape[:-1], 1 / bins), np.ones(residuals.shape[:-1])
    at_low, at_high = excess(low), excess(high)  # the error falls as the kernel widens: it crosses the width once
    width, at_width = low, at_low
    for _ in range(_STEPS):  # false position, the end that stays weighed down (Illinois)
        step = ratio(at_low, at_low - at_high)
        width = np.where(at_low > 0, low + step * (high - low), low)
        at_width = excess(width)
        if np.all((np.abs(at_width) <= tolerance) | (at_low <= 0)):
            break
        is_below = at_width > 0
        low, at_low, high, at_high = (
            np.where(is_below, width, low),
            np.where(is_below, at_width, at_low / 2),
            np.where(is_below, high, width),
            np.where(is_below, at_high / 2, at_width),
        )
    return np.asarray(at_width + width)


def reliability_curve(reliability: Reliability, *, level: float) -> ReliabilityCurve:
    """Return the smoothed share of right rows against the confidence, with a pointwise Wilson band.

    Parameters
    ----------
    reliability
        Of at least one row.
    level
        Of the band at each point, in (0, 1).
    """
    width = max(smooth_ece(reliability), 1 / BINS)
    occupied = reliability.counts > 0
    counts, hits = (side[occupied].astype(np.float64) for side in (reliability.counts, reliability.hits))
    places = reliability.mean_confidences[occupied]
    points = np.linspace(max(places[0] - width, 0), min(places[-1] + width, 1), _CURVE_POINTS)
    kernel = _reflected_kernel(points, places, width)  # [T, occupied]
    near = kernel @ counts
    has_rows = near * width * math.sqrt(2 * math.pi) >= 1  # at least the weight of one row right there
    accuracy = np.where(has_rows, ratio(kernel @ hits, near), np.nan)
    trials = ratio(near**2, kernel**2 @ counts)
    low, high = _band(accuracy, trials, level=level)
    density = near / reliability.rows
    return ReliabilityCurve(confidence=points, accuracy=accuracy, low=low, high=high, density=density, width=width)


def _spectrum(values: FloatArray) -> NDArray[np.complex128]:
    """Return the Fourier transform of the bins followed by their mirror image: complex [..., B + 1]."""
    return np.fft.rfft(np.concatenate([values, values[..., ::-1]], axis=-1), axis=-1)


def _smoothed(spectrum: NDArray[np.complex128], widths: FloatArray) -> FloatArray:
    """Apply the kernel: on the circle of the bins and their mirror image it is a product with a Gaussian."""
    bins = spectrum.shape[-1] - 1
    frequencies = math.pi * np.arange(bins + 1)
    damping = np.exp(-((frequencies * widths[..., None]) ** 2) / 2)
    return np.asarray(np.fft.irfft(spectrum * damping, 2 * bins, axis=-1)[..., :bins])


def _reflected_kernel(points: FloatArray, places: FloatArray, width: float) -> FloatArray:
    images = np.concatenate([2 * turn + sign * places for turn in range(-3, 4) for sign in (1, -1)])
    weights = np.exp(-(((points[:, None] - images) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    return np.asarray(weights.reshape(len(points), -1, len(places)).sum(axis=1))


def _band(accuracy: FloatArray, trials: FloatArray, *, level: float) -> tuple[FloatArray, FloatArray]:
    low, high = np.full(len(accuracy), np.nan), np.full(len(accuracy), np.nan)
    for point in np.flatnonzero(~np.isnan(accuracy)):
        estimate = wilson(min(max(float(accuracy[point]), 0.0), 1.0), float(trials[point]), level=level)
        low[point], high[point] = estimate.low, estimate.high
    return low, high


def _bins_for(width: float) -> int:
    """Return the fewest bins, a power of two, that still resolve a kernel of this width."""
    wanted = _BINS_PER_WIDTH / max(width, _BINS_PER_WIDTH / BINS)
    return max(_FEWEST_BINS, 1 << math.ceil(math.log2(wanted)))


def _lower_end(
    reliability: Reliability, observed: float, curve: FloatArray, *, level: float, rng: np.random.Generator
) -> float:
    """Return the least true error that may well show as much as was observed.

    Noise adds most to errors that lie where there is little of it, so the curve is taken without its noise.
    """
    truths, highest = [], []
    for multiple in _MULTIPLES:
        right, truth = _model(reliability, multiple * curve)
        truths.append(truth)
        highest.append(_accepted(_drawn(reliability, right, observed, rng), truth, level=level)[1])
        if highest[-1] >= observed:
            break
    return 0.0 if len(truths) == 1 else float(np.interp(observed, np.maximum.accumulate(highest), truths))


def _upper_end(
    reliability: Reliability, observed: float, curve: FloatArray, *, level: float, rng: np.random.Generator
) -> float:
    """Return the largest true error that may well show as little as was observed.

    Errors of one sign are pushed up by noise the least, so the curve is taken with one sign everywhere: that of the
    mean, or the other one where that has no room to grow.
    """
    sign = 1.0 if reliability.residuals.sum() >= 0 else -1.0
    truths, lowest = [0.0], [0.0]
    for direction in (sign, -sign):
        for multiple in _RISING:
            right, truth = _model(reliability, direction * multiple * np.abs(curve))
            if truth <= truths[-1]:
                continue
            truths.append(truth)
            lowest.append(_accepted(_drawn(reliability, right, observed, rng), truth, level=level)[0])
            if lowest[-1] > observed:
                return float(np.interp(observed, np.maximum.accumulate(lowest), truths))
    return truths[-1]


def _model(reliability: Reliability, miscalibration: FloatArray) -> tuple[FloatArray, float]:
    """Return the share of right rows in each bin [B] of a model that errs by so much there, and its true error."""
    confidences, shares = reliability.mean_confidences, reliability.counts / reliability.rows
    right = np.clip(confidences + miscalibration, 0, 1)
    return right, float(_kernel_error(shares * (right - confidences)))


def _drawn(reliability: Reliability, right: FloatArray, observed: float, rng: np.random.Generator) -> FloatArray:
    """Return the errors seen in samples of as many rows, of which ``right`` [B] are right on average.

    The confidences are kept: drawn again they would pile up where rows are rare, and show too little noise. How far
    the error moves with them is added.
    """
    errors = _kernel_error(_drawn_residuals(reliability, right, rng), tolerance=observed / 1000)
    shares, distances = reliability.counts / reliability.rows, np.abs(right - reliability.mean_confidences)
    variance = float(shares @ distances**2 - (shares @ distances) ** 2) / reliability.rows
    return np.asarray(errors + math.sqrt(max(variance, 0.0)) * rng.standard_normal(len(errors)))


def _drawn_residuals(reliability: Reliability, right: FloatArray, rng: np.random.Generator) -> FloatArray:
    hits = rng.binomial(reliability.counts, right, size=(_REPLICATES, len(right)))
    return np.asarray((hits - reliability.confidence_sums / _FIXED_POINT) / reliability.rows)


def _accepted(replicates: FloatArray, truth: float, *, level: float) -> tuple[float, float]:
    """Return the ends between which ``level`` of the replicates lie.

    The error is biased upwards, and an interval always reaches up to its value: where that alone keeps observations
    below the truth from being missed, the whole tail is given to the upper end.
    """
    mean, deviation = float(replicates.mean()), float(replicates.std(ddof=1))
    standardized = (replicates - mean) / (deviation if deviation > 0 else 1.0)
    skewness = float((standardized**3).mean())

    def quantile(share: float) -> float:
        z = NormalDist().inv_cdf(share)
        return mean + deviation * (z + skewness * (z**2 - 1) / 6)

    below = min((1 - level) / 2, float(np.mean(replicates < truth)))
    return min(truth, quantile((1 - level) / 2)), quantile(level + below)


def _miscalibration(reliability: Reliability, residuals: FloatArray, width: float) -> FloatArray:
    """Return the smoothed residuals [..., B] for each row: the share of right ones less the confidence, as a curve."""
    counts = reliability.counts / reliability.rows
    widths = np.full(residuals.shape[:-1], max(width, 1 / len(counts)))
    near = _smoothed(_spectrum(counts), np.array(widths.max()))
    return np.nan_to_num(ratio(_smoothed(_spectrum(residuals), widths), near)) * (counts > 0)


def _without_noise(
    reliability: Reliability, observed: float, curve: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Return the curve [B] shrunk to zero where its deviation could explain it; as it is where that leaves nothing."""
    right, _ = _model(reliability, curve)
    replicates = _miscalibration(reliability, _drawn_residuals(reliability, right, rng), observed)
    kept = np.maximum(1 - _DEVIATIONS * ratio(replicates.var(axis=0), curve**2), 0)
    shrunk = curve * np.nan_to_num(kept)
    return shrunk if shrunk.any() else curve


def _bound_in_the_large(reliability: Reliability, *, level: float) -> float:
    """Return how far mean confidence and the true share of right rows may lie apart when errors or hits are few.

    The observed curve then says nothing of the side on which no row happened to fall. 0 when there are enough.
    """
    hits, rows = int(reliability.hits.sum()), reliability.rows
    if min(hits, rows - hits) >= _FEW:
        return 0.0
    mean = float(reliability.confidence_sums.sum()) / _FIXED_POINT / rows
    share = wilson(hits / rows, rows, level=level)
    return max(abs(mean - (share.low or 0.0)), abs((share.high or 0.0) - mean))
