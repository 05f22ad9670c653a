"""Weights as the kernels read them: in panels of so many output channels, those of one input beside each other.

Legend: ``O`` outputs, ``D`` weights of an output (height, width and channels of a kernel, in this order), ``P`` panels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PANEL = 16
QUAD = 4

_NIBBLE = 7  # the largest code of four bits


def in_rows(weight: NDArray[Any]) -> NDArray[Any]:
    """Return the weight of a convolution [O, C, H, W] or linear layer [O, D] as [O, D]."""
    return weight.transpose(0, 2, 3, 1).reshape(len(weight), -1) if weight.ndim == 4 else weight


def in_panels(rows: NDArray[Any]) -> NDArray[Any]:
    """Return weights [O, D] as [P, D, PANEL]; channels that fill up the last panel are zero."""
    return _padded(rows).reshape(-1, PANEL, rows.shape[1]).transpose(0, 2, 1)


def in_quads(rows: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return codes [O, D] as [P, D / QUAD, PANEL, QUAD]; D is filled up with zeros."""
    depth = -(-rows.shape[1] // QUAD) * QUAD
    padded = np.zeros((len(rows), depth), np.int8)
    padded[:, : rows.shape[1]] = rows
    return _padded(padded).reshape(-1, PANEL, depth // QUAD, QUAD).transpose(0, 2, 1, 3)


def pairs_are_small(rows: NDArray[np.int8]) -> bool:
    """Return whether 255 times any two neighbors of codes [O, D] add up to less than 2^15."""
    pairs = np.abs(in_quads(rows).astype(np.int16)).reshape(-1, 2).sum(axis=1)
    return bool(pairs.max(initial=0) * 255 < 2**15)


def in_taps(rows: NDArray[Any]) -> NDArray[Any]:
    """Return one filter per channel [O, D] as [D, O]; O is filled up to whole panels."""
    return np.ascontiguousarray(_padded(rows).T)


def per_channel(values: NDArray[Any]) -> NDArray[Any]:
    """Return one number per output channel, filled up with zeros to whole panels."""
    return _padded(values)


def shrunk(rows: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Return the form of weights [O, D] that are to be expanded when they are used, and their bytes in panels."""
    panels = in_panels(rows)
    if rows.dtype == np.float16:
        return "HALVES", np.ascontiguousarray(panels).astype("<f2").view(np.int8)
    if np.abs(rows.astype(np.int16)).max(initial=0) > _NIBBLE:
        return "BYTES", panels
    low, high = np.split(panels.astype(np.uint8) & 15, 2, axis=2)
    return "NIBBLES", (low | (high << 4)).view(np.int8)


def filled(channels: int) -> int:
    """Return the number of channels, filled up to whole panels."""
    return -(-channels // PANEL) * PANEL


def _padded(values: NDArray[Any]) -> NDArray[Any]:
    padded = np.zeros((filled(len(values)), *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded
