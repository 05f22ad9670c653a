"""Which layers of an int8 model stay in floating point: those that it is hurt by most, one after the other.

How much a layer hurts is measured with rows that nothing else is chosen or scored by: how far the answers come back
to the float model's when that layer alone stays in floating point. It needs no labels.

Shapes: N rows, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.floating]
_TINY = 1e-12


def divergence(exact: Probabilities, other: Probabilities) -> float:
    """Return the mean Kullback-Leibler divergence of answers [N, K] from the exact ones, in nats."""
    logs = np.log(np.maximum(exact, _TINY)) - np.log(np.maximum(other, _TINY))
    return float((exact * logs).sum(axis=1).mean())


def rank_layers(
    layers: Sequence[str],
    exact: Probabilities,
    answers_of: Callable[[tuple[str, ...]], Probabilities],
    *,
    has_time: Callable[[], bool] = lambda: True,
) -> list[str]:
    """Return the layers by how much it helps to keep each in floating point, the most helpful first.

    Parameters
    ----------
    layers
        Names.
    exact
        The float model's answers [N, K].
    answers_of
        From names of float layers to the answers of the int8 model with these.
    has_time
        Whether a further layer may be measured; those that are not come last.
    """
    damage = {layer: divergence(exact, answers_of((layer,))) if has_time() else math.inf for layer in layers}
    return sorted(layers, key=lambda layer: damage[layer])


def growing(ranked: Sequence[str], most: int) -> Iterator[tuple[str, ...]]:
    """Yield the first layer, the first two, and so on up to ``most``, in larger steps where there are many."""
    count = 1
    while count <= min(most, len(ranked)):
        yield tuple(ranked[:count])
        count += max(1, count // 4)
