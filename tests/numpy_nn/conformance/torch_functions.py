"""PyTorch's functions as our layers: each adapter gets the named arguments of a sample and a cotangent.

A signal becomes an image of height one and an input without a batch a batch of one; nothing else is changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trimtab import numpy_nn as nn

from .outcome import OutOfScope, Reason
from .torch_calls import Result, added_axes, image_options, run_convolution, run_layer

Arguments = dict[str, Any]
TENSORS = ("input", "weight", "bias", "target", "running_mean", "running_var")


def _options(given: Arguments, *left_out: str) -> Arguments:
    return {name: value for name, value in given.items() if name not in (*TENSORS, *left_out)}


def convolution(given: Arguments, cotangent: np.ndarray, rank: int) -> Result:
    weight, groups = given["weight"], given.get("groups", 1)
    windows = image_options({"kernel_size": weight.shape[2:], **_options(given, "groups")}, rank)
    sizes = {"in_channels": weight.shape[1] * groups, "out_channels": weight.shape[0], "groups": groups}
    options = {**sizes, **windows, "bias": given.get("bias") is not None}
    return run_convolution(options, lambda layer: _over_images(layer, given, cotangent, rank))


def transposed_convolution(given: Arguments, cotangent: np.ndarray, rank: int) -> Result:
    weight, groups = given["weight"], given.get("groups", 1)
    windows = image_options({"kernel_size": weight.shape[2:], **_options(given, "groups")}, rank)
    sizes = {"in_channels": weight.shape[0], "out_channels": weight.shape[1] * groups, "groups": groups}
    layer = nn.ConvTranspose2d(**sizes, **windows, bias=given.get("bias") is not None)
    return _over_images(layer, given, cotangent, rank)


def _over_images(layer: nn.Module, given: Arguments, cotangent: np.ndarray, rank: int) -> Result:
    state = {name: given.get(name) for name in ("weight", "bias")}
    return run_layer(layer, given["input"], cotangent, state, added_axes(given["input"], rank))


def max_pool(given: Arguments, cotangent: np.ndarray, rank: int) -> Result:
    layer = nn.MaxPool2d(**image_options(_options(given), rank))
    result = _over_images(layer, given, cotangent, rank)
    if not given.get("return_indices"):
        return result
    indices = np.squeeze(layer.indices, added_axes(given["input"], rank))
    return Result([*result.outputs, indices], result.gradients)


def average_pool(given: Arguments, cotangent: np.ndarray, rank: int) -> Result:
    divisor = {"divisor_override": given["divisor_override"]} if "divisor_override" in given else {}
    layer = nn.AvgPool2d(**image_options(_options(given, "divisor_override"), rank), **divisor)
    return _over_images(layer, given, cotangent, rank)


def adaptive_pool(given: Arguments, cotangent: np.ndarray, rank: int) -> Result:
    layer = nn.AdaptiveAvgPool2d(**image_options(_options(given), rank))
    return _over_images(layer, given, cotangent, rank)


def linear(given: Arguments, cotangent: np.ndarray) -> Result:
    weight, bias = given["weight"], given.get("bias")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return run_layer(layer, given["input"], cotangent, {"weight": weight, "bias": bias})


def embedding(given: Arguments, cotangent: np.ndarray) -> Result:
    layer = nn.Embedding(*given["weight"].shape, **_options(given))
    return run_layer(layer, given["input"], cotangent, {"weight": given["weight"]})


def batch_norm(given: Arguments, cotangent: np.ndarray) -> Result:
    x, weight = given["input"], given.get("weight")
    if x.ndim < 2:
        raise OutOfScope(Reason.NO_CHANNELS)
    if (weight is None) != (given.get("bias") is None):
        raise OutOfScope(Reason.BATCH_NORM_BIAS)
    tracks = given.get("running_mean") is not None
    kind = nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d
    layer = kind(x.shape[1], **_options(given, "training"), affine=weight is not None, track_running_stats=tracks)
    layer.train(given.get("training", False))
    return run_layer(layer, x, cotangent, {name: given.get(name) for name in TENSORS[1:] if name != "target"})


def layer_norm(given: Arguments, cotangent: np.ndarray) -> Result:
    has = [given.get(name) is not None for name in ("weight", "bias")]
    layer = nn.LayerNorm(elementwise_affine=has[0], bias=has[1], **_options(given))
    return run_layer(layer, given["input"], cotangent, {name: given.get(name) for name in ("weight", "bias")})


def upsample(given: Arguments, cotangent: np.ndarray, mode: str = "", **more: Any) -> Result:
    """Resize; to recompute the factor from the output size is to give the size."""
    rank = given["input"].ndim - 2
    if rank > 2:
        raise OutOfScope(Reason.THREE_DIMENSIONS)
    options = {**_options(given, "recompute_scale_factor"), **more}
    options["mode"] = {"linear": "bilinear"}.get(mode or options["mode"], mode or options["mode"])
    if given.get("recompute_scale_factor"):
        options["size"] = tuple(int(length * options["scale_factor"]) for length in given["input"].shape[2:])
        options["scale_factor"] = None
    layer = nn.Upsample(**{**image_options(options, rank), **more})
    return _over_images(layer, given, cotangent, rank)


def dropout(given: Arguments, cotangent: np.ndarray) -> Result:
    probability, trains = given.get("p", 0.5), given.get("training", True)
    if trains and 0 < probability < 1:
        raise OutOfScope(Reason.RANDOM)
    return run_layer(nn.Dropout(probability).train(trains), given["input"], cotangent)


def _without_weights(kind: str):
    def run(given: Arguments, cotangent: np.ndarray) -> Result:
        return run_layer(getattr(nn, kind)(**_options(given, "inplace")), given["input"], cotangent)

    return run


def _function(kind: str):
    """A function without a backward pass of its own: the losses have it within."""

    def run(given: Arguments, cotangent: np.ndarray) -> Result:
        return Result([getattr(nn, kind)(given["input"], given["dim"])])

    return run


def _loss(kind: str):
    def run(given: Arguments, cotangent: np.ndarray) -> Result:
        if kind == "binary_cross_entropy_with_logits" and given.get("weight") is not None:
            raise OutOfScope(Reason.ELEMENT_WEIGHT)
        value, gradient = getattr(nn, kind)(**given)
        return Result([np.asarray(value)], {"input": gradient})

    return run


def _of_rank(adapter, rank: int):
    return lambda given, cotangent: adapter(given, cotangent, rank)


CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
CONV_TRANSPOSE = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
POOL = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
SIZE = ("input", "size", "scale_factor")
DIM = ("input", "dim")
LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "mse_loss")

# Operator of PyTorch's samples -> the names of its arguments in order, and the adapter.
FUNCTIONS = {
    "nn.functional.conv1d": (CONV, _of_rank(convolution, 1)),
    "nn.functional.conv2d": (CONV, _of_rank(convolution, 2)),
    "nn.functional.conv_transpose1d": (CONV_TRANSPOSE, _of_rank(transposed_convolution, 1)),
    "nn.functional.conv_transpose2d": (CONV_TRANSPOSE, _of_rank(transposed_convolution, 2)),
    "nn.functional.max_pool1d": (("input",), _of_rank(max_pool, 1)),
    "nn.functional.max_pool2d": (("input",), _of_rank(max_pool, 2)),
    "nn.functional.avg_pool1d": (POOL[:-1], _of_rank(average_pool, 1)),
    "nn.functional.avg_pool2d": (POOL, _of_rank(average_pool, 2)),
    "nn.functional.adaptive_avg_pool1d": (("input", "output_size"), _of_rank(adaptive_pool, 1)),
    "nn.functional.adaptive_avg_pool2d": (("input", "output_size"), _of_rank(adaptive_pool, 2)),
    "nn.functional.linear": (("input", "weight", "bias"), linear),
    "nn.functional.embedding": (("weight", "input"), embedding),
    "nn.functional.batch_norm": (NORM, batch_norm),
    "nn.functional.batch_norm.without_cudnn": (NORM, batch_norm),
    "nn.functional.layer_norm": (("input", "normalized_shape", "weight", "bias", "eps"), layer_norm),
    "nn.functional.interpolate.nearest": (SIZE, upsample),
    "nn.functional.interpolate.linear": (SIZE, upsample),
    "nn.functional.interpolate.bilinear": (SIZE, upsample),
    "nn.functional.upsample_nearest": (SIZE, lambda given, cotangent: upsample(given, cotangent, "nearest")),
    "nn.functional.upsample_bilinear": (
        SIZE,
        lambda given, cotangent: upsample(given, cotangent, "bilinear", align_corners=True),
    ),
    "nn.functional.dropout": (("input",), dropout),
    "nn.functional.relu": (("input",), _without_weights("ReLU")),
    "nn.functional.leaky_relu": (("input", "negative_slope"), _without_weights("LeakyReLU")),
    "nn.functional.gelu": (("input",), _without_weights("GELU")),
    "nn.functional.silu": (("input",), _without_weights("SiLU")),
    "tanh": (("input",), _without_weights("Tanh")),
    "sigmoid": (("input",), _without_weights("Sigmoid")),
    "flatten": (("input",), lambda given, cotangent: _without_weights("Flatten")({"start_dim": 0, **given}, cotangent)),
    "unflatten": (("input", "dim", "unflattened_size"), _without_weights("Unflatten")),
    "softmax": (DIM, _function("softmax")),
    "softmax.with_dtype": (DIM, _function("softmax")),
    "log_softmax": (DIM, _function("log_softmax")),
    "log_softmax.with_dtype": (DIM, _function("log_softmax")),
    **{f"nn.functional.{name}": (("input", "target"), _loss(name)) for name in LOSSES},
}
