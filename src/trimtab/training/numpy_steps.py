"""The steps of the NumPy engine, `trimtab.numpy_nn`.

Not here: how many steps, at which learning rate, when to stop.

Shapes: N rows, K classes.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.models import build, initial_arrays
from trimtab.training.batches import Batches, Rows, step_seed
from trimtab.training.mode import Mode
from trimtab.training.numpy_optimizer import NumpyOptimizer
from trimtab.training.recipe import Recipe
from trimtab.training.stepper import Arrays, accumulated_step


def make_stepper(builder: str, kwargs: Mapping[str, Any], rows: Rows, recipe: Recipe) -> NumpyStepper:
    """Return the network of that name, with fresh weights, ready for step 0.

    Raises
    ------
    ValueError
        If the recipe asks for another precision than float32, or for rounding.
    """
    if recipe.rounding:
        raise ValueError("rounding is asked for with engine 'numpy'; expected the engine 'torch'; change one of them.")
    if recipe.precision != "float32":
        raise ValueError(
            f"precision is '{recipe.precision}' with engine 'numpy'; expected float32; change one of them."
        )
    network: numpy_nn.Module = build(numpy_nn, builder, kwargs)
    network.reset_parameters(np.random.default_rng(step_seed(recipe.seed, -1)))
    network.load_state_dict(initial_arrays(builder, kwargs, network.state_dict(), rows.sample()))
    return NumpyStepper(network, rows, recipe)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute on ``count`` threads within this context, without NumPy's warnings about numbers that overflow.

    A loss that is not a number any more is what the loop looks for and tells about.
    """
    with warnings.catch_warnings(), numpy_nn.threads(count):
        for module in (r"trimtab\.numpy_nn", r"trimtab\.training\.numpy_optimizer"):
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=module)
        yield


class NumpyStepper:
    """A network of `trimtab.numpy_nn` with its optimizer and rows; see `trimtab.training.stepper.Stepper`."""

    def __init__(self, network: numpy_nn.Module, rows: Rows, recipe: Recipe) -> None:
        network.input_gradient = False
        self.network, self.recipe, self.mode = network, recipe, Mode.of(recipe)
        self.optimizer = NumpyOptimizer(network, recipe)
        self._batches, self._batch_size = Batches(rows, recipe), min(recipe.batch_size, len(rows))

    def use(self, mode: Mode) -> None:
        """Take note of the mode: this engine has one way to compute."""
        self.mode = mode

    def modes(self) -> list[Mode]:
        """Return the one mode that there is."""
        return [self.mode]

    def compilation_obstacle(self) -> str | None:
        """Return that this engine is not compiled."""
        return "the NumPy engine is not"

    def copy(self, mode: Mode) -> NumpyStepper:
        """Return a twin, for trials; nothing it does is seen by this one."""
        twin = copy.copy(self)
        twin.network = copy.deepcopy(self.network)
        twin.optimizer = NumpyOptimizer(twin.network, self.recipe)
        twin.use(mode)
        return twin

    def step(self, step: int, rate: float) -> float:
        """Do step number ``step`` in place, at learning rate ``rate``; return the loss."""
        return accumulated_step(self, self._batch_size, step, rate)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.optimizer.zero_grad()

    def add_gradients(self, step: int, part: slice | None = None, *, seed: int) -> float:
        """Add the gradients of some rows of a step's batch to those that there are; return their share of the loss."""
        inputs, labels = self._batches.at(step, part or slice(None))
        self.network.train().seed(seed)
        logits = self.network(inputs)
        loss, grad = numpy_nn.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        share = len(labels) / self._batch_size
        self.network.backward(grad * share)
        return float(loss) * share

    def update(self, rate: float) -> None:
        """Move the weights in place along their gradients, at learning rate ``rate``, penalties included."""
        self.optimizer.update(rate)

    def gradients(self) -> Arrays:
        """Return copies of the gradients of parameters that are trained, by torch's names and layouts."""
        named = self.network.named_parameters()
        return {name: np.array(entry.grad) for name, entry in named if entry.requires_grad}

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the network's output for all rows in evaluation mode: float32 [N, K]."""
        return _logits(self.network, rows)

    def weights(self) -> Arrays:
        """Return copies of parameters and running statistics, by torch's names and layouts."""
        return self.network.state_dict()

    def views(self) -> Arrays:
        """Return the same without copying: to be read before the next step, not changed."""
        return self.network.state_views()

    def delivered_weights(self) -> Arrays:
        """Return copies of the weights that `logits` computes with."""
        return self.weights()

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned."""
        self.network.load_state_dict(arrays)

    def optimizer_arrays(self) -> Arrays:
        """Return the optimizer's state, flat arrays for each group of parameters."""
        return self.optimizer.arrays()

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned."""
        self.optimizer.load(arrays)


def logits(artifact: Artifact, rows: Rows) -> NDArray[np.float32]:
    """Return the output of an artifact's network for all rows: float32 [N, K]."""
    network: numpy_nn.Module = build(numpy_nn, artifact.builder, artifact.kwargs)
    network.load_state_dict(artifact.arrays)
    return _logits(network, rows)


def _logits(network: numpy_nn.Module, rows: Rows) -> NDArray[np.float32]:
    network.eval()
    with numpy_nn.inference():
        return np.concatenate([network(inputs) for inputs in rows.chunks()])
