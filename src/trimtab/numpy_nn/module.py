"""What a layer is: a forward pass that keeps what its backward pass needs, and parameters with their gradients.

There is no graph and no tape. A network is called once, then its ``backward`` once; each layer hands the gradient of
its input to the layer before it. So a layer object stands in one place of a network only.

Pictures are [B, C, H, W] as in torch, but lie channels-last in memory: layers return transposed views, and a layer
that is given another order copies it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trimtab.numpy_nn.memory import product
from trimtab.numpy_nn.shards import state

Array = NDArray[Any]


class Parameter:
    """A trained array ``data`` and its gradient ``grad``, of the same shape."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self._is_zero = False
        self.grad = np.zeros_like(data)
        self.requires_grad = True
        self._parts: dict[int, Array] = {}

    @property
    def grad(self) -> Array:
        """The gradient, an array that is changed in place."""
        if self._is_zero:
            self._grad.fill(0)
            self._is_zero = False
        return self._grad

    @grad.setter
    def grad(self, grad: Array) -> None:
        self._grad, self._is_zero = grad, False

    def zero(self) -> None:
        """Set the gradient to zero; what is added first is then written instead, and no zeros are."""
        self._is_zero = True

    def add(self, grad: Array) -> None:
        """Add to the gradient in place; what parts of a batch add at the same time waits for `merge`."""
        if state.shard is not None:
            self._parts[state.shard] = self._parts[state.shard] + grad if state.shard in self._parts else grad
        elif self._is_zero:
            self._grad[...] = grad
            self._is_zero = False
        else:
            self._grad += grad

    def add_product(self, a: Array, b: Array) -> None:
        """Add a product of two matrices."""
        if self._is_zero and state.shard is None:
            np.matmul(a, b, out=self._grad)
            self._is_zero = False
        else:
            self.add(product(a, b))

    def merge(self) -> None:
        """Add what the parts of a batch have added, in their order."""
        parts = [self._parts[shard] for shard in sorted(self._parts)]
        self._parts.clear()
        for part in parts:
            self.add(part)

    def __repr__(self) -> str:
        return f"Parameter({list(self.data.shape)}, {self.data.dtype})"


class ShapeError(ValueError):
    """A layer was given an input that it cannot take; says which layer, what it got and what it expected."""

    def __init__(self, layer: Module, got: Array, expected: str, place: str = "") -> None:
        self.layer, self.got, self.expected, self.place = layer, got, expected, place
        where = f"layer {place}, {layer}," if place else f"{layer}"
        shape = list(got.shape) if got.dtype.kind == "f" else f"{list(got.shape)} and the type {got.dtype}"
        super().__init__(
            f"{where} got an input of shape {shape}; expected {expected}; change its arguments or what comes before it."
        )

    def within(self, name: str) -> ShapeError:
        """Return the same error as seen from the container in which the layer is called ``name``."""
        return ShapeError(self.layer, self.got, self.expected, f"{name}.{self.place}" if self.place else name)


@contextmanager
def inference() -> Iterator[None]:
    """Within the block, forward passes keep nothing for a backward pass; `Module.eval` is a different matter."""
    before, state.is_inference = state.is_inference, True
    try:
        yield
    finally:
        state.is_inference = before


