"""Which rows of a data set are copies of each other, whatever kind of data it is.

Labels play no part: a copy with another label is a copy. What to make of copies is decided elsewhere: a split keeps
them together (`carving`), an audit reports them.

Legend: ``N`` rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.data.audits.clusters import cluster_rows, in_clusters, join
from trimtab.data.audits.hashes import content_hashes, look_hashes
from trimtab.data.audits.pictures import near_pairs
from trimtab.data.audits.tables import equal_rows, rounded_rows, why_coincidence
from trimtab.data.dataset import Dataset
from trimtab.data.schema import Table

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Copies:
    """Clusters of rows that are copies of each other.

    Attributes
    ----------
    numbers
        [N] the lowest row of the cluster that a row is in, by exact or near copies; its own number when alone.
    exact
        [N] the same by exact copies only.
    method
        How they were found, in words.
    note
        What limits the search, or why equal rows are no copies here, in words; empty when there is nothing to say.
    are_meaningful
        Whether equal rows are copies; otherwise every row stands alone in ``numbers`` and ``exact``.
    """

    numbers: Rows
    exact: Rows
    method: str
    note: str = ""
    are_meaningful: bool = True

    @property
    def is_copied(self) -> NDArray[np.bool_]:
        """[N] whether a row has a copy."""
        return in_clusters(self.numbers)


def find_copies(dataset: Dataset) -> Copies:
    """Return the copies among all rows of a data set: of 50,000 pictures of 32 pixels in a few seconds."""
    if dataset.images is not None:
        return _among_pictures(dataset.images)
    assert dataset.table is not None  # noqa: S101 - a Dataset has images or a table
    return _among_rows(dataset.table)


def _among_pictures(images: NDArray[np.uint8]) -> Copies:
    exact = join(np.unique(content_hashes(images), return_inverse=True)[1])
    alone = np.flatnonzero(exact == np.arange(len(images))).astype(np.int64)  # one of each kind
    pairs, is_complete = near_pairs(images, look_hashes(images), alone)
    numbers = join(exact, cluster_rows(pairs, len(images)))
    note = "" if is_complete else "so many pictures look alike that not all were compared with each other"
    method = "content hash; perceptual hash, then correlation of thumbnails"
    return Copies(numbers=numbers, exact=exact, method=method, note=note)


def _among_rows(table: Table) -> Copies:
    exact, method = equal_rows(table), "hash of the row; hash of the row rounded to 1/10,000 of each column's spread"
    rounded = join(exact, *(rounded_rows(table, shift=shift) for shift in (0.0, 0.5)))
    if note := why_coincidence(table, exact) or why_coincidence(table, rounded):
        alone = np.arange(len(table), dtype=np.int64)
        return Copies(numbers=alone, exact=alone, method=method, note=note, are_meaningful=False)
    return Copies(numbers=rounded, exact=join(exact), method=method)
