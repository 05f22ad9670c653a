"""Rows whose labels are suspect: a model that was trained without them is surer of another class than it usually is.

Confident learning, written out here in a few lines of NumPy: cleanlab, which the authors made of it, brings
dependencies that are larger than trimtab. Suspects are candidates for a second look, not truth: rows between two
classes look the same as rows with a wrong label.

Legend: ``N`` rows, ``K`` classes.

References
----------
Northcutt, Jiang, Chuang (2021), Journal of Artificial Intelligence Research 70, section 3 (the confident joint).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Doubts:
    """Labels against what a model says that did not see them.

    Attributes
    ----------
    is_suspect
        bool [N].
    suggested
        int64 [N], the class that the model is surest of, relative to how sure it usually is of each class.
    margins
        float64 [N], probability of the suggested class less that of the label.
    """

    is_suspect: NDArray[np.bool_]
    suggested: IntArray
    margins: NDArray[np.float64]

    @property
    def share(self) -> float:
        """Share of suspects."""
        return float(self.is_suspect.mean()) if len(self.is_suspect) else 0.0


def usual_confidence(labels: IntArray, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean probability of each class over the rows that are labeled so, float64 [K].

    A class without a row gets 1: nothing is confidently of a class that nobody has seen.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)


def doubt(labels: IntArray, probabilities: NDArray[np.floating], usual: NDArray[np.float64] | None = None) -> Doubts:
    """Return which labels a model doubts that was not trained on these rows.

    A row is confidently of the likeliest class among those that it reaches the usual confidence of. It is suspect
    when that class is not its label.

    Parameters
    ----------
    labels
        int64 [N].
    probabilities
        float [N, K] of a model that did not see the rows.
    usual
        float64 [K], from other rows; from these unless given.
    """
    usual = usual_confidence(labels, probabilities) if usual is None else usual
    reached = np.where(probabilities >= usual, probabilities.astype(np.float64), -1.0)
    suggested = reached.argmax(axis=1).astype(np.int64)
    rows = np.arange(len(labels))
    is_confident = reached[rows, suggested] >= 0
    suggested = np.where(is_confident, suggested, labels)
    margins = probabilities[rows, suggested].astype(np.float64) - probabilities[rows, labels]
    return Doubts(is_suspect=suggested != labels, suggested=suggested, margins=margins)
