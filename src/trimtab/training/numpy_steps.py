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
from trimtab.models import build
from trimtab.training.batches import Batches, Rows, step_seed
from trimtab.training.recipe import Recipe
from trimtab.training.stepper import Arrays, Stepper


def make_stepper(builder: str, kwargs: Mapping[str, Any], rows: Rows, recipe: Recipe) -> Stepper:
    """Return the network of that name, with fresh weights, ready for step 0.

    Raises
    ------
    ValueError
        If the recipe asks for another precision than float32.
    """
    if recipe.precision != "float32":
        raise ValueError(
            f"precision is '{recipe.precision}' with engine 'numpy'; expected float32; change one of them."
        )
    network: numpy_nn.Module = build(numpy_nn, builder, kwargs)
    network.reset_parameters(np.random.default_rng(step_seed(recipe.seed, -1)))
    return NumpyStepper(network, rows, recipe)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute on ``count`` threads within this context, without NumPy's warnings about numbers that overflow.

    A loss that is not a number any more is what the loop looks for and tells about.
    """
    with warnings.catch_warnings(), numpy_nn.threads(count):
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"trimtab\.numpy_nn")
        yield


class NumpyStepper:
    """A network of `trimtab.numpy_nn` with its optimizer and rows; see `trimtab.training.stepper.Stepper`."""

    def __init__(self, network: numpy_nn.Module, rows: Rows, recipe: Recipe) -> None:
        network.input_gradient = False
        self.network, self.recipe, self.precision = network, recipe, recipe.precision
        self.optimizer = _optimizer(network, recipe)
        self._batches = Batches(rows, recipe)

    def copy(self, precision: str) -> NumpyStepper:
        """Return a twin, for trials; nothing it does is seen by this one."""
        twin = copy.copy(self)
        twin.network = copy.deepcopy(self.network)
        twin.optimizer = _optimizer(twin.network, self.recipe)
        twin.precision = precision
        return twin

    def step(self, step: int, rate: float) -> float:
        """Do step number ``step`` in place, at learning rate ``rate``; return the loss."""
        inputs, labels = self._batches.at(step)
        self.network.train().seed(step_seed(self.recipe.seed, step))
        logits = self.network(inputs)
        loss, grad = numpy_nn.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        self.network.backward(grad)
        for group in self.optimizer.groups:
            group["lr"] = rate
        self.optimizer.step()
        return float(loss)

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the network's output for all rows in evaluation mode: float32 [N, K]."""
        return _logits(self.network, rows)

    def weights(self) -> Arrays:
        """Return copies of parameters and running statistics, by torch's names and layouts."""
        return self.network.state_dict()

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned."""
        self.network.load_state_dict(arrays)

    def optimizer_arrays(self) -> Arrays:
        """Return the optimizer's state, flat arrays for each group of parameters."""
        return self.optimizer.state_dict()

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned."""
        self.optimizer.load_state_dict(arrays)


def logits(artifact: Artifact, rows: Rows) -> NDArray[np.float32]:
    """Return the output of an artifact's network for all rows: float32 [N, K]."""
    network: numpy_nn.Module = build(numpy_nn, artifact.builder, artifact.kwargs)
    network.load_state_dict(artifact.arrays)
    return _logits(network, rows)


def _logits(network: numpy_nn.Module, rows: Rows) -> NDArray[np.float32]:
    network.eval()
    with numpy_nn.inference():
        return np.concatenate([network(inputs) for inputs in rows.chunks()])


def _optimizer(network: numpy_nn.Module, recipe: Recipe) -> numpy_nn.SGD | numpy_nn.AdamW:
    """Return the optimizer; weight decay falls on matrices and filters, not on biases and normalization."""
    groups = [
        {
            "params": [entry for entry in network.parameters() if entry.data.ndim > 1],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [entry for entry in network.parameters() if entry.data.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return numpy_nn.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
    return numpy_nn.AdamW(groups, lr=recipe.learning_rate)
