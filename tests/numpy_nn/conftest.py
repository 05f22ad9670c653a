"""Random numbers, memory that is as hostile as it may be, and work cut into the smallest pieces."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from trimtab.numpy_nn import depthwise, im2col, memory, normalization, optimizers, pooling, winograd


@pytest.fixture
def rng():
    """The same random numbers for every test."""
    return np.random.default_rng(0)


@pytest.fixture
def hostile_memory(monkeypatch):
    """New arrays hold what spoils every result that it gets into: no number, or the largest whole number."""

    def empty(shape, dtype):
        kind = np.dtype(dtype)
        return np.full(shape, np.nan if kind.kind == "f" else np.iinfo(kind).max, kind)

    engine = [module for name, module in sys.modules.items() if name.startswith("trimtab.numpy_nn.")]
    users = [module for module in engine if getattr(module, "empty", None) is memory.empty]
    assert {memory, im2col, winograd, pooling} <= set(users)
    for module in users:
        monkeypatch.setattr(module, "empty", empty)


@pytest.fixture
def small_pieces(monkeypatch, hostile_memory):
    """Whatever is computed piece by piece, or part by part on threads, is cut as often as possible."""
    monkeypatch.setattr(sys.modules["trimtab.numpy_nn.shards"], "_SMALLEST_WORK", 1)
    monkeypatch.setattr(im2col, "_COLUMNS", 1)
    monkeypatch.setattr(winograd, "_TILES", 1)
    monkeypatch.setattr(winograd, "_TILES_SUMMED", 2)
    monkeypatch.setattr(depthwise, "_PIECE", 1)
    monkeypatch.setattr(pooling, "_PIECE", 1)
    monkeypatch.setattr(normalization, "_PIECE", 1)
    monkeypatch.setattr(optimizers, "_PIECE", 3)
