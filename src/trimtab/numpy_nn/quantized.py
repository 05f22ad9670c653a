"""Networks with 8-bit weights and activations, with an integer kernel's answers from float32 matrix products.

What flows from layer to layer are codes: whole numbers, an activation's value divided by its scale. Sums of products
of codes are whole numbers too, and those below 2^24 are exact in float32, in whatever order BLAS adds them up and on
however many threads. While such a sum is in the cache it is scaled to the next activation's codes and rounded.

What is neither a product nor does to codes what it does to values, such as `GELU` or `SelfAttention`, computes with
values in between. Nothing is quantized here, and there is no backward pass: the numbers come from whoever calibrated
them.

Legend: ``B`` batch, ``O`` outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from trimtab.numpy_nn.activations import GELU, ReLU
from trimtab.numpy_nn.attention import SelfAttention, TokenMean, Tokens
from trimtab.numpy_nn.containers import Identity, Residual, Sequential
from trimtab.numpy_nn.convolution import Conv2d
from trimtab.numpy_nn.folding import flatten
from trimtab.numpy_nn.linear import Dropout, Flatten, Linear, Scale
from trimtab.numpy_nn.module import Array, Module, Parameter
from trimtab.numpy_nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm, ShiftNorm2d
from trimtab.numpy_nn.pooling import AvgPool2d, MaxPool2d
from trimtab.numpy_nn.resampling import AdaptiveAvgPool2d

_LEVELS = 256
_ONE = np.float32(1)
_SCALABLE = (ReLU, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, Flatten, Scale)  # do to codes what they do to values
_SKIPPED = (BatchNorm1d, BatchNorm2d, ShiftNorm2d, Dropout, Identity)  # the norms are in the weights and biases
_FLOATS = ("float32", "float16")
_FLOAT = (GELU, LayerNorm, Tokens, SelfAttention, TokenMean)


def assemble(
    network: Module, arrays: Mapping[str, Array], activations: Mapping[str, tuple[float, int] | Sequence[float]]
) -> Sequential:
    """Return the network that computes in 8 bits what ``network`` is the float form of; values in, values out.

    Parameters
    ----------
    network
        Says which layers there are; its own weights are not used.
    arrays
        Of every `Conv2d` and `Linear`, with batch normalization folded in: ``<layer>.weight`` int8, meant times
        ``<layer>.weight.scale`` float32 [O], or without scales float32 or float16; ``<layer>.bias`` int32 [O], meant
        times the weight's scale and that of the input, or float32. Of layers that compute with values their
        parameters, float32 (`float_parameters`).
    activations
        Scale and zero point by place: ``"input"``, a layer's name, of a rectified layer the name of its `ReLU`, and
        ``<name>.sum`` for a `Residual`. There a value x becomes
        ``scale * (clip(round(x / scale) + zero_point, 0, 255) - zero_point)``, rounded half to even. What comes out
        of a place that is not named stays as it is.

    Raises
    ------
    ValueError
        If an array is missing or of another shape or type, a scale or zero point is none, something is left over, or
        the network has a layer that cannot compute with codes.
    """
    numbers = _Numbers(arrays, activations)
    first, scale = numbers.grid("input"), _ONE
    layers: list[Module] = []
    if first is not None:
        layers, scale = [Quantize(first)], first.scale
    inner, scale = _assemble(network, "", scale, numbers)
    numbers.check_that_all_were_used()
    return Sequential(*layers, *inner, *([] if scale == 1 else [Rescale(scale)])).eval()


def float_parameters(network: Module, name: str = "") -> list[str]:
    """Return the state-dict keys of the parameters that stay float32: those of layers that compute with values.

    ``name`` is the place of the network in another one.
    """
    found: list[str] = []
    for place, layer in flatten(network, name):
        if isinstance(layer, Residual):
            found += float_parameters(layer.module, f"{place}.module")
        elif isinstance(layer, _FLOAT):
            found += [f"{place}.{key}" for key, _ in layer.named_parameters()]
    return found


@dataclass(frozen=True)
class Grid:
    """The 256 values of an activation: ``scale`` times the whole numbers from ``low`` to ``high``."""

    scale: np.float32
    low: float
    high: float

    def round(self, values: Array, out: Array) -> None:
        """Round codes half to even and clip them."""
        np.rint(values, out=out)
        np.maximum(out, self.low, out=out)
        np.minimum(out, self.high, out=out)


@final
class Quantize(Module):
    """Values to codes: divided by the scale, rounded and clipped."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def forward(self, x: Array) -> Array:
        """Return the codes of ``x``."""
        codes = np.divide(x, self.grid.scale)
        self.grid.round(codes, codes)
        return codes


