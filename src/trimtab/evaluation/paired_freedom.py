"""How far the spread behind a comparison can be trusted: degrees of freedom when each class is a sample of its own.

Areas and macro averages weigh the classes alike, so a rare class carries much of their variance, and that part is
known from its few rows, or from the few groups that hold them, only. It makes no test and no interval.

Legend: ``N`` rows, ``K`` classes, ``G`` groups.

References
----------
Satterthwaite (1946), Biometrics Bulletin 2(6). Welch (1947), Biometrika 34(1-2). Kish (1965), Survey
Sampling, section 11.7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import FloatArray, IntArray
from trimtab.evaluation.ranking import sum_by_group

Counts = NDArray[np.integer] | NDArray[np.floating]


def group_freedom(units: IntArray) -> int:
    """Return the degrees of freedom of a sum over groups: the groups less one, fewer where few hold most rows.

    As many groups of equal size would have the same sum of squared shares of the rows (Kish's effective number).

    Parameters
    ----------
    units
        int64 [N], from 0 up to G - 1; of one group the result is 0, of more at least 1.
    """
    sizes = np.bincount(units)
    effective = _effective(np.array([sizes.sum()]), np.array([sizes @ sizes]))
    return max(int(effective[0]) - 1, min(len(sizes) - 1, 1))


def welch_freedom(influence: FloatArray, labels: IntArray, units: IntArray | None = None) -> int:
    """Return the degrees of freedom of a variance that is the sum of one variance per class.

    Close to the number of rows where all classes have many, and to the rows of the class that carries the variance
    where one has few. A class of one row, or within one group, counts with one degree.

    Parameters
    ----------
    influence
        float64 [N], of each row on what is compared; not all zero.
    labels
        int64 [N], classes from 0 up.
    units
        int64 [N], from 0 up to G - 1, when only groups are independent; no more than `group_freedom` then.
    """
    if units is None:
        return int(_satterthwaite(sum_by_group(labels, influence * influence), np.bincount(labels).astype(np.float64)))
    count = int(units.max()) + 1
    cells, cell_of_row, sizes = np.unique(labels * count + units, return_inverse=True, return_counts=True)
    totals, classes = sum_by_group(cell_of_row, influence), cells // count
    rows, squares = np.bincount(classes, weights=sizes), np.bincount(classes, weights=sizes**2)
    of_classes = np.bincount(classes, weights=totals * totals).astype(np.float64)
    freedom = _satterthwaite(of_classes, _effective(rows, np.maximum(squares, 1)))
    return min(max(int(freedom), 1), group_freedom(units))


def fewest_units(labels: IntArray, units: IntArray | None = None) -> int:
    """Return how many rows, or groups, the smallest class that is present has."""
    if units is None:
        members = np.bincount(labels)
    else:
        count = int(units.max()) + 1
        members = np.bincount(np.unique(labels * count + units) // count)
    return int(members[members > 0].min())


def _effective(rows: Counts, squares: Counts) -> FloatArray:
    """Return how many groups of equal size have this many rows and this sum of squared sizes: float64 [K]."""
    effective: FloatArray = rows.astype(np.float64) ** 2 / squares + 1e-9  # against rounding to below a whole number
    return effective


def _satterthwaite(squares: FloatArray, members: FloatArray) -> float:
    """Return the degrees of freedom of a sum of variances float64 [K], each of ``members`` [K] units."""
    return float(squares.sum() ** 2 / (squares**2 / np.maximum(members - 1, 1)).sum())
