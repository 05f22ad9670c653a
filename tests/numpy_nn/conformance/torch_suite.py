"""PyTorch's own samples, from ``torch.testing._internal`` of the installed package, in float64.

Each sample goes through PyTorch and through a layer of ours; outputs, gradients (with respect to the input and every
parameter, for one random cotangent) and running statistics must agree. The samples are a private part of PyTorch, so
what is here holds for the version in ``requirements.lock``.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from typing import Any

import torch

from . import torch_modules, torch_optimizers
from .outcome import Outcome, Reason, judge
from .torch_calls import array, check, reference, words
from .torch_functions import FUNCTIONS, LOSSES

SUITE = "torch op_db"


@functools.cache
def outcomes() -> list[Outcome]:
    """Outcome of every sample of every operator, module and optimizer that we have a counterpart of."""
    return [
        *(outcome for name in FUNCTIONS for outcome in of_operator(name)),
        *torch_modules.outcomes(),
        *torch_optimizers.outcomes(),
    ]


@functools.cache
def of_operator(name: str) -> list[Outcome]:
    """Outcome of every sample of one operator."""
    operator = operators()[name]
    torch.manual_seed(zlib.crc32(name.encode()))
    samples = list(operator.sample_inputs("cpu", torch.float64, requires_grad=True))
    return [_outcome(operator, name, sample) for sample in samples]


def _outcome(operator: Any, name: str, sample: Any) -> Outcome:
    text = words(sample.input, *sample.args, **sample.kwargs)
    return judge(SUITE, name, text, lambda: _run(operator, name, sample))


@functools.cache
def operators() -> dict[str, Any]:
    """PyTorch's operators by name, with the variant after a point."""
    from torch.testing._internal.common_methods_invocations import op_db

    return {f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name: op for op in op_db}


def _run(operator: Any, name: str, sample: Any) -> tuple[str, ...]:
    names, adapter = FUNCTIONS[name]
    given = {**dict(zip(names, [sample.input, *sample.args], strict=False)), **sample.kwargs}
    leaves = {key: value for key, value in given.items() if isinstance(value, torch.Tensor) and value.requires_grad}
    ours = {key: array(value) if isinstance(value, torch.Tensor) else value for key, value in given.items()}
    is_loss = name.split(".")[-1] in LOSSES
    expected, cotangent = reference(
        lambda: operator.op(sample.input, *sample.args, **sample.kwargs),
        leaves,
        torch.ones_like if is_loss else torch.randn_like,
    )
    statistics = {key: array(given[key]) for key in ("running_mean", "running_var") if given.get(key) is not None}
    expected.buffers.update(statistics)
    return check(adapter(ours, cotangent), expected)


def unused() -> Iterator[Outcome]:
    """Yield one outcome, out of scope, for every operator, module and optimizer without a counterpart of ours."""
    for name in operators().keys() - FUNCTIONS.keys():
        yield Outcome(SUITE, "", name, reason=Reason.OTHER_OPERATORS)
    yield from torch_modules.unused()
    yield from torch_optimizers.unused()