@final
class Rescale(Module):
    """``(x + offset) * factor`` with the channels last, rectified or put on a grid if asked."""

    def __init__(
        self,
        factor: Array | np.float32,
        offset: Array | None = None,
        *,
        grid: Grid | None = None,
        is_rectified: bool = False,
    ) -> None:
        self.factor, self.offset = factor, offset
        self.grid, self.is_rectified = grid, is_rectified

    def forward(self, x: Array) -> Array:
        """Return a new array."""
        y = np.empty_like(x)
        self.write(x, y)
        return y

    def write(self, values: Array, out: Array) -> None:
        """Write into ``out``, which may be ``values``."""
        if self.offset is not None:
            values = np.add(values, self.offset, out=out)
        np.multiply(values, self.factor, out=out)
        if self.is_rectified:
            np.maximum(out, 0, out=out)
        if self.grid is not None:
            self.grid.round(out, out)


@final
class ResidualCodes(Module):
    """``x * shortcut + module(x) * factor``, on a grid if there is one: the sum of codes of two scales."""

    def __init__(self, module: Module, shortcut: np.float32, factor: np.float32, grid: Grid | None) -> None:
        self.module, self.shortcut, self.factor, self.grid = module, shortcut, factor, grid

    def forward(self, x: Array) -> Array:
        """Return the sum."""
        y = self.module.forward(x) * self.factor
        y += x * self.shortcut
        if self.grid is not None:
            self.grid.round(y, y)
        return y


@dataclass(frozen=True)
class Step:
    """A layer, its name, and the place and form of what comes out of it."""

    name: str
    layer: Module
    output: str
    is_rectified: bool = False


class _Numbers:
    """The arrays and scales that are still to be used."""

    def __init__(self, arrays: Mapping[str, Array], activations: Mapping[str, Any]) -> None:
        self._arrays, self._activations = dict(arrays), dict(activations)

    def grid(self, place: str) -> Grid | None:
        """Return the grid of what comes out at a place, if it has one."""
        if place not in self._activations:
            return None
        scale, zero_point = self._activations.pop(place)
        if not 0 < scale < np.inf or zero_point not in range(_LEVELS):
            raise ValueError(f"'{place}' has the scale {scale} and zero point {zero_point}; expected > 0 and 0 to 255.")
        return Grid(np.float32(scale), -float(zero_point), float(_LEVELS - 1 - zero_point))

    def layer(self, name: str, shape: tuple[int, ...], scale: np.float32) -> tuple[Array, Array, Array]:
        """Return weight and bias as float32 codes, and the scale of a sum of their products with codes of ``scale``.

        A weight in floating point is its own codes, at a scale of one; a bias in floating point is divided by the
        scale of the sums.
        """
        weight, scales = self._take(f"{name}.weight", shape, "int8", *_FLOATS), np.full(shape[:1], scale, np.float32)
        if weight.dtype == np.int8:
            scales = scale * self._take(f"{name}.weight.scale", shape[:1], "float32")
        bias = self._take(f"{name}.bias", shape[:1], "int32", "float32")
        codes = bias.astype(np.float32) if bias.dtype == np.int32 else bias / scales
        return weight.astype(np.float32), codes, scales

    def parameters(self, name: str, layer: Module) -> dict[str, Array]:
        """Return the parameters of a layer that computes with values, by their names in it."""
        shapes = {key: parameter.data.shape for key, parameter in layer.named_parameters()}
        return {key: self._take(f"{name}.{key}", shape, "float32") for key, shape in shapes.items()}

    def _take(self, key: str, shape: tuple[int, ...], *kinds: str) -> Array:
        """Return an array, which must be of this shape and one of these types."""
        found = self._arrays.pop(key, None)
        if found is None or found.shape != shape or found.dtype.name not in kinds:
            given = "missing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise ValueError(f"'{key}' is {given}; expected {' or '.join(kinds)} {list(shape)}.")
        return found

    def check_that_all_were_used(self) -> None:
        """Refuse what belongs to no layer."""
        if self._arrays or self._activations:
            names = ", ".join(f"'{name}'" for name in [*self._arrays, *self._activations][:5])
            raise ValueError(f"{names} belong to no layer; expected the arrays and activations of this network.")


