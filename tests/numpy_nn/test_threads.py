"""Threads: the same bits for the same number of them, rounding between numbers, and everything put back afterwards."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from tests.numpy_nn.parity import LAYERS

from trimtab import numpy_nn as nn
from trimtab.numpy_nn.shards import run_shards, shard_edges

BATCH = 48


def mixing() -> nn.Sequential:
    """Return a network with batch normalization: its threads have to meet."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Residual(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())),
        nn.Conv2d(16, 32, 3, padding=1, groups=16),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


def separate() -> nn.Sequential:
    """Return a network in which no example meets another: a part of the batch goes through all of it."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(2),
        nn.Residual(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.LeakyReLU(0.1))),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(64),
        nn.Linear(64, 5),
    )


def dropping() -> nn.Sequential:
    """Return a network whose masks are drawn in the order of the examples."""
    return nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16 * 11 * 11, 5))


NETWORKS = [mixing, separate, dropping]


def trained(make, count: int, steps: int = 3) -> dict[str, np.ndarray]:
    """Return losses, outputs, input gradients and the state after some steps of training on ``count`` threads."""
    rng = np.random.default_rng(0)
    layers = make().reset_parameters(rng)
    optimizer = nn.AdamW(layers.parameters(), lr=1e-2)
    found = {}
    with nn.threads(count):
        for step in range(steps):
            x, target = rng.standard_normal((BATCH, 3, 24, 24)).astype(np.float32), rng.integers(0, 5, BATCH)
            y = layers.seed(step)(x)
            loss, grad = nn.cross_entropy(y, target)
            optimizer.zero_grad()
            found |= {f"loss {step}": np.array(loss), f"output {step}": y, f"dx {step}": layers.backward(grad)}
            found |= {f"{name} {step}": parameter.grad.copy() for name, parameter in layers.named_parameters()}
            optimizer.step()
        with nn.inference():
            found["prediction"] = layers.eval()(x)
    return found | layers.state_dict()


@pytest.fixture
def small_work(monkeypatch):
    """Cut small batches too."""
    monkeypatch.setattr(sys.modules["trimtab.numpy_nn.shards"], "_SMALLEST_WORK", 1000)


@pytest.fixture
def parts(monkeypatch, small_work):
    """The sizes of the parts in which work was done."""
    sizes = []
    module = sys.modules["trimtab.numpy_nn.shards"]
    run = module._as_shard

    def noted(shard, compute, meeting, is_inference):
        sizes.append(meeting.edges[shard + 1] - meeting.edges[shard])
        return run(shard, compute, meeting, is_inference)

    monkeypatch.setattr(module, "_as_shard", noted)
    return sizes


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("make", NETWORKS)
def test_the_same_number_of_threads_gives_the_same_bits(make, count, small_work):
    first, second = trained(make, count), trained(make, count)
    assert first.keys() == second.keys()
    assert [name for name in first if not np.array_equal(first[name], second[name])] == []


@pytest.mark.parametrize("make", NETWORKS)
def test_other_numbers_of_threads_differ_by_rounding(make, parts):
    one = trained(make, 1, steps=1)
    assert parts == []
    three = trained(make, 3, steps=1)
    assert parts
    gradients = [name for name in one if name.endswith(" 0")]
    for name in gradients:
        scale = max(1e-3, np.abs(one[name]).max())
        assert np.abs(one[name] - three[name]).max() <= 1e-4 * scale, name


def in_shards(batch, work, compute):
    return run_shards(shard_edges(batch, work), compute)


def test_a_batch_is_cut_evenly_however_many_threads(parts):
    x = np.zeros((7, 3, 24, 24), np.float32)
    with nn.threads(3):
        separate()(x)
    assert sorted(parts) == [2, 2, 3]
    parts.clear()
    with nn.threads(20):
        separate()(x)
    assert parts == [1] * 7


def test_little_work_is_not_cut():
    idents = set()
    with nn.threads(3):
        in_shards(10, 10, lambda start, stop: idents.add(threading.get_ident()))
    assert idents == {threading.get_ident()}


def test_parts_are_computed_on_threads_and_returned_in_order(small_work):
    def compute(start, stop):
        return start, stop, threading.current_thread().name

    with nn.threads(3):
        found = in_shards(10, 10**12, compute)
    assert [part[:2] for part in found] == [(0, 3), (3, 6), (6, 10)]
    assert found[0][2] == threading.current_thread().name
    assert all(name.startswith("numpy_nn") for _, _, name in found[1:])


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_in_a_part_reaches_the_caller_and_the_next_batch_works(failing, small_work):
    def compute(start, stop):
        if start // 3 == failing:
            raise KeyError(start)
        return stop - start

    with nn.threads(3):
        with pytest.raises(KeyError, match=str(3 * failing)):
            in_shards(9, 10**12, compute)
        assert in_shards(9, 10**12, lambda start, stop: stop - start) == [3, 3, 3]


def test_an_error_about_a_shape_tells_the_shape_that_was_given(parts):
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3))
    with nn.threads(3), pytest.raises(nn.ShapeError) as raised:
        layers(np.zeros((9, 3, 24, 24), np.float32))
    assert str(raised.value) == (
        "layer 1, Conv2d(4, 8, kernel_size=(3, 3)), got an input of shape [9, 8, 22, 22]; expected [B, 4, H, W]; "
        "change its arguments or what comes before it."
    )


def test_what_was_cut_in_the_block_goes_back_after_it(parts, rng):
    layers, x = separate().to(np.float64), rng.standard_normal((6, 3, 24, 24))
    grad = rng.standard_normal((6, 5))
    layers(x)
    expected = layers.backward(grad)
    gradients = [parameter.grad.copy() for parameter in layers.parameters()]
    layers.zero_grad()
    with nn.threads(3):
        layers(x)
    assert parts == [2, 2, 2]
    dx = layers.backward(grad)
    assert np.allclose(dx, expected, rtol=1e-12, atol=1e-14)
    for parameter, values in zip(layers.parameters(), gradients, strict=True):
        assert np.allclose(parameter.grad, values, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in LAYERS if len(case.values[0].shape) == 4])
@pytest.mark.parametrize(("forward", "backward"), [(1, 3), (3, 1), (3, 2), (2, 3)])
def test_a_layer_may_go_back_on_another_number_of_threads(case, forward, backward, small_pieces, rng):
    layer = case.make(nn).to(np.float64).train(case.training)
    (x,) = replace(case, shape=(6, *case.shape[1:])).inputs(rng)
    y = layer(x)
    grad = rng.standard_normal(y.shape)
    expected = layer.backward(grad)
    gradients = [parameter.grad.copy() for parameter in layer.parameters()]
    layer.zero_grad()
    with nn.threads(forward):
        layer(x)
    with nn.threads(backward):
        assert np.allclose(layer.backward(grad), expected, rtol=1e-11, atol=1e-13)
    for parameter, values in zip(layer.parameters(), gradients, strict=True):
        assert np.allclose(parameter.grad, values, rtol=1e-11, atol=1e-13)


def test_inference_holds_on_every_thread(parts, rng):
    layers, x = separate(), rng.standard_normal((6, 3, 24, 24)).astype(np.float32)
    with nn.threads(3), nn.inference():
        y = layers(x)
    assert parts == [2, 2, 2]
    with pytest.raises(RuntimeError, match="has nothing to go back from"):
        layers.backward(np.ones_like(y))
    for layer in layers.modules():
        assert not any(kept is not None for kept in vars(layer).get("_kept_by_shard", {}).values())


def test_batches_of_two_threads_do_not_wait_for_each_other(small_work, rng):
    networks = [mixing() for _ in range(4)]
    x = rng.standard_normal((6, 3, 24, 24)).astype(np.float32)
    with nn.threads(3), ThreadPoolExecutor(4) as callers:
        futures = [callers.submit(lambda network: [network(x) for _ in range(5)], network) for network in networks]
        outputs = [future.result(timeout=60) for future in futures]
    assert all(output.shape == (6, 5) for each in outputs for output in each)


# ---- BLAS ----


def blas_threads() -> int:
    """Return how many threads NumPy's own BLAS uses."""
    folder = str(Path(np.__file__).parent.parent / "numpy.libs")
    (library,) = [pool for pool in threadpoolctl.threadpool_info() if pool["filepath"].startswith(folder)]
    return library["num_threads"]


