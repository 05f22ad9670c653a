"""Convolutions of small pictures: the same gradients as torch's own, from matrix products."""

import pytest

torch = pytest.importorskip("torch")

from trimtab.training import torch_convolution  # noqa: E402
from trimtab.training.torch_convolution import Conv2d, weight_gradient  # noqa: E402
from trimtab.training.torch_steps import using_threads  # noqa: E402


def _pictures(*shape: int, seed: int = 0) -> "torch.Tensor":
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("height", "width"), [(3, 3), (7, 7), (1, 1), (2, 5), (8, 1)])
def test_the_weight_gradient_equals_that_of_torch(height, width):
    x, gradient = (
        _pictures(6, channels, height, width, seed=channels).to(torch.float64, memory_format=torch.channels_last)
        for channels in (5, 4)
    )
    expected = torch.nn.grad.conv2d_weight(x, (4, 5, 3, 3), gradient, padding=1)
    torch.testing.assert_close(weight_gradient(x, gradient), expected, rtol=1e-12, atol=1e-12)


def _gradients(layer, x):
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(x)
    (result.float() * _pictures(*result.shape, seed=9)).sum().backward()
    return result, x.grad, layer.weight.grad


def test_in_bfloat16_result_and_gradients_are_those_of_torch():
    own, torchs = Conv2d(128, 160, 3, padding=1, bias=False), torch.nn.Conv2d(128, 160, 3, padding=1, bias=False)
    torchs.load_state_dict(own.state_dict())
    x = _pictures(64, 128, 7, 7)
    for found, expected in zip(_gradients(own, x), _gradients(torchs, x), strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found.float(), expected.float(), rtol=2e-2, atol=2e-2 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("options", "shape", "threads", "is_by_products"),
    [
        ({}, (64, 128, 7, 7), 1, True),
        ({}, (64, 128, 9, 9), 1, False),  # large
        ({}, (64, 128, 9, 9), 2, True),  # large, but threads would wait for each other
        ({}, (64, 128, 17, 17), 2, False),
        ({}, (64, 96, 9, 9), 2, False),  # not in blocks of 64 channels
        ({}, (16, 128, 7, 7), 2, False),  # few pixels in all
        ({"groups": 2}, (64, 128, 7, 7), 2, False),
        ({"stride": 2}, (64, 128, 7, 7), 2, False),
    ],
)
def test_matrix_products_are_used_where_they_are_faster(options, shape, threads, is_by_products, monkeypatch):
    used = []
    real = torch_convolution.weight_gradient
    monkeypatch.setattr(torch_convolution, "weight_gradient", lambda *given: used.append(1) or real(*given))
    with using_threads(threads):
        _gradients(Conv2d(shape[1], shape[1], 3, padding=1, bias=False, **options), _pictures(*shape))
    assert bool(used) is is_by_products


def test_a_layer_that_is_not_trained_computes_as_torch_does(monkeypatch):
    monkeypatch.setattr(torch_convolution, "weight_gradient", None)  # would fail
    layer = Conv2d(128, 128, 3, padding=1, bias=False)
    layer.weight.requires_grad_(False)
    x = _pictures(64, 128, 7, 7).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
    assert layer.weight.grad is None
    assert x.grad is not None
