"""A residual branch that some examples leave out in training: the same in torch and in the engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimtab import numpy_nn as nn
from trimtab.training import torch_nn


def doubling(namespace, p):
    """Return a branch that adds its input once more; keeps show as 1 + 1 / (1 - p) times the input, skips as 1."""
    return namespace.Residual(namespace.Scale(1.0), p)


def factors(output, x):
    return np.asarray(output)[:, 0, 0, 0] / x[:, 0, 0, 0]


@pytest.fixture
def x(rng):
    return rng.uniform(1, 2, (4000, 2, 2, 1))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_each_example_skips_the_whole_branch_with_that_probability(engine, p, x):
    torch.manual_seed(0)
    output = doubling(nn, p).seed(0)(x) if engine == "numpy" else doubling(torch_nn, p)(torch.tensor(x)).numpy()
    found = factors(output, x)
    is_kept = found > 1.5
    np.testing.assert_allclose(found, np.where(is_kept, 1 + 1 / (1 - p), 1))
    np.testing.assert_allclose(output, x * found[:, None, None, None])  # the whole example alike
    assert np.mean(~is_kept) == pytest.approx(p, abs=0.04)  # five standard deviations
    assert found.mean() == pytest.approx(2, rel=0.06)


@pytest.mark.parametrize("namespace", [nn, torch_nn])
def test_nothing_is_left_out_in_evaluation(namespace, x):
    branch = doubling(namespace, 0.9).eval()
    np.testing.assert_allclose(np.asarray(branch(x if namespace is nn else torch.tensor(x))), 2 * x)


def test_gradients_of_examples_that_skip_do_not_reach_the_branch(rng):
    x, grad = rng.standard_normal((2, 40, 3))
    branch = nn.Residual(nn.Linear(3, 3), 0.5).to(np.float64).seed(1)
    is_kept = np.abs(branch(x) - x).max(axis=1) > 0
    assert 5 < is_kept.sum() < 35
    dx = branch.backward(grad)
    kept, of_kept = x[is_kept], 2 * grad[is_kept]
    np.testing.assert_allclose(branch.module.weight.grad, of_kept.T @ kept)
    np.testing.assert_allclose(branch.module.bias.grad, of_kept.sum(axis=0))
    np.testing.assert_allclose(dx[~is_kept], grad[~is_kept])
    np.testing.assert_allclose(dx[is_kept], grad[is_kept] + of_kept @ branch.module.weight.data)


def test_gradients_are_slopes_of_what_the_same_seed_gives(rng):
    branch, along = nn.Residual(nn.Sequential(nn.Linear(3, 3), nn.Tanh()), 0.5).to(np.float64), 1e-6
    x, grad, direction = rng.standard_normal((3, 10, 3))
    branch.seed(2)(x)
    slope = np.vdot(branch.backward(grad), direction)
    ahead, behind = (np.vdot(branch.seed(2)(x + step * direction), grad) for step in (along, -along))
    assert (ahead - behind) / (2 * along) == pytest.approx(slope, rel=1e-6)


def test_the_seed_decides_and_each_call_draws_anew(x):
    branch = doubling(nn, 0.5)
    first, second = branch.seed(3)(x), branch(x)
    assert not np.array_equal(first, second)
    assert np.array_equal(branch.seed(3)(x), first)


def test_two_branches_of_a_network_skip_different_examples(x):
    network = nn.Sequential(doubling(nn, 0.5), doubling(nn, 0.5)).seed(4)
    assert set(np.unique(factors(network(x), x).round(6))) == {1, 3, 9}


def test_the_same_examples_skip_on_any_number_of_threads(x, small_pieces):
    network = nn.Sequential(nn.Conv2d(2, 2, 1), doubling(nn, 0.5)).to(np.float64)
    alone = network.seed(5)(x[:50])
    with nn.threads(3):
        np.testing.assert_allclose(network.seed(5)(x[:50]), alone)


@pytest.mark.parametrize("namespace", [nn, torch_nn])
@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_what_is_no_probability_is_refused(namespace, p):
    with pytest.raises(ValueError, match=rf"^p is {p}; expected a probability below 1; give a number from 0 to 0\.99"):
        doubling(namespace, p)


def test_it_shows_as_it_is_written():
    assert str(nn.Residual(nn.Linear(3, 3), 0.25)) == "Residual(Linear(3, 3), p=0.25)"


def test_in_half_precision_the_sum_stays_in_half_precision():
    branch = doubling(torch_nn, 0.5)
    assert branch(torch.ones(4, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
