"""Which parameters are penalized and which Muon moves, by name and shape: one answer for both engines.

Legend: a shape is torch's, [out, in] of a linear layer, [out, in / groups, height, width] of a convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Shape = Sequence[int]


def is_penalized(shape: Shape) -> bool:
    """Return whether weight decay, L1 and L2 act on a parameter: on matrices and filters, not on vectors.

    Vectors are biases and the scales and shifts of normalization; pulling these towards zero limits what the network
    can express and regularizes little.
    """
    return len(shape) > 1


def matrix_names(shapes: Mapping[str, Shape]) -> list[str]:
    """Return the names of the parameters that are matrices to Muon, in order.

    These are the weights of linear layers but the last, and filters over several input channels. The last layer's
    rows belong to one class each, which is no matrix between two spaces of features (Jordan et al., 2024, let AdamW
    move it); a filter over a single channel, as in a depthwise convolution, mixes nothing.

    Parameters
    ----------
    shapes
        Of all parameters that are trained, in the order of the network.
    """
    weights = {name: shape for name, shape in shapes.items() if name.rpartition(".")[2] == "weight"}
    linear = [name for name, shape in weights.items() if len(shape) == 2]
    filters = {name for name, shape in weights.items() if len(shape) == 4 and shape[1] > 1}
    return [name for name in weights if name in filters or name in linear[:-1]]
