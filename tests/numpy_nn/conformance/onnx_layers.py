"""ONNX's remaining operators as layers, losses and optimizers. An adapter only lays out arrays and folds constants."""

from __future__ import annotations

import math

import numpy as np

from trimtab import numpy_nn as nn

from .onnx_node import Node, load
from .onnx_optimizers import adam, momentum
from .onnx_resize import resize
from .outcome import OutOfScope, Reason


def general_product(node: Node) -> list[np.ndarray]:
    """Gemm: alpha and beta are folded into the weight and the bias."""
    a, b, c = node.arrays(3)
    inputs = a.T if node.attributes.get("transA", 0) else a
    weight = b if node.attributes.get("transB", 0) else b.T
    bias = None if c is None else _bias(c, len(weight)) * np.float32(node.attributes.get("beta", 1.0))
    scaled = weight * np.float32(node.attributes.get("alpha", 1.0))
    return [_linear(inputs, scaled, bias)]


def _bias(c: np.ndarray, features: int) -> np.ndarray:
    if c.ndim == 2 and len(c) > 1:
        raise OutOfScope(Reason.VARYING_BIAS)
    return np.broadcast_to(np.reshape(c, -1), features)


def _linear(inputs: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return load(layer, weight=weight, bias=bias)(inputs)


def product(node: Node) -> list[np.ndarray]:
    """MatMul: the factor that is one matrix or one vector is the weight; a vector gets an axis and loses it again."""
    a, b = node.inputs
    if b.ndim > 2 and a.ndim > 2:
        raise OutOfScope(Reason.TWO_BATCHES)
    if b.ndim > 2:
        return [_times(np.swapaxes(b, -1, -2), a)]
    return [_times(np.atleast_2d(a), b).reshape(a.shape[:-1] + b.shape[1:])]


def _times(inputs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    is_vector = weight.ndim == 1
    y = _linear(inputs, weight[None] if is_vector else weight.T)
    return y[..., 0] if is_vector else y


def batch_normalization(node: Node) -> list[np.ndarray]:
    """Axes of space beyond two are merged; ONNX keeps the biased running variance, PyTorch the unbiased one."""
    x, scale, shift, mean, variance = node.inputs
    layer = nn.BatchNorm2d if x.ndim > 3 else nn.BatchNorm1d
    momentum = 1 - node.attributes.get("momentum", 0.9)
    norm = layer(len(scale), eps=node.attributes.get("epsilon", 1e-5), momentum=momentum)
    load(norm, weight=scale, bias=shift, running_mean=mean, running_var=variance)
    trains = bool(node.attributes.get("training_mode", 0))
    merged = x.reshape(*x.shape[:3], -1) if x.ndim > 4 else x
    y = norm.train(trains)(merged).reshape(x.shape)
    if not trains:
        return [y]
    state = norm.state_dict()
    return [y, state["running_mean"], _biased(state["running_var"], variance, momentum, x.size // len(scale))]


def _biased(new: np.ndarray, old: np.ndarray, momentum: float, count: int) -> np.ndarray:
    kept = np.float32(1 - momentum) * old
    return kept + (new - kept) * np.float32((count - 1) / count)


def layer_normalization(node: Node) -> list[np.ndarray]:
    x, scale, shift = node.arrays(3)
    shape = x.shape[node.attributes.get("axis", -1) :]
    layer = nn.LayerNorm(shape, eps=node.attributes.get("epsilon", 1e-5), bias=shift is not None)
    return [load(layer, weight=scale, bias=shift)(x)]


def flatten(node: Node) -> list[np.ndarray]:
    """ONNX always gives two axes: those before ``axis`` merged, and those from it on."""
    x, axis = node.inputs[0], node.attributes.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    if axis in (0, x.ndim):
        return [nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (x.size, 1) if axis else (1, x.size)))(x)]
    return [nn.Sequential(nn.Flatten(0, axis - 1), nn.Flatten(1))(x)]


def reshape(node: Node) -> list[np.ndarray]:
    """Any change of shape is to merge all axes and to split them anew; labels of a loss are laid out by NumPy."""
    x = node.inputs[0]
    shape = node.inputs[1].tolist()
    if not node.attributes.get("allowzero", 0):
        shape = [x.shape[axis] if length == 0 else length for axis, length in enumerate(shape)]
    if x.dtype.kind != "f":
        return [x.reshape(shape)]
    return [nn.Sequential(nn.Flatten(0), nn.Unflatten(0, tuple(shape)))(x)]


def gather(node: Node) -> list[np.ndarray]:
    """What is looked up along the axis are the rows of a table; the other axes are merged into a row."""
    data, indices = node.inputs
    if indices.min() < 0:
        raise OutOfScope(Reason.NEGATIVE_INDEX)
    axis = node.attributes.get("axis", 0)
    first = np.moveaxis(data, axis, 0)
    table = load(nn.Embedding(len(first), first[0].size), weight=first.reshape(len(first), -1))
    rows = table(indices).reshape(*indices.shape, *first.shape[1:])
    return [np.moveaxis(rows, range(indices.ndim), range(axis, axis + indices.ndim))]


def dropout(node: Node) -> list[np.ndarray]:
    x, ratio, trains = node.arrays(3)
    probability = float(node.attributes.get("ratio", 0.5) if ratio is None else ratio)
    if trains is not None and trains and probability > 0:
        raise OutOfScope(Reason.RANDOM)
    return [nn.Dropout(probability).train(trains is not None and bool(trains))(x)]


def parametric_relu(node: Node) -> list[np.ndarray]:
    x, slope = node.inputs
    if slope.size > 1:
        raise OutOfScope(Reason.SLOPES)
    return [nn.LeakyReLU(slope.item())(x)]


def swish(node: Node) -> list[np.ndarray]:
    assert node.attributes.get("alpha", 1.0) == 1.0
    return [nn.SiLU()(node.inputs[0])]


def softmax_cross_entropy(node: Node) -> list[np.ndarray]:
    scores, labels, weight = node.arrays(3)
    loss = _loss(nn.cross_entropy, node, scores, labels, weight)
    return [loss, nn.log_softmax(scores, 1)] if node.outputs > 1 else [loss]


def negative_log_likelihood(node: Node) -> list[np.ndarray]:
    return [_loss(nn.nll_loss, node, *node.arrays(3))]


def _loss(function, node: Node, scores: np.ndarray, labels: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    options = {"reduction": node.attributes.get("reduction", "mean")}
    if "ignore_index" in node.attributes:
        options["ignore_index"] = node.attributes["ignore_index"]
    value, _ = function(scores, labels, weight, **options)
    return np.asarray(value, scores.dtype)  # a reduced loss is a Python float


def _normalized(function):
    """Softmax or its logarithm; before opset 13 all axes from ``axis`` on were one."""

    def run(node: Node) -> list[np.ndarray]:
        x = node.inputs[0]
        if node.opset >= 13:
            return [function(x, node.attributes.get("axis", -1))]
        before = math.prod(x.shape[: node.attributes.get("axis", 1)])
        return [function(x.reshape(before, -1), 1).reshape(x.shape)]

    return run


def _elementwise(make):
    """Run a layer without weights, made from the attributes of the node."""
    return lambda node: [make(node.attributes)(node.inputs[0])]


LAYERS = {
    "Adam": adam,
    "BatchNormalization": batch_normalization,
    "Dropout": dropout,
    "Flatten": flatten,
    "Gather": gather,
    "Gelu": _elementwise(lambda given: nn.GELU(given.get("approximate", "none"))),
    "Gemm": general_product,
    "Identity": _elementwise(lambda given: nn.Identity()),
    "LayerNormalization": layer_normalization,
    "LeakyRelu": _elementwise(lambda given: nn.LeakyReLU(given.get("alpha", 0.01))),
    "LogSoftmax": _normalized(nn.log_softmax),
    "MatMul": product,
    "Momentum": momentum,
    "NegativeLogLikelihoodLoss": negative_log_likelihood,
    "PRelu": parametric_relu,
    "Relu": _elementwise(lambda given: nn.ReLU()),
    "Reshape": reshape,
    "Resize": resize,
    "Sigmoid": _elementwise(lambda given: nn.Sigmoid()),
    "Softmax": _normalized(nn.softmax),
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy,
    "Swish": swish,
    "Tanh": _elementwise(lambda given: nn.Tanh()),
    "Upsample": resize,
}
