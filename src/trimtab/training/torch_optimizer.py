"""What moves the weights of a torch network: penalties and the optimizers of a recipe, in one update.

`trimtab.training.numpy_optimizer` does the same in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimtab.training.parameters import is_penalized, matrix_names
from trimtab.training.recipe import Recipe
from trimtab.training.stepper import Arrays
from trimtab.training.torch_muon import Muon


@final
class TorchOptimizer:
    """The optimizers of all parameters that require a gradient, and the penalties of matrices and filters among them.

    Weight decay is decoupled whatever the optimizer. That costs one pass over the weights, and the optimizers stay
    torch's fused ones.
    """

    def __init__(self, model: torch.nn.Module, recipe: Recipe) -> None:
        self._recipe = recipe
        self.parameters = {name: entry for name, entry in model.named_parameters() if entry.requires_grad}
        self._penalized: list[Tensor] = [entry for entry in self.parameters.values() if is_penalized(entry.shape)]
        self._optimizers = _optimizers(self.parameters, recipe)
        self._groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        self._owners = {
            id(parameter): optimizer
            for optimizer in self._optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def update(self, rate: float, precision: str) -> None:
        """Do one step in place: L2 into the gradients, weight decay, the optimizers' steps, and L1 last.

        Parameters
        ----------
        rate
            The learning rate.
        precision
            One of `trimtab.training.PRECISIONS`, in which Muon iterates.
        """
        self._complete_gradients()
        if self._recipe.l2:
            gradients = [entry.grad for entry in self._penalized if entry.grad is not None]
            torch._foreach_add_(gradients, self._penalized, alpha=self._recipe.l2)
        if self._recipe.weight_decay:
            torch._foreach_mul_(self._penalized, 1 - rate * self._recipe.weight_decay)
        for group in self._groups:
            group.update({"lr": rate} | ({"dtype": getattr(torch, precision)} if "dtype" in group else {}))
        for optimizer in self._optimizers:
            optimizer.step()
        if self._recipe.l1:
            for parameter in self._penalized:
                shrink(parameter, rate * self._recipe.l1)

    def arrays(self) -> Arrays:
        """Return copies of what the optimizers remember, as ``"what.name of the parameter"``."""
        return {
            f"{what}.{name}": np.array(value.numpy(), order="C")
            for name, parameter in self.parameters.items()
            for what, value in self.state_of(parameter).items()
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned, in the memory format of the parameters."""
        for key, array in arrays.items():
            what, name = key.split(".", 1)
            parameter, value = self.parameters[name], torch.from_numpy(np.array(array))
            if value.shape == parameter.shape:  # not the step counter
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            self.state_of(parameter)[what] = value

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return what the optimizer of that parameter remembers of it, to be read and written."""
        owner = self._owners[id(parameter)]
        state: dict[str, Tensor] = owner.state[parameter]
        return state

    def _complete_gradients(self) -> None:
        """Give zeros to parameters that no row reached: momentum and decay go on for these as in the NumPy engine."""
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


def shrink(weights: Tensor, threshold: float) -> None:
    """Move each weight towards zero by ``threshold``, in place, and no further than to exactly zero.

    The proximal step of L1: soft thresholding. A step along the sign would leave weights on either side of zero.

    References
    ----------
    Beck and Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm, SIAM J. Imaging Sciences 2009, section 1.
    """
    weights.sub_(weights.clamp(-threshold, threshold))


def _optimizers(parameters: Mapping[str, Tensor], recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return the recipe's optimizer, or Muon for matrices and AdamW for the rest."""
    if recipe.optimizer == "sgd":
        return [torch.optim.SGD(parameters.values(), momentum=0.9, nesterov=True, fused=True)]
    matrices = matrix_names({name: entry.shape for name, entry in parameters.items()})
    if recipe.optimizer == "adamw" or not matrices:
        return [torch.optim.AdamW(parameters.values(), weight_decay=0.0, fused=True)]
    rest = [parameter for name, parameter in parameters.items() if name not in matrices]
    return [
        Muon([parameters[name] for name in matrices]),
        torch.optim.AdamW(rest, weight_decay=0.0, fused=True),
    ]
