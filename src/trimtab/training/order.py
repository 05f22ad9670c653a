"""Which rows make the batch of a step, and the seed of everything random in it: functions of (seed, step).

Nothing has to be remembered to continue a run exactly.

Shapes: N rows, B batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Order:
    """The shuffled order of rows: one permutation per pass, from (seed, pass)."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self._rows, self._batch_size, self._seed = rows, min(batch_size, rows), seed
        self._steps = steps_per_epoch(rows, batch_size)
        self._known = -1
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

    def pass_of(self, step: int) -> int:
        """Return the number of the pass over the data that a step belongs to, from 0."""
        return step // self._steps

    def at(self, step: int) -> NDArray[np.int64]:
        """Return the row numbers of the batch of that step: int64 [B]."""
        number = self.pass_of(step)
        if number != self._known:
            self._permutation = np.random.default_rng((self._seed, number)).permutation(self._rows)
            self._known = number
        start = (step % self._steps) * self._batch_size
        return self._permutation[start : start + self._batch_size]


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the number of batches in one pass; the rows of a short last batch wait for another pass."""
    return max(1, rows // batch_size)


def step_seed(seed: int, step: int) -> int:
    """Return the seed of everything random in one step; -1 is the step before the first, that makes the weights."""
    return int(np.random.SeedSequence((seed, step + 1)).generate_state(1, np.uint64)[0] >> 1)
