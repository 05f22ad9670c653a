"""The same layer in torch and in the engine, with the same weights, inputs and gradients: what both make of them.

Torch computes in float64, so that what differs is the engine's. A layer is described by a function of the namespace,
as in `trimtab.models`: ``lambda nn: nn.Linear(3, 2)``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trimtab import numpy_nn
from trimtab.training import torch_nn

Array = np.ndarray[Any, Any]
Make = Callable[[Any], Any]

EXACT = 1e-10  # float64 against float64, relative to the largest number of the array, or to one


def _conv2d(*args: Any, algorithm: str = "auto", **options: Any) -> torch.nn.Conv2d:
    """Return torch's layer; which algorithm computes it is torch's own affair."""
    return torch.nn.Conv2d(*args, **options)


_TWINS = {name: getattr(torch_nn, name) for name in torch_nn.__all__ if name not in vars(torch.nn)}
TORCH = SimpleNamespace(**{**vars(torch.nn), **_TWINS, "Conv2d": _conv2d})


@dataclass(frozen=True)
class Case:
    """A layer, the shape of its inputs, and how often it is called in a row."""

    make: Make
    shape: tuple[int, ...]
    training: bool = True
    calls: int = 1
    classes: int | None = None  # inputs are whole numbers below this

    def inputs(self, rng: np.random.Generator) -> list[Array]:
        """Return an input for each call: float64, neither centered nor of unit spread; or whole numbers."""
        if self.classes is not None:
            return [rng.integers(0, self.classes, self.shape) for _ in range(self.calls)]
        return [1.5 * rng.standard_normal(self.shape) + 0.3 for _ in range(self.calls)]


def row(layer: str, shape: tuple[int, ...], *args: Any, **options: Any) -> Any:
    """Return a row of a table for ``nn.layer(*args, **options)``; the fields of `Case` are taken out of the options."""
    fields = {name: options.pop(name) for name in ("training", "calls", "classes") if name in options}
    words = [*map(repr, args), *(f"{name}={value!r}" for name, value in options.items())]
    words_of_call = [f"{name}={value}" for name, value in fields.items() if name != "classes"]
    name = f"{layer}({', '.join(words)}) of {'x'.join(map(str, shape)) or 'a number'}"
    make = lambda nn: getattr(nn, layer)(*args, **options)  # noqa: E731
    return pytest.param(Case(make, shape, **fields), id=" ".join([name, *words_of_call]))


def network(name: str, shape: tuple[int, ...], make: Make, **fields: Any) -> Any:
    """Return a row of a table for a network."""
    return pytest.param(Case(make, shape, **fields), id=name)


# One row or more for every layer there is; small, for tests that do much with each of them.
LAYERS = [
    row("Linear", (4, 5), 5, 3),
    row("Embedding", (4, 6), 5, 3, classes=5),
    row("Conv2d", (2, 3, 6, 5), 3, 4, 3, stride=2, padding=1),
    row("Conv2d", (2, 3, 6, 7), 3, 4, 3, padding=1, algorithm="winograd"),
    row("Conv2d", (2, 4, 6, 5), 4, 6, 3, padding=1, groups=2),
    row("Conv2d", (2, 3, 6, 5), 3, 6, 3, padding=1, groups=3),
    row("ConvTranspose2d", (2, 3, 4, 3), 3, 4, 3, stride=2, padding=1, output_padding=1),
    row("MaxPool2d", (2, 3, 7, 6), 3, stride=2, padding=1),
    row("MaxPool2d", (2, 3, 6, 4), 2),
    row("AvgPool2d", (2, 3, 7, 6), 3, stride=2, padding=1),
    row("AdaptiveAvgPool2d", (2, 3, 7, 6), 1),
    row("AdaptiveAvgPool2d", (2, 3, 7, 6), (3, 4)),
    row("Upsample", (2, 3, 3, 4), scale_factor=2),
    row("Upsample", (2, 3, 3, 4), size=(5, 7), mode="bilinear"),
    row("BatchNorm1d", (7, 3), 3),
    row("BatchNorm1d", (7, 3), 3, training=False),
    row("BatchNorm2d", (3, 2, 4, 3), 2),
    row("BatchNorm2d", (3, 2, 4, 3), 2, training=False),
    row("ShiftNorm2d", (3, 2, 4, 3), 2),
    row("ShiftNorm2d", (3, 2, 4, 3), 2, training=False),
    row("LayerNorm", (4, 6), 6),
    row("Tokens", (3, 4, 2, 3), 6, 4),
    row("SelfAttention", (3, 5, 12), 5, 4, 2),
    row("TokenMean", (3, 5, 4), 5, 4),
    row("Dropout", (4, 6), 0.5, training=False),
    row("ReLU", (3, 4, 5, 2)),
    row("LeakyReLU", (3, 4, 5, 2), 0.2),
    row("Tanh", (3, 4, 5)),
    row("Sigmoid", (3, 4, 5)),
    row("SiLU", (3, 4, 5)),
    row("GELU", (3, 4, 5)),
    row("GELU", (3, 4, 5), approximate="tanh"),
    row("Scale", (3, 4), 0.25),
    row("Flatten", (3, 4, 5, 2)),
    row("Unflatten", (3, 12), 1, (3, 2, 2)),
    row("Identity", (3, 4)),
    network("Sequential", (4, 5), lambda nn: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))),
    network("Residual", (4, 5), lambda nn: nn.Residual(nn.Sequential(nn.Linear(5, 5), nn.Tanh()))),
]


def twins(case: Case, rng: np.random.Generator, dtype: type = np.float64) -> tuple[torch.nn.Module, numpy_nn.Module]:
    """Return torch's layer, in float64, and the engine's, with the same random parameters and running statistics."""
    theirs = case.make(TORCH).double().train(case.training)
    for name, values in theirs.state_dict().items():
        if "running_var" in name:
            values.copy_(torch.from_numpy(rng.uniform(0.5, 2, tuple(values.shape))))
        elif values.is_floating_point():
            values.copy_(torch.from_numpy(0.6 * rng.standard_normal(tuple(values.shape))))
    ours = case.make(numpy_nn).to(dtype).train(case.training)
    ours.load_state_dict(arrays(theirs))
    return theirs, ours


def arrays(layer: torch.nn.Module) -> dict[str, Array]:
    """Return the state of torch's layer as the engine takes it."""
    return {name: values.numpy() for name, values in layer.state_dict().items()}


