"""The ``nn`` namespace of torch: torch.nn's own layers, one made faster, and the twins that it lacks.

Shapes: B batch, C channels, H W height and width, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import (
    GELU,
    AdaptiveAvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    functional,
)

from trimtab.numpy_nn.attention import POSITION_SPREAD
from trimtab.training.torch_convolution import Conv2d

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "LayerNorm",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Scale",
    "SelfAttention",
    "Sequential",
    "ShiftNorm2d",
    "TokenMean",
    "Tokens",
    "frozen",
]


class Residual(torch.nn.Module):
    """``x + module(x)``.

    In training each example leaves ``module`` out with probability ``p``, and what it adds is scaled by 1 / (1 - p)
    otherwise: stochastic depth (Huang et al., 2016).
    """

    def __init__(self, module: torch.nn.Module, p: float = 0.0) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; expected a probability below 1; give a number from 0 to 0.99.")
        self.module, self.p = module, p

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the input and what the module makes of it; both have one shape."""
        changed: Tensor = self.module(x)
        if self.training and self.p:
            is_kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.p
            changed = changed * (is_kept / (1 - self.p)).to(changed.dtype)
        return x + changed


class ShiftNorm2d(torch.nn.BatchNorm2d):
    """`BatchNorm2d` whose scale stays one, so that it may change places with a maximum; the shift is trained."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps, momentum, affine=False)
        self.bias = torch.nn.Parameter(torch.zeros(num_features))


class Scale(torch.nn.Module):
    """``x`` times a fixed factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return the product."""
        return x * self.factor


class Tokens(torch.nn.Module):
    """Pixels as tokens, each with a learned position added: [B, C, H, W] -> [B, H W, C].

    Positions start from `trimtab.numpy_nn.attention.POSITION_SPREAD`.
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.position = torch.nn.Parameter(POSITION_SPREAD * torch.randn(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x.flatten(2).transpose(1, 2) + self.position


class SelfAttention(torch.nn.Module):
    """Attention of all tokens to all (Vaswani et al., 2017): queries, keys, values [B, T, 3 C] -> [B, T, C].

    Each of the three is cut into as many parts as there are heads. There are no parameters: linear layers before and
    after it hold them.
    """

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.shape, self.heads = (tokens, width), heads

    def forward(self, x: Tensor) -> Tensor:
        """Return the values' mean, weighted by how well queries and keys match."""
        parts = x.reshape(len(x), self.shape[0], 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # [B, heads, T, C / heads] each
        if x.is_cpu and x.dtype == torch.bfloat16:
            mixed = _attention(query, key, value)
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value)
        return mixed.transpose(1, 2).flatten(2)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return what torch's own function does; that one takes up to six times as long in bfloat16 on a processor."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    mixed: Tensor = scores.softmax(-1) @ value
    return mixed


class TokenMean(torch.nn.Module):
    """The mean of the tokens: [B, T, C] -> [B, C]."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.shape = (tokens, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean."""
        return x.mean(1)


def frozen(layer: Conv2d) -> Conv2d:
    """Return the layer, with a weight that training leaves as it is."""
    layer.weight.requires_grad_(False)
    return layer
