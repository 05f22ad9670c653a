"""What rank 0 says to the other workers in training: short commands and arrays, each one broadcast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save
from torch import Tensor, distributed

from trimtab.training.distributed.team import talking
from trimtab.training.stepper import Arrays

_BYTES = 256  # of a command, so that none has to be announced by another


def send(name: str, *arguments: Any, to: int = 0) -> None:
    """Tell every other worker to call the method ``name`` of its stepper number ``to``; rank 0 only."""
    text = json.dumps([to, name, *arguments]).encode()
    if len(text) > _BYTES:
        raise ValueError(f"the command {name} takes {len(text)} bytes; expected at most {_BYTES}; send arrays apart.")
    _broadcast(torch.frombuffer(bytearray(text.ljust(_BYTES)), dtype=torch.uint8))


def receive() -> tuple[int, str, list[Any]]:
    """Return the next command: the number of the stepper, the name of the method, its arguments."""
    to, name, *arguments = json.loads(bytes(_broadcast(torch.empty(_BYTES, dtype=torch.uint8)).numpy()))
    return to, name, arguments


def send_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give every other worker these arrays; rank 0 only."""
    content = save({name: np.require(array, requirements=["C"]) for name, array in arrays.items()})
    _broadcast(torch.tensor([len(content)]))
    _broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8))


def receive_arrays() -> Arrays:
    """Return the arrays that rank 0 sends."""
    size = int(_broadcast(torch.zeros(1, dtype=torch.int64)))
    arrays: Arrays = load(bytes(_broadcast(torch.empty(size, dtype=torch.uint8)).numpy()))
    return arrays


def _broadcast(tensor: Tensor) -> Tensor:
    with talking():
        distributed.broadcast(tensor, 0)
    return tensor
