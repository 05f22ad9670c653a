"""torch.nn's layer names once more, as layers that write ONNX nodes: the builders' engine for export.

``build(onnx_nn, name, kwargs)`` gives the network, ``network.emit(graph, tensor, prefix)`` writes it. State-dict
keys are those of torch's modules. Everything is written in evaluation mode: dropout vanishes and batch
normalization is folded into the layer before it. Nothing here computes a forward pass.

Legend: ``B`` batch, ``C`` channels, ``H W`` height and width, ``F`` features.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.deployment.graph import Foldable, Graph
from trimtab.deployment.onnx_activations import GELU, Dropout, Identity, ReLU, Scale, SiLU
from trimtab.deployment.onnx_tokens import SelfAttention, TokenMean, Tokens

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Identity",
    "LayerNorm",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Scale",
    "SelfAttention",
    "Sequential",
    "ShiftNorm2d",
    "SiLU",
    "TokenMean",
    "Tokens",
    "frozen",
]

Pair = int | tuple[int, int]


class Layer(Protocol):
    """What every layer here offers."""

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write the nodes that turn ``tensor`` into the layer's output, and return the output's name.

        ``prefix`` is the layer's place in the state dict, such as ``"3.module.0"``.
        """
        ...


class Sequential:
    """Layers one after the other; keys ``0.``, ``1.``, ...

    A maximum changes places with the rising functions after it, so that they join the convolution before it.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write every layer, maxima as late as possible."""
        for index, layer in self._late_maxima():
            tensor = layer.emit(graph, tensor, f"{prefix}.{index}" if prefix else str(index))
        return tensor

    def _late_maxima(self) -> list[tuple[int, Layer]]:
        order: list[tuple[int, Layer]] = []
        for index, layer in enumerate(self.layers):
            is_passed = isinstance(layer, ShiftNorm2d | ReLU) and bool(order) and isinstance(order[-1][1], MaxPool2d)
            order.insert(len(order) - is_passed, (index, layer))
        return order