@pytest.fixture(params=[1, 2])
def blas(request):
    """A number of threads that BLAS has before the block."""
    with threadpoolctl.threadpool_limits(request.param, user_api="blas"):
        assert blas_threads() == request.param
        yield request.param


@pytest.mark.parametrize("count", [1, 2, 3])
def test_blas_computes_on_one_thread_within_and_as_before_afterwards(blas, count):
    with nn.threads(count):
        assert blas_threads() == 1
    assert blas_threads() == blas


def test_everything_is_put_back_after_an_error(blas):
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), nn.threads(3):
        in_shards(9, 10**12, lambda start, stop: stop // start)
    assert blas_threads() == blas
    assert threading.active_count() == before
    assert in_shards(9, 10**12, lambda start, stop: (start, stop)) == [(0, 9)]


def test_blocks_nest(blas):
    def cuts():
        return len(in_shards(12, 10**12, lambda start, stop: None))

    assert cuts() == 1
    with nn.threads(3):
        assert cuts() == 3
        with nn.threads(2):
            assert cuts() == 2
            assert blas_threads() == 1
        assert cuts() == 3
        with nn.threads(1):
            assert cuts() == 1
        assert cuts() == 3
        assert blas_threads() == 1
    assert cuts() == 1
    assert blas_threads() == blas


@pytest.mark.parametrize("count", [0, -2])
def test_less_than_one_thread_is_a_mistake(count, blas):
    with pytest.raises(ValueError) as raised, nn.threads(count):  # noqa: PT011 - the text is compared below
        raise AssertionError("the block ran")
    assert str(raised.value) == (f"threads is {count}; expected at least 1; see trimtab.machine.available_threads().")
    assert blas_threads() == blas
