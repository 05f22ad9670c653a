"""Memory that was used before is used again, but never while somebody can still see it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trimtab import numpy_nn as nn
from trimtab.numpy_nn import memory

SHAPE = (64, 1024)  # a quarter of a megabyte in float32
VIEWS = {
    "itself": lambda array: array,
    "a slice": lambda array: array[3:5, ::7],
    "a slice of a slice": lambda array: array[1:][::2][:, 4:],
    "transposed": lambda array: array.T,
    "another shape": lambda array: array.reshape(-1),
    "another type": lambda array: array.view(np.uint8),
    "one row": lambda array: array[0],
    "windows": lambda array: np.lib.stride_tricks.as_strided(array, (2, 2), array.strides),
    "read-only": lambda array: np.broadcast_to(array, (2, *array.shape)),
    "a buffer": memoryview,
    "an iterator": iter,
}


@pytest.fixture(autouse=True)
def fresh():
    """No blocks kept from other tests, and none left to them."""
    memory.release()
    yield
    memory.release()


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("view", VIEWS)
def test_a_block_that_somebody_still_sees_is_not_handed_out(view):
    first = memory.empty(SHAPE, np.float32)
    first.fill(7)
    where, held = address(first), VIEWS[view](first)
    del first
    others = [memory.empty(SHAPE, np.float32) for _ in range(5)]
    for array in others:
        array.fill(1)
    assert where not in map(address, others)
    assert len(set(map(address, others))) == 5
    del held
    assert address(memory.empty(SHAPE, np.float32)) == where


@pytest.mark.parametrize("view", VIEWS)
def test_contents_seen_through_a_view_stay(view):
    first = memory.empty(SHAPE, np.float32)
    first.fill(7)
    held, before = VIEWS[view](first), first.copy()
    expected = np.array(next(VIEWS[view](before)) if view == "an iterator" else VIEWS[view](before))
    del first
    for _ in range(5):
        memory.empty(SHAPE, np.float32).fill(1)
    assert np.array_equal(next(held) if view == "an iterator" else held, expected)


def test_a_block_that_nobody_sees_is_used_again():
    first = memory.empty(SHAPE, np.float32)
    where = address(first)
    del first
    again = memory.empty(SHAPE, np.float32)
    assert address(again) == where
    del again
    assert address(memory.empty((1024, 64), np.float32)) == where
    assert address(memory.empty((64, 512), np.float64)) == where
    assert address(memory.empty((4 * 64 * 1024,), np.uint8)) == where


def test_blocks_that_are_too_small_or_far_too_large_are_left_alone():
    first = memory.empty(SHAPE, np.float32)
    where = address(first)
    del first
    assert address(memory.empty((65, 1024), np.float32)) != where
    assert address(memory.empty((20, 1024), np.float32)) != where


def test_the_smallest_block_that_is_large_enough_is_used():
    held = [memory.empty((rows, 1024), np.float32) for rows in (100, 64, 72, 90)]
    for array in held:
        array.fill(3)
    where = [address(array) for array in held]
    del held, array
    again = memory.empty((68, 1024), np.float32)
    assert address(again) == where[2]
    again.fill(1)
    assert (memory.empty((90, 1024), np.float32) == 3).all()


def test_arrays_are_as_those_of_numpy():
    for shape in (SHAPE, (3,), (), (0, 5), (2, 3, 40_000)):
        for dtype in (np.float32, np.float64, np.uint8, np.int32):
            array = memory.empty(shape, dtype)
            assert array.shape == shape
            assert array.dtype == dtype
            assert array.flags.c_contiguous
            assert array.flags.writeable
            assert array.flags.aligned


def test_rows_lie_a_cache_line_further_apart_than_they_are_long():
    rows = memory.empty_rows(36, 1024, np.float32)
    assert rows.shape == (36, 1024)
    assert rows.strides == (4 * 1024 + 64, 4)


def test_no_more_blocks_are_kept_than_is_said():
    held = [memory.empty(SHAPE, np.float32) for _ in range(memory._OF_EACH + 20)]
    assert [len(blocks) for blocks in memory._KEPT.blocks.values()] == [memory._OF_EACH]
    assert len(set(map(address, held))) == len(held)
    for value, array in enumerate(held):
        array.fill(value)
    assert [array[0, 0] for array in held] == list(range(len(held)))


def test_the_sizes_used_last_are_kept():
    sizes = [2_000_000 + 16 * size for size in range(memory._SIZES + 10)]
    held = [memory.empty((size,), np.uint8) for size in sizes]  # in use, so that none serves for another
    assert list(memory._KEPT.blocks) == sizes[10:]
    del held


def test_released_memory_is_no_longer_kept():
    held = memory.empty(SHAPE, np.float32)
    held.fill(3)
    memory.release()
    assert memory._KEPT.blocks == {}
    memory.empty(SHAPE, np.float32).fill(1)
    assert (held == 3).all()


def test_a_thread_keeps_blocks_of_its_own():
    mine = memory.empty(SHAPE, np.float32)
    where = address(mine)
    del mine
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(lambda: address(memory.empty(SHAPE, np.float32))).result()
        again = pool.submit(lambda: address(memory.empty(SHAPE, np.float32))).result()
    assert theirs != where
    assert again == theirs
    assert address(memory.empty(SHAPE, np.float32)) == where


def test_an_array_made_on_a_thread_outlives_it():
    made = []

    def make():
        made.append(memory.empty(SHAPE, np.float32))
        made[0].fill(5)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    for _ in range(3):
        memory.empty(SHAPE, np.float32).fill(1)
    assert (made[0] == 5).all()


# ---- layers ----

PICTURES = (6, 16, 20, 18)  # float64 [B, C, H, W], 276 kilobytes
BIG = {
    "im2col": (lambda: nn.Conv2d(16, 12, 3, padding=1), PICTURES),
    "im2col with a stride": (lambda: nn.Conv2d(16, 32, 3, stride=2, padding=1), PICTURES),
    "winograd": (lambda: nn.Conv2d(16, 16, 3, padding=1), PICTURES),
    "depthwise": (lambda: nn.Conv2d(16, 16, 3, padding=1, groups=16), PICTURES),
    "groups": (lambda: nn.Conv2d(16, 16, 3, padding=1, groups=4), PICTURES),
    "transposed": (lambda: nn.ConvTranspose2d(16, 16, 3, stride=2), PICTURES),
    "maximum": (lambda: nn.MaxPool2d(3, 1, 1), PICTURES),
    "maximum of tiles": (lambda: nn.MaxPool2d(2), PICTURES),
    "maximum with indices": (lambda: nn.MaxPool2d(2, 1, return_indices=True), PICTURES),
    "mean": (lambda: nn.AvgPool2d(3, 1, 1), PICTURES),
    "mean of all": (lambda: nn.AdaptiveAvgPool2d(1), PICTURES),
    "batch normalization": (lambda: nn.BatchNorm2d(16), PICTURES),
    "layer normalization": (lambda: nn.LayerNorm(18), PICTURES),
    "ReLU": (nn.ReLU, PICTURES),
    "Tanh": (nn.Tanh, PICTURES),
    "LeakyReLU": (nn.LeakyReLU, PICTURES),
    "upsampling": (lambda: nn.Upsample(scale_factor=2), PICTURES),
    "matrix": (lambda: nn.Linear(200, 210), (100, 200)),
    "flattening": (lambda: nn.Sequential(nn.ReLU(), nn.Flatten()), PICTURES),
    "residual": (lambda: nn.Residual(nn.Conv2d(16, 16, 3, padding=1)), PICTURES),
    "network": (
        lambda: nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3)
        ),
        PICTURES,
    ),
}


@pytest.mark.parametrize("name", BIG)
@pytest.mark.parametrize("count", [1, 2])
def test_what_a_layer_returned_is_not_overwritten_by_its_next_calls(name, count, rng, monkeypatch):
    make, shape = BIG[name]
    layer = make().to(np.float64)
    returned, copies = [], []
    with nn.threads(count):
        for _ in range(3):
            y = layer(rng.standard_normal(shape))
            dx = layer.backward(rng.standard_normal(y.shape))
            returned += [y, dx, *[module.indices for module in layer.modules() if isinstance(module, nn.MaxPool2d)]]
            copies += [None if array is None else array.copy() for array in returned[len(copies) :]]
    assert all(array is None or np.array_equal(array, copied) for array, copied in zip(returned, copies, strict=True))


@pytest.mark.parametrize("name", BIG)
def test_what_a_layer_keeps_is_not_overwritten_before_it_goes_back(name, rng):
    make, shape = BIG[name]
    layers = [make().to(np.float64) for _ in range(2)]
    inputs = [rng.standard_normal(shape) for _ in layers]
    alone = []
    for layer, x in zip(layers, inputs, strict=True):
        y = layer(x)
        alone.append(layer.backward(np.ones_like(y)))
        del y
        memory.release()
    outputs = [layer(x) for layer, x in zip(layers, inputs, strict=True)]
    shapes = [y.shape for y in outputs]
    del outputs
    for _ in range(3):
        memory.empty(shape, np.float64).fill(np.nan)
    together = [layer.backward(np.ones(size)) for layer, size in zip(layers, shapes, strict=True)]
    assert all(map(np.array_equal, together, alone))


@pytest.mark.parametrize("name", BIG)
def test_what_was_left_in_used_memory_is_in_no_result(name, rng):
    make, shape = BIG[name]
    layer = make().to(np.float64)
    x = rng.standard_normal(shape)
    outcomes = []
    for garbage in (0.0, np.nan):
        for block in (block for blocks in memory._KEPT.blocks.values() for block in blocks):
            block[: block.size // 8 * 8].view(np.float64).fill(garbage)
        y = layer(x)
        outcomes.append((y.copy(), layer.backward(np.ones_like(y)).copy()))
        del y
    assert all(map(np.array_equal, *outcomes))
    assert np.isfinite(outcomes[1][1]).all()
