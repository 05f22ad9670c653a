"""Parameters and multiplications of a network, counted without a framework, before anything is built.

The counter is one more ``nn`` namespace: its layers know only shapes. It does not estimate time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from trimtab.models.builders import build

Shape = tuple[int, ...]  # without the batch: (C, H, W), (T, C) of tokens, or (F,)


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a network holds and does for one example.

    Attributes
    ----------
    parameters
        Numbers that are trained, or set once before training.
    macs
        Multiply-accumulate operations of convolutions, linear layers and attention.
    activations
        Numbers passed between layers, summed over the layers.
    """

    parameters: int
    macs: int
    activations: int


def measure_size(name: str, kwargs: Mapping[str, Any], input_shape: Shape) -> Size:
    """Count parameters, multiplications and activations of one example of ``input_shape``."""
    network = build(_COUNTER, name, kwargs)
    total = [0, 0, 0]
    network(input_shape, total)
    return Size(parameters=total[0], macs=total[1], activations=total[2])


class _Layer:
    """Adds its own counts to ``total`` and returns the shape that comes out; the default changes nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return shape


class _Linear(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        width_in, width_out = self.args
        weights, bias = width_in * width_out, width_out if self.kwargs.get("bias", True) else 0
        rows = math.prod(shape[:-1])
        return _count(total, (*shape[:-1], width_out), parameters=weights + bias, macs=rows * weights)


class _Conv2d(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        width_in, width_out, kernel = self.args
        stride, padding, groups = (
            self.kwargs.get(key, default) for key, default in (("stride", 1), ("padding", 0), ("groups", 1))
        )
        weights = width_out * (width_in // groups) * kernel * kernel
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in shape[1:])
        bias = width_out if self.kwargs.get("bias", True) else 0
        return _count(total, (width_out, height, width), parameters=weights + bias, macs=weights * height * width)


class _Norm(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return _count(total, shape, parameters=2 * self.args[0], macs=0)


class _ShiftNorm(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return _count(total, shape, parameters=self.args[0], macs=0)


class _Tokens(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return _count(total, self.args, parameters=math.prod(self.args), macs=0)


class _SelfAttention(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        tokens, width = shape[0], shape[1] // 3
        return _count(total, (tokens, width), parameters=0, macs=2 * tokens * tokens * width)


class _TokenMean(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return (shape[1],)


class _MaxPool2d(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return _count(total, (shape[0], *(side // self.args[0] for side in shape[1:])), parameters=0, macs=0)


class _AdaptiveAvgPool2d(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return (shape[0], self.args[0], self.args[0])


class _Flatten(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return (math.prod(shape),)


class _Sequential(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        for layer in self.args:
            shape = layer(shape, total)
        return shape


class _Residual(_Layer):
    def __call__(self, shape: Shape, total: list[int]) -> Shape:
        return _count(total, self.args[0](shape, total), parameters=0, macs=0)


def _frozen(layer: _Layer) -> _Layer:
    return layer


def _count(total: list[int], shape: Shape, *, parameters: int, macs: int) -> Shape:
    total[0] += parameters
    total[1] += macs
    total[2] += math.prod(shape)
    return shape


_COUNTER = SimpleNamespace(
    Linear=_Linear,
    Conv2d=_Conv2d,
    BatchNorm1d=_Norm,
    BatchNorm2d=_Norm,
    ShiftNorm2d=_ShiftNorm,
    LayerNorm=_Norm,
    ReLU=_Layer,
    GELU=_Layer,
    Scale=_Layer,
    Dropout=_Layer,
    Tokens=_Tokens,
    SelfAttention=_SelfAttention,
    TokenMean=_TokenMean,
    MaxPool2d=_MaxPool2d,
    AdaptiveAvgPool2d=_AdaptiveAvgPool2d,
    Flatten=_Flatten,
    Sequential=_Sequential,
    Residual=_Residual,
    frozen=_frozen,
)
