"""Convolution and its transpose: which algorithm computes them is decided here, how is in the files beside."""

from __future__ import annotations

from typing import final

import numpy as np

from trimtab.numpy_nn import depthwise, im2col, winograd
from trimtab.numpy_nn.im2col import Finish, Geometry, Pair, pair, write
from trimtab.numpy_nn.module import Array, Module, Parameter, ShapeError, fill_uniform, require, uniform_parameter

_WINOGRAD_CHANNELS = 16  # with fewer, transforming costs more than it saves
_ALGORITHMS = ("auto", "im2col", "winograd")


@final
class Conv2d(Module):
    """Cross-correlation with zero padding: [B, C, H, W] -> [B, out_channels, H', W'].

    y = w * x + b; dx is the convolution of dy with w turned around, dw that of x with dy, db the sum of dy.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in torch; ``padding`` may be ``"same"`` or ``"valid"``. The weight is [out, in / groups, height, width].
    algorithm
        ``"auto"``, ``"im2col"``, or ``"winograd"`` (3x3, stride 1, no dilation, one group; its float32 rounding error
        is some ten times larger). Auto takes Winograd's where it applies and pays.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        algorithm: str = "auto",
    ) -> None:
        _check_groups(in_channels, out_channels, groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.geometry = _geometry(kernel_size, stride, padding, dilation)
        self.weight = uniform_parameter((out_channels, in_channels // groups, *self.geometry.kernel))
        self.bias = uniform_parameter((out_channels,)) if bias else None
        self.algorithm = self._choose(algorithm)
        self.finish: Finish | None = None  # what inference does with each piece of the output
        self.transformed_filter: Array | None = None
        self.initialize(np.random.default_rng())

    def describe(self) -> str:
        """Return the arguments."""
        return _describe(self)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw weight and bias."""
        _initialize(self.weight, self.bias, self.weight.data[0].size, rng)

    def forward(self, x: Array) -> Array:
        """Keep the input, or what Winograd's algorithm made of it."""
        require(self, x, x.ndim == 4 and x.shape[1] == self.in_channels, f"[B, {self.in_channels}, H, W]", self.weight)
        if min(self.geometry.output_size(x.shape[2:])) < 1:
            raise ShapeError(self, x, f"at least {self.geometry.extent} pixels, padding included")
        return self._apply(x, None if self.bias is None else self.bias.data)

    def tangent(self, v: Array) -> Array:
        """Convolve without the bias."""
        return self._apply(v, None)

    def _apply(self, x: Array, bias: Array | None) -> Array:
        pictures = x.transpose(0, 2, 3, 1)
        finish = self.finish or _adder(bias)
        if self.algorithm == "winograd":
            (top, _), (left, _) = self.geometry.padding
            tiling = winograd.Tiling(pictures.shape, (top, left))
            transformed = self.transformed_filter
            if transformed is None:
                transformed = winograd.transform_filter(self.weight.data)
            y, kept = winograd.forward(pictures, transformed, finish, tiling, keeps=self._keeps)
            self._keep(kept, transformed, tiling, bias is not None)
            return y.transpose(0, 3, 1, 2)
        y = _convolve(pictures, self.weight.data, self.geometry, self.groups, finish)
        self._keep(pictures, bias is not None)
        return y.transpose(0, 3, 1, 2)

    def backward(self, grad: Array) -> Array:
        """Gradients of input, weight and bias."""
        *kept, has_bias = self._take()
        grad = grad.transpose(0, 2, 3, 1)
        if self.bias is not None and has_bias and self.bias.requires_grad:
            self.bias.add(_sum_pixels(grad))
        if self.algorithm == "winograd":
            transformed, transformed_filter, tiling = kept
            dx, dweight = winograd.backward(
                grad, transformed, transformed_filter, tiling, wants_input=self.input_gradient
            )
            if self.weight.requires_grad:
                self.weight.add(dweight)
            return dx.transpose(0, 3, 1, 2) if self.input_gradient else dx
        (pictures,) = kept
        if self.weight.requires_grad:
            self.weight.add(_weight_gradient(pictures, grad, self.geometry, self.groups))
        if not self.input_gradient:
            return np.empty(0, grad.dtype)
        dx = _input_gradient(grad, self.weight.data, pictures.shape, self.geometry, self.groups)
        return dx.transpose(0, 3, 1, 2)

    def _choose(self, algorithm: str) -> str:
        if algorithm not in _ALGORITHMS:
            raise ValueError(f"algorithm is '{algorithm}'; expected one of {', '.join(_ALGORITHMS)}; choose one.")
        geometry = self.geometry
        fits = self.groups == 1 and geometry.kernel == (3, 3) and geometry.stride == geometry.dilation == (1, 1)
        if algorithm == "winograd" and not fits:
            raise ValueError(f"{self} is not 3x3 with stride 1 and one group; expected that; use algorithm='auto'.")
        pays = fits and min(self.in_channels, self.out_channels) >= _WINOGRAD_CHANNELS
        return "winograd" if algorithm == "winograd" or (algorithm == "auto" and pays) else "im2col"


