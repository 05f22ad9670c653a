"""Layers of `trimtab.deployment.onnx_nn` that act on each number by itself."""

from __future__ import annotations

import numpy as np

from trimtab.deployment.graph import Graph


class ReLU:
    """``max(x, 0)``."""

    def __init__(self, inplace: bool = False) -> None:
        """Accept torch's argument, which changes nothing here."""

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``Relu``."""
        return graph.node("Relu", [tensor], prefix)


class SiLU:
    """``x * sigmoid(x)``."""

    def __init__(self, inplace: bool = False) -> None:
        """Accept torch's argument, which changes nothing here."""

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write ``Sigmoid`` and ``Mul``."""
        return graph.node("Mul", [tensor, graph.node("Sigmoid", [tensor], f"{prefix}.gate")], prefix)


class GELU:
    """``x`` times the normal distribution function of ``x``; ``"tanh"`` for the usual approximation."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``Gelu``."""
        return graph.node("Gelu", [tensor], prefix, approximate=self.approximate)


class Scale:
    """``x`` times a fixed factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Fold into the layer before; write one ``Mul`` for what cannot be folded."""
        rest, bias = graph.fold(tensor, np.array(self.factor, dtype=np.float64))
        if bias is not None and rest == 1:
            return tensor
        return graph.node("Mul", [tensor, graph.constant(f"{prefix}.factor", rest.astype(np.float32))], prefix)


class Identity:
    """Nothing."""

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write nothing."""
        return tensor


class Dropout(Identity):
    """Nothing: a delivered model is in evaluation mode."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        """Accept torch's arguments, which change nothing here."""
