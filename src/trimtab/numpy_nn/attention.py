"""Pictures as tokens, attention among them, and their mean: what a transformer has besides linear layers.

Legend: ``B`` batch, ``T`` tokens, ``C`` channels, ``D`` channels of a head.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np

from trimtab.numpy_nn.memory import contiguous
from trimtab.numpy_nn.module import Array, Module, Parameter, ShapeError, require

POSITION_SPREAD = 0.5
"""Standard deviation that positions start with: about that of what they are added to. The usual 0.02 hides them in
short runs."""


@final
class Tokens(Module):
    """Pixels as tokens, each with a learned position added: [B, C, H, W] -> [B, H W, C].

    dx is dy as pictures again; the gradient of the positions is the sum of dy over the batch.
    """

    def __init__(self, tokens: int, width: int) -> None:
        self.tokens, self.width = tokens, width
        self.position = Parameter(np.zeros((tokens, width), np.float32))
        self.initialize(np.random.default_rng())

    def describe(self) -> str:
        """Return how many tokens there are and their width."""
        return f"{self.tokens}, {self.width}"

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw positions from the normal distribution."""
        self.position.data[...] = POSITION_SPREAD * rng.standard_normal(self.position.data.shape)

    def forward(self, x: Array) -> Array:
        """Keep the shape."""
        fits = x.ndim == 4 and x.shape[1] == self.width and x.shape[2] * x.shape[3] == self.tokens
        require(self, x, fits, f"[B, {self.width}, H, W] with H W = {self.tokens}", self.position)
        return self.tangent(x) + self.position.data

    def backward(self, grad: Array) -> Array:
        """Gradients of input and positions."""
        (shape,) = self._take()
        if self.position.requires_grad:
            self.position.add(grad.sum(axis=0))
        if not self.input_gradient:
            return np.empty(0, grad.dtype)
        batch, channels, height, width = shape
        return contiguous(grad).reshape(batch, height, width, channels).transpose(0, 3, 1, 2)

    def tangent(self, v: Array) -> Array:
        """Return the tokens without their positions."""
        self._keep(v.shape)
        return contiguous(v.transpose(0, 2, 3, 1)).reshape(len(v), self.tokens, self.width)


@final
class SelfAttention(Module):
    """Attention of all tokens to all (Vaswani et al., 2017): queries, keys, values [B, T, 3 C] -> [B, T, C].

    Each of the three is cut into as many parts as there are heads. In each, with S = q k.T / sqrt(D) and P the softmax
    of the rows of S, y = P v. So dv = P.T dy, dP = dy v.T, dS = P (dP - the row sums of dP P), dq = dS k / sqrt(D),
    dk = dS.T q / sqrt(D). There are no parameters: linear layers before and after it hold them.
    """

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        if width % heads:
            raise ValueError(f"width is {width} for {heads} heads; expected a multiple; change one of them.")
        self.tokens, self.width, self.heads = tokens, width, heads

    def describe(self) -> str:
        """Return how many tokens there are, their width, and the heads."""
        return f"{self.tokens}, {self.width}, {self.heads}"

    def forward(self, x: Array) -> Array:
        """Keep queries, keys, values and the softmax."""
        if x.ndim != 3 or x.shape[1:] != (self.tokens, 3 * self.width):
            raise ShapeError(self, x, f"[B, {self.tokens}, {3 * self.width}]")
        query, key, value = self._parts(x)
        scores = (query * query.dtype.type(query.shape[-1] ** -0.5)) @ key.swapaxes(2, 3)  # [B, heads, T, T]
        scores -= scores.max(axis=-1, keepdims=True)
        shares = np.exp(scores, out=scores)
        shares /= shares.sum(axis=-1, keepdims=True)
        self._keep(query, key, value, shares)
        return _joined(shares @ value)

    def backward(self, grad: Array) -> Array:
        """Gradients of queries, keys and values, side by side."""
        query, key, value, shares = self._take()
        dy = contiguous(grad).reshape(len(grad), self.tokens, self.heads, -1).transpose(0, 2, 1, 3)
        dvalue = shares.swapaxes(2, 3) @ dy
        dscores = dy @ value.swapaxes(2, 3)
        dscores -= np.einsum("bhts,bhts->bht", dscores, shares)[..., None]
        dscores *= shares
        dscores *= query.dtype.type(query.shape[-1] ** -0.5)
        parts = dscores @ key, dscores.swapaxes(2, 3) @ query, dvalue
        return np.concatenate([_joined(part) for part in parts], axis=2)

    def _parts(self, x: Array) -> Array:
        """Return [3, B, heads, T, D]."""
        split = contiguous(x).reshape(len(x), self.tokens, 3, self.heads, self.width // self.heads)
        return split.transpose(2, 0, 3, 1, 4)


@final
class TokenMean(Module):
    """The mean of the tokens: [B, T, C] -> [B, C]. Each token gets its share of dy."""

    def __init__(self, tokens: int, width: int) -> None:
        self.tokens, self.width = tokens, width

    def describe(self) -> str:
        """Return how many tokens there are and their width."""
        return f"{self.tokens}, {self.width}"

    def forward(self, x: Array) -> Array:
        """Keep nothing."""
        if x.ndim != 3 or x.shape[1:] != (self.tokens, self.width):
            raise ShapeError(self, x, f"[B, {self.tokens}, {self.width}]")
        return self.tangent(x)

    def backward(self, grad: Array) -> Array:
        """Repeat the gradient for each token."""
        self._take()
        return np.repeat(grad[:, None] / grad.dtype.type(self.tokens), self.tokens, axis=1)

    def tangent(self, v: Array) -> Array:
        """Average the directions: the layer is linear."""
        self._keep()
        return v.mean(axis=1)


def _joined(heads: Array) -> Array:
    """Return [B, heads, T, D] as [B, T, C]."""
    return heads.transpose(0, 2, 1, 3).reshape(len(heads), heads.shape[2], math.prod(heads.shape[1::2]))
