"""Quantization-aware training: steps in which the network computes with numbers rounded as its int8 model rounds them.

Weights are rounded per output channel, what flows into convolutions and linear layers per tensor, over the range that
the batch shows. Gradients pass a rounding as if it were not there. So nothing but the forward pass changes: the
weights that are trained, kept and delivered are in floating point, and whoever quantizes them finds them used to it.

Shapes: O I output and input channels of a weight.

References
----------
B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
2018; the gradient: Y. Bengio, N. Leonard and A. Courville, arXiv 1308.3432, 2013.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows
from trimtab.training.torch_nn import Residual
from trimtab.training.torch_steps import TorchStepper, all_logits

_WEIGHT_LEVELS = 64  # on either side of zero: seven bits, as trimtab.compression.quantize keeps to
_ACTIVATION_LEVELS = 255
_TINY = 1e-12


class RoundingStepper(TorchStepper):
    """A `TorchStepper` whose network rounds; see `trimtab.training.stepper.Stepper`."""

    def __init__(self, model: torch.nn.Module, rows: Rows, recipe: Recipe) -> None:
        super().__init__(model, rows, recipe)
        for layer in model.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.register_forward_pre_hook(_round_input)
            elif isinstance(layer, Residual):
                layer.module.register_forward_hook(_round_output)

    def compilation_obstacle(self) -> str | None:
        """Return that rounding is not compiled."""
        return "rounding in training is not"

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of a network with rounded weights."""
        layers = (
            name for name, layer in self.model.named_modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
        )
        weights = {f"{name}.weight": self.model.get_parameter(f"{name}.weight") for name in layers}
        rounded = {name: round_weight(weight) for name, weight in weights.items()}
        logits: Tensor = functional_call(self.model, rounded, (inputs,))
        return logits

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the rounding network's output for all rows in evaluation mode: float32 [N, K]."""
        self.model.eval()
        return all_logits(self.forward, rows, self.mode.precision)


def round_weight(weight: Tensor) -> Tensor:
    """Return a weight [O, ...] on 129 levels for each output channel, its gradient that of the weight."""
    largest = weight.detach().abs().flatten(1).amax(dim=1).clamp(min=_TINY)
    scale = (largest / _WEIGHT_LEVELS).reshape(-1, *[1] * (weight.ndim - 1))
    return _passing(weight, torch.round(weight.detach() / scale) * scale)


def round_activation(x: Tensor) -> Tensor:
    """Return an activation on 256 levels over the range from its least to its largest number, zero among them."""
    values = x.detach().float()
    low, high = values.amin().clamp(max=0), values.amax().clamp(min=0)
    scale = ((high - low) / _ACTIVATION_LEVELS).clamp(min=_TINY)
    zero = torch.round(-low / scale)
    codes = (torch.round(values / scale) + zero).clamp(0, _ACTIVATION_LEVELS)
    return _passing(x, ((codes - zero) * scale).to(x.dtype))


def _passing(x: Tensor, rounded: Tensor) -> Tensor:
    """Return the rounded numbers, with the gradient of the others."""
    return x + (rounded - x.detach())


def _round_input(_: torch.nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return (round_activation(arguments[0]),)


def _round_output(_: torch.nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
    return round_activation(output)