def of_torch(
    layer: torch.nn.Module, inputs: Sequence[Array], draw: Callable[[tuple[int, ...]], Array]
) -> tuple[dict[str, Array], list[Array]]:
    """Return outputs and input gradients of each call, the accumulated gradients of the parameters, and the state.

    ``draw`` returns the gradient of an output of a shape; those are returned too.
    """
    found: dict[str, Array] = {}
    grads = []
    for call, x in enumerate(inputs):
        tensor = torch.tensor(np.ascontiguousarray(x), requires_grad=x.dtype.kind == "f")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using padding='same'", UserWarning)
            output = layer(tensor.clone())  # some change their input in place, which a leaf forbids
        grads.append(draw(tuple(output.shape)))
        output.backward(torch.tensor(np.ascontiguousarray(grads[-1])))
        found[f"output {call}"] = output.detach().numpy()
        if tensor.grad is not None:
            found[f"gradient of input {call}"] = tensor.grad.numpy()
    trained = {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}
    found |= {f"gradient of {name}": parameter.grad.numpy() for name, parameter in trained.items()}
    return found | {f"state {name}": values for name, values in arrays(layer).items()}, grads


def of_engine(layer: numpy_nn.Module, inputs: Sequence[Array], grads: Sequence[Array]) -> dict[str, Array]:
    """Return the same of the engine's layer; check on the way that it leaves inputs and incoming gradients alone."""
    found: dict[str, Array] = {}
    for call, (x, grad) in enumerate(zip(inputs, grads, strict=True)):
        before = x.copy(), grad.copy()
        found[f"output {call}"] = layer(x)
        dx = layer.backward(grad)
        if x.dtype.kind == "f":
            found[f"gradient of input {call}"] = dx
        assert np.array_equal(x, before[0])
        assert np.array_equal(grad, before[1])
    trained = {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}
    found |= {f"gradient of {name}": parameter.grad for name, parameter in trained.items()}
    return found | {f"state {name}": values for name, values in layer.state_dict().items()}


def assert_same(ours: Mapping[str, Array], theirs: Mapping[str, Array], tolerance: float = EXACT) -> None:
    """Compare arrays by name: their shapes, and their numbers by `relative_error`."""
    assert {name: array.shape for name, array in ours.items()} == {name: a.shape for name, a in theirs.items()}
    errors = {name: relative_error(ours[name], theirs[name]) for name in theirs}
    assert {name: error for name, error in errors.items() if not error <= tolerance} == {}


def relative_error(ours: Array, theirs: Array) -> float:
    """Return the largest difference relative to the largest of their numbers, or to one if that is larger."""
    return float(np.abs(ours - theirs).max(initial=0) / np.abs(theirs).max(initial=1))


def outcomes(
    case: Case,
    dtype: type = np.float64,
    lay: Callable[[Array], Array] = np.ascontiguousarray,
    lay_grad: Callable[[Array], Array] = np.ascontiguousarray,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return what the engine's layer makes of the inputs of a case, and what torch's does.

    Parameters
    ----------
    case
        The layer and what it is called with.
    dtype
        The engine's element type.
    lay, lay_grad
        How inputs and incoming gradients lie in memory: return the same numbers as another array.
    """
    rng = np.random.default_rng(list(case.shape))
    theirs, ours = twins(case, rng, dtype)
    inputs = [lay(x) for x in case.inputs(rng)]
    expected, grads = of_torch(theirs, inputs, lambda shape: lay_grad(rng.standard_normal(shape)))
    if dtype is not np.float64:
        inputs = [x if x.dtype.kind == "i" else x.astype(dtype) for x in inputs]
        grads = [grad.astype(dtype) for grad in grads]
    found = of_engine(ours, inputs, grads)
    kinds = {name: array.dtype for name, array in found.items() if not name.endswith("num_batches_tracked")}
    assert set(kinds.values()) == {np.dtype(dtype)}, kinds
    return found, expected


def assert_parity(case: Case, *, tolerance: float = EXACT, **options: Any) -> None:
    """Check that the engine's layer does what torch's does; the options are those of `outcomes`."""
    assert_same(*outcomes(case, **options), tolerance)
