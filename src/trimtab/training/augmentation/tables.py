"""Noise on the encoded rows of tables.

Shapes: N rows, B batch, F features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def augment_rows(
    inputs: NDArray[Any],
    rows: NDArray[np.int64],
    members: NDArray[np.int64],
    *,
    deviation: float,
    random: np.random.Generator,
) -> NDArray[Any]:
    """Return rows of a batch with normally distributed noise on their numbers.

    Entries that are exactly 0 or 1 stay: those of categories, signs of missing values, and the bins that a number of a
    column lies beyond or below (`trimtab.data.encoding`). What is moved is the place of each number within its bin,
    by ``deviation`` bins.

    Parameters
    ----------
    inputs
        float32 [N, F], or of more dimensions.
    rows
        Of the whole batch, int64 [B].
    members
        Which of them are wanted: positions in ``rows``.
    deviation
        Of the noise.
    random
        Source of it; as much is drawn as the whole batch needs.
    """
    features = inputs[rows[members]]
    if deviation:
        noise = random.standard_normal((len(rows), *inputs.shape[1:]), np.float32)[members]
        noise *= deviation * ((features != 0) & (features != 1))
        features += noise
    return features
