"""Muon in torch: torch's own is the oracle for matrices; filters move whatever their memory format."""

import numpy as np
import pytest
import torch

from trimtab.numpy_nn.muon import ITERATIONS, MOMENTUM
from trimtab.training.torch_muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(24, 60), (60, 24)])
def test_matrices_move_as_under_the_muon_of_torch(shape):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    settings = {"momentum": MOMENTUM, "ns_steps": ITERATIONS, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
    optimizers = Muon([ours], lr=0.1, dtype=torch.bfloat16), torch.optim.Muon([theirs], lr=0.1, **settings)
    for _ in range(3):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    difference = (ours - theirs).norm() / (theirs - start).norm()
    assert difference < 0.01, "bfloat16 has three digits"


def test_bfloat16_gives_nearly_the_same_direction():
    matrix = torch.randn(32, 90, generator=torch.Generator().manual_seed(1))
    exact, rounded = (orthogonalized(matrix, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() / exact.norm() < 0.02


def test_filters_move_the_same_in_each_memory_format():
    generator = torch.Generator().manual_seed(2)
    start, slope = torch.randn(8, 4, 3, 3, generator=generator), torch.randn(8, 4, 3, 3, generator=generator)
    moved = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        parameter = torch.nn.Parameter(start.clone(memory_format=memory_format))
        parameter.grad = slope.clone(memory_format=memory_format)
        Muon([parameter], lr=0.1, dtype=torch.float64).step()
        assert parameter.is_contiguous(memory_format=memory_format)
        moved.append(parameter.detach().numpy())
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-6)


def test_what_has_no_gradient_stays():
    parameters = [torch.nn.Parameter(torch.ones(2, 3)) for _ in range(2)]
    parameters[0].grad = torch.ones(2, 3)
    Muon(parameters).step()
    assert (parameters[0] < 1).all()
    assert (parameters[1] == 1).all()


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="expected matrices and filters; give others to AdamW or SGD"):
        Muon([torch.nn.Parameter(torch.zeros(3))])