@final
class ConvTranspose2d(Module):
    """The adjoint of `Conv2d`, used to enlarge: [B, C, H, W] -> [B, out_channels, H', W'].

    H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1. What is the backward pass of a
    convolution is the forward pass here, and the other way around. The weight is [in, out / groups, height, width].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
    ) -> None:
        _check_groups(in_channels, out_channels, groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.geometry = _geometry(kernel_size, stride, padding, dilation)
        self.output_padding = pair(output_padding)
        steps = zip(self.output_padding, self.geometry.stride, self.geometry.dilation, strict=True)
        if any(more >= max(step, apart) for more, step, apart in steps):
            raise ValueError(f"output_padding is {output_padding}; expected less than stride or dilation; lower it.")
        self.weight = uniform_parameter((in_channels, out_channels // groups, *self.geometry.kernel))
        self.bias = uniform_parameter((out_channels,)) if bias else None
        self.initialize(np.random.default_rng())

    def describe(self) -> str:
        """Return the arguments."""
        return _describe(self)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw weight and bias."""
        _initialize(self.weight, self.bias, self.weight.data[0].size, rng)

    def forward(self, x: Array) -> Array:
        """Keep the input."""
        require(self, x, x.ndim == 4 and x.shape[1] == self.in_channels, f"[B, {self.in_channels}, H, W]", self.weight)
        return self._apply(x, None if self.bias is None else self.bias.data)

    def tangent(self, v: Array) -> Array:
        """Enlarge without the bias."""
        return self._apply(v, None)

    def _apply(self, x: Array, bias: Array | None) -> Array:
        pictures = x.transpose(0, 2, 3, 1)
        height, width = (
            (pixels - 1) * stride - 2 * padding[0] + extent + more
            for pixels, stride, padding, extent, more in zip(
                x.shape[2:],
                self.geometry.stride,
                self.geometry.padding,
                self.geometry.extent,
                self.output_padding,
                strict=True,
            )
        )
        if min(height, width) < 1:
            raise ShapeError(self, x, "a picture large enough for an output of at least one pixel")
        shape = (len(x), height, width, self.out_channels)
        y = _input_gradient(pictures, self.weight.data, shape, self.geometry, self.groups)
        _adder(bias)(y, y)
        self._keep(pictures, bias is not None)
        return y.transpose(0, 3, 1, 2)

    def backward(self, grad: Array) -> Array:
        """Gradients of input, weight and bias."""
        pictures, has_bias = self._take()
        grad = np.ascontiguousarray(grad.transpose(0, 2, 3, 1))
        if self.bias is not None and has_bias and self.bias.requires_grad:
            self.bias.add(_sum_pixels(grad))
        if self.weight.requires_grad:
            self.weight.add(_weight_gradient(grad, pictures, self.geometry, self.groups))
        if not self.input_gradient:
            return np.empty(0, grad.dtype)
        height, width = pictures.shape[1:3]
        dx = _convolve(grad, self.weight.data, self.geometry, self.groups, write)[:, :height, :width]
        return dx.transpose(0, 3, 1, 2)


