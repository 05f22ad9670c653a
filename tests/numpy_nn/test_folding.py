"""A folded network gives the same answers with fewer layers, and leaves the one it was made of alone."""

from __future__ import annotations

import numpy as np
import pytest
from tests.models.cases import CASES

from trimtab import numpy_nn as nn
from trimtab.models import build
from trimtab.numpy_nn.folding import fold


def unusual() -> nn.Sequential:
    """Return a network with what can be folded, and what only looks as if it could."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Residual(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(16))),
        nn.Conv2d(16, 32, 3, groups=16),
        nn.BatchNorm2d(32, affine=False),
        nn.LeakyReLU(0.1),
        nn.Conv2d(32, 8, 1),
        nn.BatchNorm2d(8, track_running_stats=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Identity(),
        nn.Dropout(0.5),
        nn.Linear(8, 4),
    )


def with_statistics(network: nn.Module, shape: tuple[int, ...], rng: np.random.Generator) -> nn.Module:
    network.to(np.float64)
    for _ in range(3):
        network(1 + 2 * rng.standard_normal((8, *shape)))
    return network.eval()


@pytest.mark.parametrize("label", [*CASES, "unusual"])
def test_a_folded_network_gives_the_same_answers(label, rng):
    name, kwargs, shape = CASES.get(label, ("", {}, (3, 12, 10)))
    network = with_statistics(build(nn, name, {**kwargs, "dropout": 0.5}) if name else unusual(), shape, rng)
    x, before = rng.standard_normal((5, *shape)), network.state_dict()
    with nn.inference():
        expected = network(x)
        assert np.allclose(fold(network)(x), expected, rtol=1e-10, atol=1e-12)
        assert np.array_equal(network(x), expected)
    after = network.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_nothing_is_left_of_what_can_be_folded(rng):
    folded = fold(with_statistics(unusual(), (3, 12, 10), rng))
    kinds = [type(layer).__name__ for layer in folded]
    assert kinds == [
        "Conv2d",
        "MaxPool2d",
        "Residual",
        "Conv2d",
        "LeakyReLU",
        "Conv2d",
        "BatchNorm2d",  # has no fixed statistics
        "AdaptiveAvgPool2d",
        "Flatten",
        "Linear",
    ]
    inner = dict(dict(folded.children())["2"].children())["module"]
    assert [type(layer).__name__ for layer in inner.modules()] == ["Sequential", "Conv2d", "BatchNorm2d"]


@pytest.mark.parametrize("label", ["resnet", "resnet, branches"])
def test_a_maximum_before_a_normalization_hinders_no_folding(label, rng):
    name, kwargs, shape = CASES[label]
    folded = fold(with_statistics(build(nn, name, kwargs), shape, rng))
    kinds = {type(layer) for layer in folded.modules()}
    assert kinds <= {nn.Sequential, nn.Residual, nn.Conv2d, nn.MaxPool2d, nn.Flatten, nn.Linear}


def test_a_folded_network_goes_through_threads_too(rng, small_pieces):
    network = with_statistics(unusual(), (3, 12, 10), rng)
    x = rng.standard_normal((7, 3, 12, 10))
    folded = fold(network)
    with nn.inference():
        expected = network(x)
        with nn.threads(3):
            assert np.allclose(folded(x), expected, rtol=1e-10, atol=1e-12)
