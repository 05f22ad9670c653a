"""A model in seconds that shows what is easy to see in data: out-of-fold probabilities for audits.

Logistic regression for pictures (averaged pixels and gradients by direction, reduced to their main components) and
for small tables, boosted trees for the others, both of scikit-learn. It is made to be quick and alike for all data, not
to be good: what it cannot see may be plain to a network.

Legend: ``N`` rows, ``F`` features, ``K`` classes, ``H W C`` height, width, channels.

References
----------
Dalal, Triggs (2005), "Histograms of Oriented Gradients for Human Detection" (whose gradients, in coarse cells, are
used here).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset, FloatArray, Table, TableEncoder
from trimtab.data.audits.hashes import blocks, to_gray
from trimtab.data.audits.pictures import averages, thumbnails

Rows = NDArray[np.int64]
FOLDS = 5
_FEWEST_FOR_TREES = 2_000
_MOST_CLASSES_FOR_TREES = 20
_MOST_ROWS = 40_000  # of training in each fold
_STRENGTH = 0.02  # inverse of the penalty: many features and few rows are the rule here
_ROWS_FOR_THREADS = 10_000
_COMPONENTS = 96
_SIDE, _CELLS, _DIRECTIONS = 32, 4, 8


@dataclass(frozen=True, kw_only=True, eq=False)
class QuickInputs:
    """What the quick model reads.

    Attributes
    ----------
    features
        [N, F]; NaN where a number is missing, for trees only.
    is_linear
        Whether logistic regression suits them; boosted trees otherwise.
    """

    features: FloatArray
    is_linear: bool

    def take(self, rows: Rows) -> QuickInputs:
        """Return these rows alone."""
        return QuickInputs(features=self.features[rows], is_linear=self.is_linear)


def quick_inputs(dataset: Dataset, *, without: Collection[str] = ()) -> QuickInputs:
    """Return what the quick model reads of a data set; of a table the columns ``without`` are left out."""
    if dataset.images is not None:
        return QuickInputs(features=_main_components(picture_features(dataset.images)), is_linear=True)
    assert dataset.table is not None  # noqa: S101 - a Dataset has images or a table
    kept = {name: values for name, values in dataset.table.columns.items() if name not in without}
    table = Table(columns=kept, kinds={name: dataset.table.kinds[name] for name in kept})
    if not kept:
        return QuickInputs(features=np.empty((len(dataset), 0), dtype=np.float32), is_linear=True)
    if len(dataset) < _FEWEST_FOR_TREES or dataset.num_classes > _MOST_CLASSES_FOR_TREES:
        rows = np.arange(len(dataset), dtype=np.int64)
        return QuickInputs(features=TableEncoder.fit(table, rows).encode(table), is_linear=True)
    return QuickInputs(features=np.stack([_numbers(values) for values in kept.values()], axis=1), is_linear=False)


def out_of_fold(
    inputs: QuickInputs,
    labels: Rows,
    num_classes: int,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    units: Rows | None = None,
) -> NDArray[np.float64]:
    """Return [N, K] the probabilities that models trained without a row give it.

    Parameters
    ----------
    inputs
        ``N`` rows.
    labels
        [N] class numbers.
    num_classes
        ``K``.
    folds, seed
        How many parts the rows are divided into, at random and alike in classes.
    units
        [N] rows of one number come into one fold: copies, or groups.
    """
    number = fold_numbers(labels, folds, seed=seed, units=units)
    found = np.empty((len(labels), num_classes))
    rng = np.random.default_rng(seed)
    with _few_threads(len(labels)):
        for fold in range(folds):
            inside, outside = np.flatnonzero(number == fold), np.flatnonzero(number != fold)
            if len(outside) > _MOST_ROWS:
                outside = np.sort(rng.choice(outside, _MOST_ROWS, replace=False))
            found[inside] = _fit_predict(inputs, labels, outside, inside, num_classes, seed)
    return found


def fold_numbers(labels: Rows, folds: int, *, seed: int, units: Rows | None = None) -> Rows:
    """Return [N] the fold of each row: classes alike in all of them, rows of a unit in one."""
    units = np.arange(len(labels)) if units is None else units
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    order = np.lexsort((np.random.default_rng(seed).random(len(first)), labels[first]))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % folds
    return fold[unit]


def picture_features(images: NDArray[np.uint8]) -> FloatArray:
    """Return [N, F]: pixels averaged over areas, and how strong edges are by place and direction."""
    parts = (images[block] for block in blocks(len(images), images.shape[1:]))
    return np.concatenate([np.concatenate([thumbnails(part) / 255, _gradients(part)], axis=1) for part in parts])


def _gradients(images: NDArray[np.uint8]) -> FloatArray:
    """Return [N, cells * directions], square roots of shares: edges summed by cell and direction."""
    gray = _at_most(to_gray(images), _SIDE)
    down, across = np.gradient(gray, axis=(1, 2))
    strength = np.hypot(down, across)
    direction = ((np.arctan2(down, across) % np.pi) * (_DIRECTIONS / np.pi)).astype(np.int64) % _DIRECTIONS
    cell = _cell_of(gray.shape[1])[:, None] * _CELLS + _cell_of(gray.shape[2])
    place = (np.arange(len(gray))[:, None, None] * _CELLS**2 + cell) * _DIRECTIONS + direction
    sums = np.bincount(place.ravel(), weights=strength.ravel(), minlength=len(gray) * _CELLS**2 * _DIRECTIONS)
    of_picture = sums.reshape(len(gray), -1)
    shares = of_picture / np.maximum(of_picture.sum(axis=1, keepdims=True), 1e-6)
    roots: FloatArray = np.sqrt(shares).astype(np.float32)
    return roots


def _at_most(gray: FloatArray, side: int) -> FloatArray:
    """Return pictures [N, H, W] averaged to at most so many pixels a side."""
    down, across = (averages(pixels, min(side, pixels)) for pixels in gray.shape[1:])
    smaller: FloatArray = (down @ gray @ across.T).astype(np.float32)
    return smaller


def _cell_of(pixels: int) -> Rows:
    return np.arange(pixels, dtype=np.int64) * _CELLS // pixels


def _main_components(features: FloatArray) -> FloatArray:
    """Return [N, components]: the directions that vary most, each with a variance of one."""
    centered: FloatArray = features - features.mean(axis=0)
    variances, directions = np.linalg.eigh(centered.T @ centered / len(features))
    most = min(_COMPONENTS, max(1, len(features) // 5))
    kept = [place for place in np.argsort(-variances)[:most] if variances[place] > 1e-6 * variances[-1]]
    components: FloatArray = (centered @ (directions[:, kept] / np.sqrt(variances[kept]))).astype(np.float32)
    return components


def _numbers(values: NDArray[Any]) -> FloatArray:
    """Return [N]: numbers as they are, categories numbered from the rarest to the most frequent."""
    if values.dtype.kind == "f":
        numbers: FloatArray = np.clip(values, -3e38, 3e38).astype(np.float32)
        return numbers
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = np.empty(len(counts), dtype=np.float32)
    ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    of_rows: FloatArray = ranks[codes]
    return of_rows


def _fit_predict(
    inputs: QuickInputs, labels: Rows, training: Rows, others: Rows, num_classes: int, seed: int
) -> NDArray[np.float64]:
    """Return [len(others), K]; the classes' shares where there is nothing to learn from."""
    known = np.unique(labels[training])
    found = np.zeros((len(others), num_classes))
    if len(known) < 2 or not inputs.features.shape[1]:
        found[:] = np.bincount(labels[training], minlength=num_classes) / len(training)
        return found
    model = _model(inputs.is_linear, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it might converge further: it is quick on purpose
        model.fit(inputs.features[training], labels[training])
    found[:, model.classes_] = model.predict_proba(inputs.features[others])
    return found


def _few_threads(rows: int) -> AbstractContextManager[Any]:
    """Return a context in which few rows are not shared among threads, which would wait for each other longer."""
    from threadpoolctl import threadpool_limits

    return nullcontext() if rows > _ROWS_FOR_THREADS else threadpool_limits(1)


def _model(is_linear: bool, seed: int) -> Any:
    if is_linear:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=200, tol=1e-3))
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=seed)
