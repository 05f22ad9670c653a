"""Checkpoints that are whole or absent: weights, optimizer, best weights so far, and the state of the run.

Written beside the old one, verified by reading back, then the old one goes; loading walks back to the newest that
verifies. Tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from trimtab.storage import new_directory, sha256_bytes, sha256_file, write_bytes, write_json

Tensors = dict[str, Tensor]
_PARTS = ("model", "optimizer", "best")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a run needs to go on from ``step`` as if it had not stopped.

    Attributes
    ----------
    step
        Steps done.
    model, optimizer, best
        Tensors by name; ``best`` are the weights with the lowest validation loss so far.
    state
        JSON values: history, corrections, seconds spent, what early stopping remembers.
    """

    step: int
    model: Tensors
    optimizer: Tensors
    best: Tensors
    state: dict[str, Any]


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write ``directory/step_N`` atomically and remove the older ones once it has been read back."""
    target = directory / f"step_{checkpoint.step:09d}"
    with new_directory(target) as temporary:
        hashes = {}
        for part in _PARTS:
            content = save({key: value.contiguous() for key, value in getattr(checkpoint, part).items()})
            write_bytes(temporary / f"{part}.safetensors", content)
            hashes[part] = sha256_bytes(content)
        write_json(temporary / "state.json", {"step": checkpoint.step, "hashes": hashes, "state": checkpoint.state})
    if _read(target) is not None:
        for older in sorted(directory.glob("step_*"))[:-1]:
            shutil.rmtree(older)


def load_checkpoint(directory: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole and unaltered, or ``None`` when there is none."""
    for candidate in sorted(directory.glob("step_*"), reverse=True):
        checkpoint = _read(candidate)
        if checkpoint is not None:
            return checkpoint
    return None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimizer's tensors as ``"parameter number.name"``; settings are the recipe's, not kept here."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give the optimizer the tensors that `optimizer_tensors` returned, in the memory format of its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:  # not the step counter
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        optimizer.state[parameter][name] = value


def _read(directory: Path) -> Checkpoint | None:
    try:
        description = json.loads((directory / "state.json").read_text())
        files = {part: directory / f"{part}.safetensors" for part in _PARTS}
        if any(sha256_file(file) != description["hashes"][part] for part, file in files.items()):
            return None
        tensors = {part: load_file(file) for part, file in files.items()}
        return Checkpoint(step=description["step"], state=description["state"], **tensors)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
