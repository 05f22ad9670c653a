"""A trained network made ready to predict: the same answers from fewer and cheaper passes.

Nested networks become one list of layers, batch normalization is folded into the layer before it, activations are
applied while a convolution's output is in the cache, and Winograd's filters are transformed once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np

from trimtab.numpy_nn import winograd
from trimtab.numpy_nn.activations import ReLU
from trimtab.numpy_nn.containers import Identity, Residual, Sequential
from trimtab.numpy_nn.convolution import Conv2d
from trimtab.numpy_nn.linear import Dropout, Linear, Scale
from trimtab.numpy_nn.module import Array, Module, Parameter
from trimtab.numpy_nn.normalization import BatchNorm1d, BatchNorm2d, ShiftNorm2d
from trimtab.numpy_nn.pooling import MaxPool2d

_Norm = BatchNorm1d | BatchNorm2d | ShiftNorm2d


def fold(network: Module) -> Sequential:
    """Return a network in evaluation mode that computes what ``network.eval()`` does; it has no backward pass.

    ``network`` is left as it is. Answers differ by rounding. A `BatchNorm1d` right after a `Linear` is taken to
    normalize its outputs, [B, F].
    """
    layers = [
        Residual(fold(layer.module)) if isinstance(layer, Residual) else layer for _, layer in _folded_layers(network)
    ]
    for index, layer in enumerate(layers):
        if isinstance(layer, Conv2d):
            is_rectified = isinstance([*layers, layer][index + 1], ReLU)
            _finish(layer, is_rectified)
            if is_rectified:
                layers[index + 1] = Identity()
    return Sequential(*(layer for layer in layers if not isinstance(layer, Identity))).eval()


def fold_arrays(network: Module, name: str = "") -> dict[str, Array]:
    """Return the network's arrays with normalizations and fixed factors folded in, by their state-dict keys.

    They are of the form that `trimtab.numpy_nn.quantized.assemble` takes, all in floating point. ``name`` is the place
    of the network in another one.

    Raises
    ------
    ValueError
        If a normalization follows no convolution or linear layer.
    """
    arrays: dict[str, Array] = {}
    for place, layer in _folded_layers(network, name):
        if isinstance(layer, _Norm):
            raise ValueError(f"layer {place} is {layer}; expected it after a layer that it can be folded into.")
        if isinstance(layer, Residual):
            arrays |= fold_arrays(layer.module, f"{place}.module")
            continue
        arrays |= {f"{place}.{key}": parameter.data for key, parameter in layer.named_parameters()}
        if isinstance(layer, Conv2d | Linear):
            arrays.setdefault(f"{place}.bias", np.zeros(len(layer.weight.data), layer.weight.data.dtype))
    return arrays


def _folded_layers(network: Module, name: str = "") -> list[tuple[str, Module]]:
    """Return copies of the layers with their names, without those that could be folded into the one before."""
    layers: list[tuple[str, Module]] = []
    for place, layer in flatten(network, name):
        origin, before = layers[-1] if layers else ("", None)
        if isinstance(layer, Dropout | Identity):
            continue
        if isinstance(layer, _Norm) and isinstance(before, Conv2d | Linear) and layer.tracks:
            layers[-1] = origin, _folded(before, *_affine(layer))
        elif isinstance(layer, Scale) and isinstance(before, Conv2d | Linear):
            layers[-1] = origin, _folded(before, np.float64(layer.factor), np.float64(0))
        else:
            layers.append((place, copy.copy(layer)))
    return layers


def flatten(network: Module, name: str = "") -> list[tuple[str, Module]]:
    """Return the layers of nested sequences with their names, in an order in which much can be folded.

    A `MaxPool2d` changes places with what follows it as long as that rises everywhere: a `ShiftNorm2d`, a `ReLU`.
    """
    order: list[tuple[str, Module]] = []
    for place, layer in _nested(network, name):
        is_passed = isinstance(layer, ShiftNorm2d | ReLU) and bool(order) and isinstance(order[-1][1], MaxPool2d)
        order.insert(len(order) - is_passed, (place, layer))
    return order


def _nested(network: Module, name: str) -> Iterator[tuple[str, Module]]:
    if isinstance(network, Sequential):
        for place, layer in network.children():
            yield from _nested(layer, f"{name}.{place}" if name else place)
    else:
        yield name, network


def _affine(norm: _Norm) -> tuple[Array, Array]:
    """Return the scale and the shift that the normalization is, in evaluation."""
    scale = 1 / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.data
    return scale, (0.0 if norm.bias is None else norm.bias.data) - norm.running_mean * scale


def _folded(layer: Conv2d | Linear, scale: Array | np.float64, shift: Array | np.float64) -> Conv2d | Linear:
    """Return the layer with what scales and shifts its output in its weight and bias."""
    folded, kind = copy.copy(layer), layer.weight.data.dtype
    bias = np.zeros(len(layer.weight.data)) if layer.bias is None else layer.bias.data
    folded.weight = Parameter((layer.weight.data * scale.reshape(-1, *[1] * (layer.weight.data.ndim - 1))).astype(kind))
    folded.bias = Parameter((bias * scale + shift).astype(kind))
    return folded


def _finish(layer: Conv2d, is_rectified: bool) -> None:
    """Have the convolution add its bias and rectify piece by piece, with a filter that is transformed already."""
    bias = np.zeros(layer.out_channels, layer.weight.data.dtype) if layer.bias is None else layer.bias.data

    def finish(values: Array, out: Array) -> None:
        np.add(values, bias, out=out)
        if is_rectified:
            np.maximum(out, 0, out=out)

    layer.finish = finish
    if layer.algorithm == "winograd":
        layer.transformed_filter = winograd.transform_filter(layer.weight.data)
