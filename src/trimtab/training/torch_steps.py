"""The steps of the torch engine; arrays come in and go out as NumPy's.

Not here: how many steps, at which learning rate, when to stop.

Shapes: N rows, K classes.
"""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trimtab.artifact import Artifact
from trimtab.models import build, initial_arrays
from trimtab.training import torch_nn
from trimtab.training.batches import Batches, Rows, step_seed
from trimtab.training.mode import MEMORY_FORMATS, Mode
from trimtab.training.recipe import Recipe
from trimtab.training.stepper import Arrays, accumulated_step
from trimtab.training.torch_optimizer import TorchOptimizer
from trimtab.training.torch_shards import sharded_step

_MEMORY_FORMATS: dict[str, torch.memory_format] = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}


def make_stepper(builder: str, kwargs: Mapping[str, Any], rows: Rows, recipe: Recipe) -> TorchStepper:
    """Return the network of that name, with fresh weights, ready for step 0."""
    torch.manual_seed(step_seed(recipe.seed, -1))
    model = _network(builder, kwargs)
    drawn = {key: value.numpy() for key, value in model.state_dict().items()}
    _load(model, initial_arrays(builder, kwargs, drawn, rows.sample()))
    if recipe.rounding:
        from trimtab.training.torch_rounding import RoundingStepper

        return RoundingStepper(model, rows, recipe)
    return TorchStepper(model, rows, recipe)


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
        self.model, self.recipe = model, recipe
        self.optimizer = TorchOptimizer(model, recipe)
        self.use(Mode.of(recipe))
        self._batches, self._batch_size = Batches(rows, recipe), min(recipe.batch_size, len(rows))

    def use(self, mode: Mode) -> None:
        """Compute in this mode from now on; to be called before `load_weights` and the first step."""
        self.mode, self._memory_format = mode, _MEMORY_FORMATS[mode.memory_format]
        self.model.to(memory_format=self._memory_format)  # type: ignore[call-overload]
        # Validation stays as it is: compiling it, too, would take as long again for a small part of the time.
        with warnings.catch_warnings():  # the compiler uses what torch has declared to be old
            warnings.simplefilter("ignore", DeprecationWarning)
            self._compiled = torch.compile(self.model, dynamic=False) if mode.is_compiled else None

    def modes(self) -> list[Mode]:
        """Return the modes that a trial is worth making of, eager float32 first; compiled ones are not among them."""
        has_filters = any(entry.ndim == 4 for entry in self.model.parameters())
        formats = MEMORY_FORMATS if has_filters else MEMORY_FORMATS[:1]
        modes = [Mode(precision="float32", memory_format=each) for each in formats]
        if self.recipe.precision != "float32":
            modes.append(Mode(precision=self.recipe.precision, memory_format=formats[-1]))
        return modes

    def compilation_obstacle(self) -> str | None:
        """Return why the network cannot be compiled, or ``None`` when nothing is known to stand against it."""
        compiler = os.environ.get("CXX", "g++")
        return None if shutil.which(compiler) else f"there is no C++ compiler ({compiler})"

    def copy(self, mode: Mode) -> TorchStepper:
        """Return a twin in another mode, for trials; nothing it does is seen by this one."""
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        twin.optimizer = TorchOptimizer(twin.model, self.recipe)
        twin.use(mode)
        return twin

    def step(self, step: int, rate: float) -> float:
        """Do step number ``step`` in place, at learning rate ``rate``; return the loss."""
        do = sharded_step if self.recipe.shards else accumulated_step
        return do(self, self._batch_size, step, rate)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.optimizer.zero_grad()

    def add_gradients(self, step: int, part: slice | None = None, *, seed: int) -> float:
        """Add the gradients of some rows of a step's batch to those that there are; return their share of the loss."""
        inputs, labels = (torch.from_numpy(array) for array in self._batches.at(step, part or slice(None)))
        torch.manual_seed(seed)
        self.model.train()
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=self._memory_format)
        with _autocast(self.mode.precision):
            logits = self.forward(inputs)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        share = loss * (len(labels) / self._batch_size)
        share.backward()  # type: ignore[no-untyped-call]
        return share.item()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the network's logits, in the mode that it is in."""
        logits: Tensor = (self._compiled or self.model)(inputs)
        return logits

    def update(self, rate: float) -> None:
        """Move the weights in place along their gradients, at learning rate ``rate``, penalties included."""
        self.optimizer.update(rate, self.mode.precision)

    def gradients(self) -> Arrays:
        """Return copies of the gradients of parameters that are trained, by torch's names and layouts."""
        named = self.optimizer.parameters.items()
        return {name: np.array(entry.grad.numpy(), order="C") for name, entry in named if entry.grad is not None}

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the network's output for all rows in evaluation mode: float32 [N, K]."""
        return _logits(self.model, rows, self.mode.precision)

    def weights(self) -> Arrays:
        """Return copies of parameters and running statistics, by torch's names and layouts."""
        return {key: np.array(view, order="C") for key, view in self.views().items()}

    def views(self) -> Arrays:
        """Return the same without copying, as they lie in memory: to be read before the next step, not changed."""
        return {key: value.numpy() for key, value in self.model.state_dict().items()}

    def delivered_weights(self) -> Arrays:
        """Return copies of the weights that `logits` computes with."""
        return self.weights()

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned."""
        _load(self.model, arrays)

    def optimizer_arrays(self) -> Arrays:
        """Return the optimizer's state as ``"what.name of the parameter"``."""
        return self.optimizer.arrays()

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned, in the memory format of the parameters."""
        self.optimizer.load(arrays)


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
    return all_logits(model.eval(), rows, precision)


def all_logits(forward: Callable[[Tensor], Tensor], rows: Rows, precision: str) -> NDArray[np.float32]:
    """Return what a function makes of all rows: float32 [N, K]."""
    with torch.inference_mode(), _autocast(precision):
        parts = [forward(_tensor(inputs)).float() for inputs in rows.chunks()]
    return torch.cat(parts).numpy()


def _tensor(array: NDArray[np.float32]) -> Tensor:
    """Return a tensor that shares the array's memory, unless that may not be written to."""
    return torch.from_numpy(np.require(array, requirements=["W"]))


def _autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")
