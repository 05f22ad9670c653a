"""Standard errors of count metrics by resampling what is independent: rows as confusion cells, or whole groups.

Drawing N rows with replacement and counting cells is one multinomial draw over the cells, so replicates cost the
number of cells, not of rows. Many cells are replaced by the delta method, which needs no draw.

References
----------
Efron, Tibshirani (1993), An Introduction to the Bootstrap, chapters 6 and 8.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trimtab.evaluation.counts import ClassCounts, FloatArray, IntArray, mean_of_defined, ratio

REPLICATES = 1000  # the standard error is then within 5% of that of endless replicates
COUNT_METRICS = ("precision", "recall", "f1")
_LARGEST_RESAMPLED = 50  # classes; above it the delta method gives the same errors at once
_PSEUDO_ROWS = 2.0  # per class, see `smoothed`
_CHUNK = 4_000_000  # numbers drawn at a time


def macro_errors(confusion: IntArray, *, seed: int) -> tuple[dict[str, float], str]:
    """Return the standard errors of macro precision, recall and F1 when rows are independent, and the method.

    Parameters
    ----------
    confusion
        int64 [K, K].
    seed
        Of the draws.
    """
    cells = smoothed(confusion)
    if len(confusion) > _LARGEST_RESAMPLED:
        return {name: _delta_error(cells, name) for name in COUNT_METRICS}, "delta method over confusion cells"
    rows = int(confusion.sum())
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(rows, (cells / cells.sum()).ravel(), size=REPLICATES)  # [R, K * K]
    counts = ClassCounts.of(draws.reshape(REPLICATES, *confusion.shape))
    errors = {name: spread(mean_of_defined(getattr(counts, name))) for name in COUNT_METRICS}
    return errors, "multinomial bootstrap over confusion cells"


def smoothed(confusion: IntArray) -> FloatArray:
    """Return the cells to draw from: each class shrunk to the whole by two pseudo rows, its size kept.

    A class whose few rows were all found would otherwise never fail in any replicate, and the interval of a macro
    average would miss its largest uncertainty.
    """
    matrix = confusion.astype(np.float64)
    rows, actual = matrix.sum(), matrix.sum(axis=1, keepdims=True)
    right = min(np.trace(matrix), rows - 0.5) / rows
    wrong = np.tile(matrix.sum(axis=0) + 0.5, (len(matrix), 1))
    np.fill_diagonal(wrong, 0)
    wrong = ratio(wrong, wrong.sum(axis=1, keepdims=True))
    expected = right * np.eye(len(matrix)) + (1 - right) * wrong  # [K, K], rows sum to one
    cells: FloatArray = (matrix + _PSEUDO_ROWS * expected) / (actual + _PSEUDO_ROWS) * actual
    return cells


def group_replicates(
    groups: IntArray, labels: IntArray, predictions: IntArray, losses: FloatArray, *, num_classes: int, seed: int
) -> Iterator[tuple[ClassCounts, FloatArray]]:
    """Yield, chunk by chunk, the class counts [r, K] and the mean losses [r] of resampled groups.

    Parameters
    ----------
    groups
        int64 [N], from 0 up to the number of groups - 1.
    labels, predictions
        int64 [N].
    losses
        float64 [N].
    num_classes
        K.
    seed
        Of the draws.
    """
    num_groups = int(groups.max()) + 1
    hit = labels == predictions
    hits = _per_group(groups[hit], labels[hit], num_groups, num_classes)
    actual = _per_group(groups, labels, num_groups, num_classes)
    predicted = _per_group(groups, predictions, num_groups, num_classes)
    loss_sums = np.bincount(groups, weights=losses, minlength=num_groups)
    rng = np.random.default_rng(seed)
    for times in _drawn_groups(rng, num_groups):  # [r, G]
        counts = ClassCounts(hits=times @ hits, actual=times @ actual, predicted=times @ predicted)
        yield counts, ratio(times @ loss_sums, counts.actual.sum(axis=-1))


def spread(replicates: FloatArray) -> float:
    """Return the standard deviation of the replicates [R] that are defined; NaN below two of them."""
    defined = replicates[~np.isnan(replicates)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else float("nan")


def _per_group(groups: IntArray, classes: IntArray, num_groups: int, num_classes: int) -> FloatArray:
    cells = np.bincount(groups * num_classes + classes, minlength=num_groups * num_classes)
    return cells.reshape(num_groups, num_classes).astype(np.float64)


def _drawn_groups(rng: np.random.Generator, num_groups: int) -> Iterator[FloatArray]:
    """Yield how often each group was drawn when as many as there are were drawn: float64 [r, G]."""
    chunk = max(1, min(REPLICATES, _CHUNK // num_groups))
    for start in range(0, REPLICATES, chunk):
        size = min(chunk, REPLICATES - start)
        drawn = rng.integers(num_groups, size=(size, num_groups)) + num_groups * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * num_groups)
        yield times.reshape(size, num_groups).astype(np.float64)


def _delta_error(cells: FloatArray, name: str) -> float:
    """Return the standard error of a macro metric from the slope of its mean in each cell."""
    counts = ClassCounts.of(np.asarray(cells))
    values = np.nan_to_num(getattr(counts, name))
    actual, predicted = (np.where(side > 0, side, np.inf) for side in (counts.actual, counts.predicted))
    on_diagonal = np.eye(len(cells))
    if name == "recall":
        slope = (on_diagonal - values[:, None]) / actual[:, None]
    elif name == "precision":
        slope = (on_diagonal - values) / predicted
    else:
        either = np.where(counts.actual + counts.predicted > 0, counts.actual + counts.predicted, np.inf)
        slope = 2 * on_diagonal / either - (values / either)[:, None] - values / either
    defined = int(np.count_nonzero(~np.isnan(getattr(counts, name))))
    return float(np.sqrt((cells * slope**2).sum())) / max(defined, 1)
