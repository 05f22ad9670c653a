"""What the loop needs of an engine: a `Stepper` that does one step, made by torch or by NumPy.

The engine's module is imported when it is asked for. What both share stands here: validation and prediction from
the logits.

Shapes: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.training.batches import Rows, step_seed
from trimtab.training.mode import Mode
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
    mode
        What it computes in; see `use`.
    """

    recipe: Recipe

    @property
    def mode(self) -> Mode:
        """What it computes in."""

    def use(self, mode: Mode) -> None:
        """Compute in this mode from now on; to be called before `load_weights` and the first step."""

    def modes(self) -> list[Mode]:
        """Return the modes that a trial is worth making of, eager float32 first; compiled ones are not among them."""

    def compilation_obstacle(self) -> str | None:
        """Return why the network cannot be compiled, or ``None`` when nothing is known to stand against it."""

    def copy(self, mode: Mode) -> Stepper:
        """Return a twin in another mode, for trials; nothing it does is seen by this one."""

    def step(self, step: int, rate: float) -> float:
        """Do step number ``step`` in place, at learning rate ``rate``; return the loss."""

    def zero_grad(self) -> None:
        """Forget all gradients."""

    def add_gradients(self, step: int, part: slice | None = None, *, seed: int) -> float:
        """Add the gradients of some rows of a step's batch to those that there are; return their share of the loss.

        The loss is weighted so that the sum over parts that make up the batch is the mean over its rows. Batch
        normalization sees the part alone.

        Parameters
        ----------
        step
            Whose batch.
        part
            Which of its rows; all of them without one.
        seed
            Of everything random in the network: a part of a batch needs one of its own, see `part_seed`.
        """

    def update(self, rate: float) -> None:
        """Move the weights in place along their gradients, at learning rate ``rate``, penalties included."""

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the network's output for all rows in evaluation mode: float32 [N, K]."""

    def weights(self) -> Arrays:
        """Return copies of the trained parameters and running statistics, by torch's names and layouts."""

    def views(self) -> Arrays:
        """Return the same without copying, as they lie in memory: to be read before the next step, not changed."""

    def delivered_weights(self) -> Arrays:
        """Return copies of the weights that `logits` computes with: trained ones, or an average of these."""

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned."""

    def optimizer_arrays(self) -> Arrays:
        """Return the optimizer's state under names of the engine's own; settings are the recipe's, not here."""

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned."""


class Differentiable(Stepper, Protocol):
    """A stepper that also tells its gradients: each engine's own, without workers or averages around it."""

    def gradients(self) -> Arrays:
        """Return copies of the gradients of parameters that are trained, by torch's names and layouts."""


def make_stepper(builder: str, kwargs: Mapping[str, Any], rows: Rows, recipe: Recipe) -> Differentiable:
    """Return the network of that name, with fresh weights, ready for step 0 on ``rows``, in the recipe's engine.

    Raises
    ------
    ValueError
        If there is no engine or no builder of that name, or the engine does not compute in the recipe's precision.
    """
    stepper: Differentiable = _engine(recipe.engine).make_stepper(builder, kwargs, rows, recipe)
    return stepper


def accumulated_step(stepper: Stepper, batch: int, step: int, rate: float) -> float:
    """Do one step on ``batch`` rows in ``recipe.accumulate`` parts, in turn, in the memory of one; return the loss.

    The gradients are those of the whole batch, except that batch normalization takes its statistics from each part,
    and its running statistics move once for each.
    """
    recipe = stepper.recipe
    parts = batch_parts(batch, recipe.accumulate)
    stepper.zero_grad()
    losses = [
        stepper.add_gradients(step, part, seed=part_seed(recipe.seed, step, index, len(parts)))
        for index, part in enumerate(parts)
    ]
    stepper.update(rate)
    return sum(losses)


def batch_parts(batch: int, count: int) -> list[slice]:
    """Return ``count`` parts of a batch, or as many as it has rows, that differ by at most one row."""
    count = min(count, batch)
    edges = [batch * index // count for index in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def part_seed(seed: int, step: int, part: int, count: int) -> int:
    """Return the seed of the network's randomness in part number ``part`` of ``count``; one part has the step's."""
    whole = step_seed(seed, step)
    return whole if count == 1 else step_seed(whole, part)


def using_threads(engine: str, count: int) -> AbstractContextManager[None]:
    """Return a context in which the engine computes on ``count`` processor threads; results depend on it."""
    context: AbstractContextManager[None] = _engine(engine).using_threads(count)
    return context


def validate(stepper: Stepper, rows: Rows) -> tuple[float, float]:
    """Return the mean log loss and the accuracy over all rows."""
    return score_logits(stepper.logits(rows), rows.labels)


def score_logits(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean log loss and the accuracy of logits [N, K] against labels [N]."""
    chosen = np.take_along_axis(_log_softmax(logits), labels[:, None], axis=1)
    return -float(chosen.mean()), float((logits.argmax(1) == labels).mean())


def predict_probabilities(artifact: Artifact, rows: Rows, *, engine: str, threads: int) -> NDArray[np.float32]:
    """Return class probabilities of an artifact's model: float32 [N, K], computed in float32.

    Where the artifact says so, the logits are the mean of those of each picture and of its mirror image.
    """
    with using_threads(engine, threads):
        logits: NDArray[np.float32] = _engine(engine).logits(artifact, rows)
        if artifact.has_mirror:
            logits = (logits + _engine(engine).logits(artifact, rows.mirrored())) / 2
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
