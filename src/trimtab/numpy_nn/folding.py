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
from trimtab.numpy_nn.linear import Dropout, Linear
from trimtab.numpy_nn.module import Array, Module, Parameter
from trimtab.numpy_nn.normalization import BatchNorm1d, BatchNorm2d


def fold(network: Module) -> Sequential:
    """Return a network in evaluation mode that computes what ``network.eval()`` does; it has no backward pass.

    ``network`` is left as it is. Answers differ by rounding. A `BatchNorm1d` right after a `Linear` is taken to
    normalize its outputs, [B, F].
    """
    layers: list[Module] = []
    for layer in _flat(network):
        before = layers[-1] if layers else None
        if isinstance(layer, Dropout | Identity):
            continue
        if isinstance(layer, BatchNorm1d | BatchNorm2d) and isinstance(before, Conv2d | Linear) and layer.tracks:
            layers[-1] = _folded(before, layer)
        elif isinstance(layer, Residual):
            layers.append(Residual(fold(layer.module)))
        else:
            layers.append(copy.copy(layer))
    for index, layer in enumerate(layers):
        if isinstance(layer, Conv2d):
            is_rectified = isinstance([*layers, layer][index + 1], ReLU)
            _finish(layer, is_rectified)
            if is_rectified:
                layers[index + 1] = Identity()
    return Sequential(*(layer for layer in layers if not isinstance(layer, Identity))).eval()


def _flat(network: Module) -> Iterator[Module]:
    if isinstance(network, Sequential):
        for layer in network:
            yield from _flat(layer)
    else:
        yield network


def _folded(layer: Conv2d | Linear, norm: BatchNorm1d | BatchNorm2d) -> Conv2d | Linear:
    """Return the layer with the normalization that follows it in its weight and bias."""
    scale = 1 / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.data
    bias = 0.0 if layer.bias is None else layer.bias.data
    shift = (bias - norm.running_mean) * scale + (0.0 if norm.bias is None else norm.bias.data)
    folded, kind = copy.copy(layer), layer.weight.data.dtype
    folded.weight = Parameter((layer.weight.data * scale.reshape(-1, *[1] * (layer.weight.data.ndim - 1))).astype(kind))
    folded.bias = Parameter(shift.astype(kind))
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