class Module:
    """A layer or a network.

    Attributes
    ----------
    training
        Whether dropout drops and batch normalization uses the batch's own statistics.
    input_gradient
        Whether ``backward`` works out the gradient of the input. ``False`` on a `Sequential` that is trained on data
        saves the work, and its ``backward`` returns an array without elements.
    retains
        Whether ``backward`` may be called again after the same forward pass.
    mixes_examples
        Whether the batch must stay whole: the first axis of the output is not that of the input.
    """

    buffer_names: ClassVar[tuple[str, ...]] = ()
    training = True
    input_gradient = True
    retains = False
    mixes_examples = False
    _kept_by_shard: dict[int | None, Any]

    def __call__(self, x: Array) -> Array:
        """Return `forward` of ``x``."""
        return self.forward(x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"

    def describe(self) -> str:
        """Return the arguments, as they are written."""
        return ""

    # ---- what a layer defines ----

    def forward(self, x: Array) -> Array:
        """Return the output, and keep what `backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass.")

    def backward(self, grad: Array) -> Array:
        """Return the gradient of the input for that of the output, and add to the gradients of the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no backward pass.")

    def tangent(self, v: Array) -> Array:
        """Return how the output moves when the input of the last `forward` moves along ``v``.

        A piecewise-linear layer applies its linear map without the bias, and with the same masks. Afterwards
        `backward` gives gradients of this derivative. Needs `retains`.

        Raises
        ------
        TypeError
            If the layer is not piecewise linear.
        """
        raise TypeError(
            f"{self} is not piecewise linear; expected layers such as Linear, Conv2d, ReLU, LeakyReLU and pooling; "
            "use LeakyReLU in a network whose gradient is penalized."
        )

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw this layer's own parameters, without those of the layers in it."""

    def draw(self) -> None:
        """Draw what a forward pass needs once for the whole batch, before the batch is cut."""

    # ---- what a layer uses ----

    @property
    def _keeps(self) -> bool:
        return not state.is_inference

    @property
    def _kept(self) -> Any:
        """What the last forward pass kept; each part of a batch keeps its own."""
        return vars(self).get("_kept_by_shard", {}).get(state.shard)

    def _keep(self, *values: Any) -> None:
        if state.shard is None:
            self.forget()
        vars(self).setdefault("_kept_by_shard", {})[state.shard] = values if self._keeps else None

    def _take(self) -> Any:
        kept = self._kept
        if kept is None:
            raise RuntimeError(
                f"{type(self).__name__} has nothing to go back from; expected a forward pass, outside `inference()`, "
                "before each backward pass; call the network first."
            )
        if not self.retains:
            self._kept_by_shard.pop(state.shard)
        return kept

    def forget(self) -> None:
        """Drop what this layer has kept for going back."""
        vars(self).pop("_kept_by_shard", None)

    # ---- the tree ----

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers directly in this one with their names."""
        yield from ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def modules(self) -> Iterator[Module]:
        """Yield this layer and all within it, in order."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter with torch's name for it."""
        yield from ((prefix + name, value) for name, value in vars(self).items() if isinstance(value, Parameter))
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter."""
        yield from (parameter for _, parameter in self.named_parameters())

    def _named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Module, str]]:
        yield from ((prefix + name, self, name) for name in self.buffer_names)
        for name, child in self.children():
            yield from child._named_buffers(f"{prefix}{name}.")

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and running statistics under torch's keys."""
        return {key: np.array(view) for key, view in self.state_views().items()}

    def state_views(self) -> dict[str, Array]:
        """Return the arrays of `state_dict` themselves; running statistics may be others after the next pass."""
        state = {name: parameter.data for name, parameter in self.named_parameters()}
        return state | {key: np.asarray(getattr(owner, name)) for key, owner, name in self._named_buffers()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy arrays in, converted to this network's element type.

        Raises
        ------
        ValueError
            If keys are missing or unknown, or shapes differ: all of them at once; nothing is changed then.
        """
        own = self.state_dict()
        mistakes = [f"'{key}' is missing" for key in own if key not in state]
        mistakes += [f"'{key}' is unknown" for key in state if key not in own]
        mistakes += [
            f"'{key}' has the shape {list(np.shape(state[key]))} instead of {list(own[key].shape)}"
            for key in own
            if key in state and np.shape(state[key]) != own[key].shape
        ]
        if mistakes:
            raise ValueError(f"{'; '.join(mistakes)}; expected the state of this network; build the network it is of.")
        for name, parameter in self.named_parameters():
            parameter.data[...] = state[name]
        for key, owner, name in self._named_buffers():
            setattr(owner, name, np.array(state[key], own[key].dtype))

    # ---- settings of the whole tree ----

    def train(self, mode: bool = True) -> Self:
        """Set `training` of every layer; return self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Return self, no longer `training`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether `backward` works out the gradients of the parameters; return self."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        for parameter in self.parameters():
            parameter.zero()

    def to(self, dtype: DTypeLike) -> Self:
        """Convert parameters and running statistics to float32 or float64; return self. Make optimizers afterwards."""
        for parameter in self.parameters():
            parameter.data, parameter.grad = parameter.data.astype(dtype), parameter.grad.astype(dtype)
        for _, owner, name in self._named_buffers():
            if getattr(owner, name).dtype.kind == "f":
                setattr(owner, name, getattr(owner, name).astype(dtype))
        return self

    def reset_parameters(self, rng: np.random.Generator) -> Self:
        """Draw all parameters anew by torch's default rules, in order; return self."""
        for module in self.modules():
            module.initialize(rng)
        return self

    def seed(self, seed: int) -> Self:
        """Give every layer with randomness of its own, dropout, a generator for the next forward pass; return self."""
        children = np.random.SeedSequence(seed)
        for module in self.modules():
            if hasattr(module, "rng"):
                module.rng = np.random.default_rng(children.spawn(1)[0])
        return self


def require(layer: Module, x: Array, fits: bool, expected: str, weight: Parameter) -> None:
    """Refuse an input of the wrong shape, or of another type than the weights.

    Raises
    ------
    ShapeError
        Unless it ``fits``.
    TypeError
        If the types differ: computing would be slow, or not as exact as it seems.
    """
    if not fits:
        raise ShapeError(layer, x, expected)
    if x.dtype != weight.data.dtype:
        raise TypeError(
            f"{layer} got {x.dtype}; expected {weight.data.dtype}, the type of its weights; convert the input with "
            "astype, or the network with to."
        )


def uniform_parameter(shape: tuple[int, ...]) -> Parameter:
    """Return a parameter for `fill_uniform` to fill."""
    return Parameter(np.zeros(shape, np.float32))


def fill_uniform(parameter: Parameter | None, fan_in: int, rng: np.random.Generator) -> None:
    """Draw from the uniform distribution within one over the square root of ``fan_in``: torch's default."""
    if parameter is not None:
        bound = fan_in**-0.5 if fan_in else 0.0
        parameter.data[...] = rng.uniform(-bound, bound, parameter.data.shape)
