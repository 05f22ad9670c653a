"""The steps of the torch engine; arrays come in and go out as NumPy's.

Not here: how many steps, at which learning rate, when to stop.

Shapes: N rows, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trimtab.artifact import Artifact
from trimtab.models import build
from trimtab.training import torch_nn
from trimtab.training.batches import Batches, Rows, step_seed
from trimtab.training.recipe import Recipe
from trimtab.training.stepper import Arrays, Stepper


def make_stepper(builder: str, kwargs: Mapping[str, Any], rows: Rows, recipe: Recipe) -> Stepper:
    """Return the network of that name, with fresh weights, ready for step 0."""
    torch.manual_seed(step_seed(recipe.seed, -1))
    return TorchStepper(_network(builder, kwargs), rows, recipe)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute on ``count`` threads within this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchStepper:
    """A torch network with its optimizer and the training rows; see `trimtab.training.stepper.Stepper`."""

    def __init__(self, model: torch.nn.Module, rows: Rows, recipe: Recipe) -> None:
        self.model, self.recipe, self.precision = model, recipe, recipe.precision
        self.optimizer = _optimizer(model, recipe)
        self._batches = Batches(rows, recipe)

    def copy(self, precision: str) -> TorchStepper:
        """Return a twin at another precision, for trials; nothing it does is seen by this one."""
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        twin.optimizer = _optimizer(twin.model, self.recipe)
        twin.precision = precision
        return twin

    def step(self, step: int, rate: float) -> float:
        """Do step number ``step`` in place, at learning rate ``rate``; return the loss."""
        inputs, labels = (torch.from_numpy(array) for array in self._batches.at(step))
        torch.manual_seed(step_seed(self.recipe.seed, step))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        with _autocast(self.precision):
            logits = self.model(inputs)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the network's output for all rows in evaluation mode: float32 [N, K]."""
        return _logits(self.model, rows, self.precision)

    def weights(self) -> Arrays:
        """Return copies of parameters and running statistics, by torch's names and layouts."""
        return {key: np.array(value.numpy(), order="C") for key, value in self.model.state_dict().items()}

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned."""
        _load(self.model, arrays)

    def optimizer_arrays(self) -> Arrays:
        """Return the optimizer's state as ``"parameter number.name"``."""
        state = self.optimizer.state_dict()["state"]
        return {f"{index}.{name}": value.numpy() for index, entry in state.items() for name, value in entry.items()}

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned, in the memory format of the parameters."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for key, array in arrays.items():
            index, name = key.split(".", 1)
            parameter, value = parameters[int(index)], torch.from_numpy(np.array(array))
            if value.shape == parameter.shape:  # not the step counter
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            self.optimizer.state[parameter][name] = value


def logits(artifact: Artifact, rows: Rows) -> NDArray[np.float32]:
    """Return the output of an artifact's network for all rows: float32 [N, K], computed in float32."""
    model = _network(artifact.builder, artifact.kwargs)
    _load(model, artifact.arrays)
    return _logits(model, rows, "float32")


def _network(builder: str, kwargs: Mapping[str, Any]) -> torch.nn.Module:
    network: torch.nn.Module = build(torch_nn, builder, kwargs).to(memory_format=torch.channels_last)
    return network


def _load(model: torch.nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})


def _logits(model: torch.nn.Module, rows: Rows, precision: str) -> NDArray[np.float32]:
    model.eval()
    with torch.inference_mode(), _autocast(precision):
        parts: list[Tensor] = [model(_tensor(inputs)).float() for inputs in rows.chunks()]
    return torch.cat(parts).numpy()


def _tensor(array: NDArray[np.float32]) -> Tensor:
    """Return a tensor that shares the array's memory, unless that may not be written to."""
    return torch.from_numpy(np.require(array, requirements=["W"]))


def _autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")


def _optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer; weight decay falls on matrices and filters, not on biases and normalization."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
