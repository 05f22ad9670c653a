"""Probabilities of table rows in float64, whichever engine trained.

In float32 the last digits of a row's probabilities depend on how many rows are multiplied at once. Here they are the
same to fifteen digits whatever rows stand beside it, which callers of a library may count on.

Shapes: N rows, F features, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.models import build

_ROWS_AT_ONCE = 2048


def exact_probabilities(artifact: Artifact, inputs: NDArray[np.floating], *, threads: int = 1) -> NDArray[np.float64]:
    """Return class probabilities, float64 [N, K], of encoded rows [N, F]; computed by NumPy."""
    network: numpy_nn.Module = build(numpy_nn, artifact.builder, artifact.kwargs)
    network.to(np.float64).load_state_dict(artifact.arrays)
    network.eval()
    starts = range(0, len(inputs), _ROWS_AT_ONCE)
    with numpy_nn.threads(threads), numpy_nn.inference():
        parts = [network(inputs[start : start + _ROWS_AT_ONCE].astype(np.float64)) for start in starts]
    logits = np.concatenate([np.empty((0, artifact.kwargs["num_classes"])), *parts])
    return numpy_nn.softmax(logits)