def frozen(layer: Conv2d) -> Conv2d:
    """Return the layer, with a weight that training leaves as it is."""
    layer.weight.requires_grad = False
    return layer


# ---- groups: as many convolutions side by side ----


def _convolve(x: Array, weight: Array, geometry: Geometry, groups: int, finish: Finish) -> Array:
    """Return [B, H', W', F] for [B, H, W, C] and a weight [F, C / groups, I, J]."""
    if groups == 1:
        return im2col.forward(x, weight, geometry, finish)
    if groups == x.shape[3]:
        return depthwise.forward(x, weight, geometry, finish)
    parts = zip(np.split(x, groups, 3), np.split(weight, groups), strict=True)
    y = np.concatenate([im2col.forward(part, filters, geometry) for part, filters in parts], axis=3)
    finish(y, y)
    return y


def _weight_gradient(x: Array, grad: Array, geometry: Geometry, groups: int) -> Array:
    if groups == 1:
        return im2col.weight_gradient(x, grad, geometry)
    if groups == x.shape[3]:
        return depthwise.weight_gradient(x, grad, geometry)
    parts = zip(np.split(x, groups, 3), np.split(grad, groups, 3), strict=True)
    return np.concatenate([im2col.weight_gradient(part, of, geometry) for part, of in parts])


def _input_gradient(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Geometry, groups: int) -> Array:
    if groups == 1:
        return im2col.input_gradient(grad, weight, shape, geometry)
    if groups == shape[3]:
        return depthwise.input_gradient(grad, weight, shape, geometry)
    part_shape = (*shape[:3], shape[3] // groups)
    parts = zip(np.split(grad, groups, 3), np.split(weight, groups), strict=True)
    return np.concatenate([im2col.input_gradient(part, of, part_shape, geometry) for part, of in parts], axis=3)


# ---- arguments ----


def _geometry(kernel_size: Pair, stride: Pair, padding: Pair | str, dilation: Pair) -> Geometry:
    kernel, steps, apart = pair(kernel_size), pair(stride), pair(dilation)
    if padding == "valid":
        padding = 0
    if isinstance(padding, str):
        if padding != "same" or steps != (1, 1):
            raise ValueError(
                f"padding is '{padding}' with stride {steps}; expected numbers, valid, or same at stride 1."
            )
        totals = [d * (k - 1) for d, k in zip(apart, kernel, strict=True)]
        first, second = ((total // 2, total - total // 2) for total in totals)
        return Geometry(kernel=kernel, padding=(first, second), dilation=apart)
    vertical, horizontal = pair(padding)
    padded = ((vertical, vertical), (horizontal, horizontal))
    return Geometry(kernel=kernel, stride=steps, padding=padded, dilation=apart)


def _check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups is {groups} for {in_channels} channels in and {out_channels} out; expected a divisor of both."
        )


def _describe(layer: Conv2d | ConvTranspose2d) -> str:
    """Return the arguments, as far as they are not the usual ones."""
    geometry = layer.geometry
    padding = tuple(before for before, _ in geometry.padding)
    given: dict[str, object] = {"stride": geometry.stride, "padding": padding, "dilation": geometry.dilation}
    usual = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    given["groups"] = layer.groups
    extra = "".join(f", {name}={value}" for name, value in given.items() if value != usual[name])
    return f"{layer.in_channels}, {layer.out_channels}, kernel_size={geometry.kernel}{extra}"


def _initialize(weight: Parameter, bias: Parameter | None, fan_in: int, rng: np.random.Generator) -> None:
    fill_uniform(weight, fan_in, rng)
    fill_uniform(bias, fan_in, rng)


def _adder(bias: Array | None) -> Finish:
    """Return what writes a piece of the output, channels last, with the bias."""
    return write if bias is None else lambda values, out: np.add(values, bias, out=out)


def _sum_pixels(grad: Array) -> Array:
    """Return the sum of [B, H, W, F] over all but the last axis, as a matrix product."""
    rows = np.ascontiguousarray(grad).reshape(-1, grad.shape[3])
    return np.ones(len(rows), rows.dtype) @ rows
