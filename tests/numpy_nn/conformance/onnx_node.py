"""A node of an ONNX graph as the adapters see it, and how they load a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab import numpy_nn as nn


@dataclass(frozen=True)
class Node:
    """One operator with its attributes and the arrays that go in; ``None`` where an optional input is absent."""

    operator: str
    attributes: dict[str, Any]
    inputs: list
    outputs: int
    opset: int

    def arrays(self, count: int) -> list:
        """Return the first ``count`` inputs, those that are absent as ``None``."""
        return [*self.inputs, *[None] * count][:count]


def load(layer: nn.Module, **arrays: np.ndarray | None) -> nn.Module:
    """Return the layer with these arrays as its parameters and buffers; the others stay as they are."""
    given = {name: array for name, array in arrays.items() if array is not None}
    layer.load_state_dict({**layer.state_dict(), **given})
    return layer
