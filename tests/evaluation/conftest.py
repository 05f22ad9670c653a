"""Labels and probabilities as a classifier of some quality would give them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Scored = tuple[NDArray[np.int64], NDArray[np.float64]]


def draw_scored(rows: int, classes: int, *, quality: float = 2.0, seed: int = 0) -> Scored:
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=rows)
    exponentials = np.exp(random.normal(size=(rows, classes)) + quality * np.eye(classes)[labels])
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.fixture
def draw() -> Callable[..., Scored]:
    return draw_scored
