"""What the loop needs of an engine: a `Stepper` that does one step, made by torch or by NumPy.

The engine's module is imported when it is asked for. What both share stands here: validation and prediction from
the logits.

Shapes: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.training.batches import Rows
from trimtab.training.recipe import ENGINES, Recipe

Arrays = dict[str, NDArray[Any]]


class Stepper(Protocol):
    """A network with its optimizer and the training rows: everything one step changes or reads.

    A step is a function of the weights and the optimizer before it, its number and the learning rate: all randomness
    in it is seeded from the recipe's seed and the number.

    Attributes
    ----------
    recipe
        The settings.
    precision
        What it computes in from now on, one of `trimtab.training.PRECISIONS`.
    """

    recipe: Recipe
    precision: str

    def copy(self, precision: str) -> Stepper:
        """Return a twin at another precision, for trials; nothing it does is seen by this one."""

    def step(self, step: int, rate: float) -> float:
        """Do step number ``step`` in place, at learning rate ``rate``; return the loss."""

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the network's output for all rows in evaluation mode: float32 [N, K]."""

    def weights(self) -> Arrays:
        """Return copies of parameters and running statistics, by torch's names and layouts."""

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned."""

    def optimizer_arrays(self) -> Arrays:
        """Return the optimizer's state under names of the engine's own; settings are the recipe's, not here."""

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned."""


def make_stepper(builder: str, kwargs: Mapping[str, Any], rows: Rows, recipe: Recipe) -> Stepper:
    """Return the network of that name, with fresh weights, ready for step 0 on ``rows``, in the recipe's engine.

    Raises
    ------
    ValueError
        If there is no engine or no builder of that name, or the engine does not compute in the recipe's precision.
    """
    stepper: Stepper = _engine(recipe.engine).make_stepper(builder, kwargs, rows, recipe)
    return stepper


def using_threads(engine: str, count: int) -> AbstractContextManager[None]:
    """Return a context in which the engine computes on ``count`` processor threads; results depend on it."""
    context: AbstractContextManager[None] = _engine(engine).using_threads(count)
    return context


def validate(stepper: Stepper, rows: Rows) -> tuple[float, float]:
    """Return the mean log loss and the accuracy over all rows."""
    logits = stepper.logits(rows)
    chosen = np.take_along_axis(_log_softmax(logits), rows.labels[:, None], axis=1)
    return -float(chosen.mean()), float((logits.argmax(1) == rows.labels).mean())


def predict_probabilities(artifact: Artifact, rows: Rows, *, engine: str, threads: int) -> NDArray[np.float32]:
    """Return class probabilities of an artifact's network: float32 [N, K], computed in float32."""
    with using_threads(engine, threads):
        logits: NDArray[np.float32] = _engine(engine).logits(artifact, rows)
    return np.exp(_log_softmax(logits)).astype(np.float32)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return log probabilities [N, K]; where a logit is infinite they are no numbers, which is the caller's matter."""
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_probabilities: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return log_probabilities


def _engine(name: str) -> ModuleType:
    if name not in ENGINES:
        raise ValueError(f"there is no engine '{name}'; expected one of {', '.join(ENGINES)}; pick one.")
    return import_module(f"trimtab.training.{name}_steps")
