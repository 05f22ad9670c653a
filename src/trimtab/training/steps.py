"""One optimizer step, and the passes without one: validation and prediction.

Every step seeds its own randomness from (seed, step), so a step is a function of the weights before it and its
number. Not here: how many steps, when to stop.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trimtab.artifact import Artifact
from trimtab.models import build
from trimtab.training import torch_nn
from trimtab.training.batches import Order, Rows, augmented, step_seed
from trimtab.training.recipe import Recipe
from trimtab.training.schedules import learning_rate_factor


class Stepper:
    """A model with its optimizer and the training rows: everything one step changes or reads."""

    def __init__(self, builder: str, kwargs: Mapping[str, Any], rows: Rows, recipe: Recipe) -> None:
        torch.manual_seed(step_seed(recipe.seed, -1))
        self.model: torch.nn.Module = build(torch_nn, builder, kwargs).to(memory_format=torch.channels_last)
        self.rows, self.recipe, self.precision = rows, recipe, recipe.precision
        self.optimizer = _optimizer(self.model, recipe)
        self._order = Order(len(rows), recipe.batch_size, recipe.seed)
        self._random = torch.Generator()

    def copy(self, precision: str) -> Stepper:
        """Return a twin at another precision, for trials; nothing it does is seen by this one."""
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        twin.optimizer = _optimizer(twin.model, self.recipe)
        twin.precision = precision
        return twin

    def step(self, step: int, progress: float) -> tuple[Tensor, float]:
        """Do step number ``step`` in place; return the loss (0-d tensor) and the learning rate used."""
        recipe = self.recipe
        seed = step_seed(recipe.seed, step)
        torch.manual_seed(seed)
        self._random.manual_seed(seed)
        rows = self._order.at(step)
        inputs = self.rows.normalize(augmented(self.rows.inputs, rows, recipe.augment, self._random))
        rate = recipe.learning_rate * learning_rate_factor(recipe.schedule, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        with _autocast(self.precision):
            logits = self.model(inputs)
        loss = functional.cross_entropy(logits.float(), self.rows.labels[rows], label_smoothing=recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach(), rate


def validate(model: torch.nn.Module, rows: Rows, precision: str) -> tuple[float, float]:
    """Return the mean log loss and the accuracy over all rows."""
    losses, hits = 0.0, 0
    for logits, labels in _logits(model, rows, precision):
        losses += float(functional.cross_entropy(logits, labels, reduction="sum"))
        hits += int((logits.argmax(1) == labels).sum())
    return losses / len(rows), hits / len(rows)


def restore(artifact: Artifact) -> torch.nn.Module:
    """Return the network of an artifact, with its weights."""
    built = build(torch_nn, artifact.builder, artifact.kwargs)
    model: torch.nn.Module = built.to(memory_format=torch.channels_last)
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in artifact.arrays.items()})
    return model


def predict_probabilities(model: torch.nn.Module, rows: Rows) -> NDArray[np.float32]:
    """Return class probabilities float32 [N, K], computed in float32."""
    chunks = [logits.softmax(1).numpy() for logits, _ in _logits(model, rows, "float32")]
    return np.concatenate(chunks).astype(np.float32)


def _logits(model: torch.nn.Module, rows: Rows, precision: str) -> list[tuple[Tensor, Tensor]]:
    model.eval()
    with torch.inference_mode(), _autocast(precision):
        return [(model(inputs).float(), labels) for inputs, labels in rows.chunks()]


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