def _assemble(network: Module, name: str, scale: np.float32, numbers: _Numbers) -> tuple[list[Module], np.float32]:
    """Return the layers that take codes of one scale, and the scale of the codes that they give."""
    layers: list[Module] = []
    for step in steps(network, name):
        grid = numbers.grid(step.output)
        unit = _ONE if grid is None else grid.scale
        if isinstance(step.layer, Conv2d | Linear):
            layers += _products(step.layer, step, scale, grid, numbers)
            scale = unit
        elif isinstance(step.layer, Residual):
            inner, own = _assemble(step.layer.module, f"{step.name}.module", scale, numbers)
            layers.append(ResidualCodes(Sequential(*inner), scale / unit, own / unit, grid))
            scale = unit
        elif isinstance(step.layer, _FLOAT):
            layers += _with_values(step, scale, grid, numbers)
            scale = unit
        elif not isinstance(step.layer, _SCALABLE):
            raise ValueError(f"layer {step.name} is {step.layer}; expected one that can compute in 8 bits.")
        else:
            layers.append(copy.copy(step.layer))
            if grid is not None:
                layers.append(Rescale(scale / unit, grid=grid))
                scale = unit
    return layers, scale


def _products(
    layer: Conv2d | Linear, step: Step, scale: np.float32, grid: Grid | None, numbers: _Numbers
) -> list[Module]:
    """Return the layer with its codes and what scales its sums; in a convolution that is one."""
    layer = copy.copy(layer)
    codes, offset, sums = numbers.layer(step.name, layer.weight.data.shape, scale)
    factor = sums if grid is None else sums / grid.scale
    rescale = Rescale(factor, offset, grid=grid, is_rectified=step.is_rectified)
    layer.weight, layer.bias = Parameter(codes), None
    if isinstance(layer, Linear):
        return [layer, rescale]
    layer.algorithm, layer.finish = "im2col", rescale.write  # Winograd's transforms leave the whole numbers
    return [layer]


def _with_values(step: Step, scale: np.float32, grid: Grid | None, numbers: _Numbers) -> list[Module]:
    """Return a layer that takes values, with what makes values of codes before it and codes of values after it."""
    layer = copy.deepcopy(step.layer)
    layer.load_state_dict(numbers.parameters(step.name, layer))
    before = [] if scale == 1 else [Rescale(scale)]
    return [*before, layer, *([] if grid is None else [Quantize(grid)])]


def steps(network: Module, name: str = "") -> list[Step]:
    """Return the layers that compute, in order; a rectifier belongs to the products before it.

    Left out is what is in the weights and biases. ``name`` is the place of the network in another one.
    """
    found: list[Step] = []
    for place, layer in flatten(network, name):
        follows_products = bool(found) and isinstance(found[-1].layer, Conv2d | Linear) and not found[-1].is_rectified
        if isinstance(layer, ReLU) and follows_products:
            found[-1] = replace(found[-1], output=place, is_rectified=True)
        elif not isinstance(layer, _SKIPPED) and not (isinstance(layer, Scale) and follows_products):
            output = f"{place}.sum" if isinstance(layer, Residual) else place
            found.append(Step(place, layer, output))
    return found
