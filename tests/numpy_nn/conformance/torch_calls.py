"""What PyTorch gives for a sample, what a layer of ours gives, and how the two are compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from trimtab import numpy_nn as nn

TOLERANCE = 1e-10  # times the largest magnitude of the expected array, and at least times one
NEUTRAL = {"padding": 0, "output_padding": 0}  # along the added axis of height one; elsewhere one


@dataclass(frozen=True)
class Result:
    """Outputs, gradients by the argument's name, and what the call wrote into buffers."""

    outputs: list[np.ndarray]
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)


def reference(
    call: Callable[[], Any], leaves: dict[str, torch.Tensor], direction_like: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[Result, np.ndarray]:
    """What PyTorch gives: outputs, and gradients by autograd for a cotangent like the first of them, returned too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch speaks of its own deprecations and slow paths
        outputs = call()
        outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
        direction = direction_like(outputs[0])
        gradients = torch.autograd.grad(outputs[0], list(leaves.values()), direction, allow_unused=True)
    found = {name: array(value) for name, value in zip(leaves, gradients, strict=True) if value is not None}
    return Result([array(output) for output in outputs], found), array(direction)


def array(value: torch.Tensor) -> np.ndarray:
    """Return the tensor as an array of its own, with the tensor's strides."""
    return np.array(value.detach().numpy(), copy=True, order="K")


def words(*values: Any, **named: Any) -> str:
    """Return the arguments of a sample in words, each tensor by its shape."""
    return ", ".join([*map(_word, values), *(f"{name}={_word(value)}" for name, value in named.items())])


def _word(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, torch.Tensor) else repr(value)


def run_layer(
    layer: nn.Module,
    inputs: np.ndarray,
    cotangent: np.ndarray,
    state: dict[str, np.ndarray | None] | None = None,
    axes: tuple[int, ...] = (),
) -> Result:
    """Forward and backward pass in float64; ``axes`` of length one are added to the input and taken off again.

    A parameter in ``state`` gets its missing axes in front of the last one: weights over a signal go over an image.
    """
    layer.to(np.float64)
    own = layer.state_dict()
    given = {name: value for name, value in (state or {}).items() if value is not None}
    layer.load_state_dict({**own, **{name: value.reshape(own[name].shape) for name, value in given.items()}})
    output = np.squeeze(layer(np.expand_dims(inputs, axes)), axes)
    layer.zero_grad()
    gradient = layer.backward(np.expand_dims(cotangent, axes))
    parameters = dict(layer.named_parameters())
    gradients = {name: parameters[name].grad.reshape(np.shape(given[name])) for name in given if name in parameters}
    if gradient is not None:
        gradients["input"] = np.squeeze(gradient, axes)
    buffers = {name: value for name, value in layer.state_dict().items() if name not in parameters}
    return Result([output], gradients, buffers)


def run_convolution(options: dict[str, Any], run: Callable[[nn.Module], Result]) -> Result:
    """Result by the algorithm that the layer chooses; where Winograd's applies, that must give the same.

    The layer itself chooses it only for more channels than any of the samples has.
    """
    result = run(nn.Conv2d(**options))
    try:
        other = nn.Conv2d(**options, algorithm="winograd")
    except ValueError:
        return result
    check(run(other), result)
    return result


def added_axes(inputs: np.ndarray, rank: int) -> tuple[int, ...]:
    """Axes that make an image in a batch of an input with this many axes of space, in a batch or not."""
    batch = (0,) if inputs.ndim == rank + 1 else ()
    return batch + ((-2,) if rank == 1 else ())


def image_options(options: dict[str, Any], rank: int) -> dict[str, Any]:
    """Options of a window over a signal as those of one over an image of height one."""
    return {name: _pair(value, rank, NEUTRAL.get(name, 1)) for name, value in options.items()}


def _pair(value: Any, rank: int, neutral: int) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not values:
        return None
    if rank == 1:
        return (neutral, *values)
    return values * 2 if len(values) == 1 else values


def check(got: Result, expected: Result) -> tuple[str, ...]:
    """Names of the gradients that we have no counterpart of; raises ``AssertionError`` at the first difference."""
    assert len(got.outputs) == len(expected.outputs)
    for index, (ours, theirs) in enumerate(zip(got.outputs, expected.outputs, strict=True)):
        _check_close(f"output {index}", ours, theirs)
    for name in expected.gradients.keys() & got.gradients.keys():
        _check_close(f"gradient of {name}", got.gradients[name], expected.gradients[name])
    for name, value in expected.buffers.items():
        _check_close(name, got.buffers[name], value)
    return tuple(f"gradient of {name}" for name in sorted(expected.gradients.keys() - got.gradients.keys()))


def _check_close(name: str, got: np.ndarray, expected: np.ndarray) -> None:
    got = np.asarray(got)
    assert got.dtype == expected.dtype, (name, got.dtype, expected.dtype)
    assert got.shape == expected.shape, (name, got.shape, expected.shape)
    size = max(1.0, np.nanmax(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * size, err_msg=name)