class Residual:
    """``x + module(x)``; keys ``module.``."""

    def __init__(self, module: Layer, p: float = 0.0) -> None:
        """Accept torch's probability of leaving the module out, which is for training."""
        self.module = module

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write the module and the sum."""
        graph.mark_shared(tensor)
        changed = self.module.emit(graph, tensor, f"{prefix}.module" if prefix else "module")
        return graph.node("Add", [tensor, changed], f"{prefix}.sum")


class Linear:
    """``x @ weight.T + bias``: [B, F] -> [B, out_features]."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.weight_shape, self.has_bias = (out_features, in_features), bias

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``Gemm``."""
        foldable = _constants(graph, prefix, self.weight_shape, self.has_bias)
        output = graph.node("Gemm", [tensor, foldable.weight, foldable.bias], prefix, transB=1)
        graph.mark_foldable(output, foldable)
        return output


class Conv2d:
    """Cross-correlation with zero padding: [B, C, H, W] -> [B, out_channels, H', W']."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        self.weight_shape = (out_channels, in_channels // groups, *_pair(kernel_size))
        self.has_bias = bias
        self.attributes: dict[str, Any] = {
            "kernel_shape": _pair(kernel_size),
            "strides": _pair(stride),
            "pads": _pair(padding) * 2,
            "dilations": _pair(dilation),
            "group": groups,
        }

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``Conv``."""
        foldable = _constants(graph, prefix, self.weight_shape, self.has_bias)
        output = graph.node("Conv", [tensor, foldable.weight, foldable.bias], prefix, **self.attributes)
        graph.mark_foldable(output, foldable)
        return output


class BatchNorm2d:
    """Normalization with running statistics, a scale and a shift per channel: [B, C, H, W] -> the same shape."""

    trailing_axes = 2

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.num_features, self.eps = num_features, eps

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Fold into the layer before; write nodes only for what cannot be folded."""
        offset, mean, variance = (
            graph.array(f"{prefix}.{name}", (self.num_features,)).astype(np.float64)
            for name in ("bias", "running_mean", "running_var")
        )
        scale = self._weight(graph, prefix) / np.sqrt(variance + self.eps)
        shift = offset - mean * scale
        rest, bias = graph.fold(tensor, scale)
        if bias is not None and np.all(rest == 1):
            graph.shift(bias, shift)
            return tensor
        return self._emit_affine(graph, tensor, prefix, rest, shift)

    def _weight(self, graph: Graph, prefix: str) -> NDArray[np.float64]:
        return graph.array(f"{prefix}.weight", (self.num_features,)).astype(np.float64)

    def _emit_affine(
        self, graph: Graph, tensor: str, prefix: str, scale: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> str:
        shape = (1, -1) + (1,) * self.trailing_axes
        factor = graph.constant(f"{prefix}.factor", scale.astype(np.float32).reshape(shape))
        offset = graph.constant(f"{prefix}.offset", shift.astype(np.float32).reshape(shape))
        return graph.node("Add", [graph.node("Mul", [tensor, factor], f"{prefix}.scaled"), offset], prefix)


class BatchNorm1d(BatchNorm2d):
    """The same for [B, F]."""

    trailing_axes = 0


class ShiftNorm2d(BatchNorm2d):
    """`BatchNorm2d` with a scale of one."""

    def _weight(self, graph: Graph, prefix: str) -> NDArray[np.float64]:
        return np.ones(self.num_features)


class LayerNorm:
    """The last axis normalized, with a scale and a shift: [..., C] -> the same shape."""

    def __init__(self, normalized_shape: int, eps: float = 1e-5) -> None:
        self.width, self.eps = normalized_shape, eps

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``LayerNormalization``."""
        weight, bias = (
            graph.constant(f"{prefix}.{name}", graph.array(f"{prefix}.{name}", (self.width,)))
            for name in ("weight", "bias")
        )
        return graph.node("LayerNormalization", [tensor, weight, bias], prefix, axis=-1, epsilon=self.eps)


class MaxPool2d:
    """Maximum over windows: [B, C, H, W] -> [B, C, H', W']."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        self.attributes = _window(kernel_size, stride, padding)

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``MaxPool``; a batch normalization after it can still be folded into what came before."""
        output = graph.node("MaxPool", [tensor], prefix, **self.attributes)
        graph.mark_pooled(tensor, output)
        return output


class AvgPool2d:
    """Mean over windows, padding counted as zeros: [B, C, H, W] -> [B, C, H', W']."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        self.attributes = _window(kernel_size, stride, padding)

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``AveragePool``."""
        return graph.node("AveragePool", [tensor], prefix, count_include_pad=1, **self.attributes)


class AdaptiveAvgPool2d:
    """Mean over the whole picture: [B, C, H, W] -> [B, C, 1, 1]."""

    operator = "GlobalAveragePool"

    def __init__(self, output_size: Pair) -> None:
        if output_size not in (1, (1, 1)):
            raise ValueError(f"output_size is {output_size}; only 1 can be exported; use a pool with a fixed window.")

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one global pool."""
        return graph.node(self.operator, [tensor], prefix)


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """Maximum over the whole picture: [B, C, H, W] -> [B, C, 1, 1]."""

    operator = "GlobalMaxPool"


class Flatten:
    """[B, C, H, W] -> [B, C * H * W]."""

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``Flatten``."""
        return graph.node("Flatten", [tensor], prefix, axis=1)


def frozen(layer: Conv2d) -> Conv2d:
    """Return the layer: nothing is trained here."""
    return layer


def _constants(graph: Graph, prefix: str, weight_shape: tuple[int, ...], has_bias: bool) -> Foldable:
    """Add weight and bias; a bias of zeros where there is none, so that a shift can be folded in."""
    width = weight_shape[:1]
    bias = graph.array(f"{prefix}.bias", width) if has_bias else np.zeros(width, dtype=np.float32)
    return Foldable(
        weight=graph.constant(f"{prefix}.weight", graph.array(f"{prefix}.weight", weight_shape)),
        bias=graph.constant(f"{prefix}.bias", bias),
    )


def _window(kernel_size: Pair, stride: Pair | None, padding: Pair) -> dict[str, Any]:
    return {
        "kernel_shape": _pair(kernel_size),
        "strides": _pair(kernel_size if stride is None else stride),
        "pads": _pair(padding) * 2,
    }


def _pair(value: Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
