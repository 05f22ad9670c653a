"""PyTorch's samples of optimizers: the same parameters under the same gradients must take the same path."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from trimtab import numpy_nn as nn

from .outcome import Outcome, OutOfScope, Reason, judge
from .torch_calls import Result, array, check

SUITE = "torch optim_db"
OURS = ("Adam", "AdamW", "SGD")
STEPS = 10
SHAPES = ((5, 3), (4,), ())


@functools.cache
def outcomes() -> list[Outcome]:
    """Outcome of every sample of the optimizers that we have."""
    return [outcome for info in _optimizers() if _name(info) in OURS for outcome in _of_optimizer(info)]


def unused() -> Iterator[Outcome]:
    """Yield an outcome for every optimizer without a counterpart."""
    others = [info for info in _optimizers() if _name(info) not in OURS]
    yield from (Outcome(SUITE, "", _name(info), reason=Reason.OTHER_OPERATORS) for info in others)


@functools.cache
def _optimizers() -> list[Any]:
    from torch.testing._internal.common_optimizers import optim_db

    return optim_db


def _name(info: Any) -> str:
    return info.optim_cls.__name__


def _of_optimizer(info: Any) -> Iterator[Outcome]:
    for sample in info.optim_inputs_func(device="cpu"):
        options = {name: getattr(value, "item", lambda value=value: value)() for name, value in sample.kwargs.items()}
        run = functools.partial(_run, info.optim_cls, options)
        yield judge(SUITE, _name(info), f"{sample.desc} {options}", run)


def _run(kind: type[torch.optim.Optimizer], options: dict[str, Any]) -> tuple[str, ...]:
    for name, reason in (("amsgrad", Reason.AMSGRAD), ("maximize", Reason.MAXIMIZE)):
        if options.get(name):
            raise OutOfScope(reason)
    rng = np.random.default_rng(0)
    values, *gradients = ([rng.standard_normal(shape) for shape in SHAPES] for _ in range(STEPS + 1))
    theirs = _path(kind, options, [torch.tensor(value, requires_grad=True) for value in values], gradients)
    ours = _path(getattr(nn, kind.__name__), options, [nn.Parameter(np.array(value)) for value in values], gradients)
    return check(Result(ours), Result(theirs))


def _path(kind: Any, options: dict[str, Any], parameters: list, gradients: list) -> list[np.ndarray]:
    """Return the values of all parameters after every step."""
    optimizer = kind(parameters, **options)
    path = []
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            if isinstance(parameter, torch.Tensor):
                parameter.grad = torch.tensor(gradient)
            else:
                parameter.grad[...] = gradient
        optimizer.step()
        path += [array(p) if isinstance(p, torch.Tensor) else np.array(p.data) for p in parameters]
    return path
