"""What the training loop asks and tells while it runs: the time, the user's wishes, what has happened.

Later rooms reach the loop through this, as plain callables; it does nothing by itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.training.probe import Probe
from trimtab.training.schedules import Correction

HistoryRow = dict[str, float | None]
HISTORY_COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
    "budget_left_seconds",
)


def _nothing(*_: Any) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What the loop asks and tells while it runs; the defaults ask and tell nobody.

    Attributes
    ----------
    seconds_left
        Seconds until training must be over.
    seconds_spent, budget_left
        Of the whole run, for the history; those of training unless given.
    wants_to_stop
        Whether to finish with what there is (Ctrl-C).
    on_step
        Called with (steps done, steps planned).
    on_epoch
        Called with a row of the history.
    on_validation
        Called with the logits of all validation rows, float32 [N, K], at each validation.
    on_correction
        Called with a `Correction`.
    on_probe
        Called with the `Probe` that the plan of a new run rests on.
    on_resume
        Called with the history and the step that a checkpoint continues from.
    clock
        Seconds, from any start.
    """

    seconds_left: Callable[[], float] = lambda: math.inf
    seconds_spent: Callable[[], float] | None = None
    budget_left: Callable[[], float] | None = None
    wants_to_stop: Callable[[], bool] = lambda: False
    on_step: Callable[[int, int], None] = _nothing
    on_epoch: Callable[[HistoryRow], None] = _nothing
    on_validation: Callable[[NDArray[np.float32]], None] = _nothing
    on_correction: Callable[[Correction], None] = _nothing
    on_probe: Callable[[Probe], None] = _nothing
    on_resume: Callable[[list[HistoryRow], int], None] = _nothing
    clock: Callable[[], float] = time.perf_counter
