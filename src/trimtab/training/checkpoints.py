"""Checkpoints that are whole or absent: weights, optimizer, best weights so far, and the state of the run.

Written beside the old one, verified by reading back, then the old one goes; loading walks back to the newest that
verifies. Arrays are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from trimtab.storage import new_directory, sha256_bytes, sha256_file, write_bytes, write_json
from trimtab.training.stepper import Arrays

_PARTS = ("model", "optimizer", "best")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a run needs to go on from ``step`` as if it had not stopped.

    Attributes
    ----------
    step
        Steps done.
    model, optimizer, best
        Arrays by name; ``best`` are the weights with the lowest validation loss so far.
    state
        JSON values: history, corrections, seconds spent, what early stopping remembers.
    """

    step: int
    model: Arrays
    optimizer: Arrays
    best: Arrays
    state: dict[str, Any]


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write ``directory/step_N`` atomically and remove the older ones once it has been read back."""
    target = directory / f"step_{checkpoint.step:09d}"
    with new_directory(target) as temporary:
        hashes = {}
        for part in _PARTS:
            # safetensors writes the buffer as it lies in memory, strides unseen.
            content = save({key: np.asarray(value, order="C") for key, value in getattr(checkpoint, part).items()})
            write_bytes(temporary / f"{part}.safetensors", content)
            hashes[part] = sha256_bytes(content)
        hashes["state"] = _hash_state(checkpoint.step, checkpoint.state)
        write_json(temporary / "state.json", {"step": checkpoint.step, "hashes": hashes, "state": checkpoint.state})
    if read_checkpoint(target) is not None:
        for older in sorted(directory.glob("step_*"))[:-1]:
            _remove(older)


def _remove(directory: Path) -> None:
    """Take the name away first: a process killed meanwhile leaves nothing that looks like a checkpoint."""
    nameless = directory.with_name(f".{directory.name}.old.tmp")
    shutil.rmtree(nameless, ignore_errors=True)
    directory.replace(nameless)
    shutil.rmtree(nameless)


def load_checkpoint(directory: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole and unaltered, or ``None`` when there is none."""
    for candidate in sorted(directory.glob("step_*"), reverse=True):
        checkpoint = read_checkpoint(candidate)
        if checkpoint is not None:
            return checkpoint
    return None


def read_checkpoint(directory: Path) -> Checkpoint | None:
    """Return the checkpoint in a directory ``step_N``, or ``None`` when it is not as it was written."""
    try:
        description = json.loads((directory / "state.json").read_text())
        files = {part: directory / f"{part}.safetensors" for part in _PARTS}
        if any(sha256_file(file) != description["hashes"][part] for part, file in files.items()):
            return None
        if _hash_state(description["step"], description["state"]) != description["hashes"]["state"]:
            return None
        arrays = {part: load_file(file) for part, file in files.items()}
        return Checkpoint(step=description["step"], state=description["state"], **arrays)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _hash_state(step: int, state: dict[str, Any]) -> str:
    return sha256_bytes(json.dumps([step, state], sort_keys=True).encode())
