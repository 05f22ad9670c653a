"""Muon in torch: `trimtab.numpy_nn.muon` for tensors, whose constants and references it shares.

torch.optim.Muon is not used: it refuses the filters of convolutions and rounds to bfloat16 also where that is slow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor

from trimtab.numpy_nn.muon import COEFFICIENTS, ITERATIONS, MOMENTUM, SMALLEST_NORM, step_length


@final
class Muon(torch.optim.Optimizer):
    """v = momentum v + g, w -= lr step_length orthogonalized(g + momentum v): Nesterov's momentum, made orthogonal.

    Parameters
    ----------
    params
        Matrices [out, in] and filters [out, in, height, width].
    lr
        Learning rate, on AdamW's scale.
    dtype
        What the iteration computes in; a group's entry ``"dtype"`` may be changed between steps.

    Raises
    ------
    ValueError
        If a parameter is a vector.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(params, {"lr": lr, "dtype": dtype})
        if any(parameter.ndim not in (2, 4) for group in self.param_groups for parameter in group["params"]):
            raise ValueError("a parameter is no matrix; expected matrices and filters; give others to AdamW or SGD.")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient, in place."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            gradients = [parameter.grad for parameter in parameters]
            momenta = [self._momentum(parameter) for parameter in parameters]
            torch._foreach_mul_(momenta, MOMENTUM)
            torch._foreach_add_(momenta, gradients)
            directions = torch._foreach_add(gradients, momenta, alpha=MOMENTUM)
            for parameter, direction in zip(parameters, directions, strict=True):
                _move(parameter, direction, group["lr"], group["dtype"])

    def _momentum(self, parameter: Tensor) -> Tensor:
        state: dict[str, Any] = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonalized(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a matrix with the singular vectors of ``matrix`` and singular values near one, computed in ``dtype``.

    See `trimtab.numpy_nn.muon.orthogonalized`.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if is_tall else matrix).to(dtype)
    x = x / x.norm().clamp(min=SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.addmm(x, polynomial, x, beta=a)
    return x.T if is_tall else x


def _move(weight: Tensor, direction: Tensor, rate: float, dtype: torch.dtype) -> None:
    """Move a parameter in place: the rule of Muon."""
    filters = direction.movedim(1, -1)  # [out, height, width, in]: as they lie; the order of columns does not matter
    matrix = filters.flatten(1)
    step = orthogonalized(matrix, dtype).reshape(filters.shape).movedim(-1, 1)
    weight.sub_(step, alpha=rate * step_length(*matrix.shape))
