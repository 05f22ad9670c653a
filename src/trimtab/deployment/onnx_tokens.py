"""Layers of `trimtab.deployment.onnx_nn` that a transformer has besides linear layers.

Tokens of all pictures are rows of one matrix, [B T, C], so that linear layers write the same node for them as for
features.

Legend: ``B`` batch, ``C`` channels, ``H W`` height and width, ``T`` tokens.
"""

from __future__ import annotations

import numpy as np

from trimtab.deployment.graph import Graph


class Tokens:
    """Pixels as tokens, each with its position added: [B, C, H, W] -> [B T, C]."""

    def __init__(self, tokens: int, width: int) -> None:
        self.shape = (tokens, width)

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write the change of shape and one ``Sum``, which, unlike ``Add``, is not made 8-bit later."""
        position = graph.constant(f"{prefix}.position", graph.array(f"{prefix}.position", self.shape))
        columns = graph.reshape(tensor, (-1, self.shape[1], self.shape[0]), f"{prefix}.columns")
        tokens = graph.node("Transpose", [columns], f"{prefix}.tokens", perm=[0, 2, 1])
        placed = graph.node("Sum", [tokens, position], f"{prefix}.placed")
        return graph.reshape(placed, (-1, self.shape[1]), prefix)


class SelfAttention:
    """Attention of all tokens of a picture to all: [B T, 3 C] -> [B T, C]."""

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        self.tokens, self.width, self.heads = tokens, width, heads

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write two products and a softmax; queries are divided by the square root of a head's width."""
        part = self.width // self.heads
        heads = graph.reshape(tensor, (-1, self.tokens, 3, self.heads, part), f"{prefix}.heads")
        parts = graph.node("Transpose", [heads], f"{prefix}.parts", perm=[2, 0, 3, 1, 4])
        query, key, value = (self._take(graph, parts, index, f"{prefix}.{index}") for index in range(3))
        root = graph.constant(f"{prefix}.root", np.array(part**0.5, dtype=np.float32))
        scaled = graph.node("Div", [query, root], f"{prefix}.scaled")
        turned = graph.node("Transpose", [key], f"{prefix}.turned", perm=[0, 1, 3, 2])
        scores = graph.node("MatMul", [scaled, turned], f"{prefix}.scores")
        shares = graph.node("Softmax", [scores], f"{prefix}.shares", axis=-1)
        mixed = graph.node("MatMul", [shares, value], f"{prefix}.mixed")
        joined = graph.node("Transpose", [mixed], f"{prefix}.joined", perm=[0, 2, 1, 3])
        return graph.reshape(joined, (-1, self.width), prefix)

    def _take(self, graph: Graph, parts: str, index: int, name: str) -> str:
        """Return queries (0), keys (1) or values (2)."""
        number = graph.constant(f"{name}.number", np.array(index, dtype=np.int64))
        return graph.node("Gather", [parts, number], name, axis=0)


class TokenMean:
    """The mean of the tokens of a picture: [B T, C] -> [B, C]."""

    def __init__(self, tokens: int, width: int) -> None:
        self.tokens, self.width = tokens, width

    def emit(self, graph: Graph, tensor: str, prefix: str) -> str:
        """Write one ``ReduceMean``."""
        tokens = graph.reshape(tensor, (-1, self.tokens, self.width), f"{prefix}.tokens")
        axis = graph.constant(f"{prefix}.axis", np.array([1], dtype=np.int64))
        return graph.node("ReduceMean", [tokens, axis], prefix, keepdims=0)
