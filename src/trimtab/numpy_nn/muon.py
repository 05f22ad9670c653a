"""Muon: momentum made orthogonal before it moves a matrix, so that it moves all directions of a layer alike.

For weights of linear layers and filters of convolutions, which count as [out, everything else]; the rest of a network
needs another optimizer. `torch.optim.Muon` refuses filters; to matrices it does the same, given these constants and
``adjust_lr_fn="match_rms_adamw"``, but for rounding to bfloat16.

References
----------
Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024.
Liu et al., Muon is Scalable for LLM Training, 2025, arXiv 2502.16982, section 2.2 (the length of a step).
"""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np

from trimtab.numpy_nn.memory import product
from trimtab.numpy_nn.module import Array
from trimtab.numpy_nn.optimizers import Optimizer, Parameters

# Momentum and iterations are those of Jordan's CIFAR-10 speedrun. Large language models take 0.95 and 5, which gave no
# better networks for digits in 25 to 150 steps: a long memory is slow to start, and five iterations cost 1.6 times as
# much as three.
MOMENTUM = 0.6
ITERATIONS = 3
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: as steep at zero as still stays near one afterwards
SMALLEST_NORM = 1e-7  # what a matrix is divided by at least
_RMS = 0.2  # of AdamW's steps in units of its learning rate, as Liu et al. measured


def step_length(rows: int, columns: int) -> float:
    """Return what an orthogonal matrix is multiplied by so that its root mean square is that of AdamW's steps.

    That of an orthogonal matrix is one over the root of its longer side; so one learning rate fits all widths, and
    fits AdamW, which moves the rest of the network.
    """
    return _RMS * math.sqrt(max(rows, columns))


def orthogonalized(matrix: Array) -> Array:
    """Return a matrix with the singular vectors of ``matrix`` and singular values near one, within [0.68, 1.21].

    Newton-Schulz iteration with a polynomial of fifth degree, p(x) = a x + b x^3 + c x^5 of each singular value. It
    does not converge to one; it lifts small values fast, which is what counts for training. Those below a fiftieth
    of the matrix's norm (Frobenius's) stay below the band, and zero stays zero.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / max(float(np.linalg.norm(x)), SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = product(x, x.T)
        polynomial = product(gram, gram)
        polynomial *= c
        polynomial += b * gram
        moved = product(polynomial, x)
        moved += a * x
        x = moved
    return x.T if is_tall else x


@final
class Muon(Optimizer):
    """v = momentum v + g, w -= lr step_length orthogonalized(g + momentum v): Nesterov's momentum, made orthogonal."""

    state_names = ("momentum",)

    def __init__(self, params: Parameters, lr: float = 1e-3) -> None:
        super().__init__(params, lr=lr)
        if any(parameter.data.ndim < 2 for parameter, _ in self._members):
            raise ValueError("a parameter is a vector; expected matrices and filters; give vectors to AdamW or SGD.")

    def _move(self, settings: dict[str, Any], flat: dict[str, Array]) -> None:
        flat["momentum"] *= MOMENTUM
        flat["momentum"] += flat["grad"]
        directions = flat["grad"] + MOMENTUM * flat["momentum"]
        start = 0
        for parameter in (parameter for parameter, owner in self._members if owner is flat):
            stop = start + parameter.data.size
            shape = len(parameter.data), -1
            _move_matrix(parameter.data.reshape(shape), directions[start:stop].reshape(shape), settings["lr"])
            start = stop


def _move_matrix(weight: Array, direction: Array, rate: float) -> None:
    """Move a matrix in place: the rule of Muon."""
    weight -= rate * step_length(*weight.shape) * orthogonalized(direction)
