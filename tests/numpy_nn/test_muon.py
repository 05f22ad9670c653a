"""Muon's update is orthogonal, as long as AdamW's, and that of the torch engine."""

import numpy as np
import pytest
import torch

from trimtab import numpy_nn as nn
from trimtab.numpy_nn.muon import Muon, orthogonalized, step_length
from trimtab.training import torch_muon

SHAPES = {"linear": (12, 40), "tall": (40, 12), "square": (16, 16), "filter": (8, 4, 3, 3), "mix": (6, 8, 1, 1)}
BAND = (0.68, 1.21)  # of the singular values, where they were above a fiftieth of the norm


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


def singular_values(array):
    return np.linalg.svd(array.reshape(len(array), -1), compute_uv=False)


def with_singular_values(values, shape, rng):
    """Return a matrix with these singular values and random singular vectors."""
    left, right = (np.linalg.qr(rng.standard_normal((side, len(values))))[0] for side in shape)
    return left @ np.diag(values) @ right.T


@pytest.mark.parametrize("sides", [(12, 40), (40, 12), (12, 12)])
def test_singular_values_come_near_one_and_singular_vectors_stay(rng, sides):
    matrix = with_singular_values(np.geomspace(0.03, 1, 12), sides, rng)
    found = orthogonalized(matrix)
    assert found.shape == sides
    assert BAND[0] <= singular_values(found).min() <= singular_values(found).max() <= BAND[1]
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    rotated = left.T @ found @ right.T
    np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=1e-10)
    assert (np.diag(rotated) > 0).all()


def test_the_scale_of_the_gradient_does_not_matter(rng):
    matrix = rng.standard_normal((5, 9))
    np.testing.assert_allclose(orthogonalized(1e4 * matrix), orthogonalized(matrix), rtol=1e-9)


def test_no_gradient_is_no_step():
    np.testing.assert_array_equal(orthogonalized(np.zeros((3, 5))), 0)


def test_the_update_of_linear_layers_and_filters_is_orthogonal_and_as_long_as_that_of_adamw(shape, rng):
    parameter = nn.Parameter(rng.standard_normal(shape))
    before = parameter.data.copy()
    optimizer = Muon([parameter], lr=0.5)
    rows, columns = shape[0], int(np.prod(shape[1:]))
    gradient = with_singular_values(np.linspace(0.2, 1, min(rows, columns)), (rows, columns), rng)
    parameter.grad[...] = gradient.reshape(shape)
    optimizer.step()
    update = (before - parameter.data) / 0.5
    values = singular_values(update) / step_length(rows, columns)
    assert BAND[0] <= values.min() <= values.max() <= BAND[1]
    assert 0.2 * BAND[0] <= np.sqrt(np.mean(update**2)) <= 0.2 * BAND[1], "AdamW's root mean square is about 0.2"


def test_steps_are_those_of_the_torch_engine(shape, rng):
    ours = nn.Parameter(rng.standard_normal(shape))
    theirs = torch.nn.Parameter(torch.tensor(ours.data))
    optimizers = Muon([ours], lr=0.1), torch_muon.Muon([theirs], lr=0.1, dtype=torch.float64)
    for rate in (0.1, 0.3, 0.2):
        ours.grad[...] = rng.standard_normal(shape)
        theirs.grad = torch.tensor(ours.grad)
        optimizers[0].groups[0]["lr"] = optimizers[1].param_groups[0]["lr"] = rate
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_several_parameters_move_as_each_alone(rng):
    arrays = [rng.standard_normal(shape) for shape in SHAPES.values()]
    together = [nn.Parameter(array.copy()) for array in arrays]
    alone = [nn.Parameter(array.copy()) for array in arrays]
    optimizers = [Muon(together, lr=0.1), *(Muon([parameter], lr=0.1) for parameter in alone)]
    for _ in range(2):
        for one, other in zip(together, alone, strict=True):
            one.grad[...] = rng.standard_normal(one.grad.shape)
            other.grad[...] = one.grad
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_loaded_state_continues_bit_for_bit(rng):
    start, slopes = rng.standard_normal((4, 6)), rng.standard_normal((4, 4, 6))
    parameters = [nn.Parameter(start.copy()) for _ in range(2)]
    optimizers = [Muon([parameter], lr=0.1) for parameter in parameters]
    for step, slope in enumerate(slopes):
        if step == 2:
            optimizers[1] = Muon([parameters[1]], lr=0.1)
            optimizers[1].load_state_dict(optimizers[0].state_dict())
            parameters[1].data[...] = parameters[0].data
        for parameter, optimizer in zip(parameters, optimizers, strict=True):
            parameter.grad[...] = slope
            optimizer.step()
    np.testing.assert_array_equal(parameters[0].data, parameters[1].data)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="expected matrices and filters; give vectors to AdamW or SGD"):
        Muon([nn.Parameter(np.zeros((2, 3))), nn.Parameter(np.zeros(3))])
