"""Weight soups: one model whose weights are the mean of those of several that started from the same weights.

As fast and small as one of them, and sometimes as good as their vote; sometimes much worse. So a soup counts only where
a paired test on rows that none of its ingredients was trained on shows it to be better than the best of these.

References
----------
Wortsman et al., Model soups, ICML 2022, section 3 (there: of different settings from one initialization).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.evaluation import Difference, compare


def obstacle(artifacts: Sequence[Artifact]) -> str | None:
    """Return why the weights of these models cannot be averaged, or ``None``.

    That they started from the same weights is not to be seen from them: the caller has to know.
    """
    first = artifacts[0]
    for other in artifacts[1:]:
        if (other.builder, _architecture(other)) != (first.builder, _architecture(first)):
            return "they are different networks"
        if {key: array.shape for key, array in other.arrays.items()} != {
            key: array.shape for key, array in first.arrays.items()
        }:
            return "their weights are of different shapes"
        if other.meta != first.meta:
            return "they read their input differently"
    return None


def _architecture(artifact: Artifact) -> dict[str, Any]:
    """Return the builder's arguments but for dropout, which trained networks do not have."""
    return {name: value for name, value in artifact.kwargs.items() if name != "dropout"}


def average_weights(artifacts: Sequence[Artifact]) -> Artifact:
    """Return the model whose weights are the mean; whole numbers, which count, are those of the first.

    Running statistics of batch normalization are averaged as the weights are.

    Raises
    ------
    ValueError
        If there are fewer than two, or they cannot be averaged.
    """
    reason = obstacle(artifacts) if len(artifacts) > 1 else f"there are {len(artifacts)}"
    if reason is not None:
        raise ValueError(f"the weights cannot be averaged: {reason}; expected two or more alike; choose others.")
    first = artifacts[0]
    arrays = {}
    for key, array in first.arrays.items():
        mean = np.mean([each.arrays[key] for each in artifacts], axis=0, dtype=np.float64)
        arrays[key] = mean.astype(array.dtype) if array.dtype.kind == "f" else array.copy()
    return replace(first, arrays=arrays)


def judge_soup(
    labels: NDArray[np.int64],
    best: NDArray[np.floating],
    soup: NDArray[np.floating],
    *,
    groups: NDArray[np.int64] | None = None,
    level: float = 0.95,
) -> tuple[bool, Difference]:
    """Return whether the soup is shown to have a lower log loss than its best ingredient, and the paired difference.

    Parameters
    ----------
    labels
        int64 [N].
    best, soup
        Probabilities of both on rows that neither was trained on: float [N, K].
    groups
        [N] of rows that are not independent of each other.
    level
        Of the test.
    """
    found = compare(labels, best, soup, names=("best", "soup"), groups=groups, level=level).metrics["log_loss"]
    return found.is_significant and found.is_better, found
