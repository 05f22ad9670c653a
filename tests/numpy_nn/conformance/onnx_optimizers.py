"""ONNX's optimizers as ours.

ONNX keeps Adam's averages, ours the sums that they are shares of. ONNX's step zero has no bias correction and no
first-step rule, which is PyTorch's step late in a training: the state is loaded with a step count at which the
corrections are exactly one.
"""

from __future__ import annotations

import numpy as np

from trimtab import numpy_nn as nn

from .onnx_node import Node

LATE = 10**6


def adam(node: Node) -> list[np.ndarray]:
    rate, (values, gradients, first, second) = _unpacked(node, 4)
    given = node.attributes
    betas, decay = (given["alpha"], given["beta"]), given.get("norm_coefficient", 0.0)
    parameters = _parameters(values, gradients)
    optimizer = nn.Adam(parameters, rate, betas, given["epsilon"], weight_decay=decay)
    shares = [1 - beta for beta in betas]
    sums = [[array / share for array in arrays] for arrays, share in zip((first, second), shares, strict=True)]
    after = _stepped(optimizer, parameters, {"0.sum": sums[0], "0.sum_of_squares": sums[1]})
    count = len(parameters)
    averages = [
        share * array
        for share, start in zip(shares, (count, 2 * count), strict=True)
        for array in after[start : start + count]
    ]
    return after[:count] + averages


def momentum(node: Node) -> list[np.ndarray]:
    rate, (values, gradients, velocity) = _unpacked(node, 3)
    given = node.attributes
    parameters = _parameters(values, gradients)
    damping = 0.0 if node.inputs[1] == 0 else 1 - given["beta"]
    optimizer = nn.SGD(
        parameters, rate, given["alpha"], damping, given["norm_coefficient"], nesterov=given["mode"] == "nesterov"
    )
    return _stepped(optimizer, parameters, {"0.momentum": velocity})


def _unpacked(node: Node, kinds: int) -> tuple[float, list[list[np.ndarray]]]:
    """Return the rate, and the tensors by kind: all values, all gradients, then all of each kind of state."""
    rate, _, *tensors = node.inputs
    each = len(tensors) // kinds
    return float(rate), [tensors[start : start + each] for start in range(0, len(tensors), each)]


def _parameters(values: list[np.ndarray], gradients: list[np.ndarray]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(value.copy()) for value in values]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad[...] = gradient
    return parameters


def _stepped(optimizer, parameters: list[nn.Parameter], state: dict[str, list[np.ndarray]]) -> list[np.ndarray]:
    """Return the new values and the new state, in ONNX's order, after one step from this state."""
    late = {"step": np.array(LATE)} if "step" in optimizer.state_dict() else {}
    flat = {name: np.concatenate([array.ravel() for array in arrays]) for name, arrays in state.items()}
    optimizer.load_state_dict({**optimizer.state_dict(), **flat, **late})
    optimizer.step()
    after = optimizer.state_dict()
    sizes = [parameter.data.size for parameter in parameters]
    parts = [np.split(after[name], np.cumsum(sizes)[:-1]) for name in state]
    shaped = [part.reshape(p.data.shape) for kind in parts for part, p in zip(kind, parameters, strict=True)]
    return [parameter.data for parameter in parameters] + shaped
