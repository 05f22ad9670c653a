"""PyTorch's samples of modules: the class of ours with the same name gets the same arguments and the same state.

A module over a signal becomes its namesake over images, of height one; a loss becomes our function.
"""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from trimtab import numpy_nn as nn

from .outcome import Outcome, OutOfScope, Reason, judge
from .torch_calls import Result, added_axes, array, check, image_options, reference, run_convolution, run_layer, words

SUITE = "torch module_db"
SIGNALS = {name: name.replace("1d", "2d") for name in ("Conv1d", "ConvTranspose1d", "MaxPool1d", "AvgPool1d")}
SIGNALS["AdaptiveAvgPool1d"] = "AdaptiveAvgPool2d"
IMAGES = set(SIGNALS.values())
OTHERS = {"BatchNorm1d", "BatchNorm2d", "Embedding", "GELU", "LayerNorm", "LeakyReLU", "Linear", "ReLU", "SiLU"}
OTHERS |= {"Sigmoid", "Tanh"}
LOSSES = {
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "CrossEntropyLoss": "cross_entropy",
    "MSELoss": "mse_loss",
    "NLLLoss": "nll_loss",
}
FUNCTIONS = {"LogSoftmax": "log_softmax", "Softmax": "softmax"}
OURS = {*SIGNALS, *IMAGES, *OTHERS, *LOSSES, *FUNCTIONS}


@functools.cache
def outcomes() -> list[Outcome]:
    """Outcome of every sample of the modules that we have, in training and, where that differs, in evaluation."""
    return [outcome for info in _modules() if _name(info) in OURS for outcome in _of_module(info)]


def unused() -> Iterator[Outcome]:
    """Yield an outcome for every module without a counterpart."""
    others = [info for info in _modules() if _name(info) not in OURS]
    yield from (Outcome(SUITE, "", _name(info), reason=Reason.OTHER_OPERATORS) for info in others)


@functools.cache
def _modules() -> list[Any]:
    from torch.testing._internal.common_modules import module_db

    return module_db


def _name(info: Any) -> str:
    return info.module_cls.__name__


def _of_module(info: Any) -> Iterator[Outcome]:
    name = _name(info)
    for trains in (True, False) if info.train_and_eval_differ else (True,):
        torch.manual_seed(zlib.crc32(name.encode()))
        for sample in info.module_inputs_func(info, "cpu", torch.float64, True, trains):
            created = sample.constructor_input
            text = f"{name}({words(*created.args, **created.kwargs)}) {sample.desc}, {trains=}"
            yield judge(SUITE, name, text, functools.partial(_run, info.module_cls, sample, trains))


def _run(kind: type[torch.nn.Module], sample: Any, trains: bool) -> tuple[str, ...]:
    created, called = sample.constructor_input, sample.forward_input
    module = kind(*created.args, **created.kwargs).double().train(trains)
    options = dict(inspect.signature(kind).bind(*created.args, **created.kwargs).arguments)
    tensors = [*called.args, *called.kwargs.values()]
    before = {name: array(value) for name, value in module.state_dict().items()}
    leaves = dict(module.named_parameters())
    leaves.update({"input": tensors[0]} if tensors[0].requires_grad else {})
    direction = torch.ones_like if kind.__name__ in LOSSES else torch.randn_like
    expected, cotangent = reference(lambda: module(*called.args, **called.kwargs), leaves, direction)
    expected.buffers.update(
        {name: array(value) for name, value in module.named_buffers() if kind.__name__ not in LOSSES}
    )
    arrays = [array(tensor) for tensor in tensors]
    return check(_ours(kind.__name__, options, arrays, before, cotangent, trains), expected)


def _ours(name: str, options: dict, tensors: list, state: dict, cotangent: np.ndarray, trains: bool) -> Result:
    if name in LOSSES:
        return _loss(name, {**options, **state}, tensors)
    if name in FUNCTIONS:
        return Result([getattr(nn, FUNCTIONS[name])(tensors[0], options["dim"])])
    if name.startswith("BatchNorm") and "bias" in options:
        raise OutOfScope(Reason.BATCH_NORM_BIAS)
    if name not in SIGNALS and name not in IMAGES:
        return run_layer(getattr(nn, name)(**options).train(trains), tensors[0], cotangent, state)
    return _over_images(name, options, tensors[0], cotangent, state)


def _over_images(name: str, options: dict, inputs: np.ndarray, cotangent: np.ndarray, state: dict) -> Result:
    rank = 1 if name in SIGNALS else 2
    axes = added_axes(inputs, rank)
    plain = ("in_channels", "out_channels", "groups", "divisor_override")
    windows = image_options({key: value for key, value in options.items() if key not in plain}, rank)

    def run(layer: nn.Module) -> Result:
        return run_layer(layer, inputs, cotangent, state, axes)

    if name in ("Conv1d", "Conv2d"):
        return run_convolution({**options, **windows}, run)
    layer = getattr(nn, SIGNALS.get(name, name))(**{**options, **windows})
    result = run(layer)
    places = [np.squeeze(layer.indices, axes)] if options.get("return_indices") else []
    return Result(result.outputs + places, result.gradients, result.buffers)


def _loss(name: str, options: dict, tensors: list) -> Result:
    if name == "BCEWithLogitsLoss" and "weight" in options:
        raise OutOfScope(Reason.ELEMENT_WEIGHT)
    value, gradient = getattr(nn, LOSSES[name])(*tensors, **options)
    return Result([np.asarray(value)], {"input": gradient})
