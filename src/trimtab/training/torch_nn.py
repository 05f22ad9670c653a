"""The ``nn`` namespace of torch: torch.nn's own layers and the twins that it lacks."""

from __future__ import annotations

import torch
from torch.nn import (
    AdaptiveAvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
)

__all__ = [
    "AdaptiveAvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Sequential",
]


class Residual(torch.nn.Module):
    """``x + module(x)``."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of the input and what the module makes of it; both have one shape."""
        out: torch.Tensor = x + self.module(x)
        return out
