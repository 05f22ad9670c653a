"""What moves the weights of a NumPy network: penalties and the optimizers of a recipe, in one update.

`trimtab.training.torch_optimizer` does the same in torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trimtab.numpy_nn import SGD, AdamW, Module, Parameter
from trimtab.numpy_nn.muon import Muon
from trimtab.training.parameters import is_penalized, matrix_names
from trimtab.training.recipe import Recipe
from trimtab.training.stepper import Arrays

Optimizers = dict[str, AdamW | Muon | SGD]


@final
class NumpyOptimizer:
    """The optimizers of all parameters that require a gradient, and the penalties of matrices and filters among them.

    Weight decay is decoupled whatever the optimizer.
    """

    def __init__(self, network: Module, recipe: Recipe) -> None:
        self._recipe = recipe
        parameters = {name: entry for name, entry in network.named_parameters() if entry.requires_grad}
        self._penalized = [entry for entry in parameters.values() if is_penalized(entry.data.shape)]
        self._optimizers = _optimizers(parameters, recipe)

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()

    def update(self, rate: float) -> None:
        """Do one step in place: L2 into the gradients, weight decay, the optimizers' steps, and L1 last."""
        for parameter in self._penalized:
            if self._recipe.l2:
                parameter.grad += self._recipe.l2 * parameter.data
            if self._recipe.weight_decay:
                parameter.data *= 1 - rate * self._recipe.weight_decay
        for optimizer in self._optimizers.values():
            for group in optimizer.groups:
                group["lr"] = rate
            optimizer.step()
        if self._recipe.l1:
            for parameter in self._penalized:
                shrink(parameter.data, rate * self._recipe.l1)

    def arrays(self) -> Arrays:
        """Return copies of what the optimizers remember, as ``"optimizer.group.what"``."""
        return {
            f"{name}.{key}": array
            for name, optimizer in self._optimizers.items()
            for key, array in optimizer.state_dict().items()
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        for name, optimizer in self._optimizers.items():
            own = {key: array for key, array in arrays.items() if key.startswith(f"{name}.")}
            optimizer.load_state_dict({key.removeprefix(f"{name}."): array for key, array in own.items()})


def shrink(weights: NDArray[Any], threshold: float) -> None:
    """Move each weight towards zero by ``threshold``, in place, and no further than to exactly zero.

    See `trimtab.training.torch_optimizer.shrink`.
    """
    weights -= np.clip(weights, -threshold, threshold)


def _optimizers(parameters: Mapping[str, Parameter], recipe: Recipe) -> Optimizers:
    """Return the recipe's optimizer, or Muon for matrices and AdamW for the rest."""
    if recipe.optimizer == "sgd":
        return {"sgd": SGD(parameters.values(), momentum=0.9, nesterov=True)}
    matrices = matrix_names({name: entry.data.shape for name, entry in parameters.items()})
    if recipe.optimizer == "adamw" or not matrices:
        return {"adamw": AdamW(parameters.values(), weight_decay=0.0)}
    rest = [parameter for name, parameter in parameters.items() if name not in matrices]
    return {
        "muon": Muon([parameters[name] for name in matrices]),
        "adamw": AdamW(rest, weight_decay=0.0),
    }
