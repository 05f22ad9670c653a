"""Losses and penalties: values and gradients are those of torch, in float64; what is wrong is said in full."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from tests.numpy_nn.parity import assert_same
from torch.nn import functional

from trimtab import numpy_nn as nn

REDUCTIONS = ("mean", "sum", "none")
SHAPES = [(6, 4), (1, 3), (3, 4, 5), (2, 3, 4, 5), (5, 1)]


def assert_parity(ours, theirs, input, target, **options):
    """Compare value and gradient; options that are arrays become tensors for torch."""
    value, grad = ours(input, target, **options)
    tensor = torch.tensor(input, requires_grad=True)
    tensors = {name: torch.tensor(given) if isinstance(given, np.ndarray) else given for name, given in options.items()}
    expected = theirs(tensor, torch.tensor(target), **tensors)
    expected.sum().backward()
    assert grad.dtype == input.dtype
    assert isinstance(value, float if options.get("reduction") != "none" else np.ndarray)
    assert_same(
        {"value": np.asarray(value), "gradient": grad},
        {"value": expected.detach().numpy(), "gradient": tensor.grad.numpy()},
    )


cross_entropy = partial(assert_parity, nn.cross_entropy, functional.cross_entropy)
nll_loss = partial(assert_parity, nn.nll_loss, functional.nll_loss)
binary = partial(assert_parity, nn.binary_cross_entropy_with_logits, functional.binary_cross_entropy_with_logits)
mse_loss = partial(assert_parity, nn.mse_loss, functional.mse_loss)


def logits(rng, shape):
    return 3 * rng.standard_normal(shape) + 1


def classes(rng, shape):
    """Return a class for every row, and for some of them, never the first, -100."""
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    ignored = rng.random(target.shape) < 0.2
    ignored.flat[0] = False
    return np.where(ignored, -100, target)


# ---- cross entropy ----


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_cross_entropy_of_classes(shape, reduction, smoothing, is_weighted, rng):
    options = {"weight": rng.uniform(0, 2, shape[1])} if is_weighted else {}
    cross_entropy(logits(rng, shape), classes(rng, shape), reduction=reduction, label_smoothing=smoothing, **options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_cross_entropy_of_probabilities(shape, reduction, smoothing, is_weighted, rng):
    options = {"weight": rng.uniform(0, 2, shape[1])} if is_weighted else {}
    target = nn.softmax(logits(rng, shape), dim=1)
    cross_entropy(logits(rng, shape), target, reduction=reduction, label_smoothing=smoothing, **options)


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignored", [0, 2, 7, -1])
def test_a_class_that_does_not_count(loss, reduction, ignored, rng):
    target = np.array([0, 1, 2, 2, 0, 1, ignored, ignored])
    loss(logits(rng, (8, 3)), target, reduction=reduction, ignore_index=ignored)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_nothing_counts_where_every_class_is_ignored(reduction, rng):
    cross_entropy(logits(rng, (3, 4)), np.full(3, -100), reduction=reduction)


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_one_row_without_a_batch(loss, reduction, rng):
    input, target = logits(rng, (5,)), np.array(3)
    value, grad = loss.args[0](input, target, reduction=reduction)
    tensor = torch.tensor(input, requires_grad=True)
    expected = loss.args[1](tensor, torch.tensor(target), reduction=reduction)
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), abs=1e-12)
    assert grad == pytest.approx(tensor.grad.numpy(), abs=1e-12)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_classes_may_be_any_whole_numbers(kind, rng):
    input, target = logits(rng, (5, 4)), rng.integers(0, 4, 5)
    value, grad = nn.cross_entropy(input, target)
    other_value, other_grad = nn.cross_entropy(input, target.astype(kind))
    assert value == other_value
    assert np.array_equal(grad, other_grad)


@pytest.mark.parametrize("scale", [1e3, 1e8, 1e300])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_extreme_logits_neither_overflow_nor_warn(scale, reduction):
    input = scale * np.array([[1, 0, -1], [-1, 0, 1], [0, 0, 0.5]])
    for target in (np.array([0, 0, 2]), np.array([2, 1, 0])):
        cross_entropy(input, target, reduction=reduction)
        nll_loss(input, target, reduction=reduction)
        cross_entropy(input, target, reduction=reduction, label_smoothing=0.1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_impossible_classes_have_a_logit_of_minus_infinity(reduction):
    input = np.array([[1.0, -np.inf, 2.0], [-np.inf, 0.0, -np.inf]])
    cross_entropy(input, np.array([0, 1]), reduction=reduction)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("scale", [1, 1e4])
def test_softmax_and_its_logarithm_along_any_axis(dim, name, scale, rng):
    x = scale * rng.standard_normal((3, 4, 5))
    expected = getattr(functional, name)(torch.tensor(x), dim=dim).numpy()
    assert_same({name: getattr(nn, name)(x, dim)}, {name: expected})


def test_float32_stays_float32(rng):
    input, target = rng.standard_normal((5, 4)).astype(np.float32), rng.integers(0, 4, 5)
    for weight, smoothing in itertools.product([None, np.arange(4.0)], [0.0, 0.1]):
        value, grad = nn.cross_entropy(input, target, weight=weight, label_smoothing=smoothing)
        exact, _ = nn.cross_entropy(input.astype(float), target, weight=weight, label_smoothing=smoothing)
        assert value == pytest.approx(exact, rel=1e-6)
        assert grad.dtype == np.float32
    ones = np.ones((5, 4), np.float32)
    assert nn.binary_cross_entropy_with_logits(input, ones, pos_weight=np.arange(4.0))[1].dtype == np.float32
    assert nn.mse_loss(input, ones)[1].dtype == np.float32
    assert nn.softmax(input).dtype == nn.log_softmax(input).dtype == np.float32


# ---- the others ----


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_negative_log_likelihood(shape, reduction, is_weighted, rng):
    options = {"weight": rng.uniform(0, 2, shape[1])} if is_weighted else {}
    nll_loss(nn.log_softmax(logits(rng, shape), 1), classes(rng, shape), reduction=reduction, **options)


@pytest.mark.parametrize("shape", [(6, 4), (5,), (2, 3, 4, 5)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighting", ["", "weight", "positive", "both"])
def test_binary_cross_entropy(shape, reduction, weighting, rng):
    weights = {"weight": rng.uniform(0, 2, shape), "pos_weight": rng.uniform(0, 3, shape[-1:])}
    names = {"": [], "weight": ["weight"], "positive": ["pos_weight"], "both": list(weights)}[weighting]
    for target in (rng.random(shape), rng.integers(0, 2, shape).astype(float)):
        binary(logits(rng, shape), target, reduction=reduction, **{name: weights[name] for name in names})


def test_weights_of_binary_cross_entropy_broadcast(rng):
    binary(logits(rng, (6, 4)), rng.random((6, 4)), weight=rng.uniform(0, 2, (6, 1)), pos_weight=np.array(2.5))


@pytest.mark.parametrize("scale", [1e2, 1e8, 1e300])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_extreme_logits_of_binary_cross_entropy(scale, reduction):
    input = scale * np.array([1, -1, 1, -1, 0])
    binary(input, np.array([1, 0, 0, 1, 0.5]), reduction=reduction)
    binary(input, np.array([1, 0, 0, 1, 0.5]), reduction=reduction, pos_weight=np.array(2.0))


@pytest.mark.parametrize("shape", [(6, 4), (5,), (2, 3, 4)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_squared_error(shape, reduction, rng):
    mse_loss(logits(rng, shape), logits(rng, shape), reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_no_loss_changes_what_it_is_given(reduction, rng):
    given = [logits(rng, (4, 3)), np.array([0, 1, 2, -100]), nn.softmax(logits(rng, (4, 3))), rng.random(3)]
    before = [array.copy() for array in given]
    input, target, shares, weight = given
    nn.cross_entropy(input, target, weight, reduction=reduction, label_smoothing=0.1)
    nn.cross_entropy(input, shares, weight, reduction=reduction, label_smoothing=0.1)
    nn.nll_loss(input, target, weight, reduction=reduction)
    nn.binary_cross_entropy_with_logits(input, shares, weight, weight, reduction=reduction)
    nn.mse_loss(input, shares, reduction=reduction)
    assert all(map(np.array_equal, given, before))


@pytest.mark.parametrize("loss", [nn.cross_entropy, nn.nll_loss])
def test_how_logits_lie_in_memory_changes_nothing(loss, rng):
    input, target = logits(rng, (4, 3, 5)), rng.integers(0, 3, (4, 5))
    value, grad = loss(input, target)
    other = loss(np.ascontiguousarray(input.T).T, np.ascontiguousarray(target.T).T)
    assert other[0] == pytest.approx(value, rel=1e-14)
    assert np.allclose(other[1], grad, rtol=1e-14)


# ---- penalties ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["l1_penalty", "l2_penalty"])
def test_a_penalty_adds_its_gradient_to_what_is_there(name, dtype, rng):
    parameters = [nn.Parameter(rng.standard_normal(shape).astype(dtype)) for shape in ((3, 4), (5,))]
    tensors = [torch.tensor(parameter.data, dtype=torch.float64, requires_grad=True) for parameter in parameters]
    for parameter in parameters:
        parameter.grad += 1
    value = getattr(nn, name)(iter(parameters), 0.3)
    share = {"l1_penalty": lambda w: 0.3 * w.abs().sum(), "l2_penalty": lambda w: 0.3 / 2 * w.square().sum()}[name]
    total = sum(map(share, tensors))
    total.backward()
    assert isinstance(value, float)
    assert value == pytest.approx(float(total.detach()), rel=1e-6 if dtype is np.float32 else 1e-12)
    for parameter, tensor in zip(parameters, tensors, strict=True):
        assert parameter.grad.dtype == dtype
        assert parameter.grad == pytest.approx(1 + tensor.grad.numpy(), rel=1e-6 if dtype is np.float32 else 1e-12)


def test_a_weight_of_zero_is_left_where_it_is():
    parameter = nn.Parameter(np.zeros(3))
    assert nn.l1_penalty([parameter], 2.0) == nn.l2_penalty([parameter], 2.0) == 0
    assert not parameter.grad.any()


def test_no_parameters_cost_nothing():
    assert nn.l1_penalty([], 1.0) == nn.l2_penalty([], 1.0) == 0


# ---- words ----


X, T = np.zeros((2, 3)), np.array([0, 1])
REDUCTION = "reduction is 'average'; expected mean, sum or none; choose one."


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.cross_entropy(X, T, reduction="average"), REDUCTION),
        (lambda: nn.cross_entropy(X[0], T[0], reduction="average"), REDUCTION),
        (lambda: nn.nll_loss(X, T, reduction="average"), REDUCTION),
        (lambda: nn.mse_loss(X, X, reduction="average"), REDUCTION),
        (lambda: nn.binary_cross_entropy_with_logits(X, X, reduction="average"), REDUCTION),
        (
            lambda: nn.cross_entropy(X, np.array([0, 1, 2])),
            "target is int64 [3] for an input [2, 3]; expected whole numbers [2] or probabilities of the input's "
            "shape; convert it.",
        ),
        (
            lambda: nn.cross_entropy(X, np.array([0.0, 1.0])),
            "target is float64 [2] for an input [2, 3]; expected whole numbers [2] or probabilities of the input's "
            "shape; convert it.",
        ),
        (
            lambda: nn.cross_entropy(np.zeros((2, 3, 4, 5)), np.zeros((2, 5, 4), int)),
            "target is int64 [2, 5, 4] for an input [2, 3, 4, 5]; expected whole numbers [2, 4, 5] or probabilities "
            "of the input's shape; convert it.",
        ),
        (lambda: nn.cross_entropy(X, np.array([0, 3])), "target holds classes 0 to 3; expected 0 to 2."),
        (lambda: nn.nll_loss(X, np.array([-1, 1])), "target holds classes -1 to 1; expected 0 to 2."),
        (
            lambda: nn.mse_loss(X, X[0]),
            "target is [3]; expected the input's shape [2, 3]; reshape it.",
        ),
        (
            lambda: nn.binary_cross_entropy_with_logits(X, X[:, :1]),
            "target is [2, 1]; expected the input's shape [2, 3]; reshape it.",
        ),
    ],
)
def test_a_mistake_is_said_in_full(call, text):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        call()
    assert str(raised.value) == text
