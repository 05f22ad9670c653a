"""The fast kernels against the plain ones of `trimtab.numpy_nn.reference`, and against their own adjoints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trimtab import numpy_nn as nn
from trimtab.numpy_nn import depthwise, im2col, reference, winograd
from trimtab.numpy_nn.im2col import Geometry, write

CLOSE = 1e-12  # in float64, relative to the largest number

few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def assert_close(ours, plain):
    assert ours.shape == plain.shape
    assert np.abs(ours - plain).max(initial=0) <= CLOSE * np.abs(plain).max(initial=1)


@st.composite
def convolutions(draw):
    """Draw the arguments of a convolution, and sizes for which its output has a pixel at least."""
    k, stride, padding, dilation = draw(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 4), st.integers(1, 3))
    )
    least = max(1, dilation * (k - 1) + 1 - 2 * padding)
    height, width = draw(st.integers(least, least + 6)), draw(st.integers(least, least + 6))
    return k, stride, padding, dilation, height, width


def geometry_of(k, stride=1, padding=0, dilation=1):
    padded = (padding, padding)
    return Geometry(kernel=(k, k), stride=(stride, stride), padding=(padded, padded), dilation=(dilation, dilation))


def last(x):
    """Return [B, C, H, W] as the kernels take it, [B, H, W, C]."""
    return x.transpose(0, 2, 3, 1)


def first(x):
    """Return [B, H, W, C] as [B, C, H, W]."""
    return x.transpose(0, 3, 1, 2)


def draw_arrays(rng, batch, channels, filters, k, height, width, stride=1, padding=0, dilation=1, depth=None):
    """Return input, weight and gradient of the output."""
    extent = dilation * (k - 1) + 1
    size = [(n + 2 * padding - extent) // stride + 1 for n in (height, width)]
    x = rng.standard_normal((batch, channels, height, width))
    weight = rng.standard_normal((filters, depth or channels, k, k))
    return x, weight, rng.standard_normal((batch, filters, *size))


# ---- convolutions ----


@few
@given(convolutions(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_im2col_is_the_plain_convolution(arguments, batch, channels, filters):
    k, stride, padding, dilation, height, width = arguments
    x, weight, grad = draw_arrays(
        np.random.default_rng(0), batch, channels, filters, k, height, width, stride, padding, dilation
    )
    geometry, plain = geometry_of(k, stride, padding, dilation), (stride, padding, dilation)
    assert_close(first(im2col.forward(last(x), weight, geometry)), reference.convolution(x, weight, *plain))
    dx = im2col.input_gradient(last(grad), weight, last(x).shape, geometry)
    assert_close(first(dx), reference.convolution_input_gradient(grad, weight, x.shape, *plain))
    dweight = im2col.weight_gradient(last(x), last(grad), geometry)
    assert_close(dweight, reference.convolution_weight_gradient(x, grad, (k, k), *plain))


@few
@given(convolutions(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_depthwise_is_the_plain_convolution_of_each_channel(arguments, batch, channels, multiplier):
    k, stride, padding, dilation, height, width = arguments
    x, weight, grad = draw_arrays(
        np.random.default_rng(0),
        batch,
        channels,
        channels * multiplier,
        k,
        height,
        width,
        stride,
        padding,
        dilation,
        depth=1,
    )
    geometry, plain = geometry_of(k, stride, padding, dilation), (stride, padding, dilation)
    parts = [(slice(c, c + 1), slice(c * multiplier, (c + 1) * multiplier)) for c in range(channels)]
    expected = [reference.convolution(x[:, one], weight[some], *plain) for one, some in parts]
    assert_close(first(depthwise.forward(last(x), weight, geometry)), np.concatenate(expected, axis=1))
    shape = (batch, 1, height, width)
    expected = [reference.convolution_input_gradient(grad[:, some], weight[some], shape, *plain) for _, some in parts]
    dx = depthwise.input_gradient(last(grad), weight, last(x).shape, geometry)
    assert_close(first(dx), np.concatenate(expected, axis=1))
    expected = [reference.convolution_weight_gradient(x[:, one], grad[:, some], (k, k), *plain) for one, some in parts]
    assert_close(depthwise.weight_gradient(last(x), last(grad), geometry), np.concatenate(expected))


@few
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 11), st.integers(1, 11)
)
def test_winograd_is_the_plain_convolution(batch, channels, filters, padding, height, width):
    height, width = max(height, 3 - 2 * padding), max(width, 3 - 2 * padding)
    x, weight, grad = draw_arrays(np.random.default_rng(0), batch, channels, filters, 3, height, width, padding=padding)
    tiling = winograd.Tiling(last(x).shape, (padding, padding))
    transformed = winograd.transform_filter(weight)
    y, kept = winograd.forward(last(x), transformed, write, tiling, keeps=True)
    assert_close(first(y), reference.convolution(x, weight, 1, padding))
    dx, dweight = winograd.backward(last(grad), kept, transformed, tiling, wants_input=True)
    assert_close(first(dx), reference.convolution_input_gradient(grad, weight, x.shape, 1, padding))
    assert_close(dweight, reference.convolution_weight_gradient(x, grad, (3, 3), 1, padding))


@few
@given(convolutions(), st.integers(1, 2), st.sampled_from([(1, 2, 3), (2, 4, 2), (3, 3, 6), (4, 4, 4), (2, 2, 4)]))
def test_a_layer_is_the_plain_convolution_of_each_group(arguments, batch, widths):
    k, stride, padding, dilation, height, width = arguments
    groups, channels, filters = widths
    layer = nn.Conv2d(channels, filters, k, stride, padding, dilation, groups).to(np.float64)
    rng = np.random.default_rng(0)
    x, _, grad = draw_arrays(rng, batch, channels, filters, k, height, width, stride, padding, dilation)
    plain, weight = (stride, padding, dilation), layer.weight.data
    parts = list(zip(np.split(x, groups, 1), np.split(weight, groups), np.split(grad, groups, 1), strict=True))
    bias = layer.bias.data[:, None, None]
    assert_close(layer(x), np.concatenate([reference.convolution(a, b, *plain) for a, b, _ in parts], 1) + bias)
    expected = [reference.convolution_input_gradient(c, b, a.shape, *plain) for a, b, c in parts]
    assert_close(layer.backward(grad), np.concatenate(expected, 1))
    expected = [reference.convolution_weight_gradient(a, c, (k, k), *plain) for a, _, c in parts]
    assert_close(layer.weight.grad, np.concatenate(expected))
    assert_close(layer.bias.grad, grad.sum(axis=(0, 2, 3)))


@few
@given(convolutions(), st.data())
def test_a_transposed_layer_is_the_gradient_of_the_plain_convolution(arguments, data):
    k, stride, padding, dilation, height, width = arguments
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    least = -(-(2 * padding + 1 - extra - dilation * (k - 1) - 1) // stride) + 1
    height, width = max(height, least), max(width, least)
    layer = nn.ConvTranspose2d(3, 2, k, stride, padding, extra, bias=False, dilation=dilation).to(np.float64)
    x = np.random.default_rng(0).standard_normal((2, 3, height, width))
    size = [(n - 1) * stride - 2 * padding + dilation * (k - 1) + extra + 1 for n in (height, width)]
    y = layer(x)
    assert_close(
        y,
        reference.convolution_input_gradient(x, layer.weight.data, (2, 2, *size), stride, padding, dilation),
    )


LINEAR = {
    "im2col": (nn.Conv2d(3, 5, 3, 2, 2, 2, bias=False), (2, 3, 9, 8)),
    "turned im2col": (nn.Conv2d(5, 3, 3, padding=1, bias=False), (2, 5, 9, 8)),
    "pointwise": (nn.Conv2d(3, 5, 1, bias=False), (2, 3, 9, 8)),
    "winograd": (nn.Conv2d(3, 5, 3, padding=1, bias=False, algorithm="winograd"), (2, 3, 9, 8)),
    "depthwise": (nn.Conv2d(4, 8, 3, 2, 1, groups=4, bias=False), (2, 4, 9, 8)),
    "groups": (nn.Conv2d(4, 8, 3, groups=2, bias=False), (2, 4, 9, 8)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, bias=False), (2, 4, 5, 4)),
    "mean": (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 3, 9, 8)),
    "adaptive mean": (nn.AdaptiveAvgPool2d((4, 3)), (2, 3, 9, 8)),
    "nearest": (nn.Upsample(scale_factor=1.7), (2, 3, 5, 8)),
    "bilinear": (nn.Upsample(size=(4, 11), mode="bilinear"), (2, 3, 5, 8)),
    "matrix": (nn.Linear(7, 4, bias=False), (3, 7)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_going_back_is_the_adjoint_of_going_forward(name, rng):
    layer, shape = LINEAR[name]
    layer.to(np.float64)
    x = rng.standard_normal(shape)
    y = layer(x)
    grad = rng.standard_normal(y.shape)
    dx = layer.backward(grad)
    assert np.vdot(y, grad) == pytest.approx(np.vdot(x, dx), rel=1e-11)
    for parameter in layer.parameters():
        assert np.vdot(parameter.data, parameter.grad) == pytest.approx(np.vdot(y, grad), rel=1e-11)
        parameter.grad.fill(0)


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_layer_is_linear_and_its_own_tangent(name, rng):
    layer, shape = LINEAR[name]
    layer.to(np.float64)
    x, v = rng.standard_normal((2, *shape))
    along = layer(v)
    assert_close(layer(x + v), layer(x) + along)
    assert_close(layer.tangent(v), along)


def test_winograd_multiplies_a_quarter_as_often():
    tiling = winograd.Tiling((1, 32, 32, 1), (1, 1))
    assert 4 * tiling.tiles * 36 == 32 * 32 * 9


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_winograd_rounds_some_ten_times_as_much(padding, rng):
    x = rng.standard_normal((2, 32, 14, 13)).astype(np.float32)
    layers = [nn.Conv2d(32, 32, 3, padding=padding, algorithm=name) for name in ("winograd", "im2col")]
    layers[1].load_state_dict(layers[0].state_dict())
    exact = nn.Conv2d(32, 32, 3, padding=padding, algorithm="im2col").to(np.float64)
    exact.load_state_dict(layers[0].state_dict())
    expected = exact(x.astype(float))
    fast, plain = (np.abs(layer(x) - expected).max() / np.abs(expected).max() for layer in layers)
    assert plain < 1e-6
    assert plain < fast < 30 * plain


def test_the_columns_of_a_window_of_one_pixel_are_the_picture(rng):
    x, weight = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((6, 3, 1, 1))
    assert_close(im2col.forward(x, weight, geometry_of(1)), x @ weight[:, :, 0, 0].T)


# ---- pooling and normalization ----


@few
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 7), st.integers(0, 7), st.data())
def test_max_pooling_is_the_plain_one(kernel, stride, more_rows, more_columns, data):
    shape = (2, 3, kernel + more_rows, kernel + more_columns)
    x = data.draw(arrays.arrays(float, shape, elements=st.integers(-3, 3), fill=st.integers(-3, 3)))
    layer = nn.MaxPool2d(kernel, stride)
    y = layer(x)
    assert np.array_equal(y, reference.max_pool(x, kernel, stride))
    dx = layer.backward(np.ones_like(y))
    assert dx.sum() == y.size  # each output has one place to send its gradient to
    assert np.vdot(dx, x) == y.sum()  # and that is where the maximum is


@pytest.mark.parametrize("shape", [(5, 3), (2, 4), (64, 7), (3, 1)])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_batch_normalization_goes_back_as_the_plain_one(shape, eps, rng):
    layer = nn.BatchNorm1d(shape[1], eps=eps).to(np.float64)
    layer.weight.data[...] = rng.standard_normal(shape[1])
    x, grad = 2 * rng.standard_normal(shape) + 5, rng.standard_normal(shape)
    layer(x)
    assert_close(layer.backward(grad), reference.batch_norm_input_gradient(x, grad, layer.weight.data, eps))


def test_batch_normalization_leaves_mean_zero_and_spread_one(rng):
    layer = nn.BatchNorm2d(3, eps=0).to(np.float64)
    y = layer(5 * rng.standard_normal((4, 3, 6, 5)) + 7)
    assert np.allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-13)
    assert np.allclose(y.var(axis=(0, 2, 3)), 1)


def test_statistics_of_numbers_far_from_zero_do_not_cancel(rng):
    spread = rng.standard_normal((4096, 2))
    layer = nn.BatchNorm1d(2, momentum=1.0)
    layer((spread + 1000).astype(np.float32))
    assert np.allclose(
        layer.running_var, (spread + 1000).astype(np.float32).astype(float).var(axis=0, ddof=1), rtol=1e-4
    )


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 4, 4)])
def test_layer_normalization_leaves_mean_zero_and_spread_one(shape, rng):
    layer = nn.LayerNorm(shape[1:], eps=0).to(np.float64)
    y = layer(5 * rng.standard_normal(shape) + 7).reshape(shape[0], -1)
    assert np.allclose(y.mean(axis=1), 0, atol=1e-13)
    assert np.allclose(y.var(axis=1), 1)


# ---- activations ----


@pytest.mark.parametrize("name", ["erf", "sigmoid"])
def test_special_functions_are_exact_to_the_last_bits(name):
    from trimtab.numpy_nn import activations

    x = np.concatenate([np.linspace(-8, 8, 20_001), [1e-300, -1e-20, 0.0, 40.0, -40.0, np.inf, -np.inf]])
    exact = {"erf": math.erf, "sigmoid": lambda value: 1 / (1 + math.exp(-value)) if value > -700 else 0.0}[name]
    expected = np.array([exact(value) for value in x])
    assert np.abs(getattr(activations, name)(x) - expected).max() < 1e-14


@pytest.mark.parametrize("layer", [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Sigmoid(), nn.Tanh()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_inputs_neither_overflow_nor_warn(layer, dtype):
    x = np.array([-1e4, -90, 90, 1e4], dtype)
    y = layer(x)
    dx = layer.backward(np.ones_like(x))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    assert dx == pytest.approx(np.array([0, 0, 1, 1] if isinstance(layer, nn.GELU | nn.SiLU) else [0] * 4), abs=1e-30)
    assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize(
    "layer", [nn.ReLU(), nn.LeakyReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Sigmoid(), nn.Tanh()]
)
def test_what_is_no_number_stays_none(layer):
    y = layer(np.array([np.nan, 1.0]))
    assert np.isnan(y[0])
    assert np.isfinite(y[1])
