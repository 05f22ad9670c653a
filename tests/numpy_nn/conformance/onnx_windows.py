"""ONNX's convolutions and poolings as layers.

An adapter only lays out what goes in and comes out: a signal becomes an image of height one, and padding that the layer
has no argument for (unequal at the two ends, or wider than the layer allows) is written into the image. What the layer
is to compute is left to the layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trimtab import numpy_nn as nn

from .onnx_node import Node, load
from .outcome import OutOfScope, Reason

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Where a kernel goes over an image; a signal counts as an image of height one."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    begin: Pair
    end: Pair
    is_signal: bool

    @classmethod
    def of(cls, node: Node, x: np.ndarray, kernel: tuple[int, ...]) -> Window:
        """Return the window that the attributes of a node describe."""
        rank = x.ndim - 2
        if rank > 2:
            raise OutOfScope(Reason.THREE_DIMENSIONS)
        pads = node.attributes.get("pads", [0] * (2 * rank))
        steps = [node.attributes.get(name, [1] * rank) for name in ("strides", "dilations")]
        pairs = [_image(values, 1) for values in (kernel, *steps)]
        window = cls(*pairs, _image(pads[:rank], 0), _image(pads[rank:], 0), is_signal=rank == 1)
        return window._with_automatic_padding(node, image(x).shape[2:])

    def _with_automatic_padding(self, node: Node, size: Pair) -> Window:
        rule = node.attributes.get("auto_pad", "NOTSET")
        if not rule.startswith("SAME") or node.operator == "ConvTranspose":
            return self
        total = [
            max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
            for length, kernel, stride, dilation in zip(size, self.kernel, self.stride, self.dilation, strict=True)
        ]
        less, more = (tuple(value // 2 for value in total), tuple(-(-value // 2) for value in total))
        return replace(self, begin=less, end=more) if rule == "SAME_UPPER" else replace(self, begin=more, end=less)

    @property
    def fits_a_pooling_layer(self) -> bool:
        """Padding equal at both ends and at most half the window, as the pooling layers take it."""
        return self.begin == self.end and all(2 * p <= k for p, k in zip(self.begin, self.kernel, strict=True))

    def padded(self, x: np.ndarray, value: float) -> np.ndarray:
        """Return the image with the padding written into it."""
        return np.pad(x, [(0, 0), (0, 0), *zip(self.begin, self.end, strict=True)], constant_values=value)

    def restored(self, y: np.ndarray) -> np.ndarray:
        """Return a signal for a signal."""
        return y[:, :, 0] if self.is_signal else y


def _image(values: list[int] | tuple[int, ...], neutral: int) -> Pair:
    return (neutral, *values)[-2:]


def image(x: np.ndarray) -> np.ndarray:
    """Return a signal, or the weights that go over one, as an image of height one."""
    return x[:, :, None] if x.ndim == 3 else x


def convolution(node: Node) -> list[np.ndarray]:
    x, weight, bias = node.arrays(3)
    window = Window.of(node, x, weight.shape[2:])
    x, padding = (image(x), window.begin) if window.begin == window.end else (window.padded(image(x), 0), 0)
    groups = node.attributes.get("group", 1)
    sizes = weight.shape[1] * groups, weight.shape[0], window.kernel, window.stride, padding, window.dilation, groups
    layer = load(nn.Conv2d(*sizes, bias=bias is not None), weight=image(weight), bias=bias)
    return [window.restored(layer(x))]


def transposed_convolution(node: Node) -> list[np.ndarray]:
    x, weight, bias = node.arrays(3)
    window = Window.of(node, x, weight.shape[2:])
    window, extra = _transposed_padding(node, window, image(x).shape[2:])
    padding = window.begin if window.begin == window.end else 0
    groups = node.attributes.get("group", 1)
    sizes = weight.shape[0], weight.shape[1] * groups, window.kernel, window.stride, padding, extra, groups
    layer = nn.ConvTranspose2d(*sizes, bias=bias is not None, dilation=window.dilation)
    y = load(layer, weight=image(weight), bias=bias)(image(x))
    return [window.restored(y if padding else _cropped(y, window))]


def _transposed_padding(node: Node, window: Window, size: Pair) -> tuple[Window, Pair]:
    extra = _image(node.attributes.get("output_padding", [0] * 2), 0)
    steps = zip(size, window.kernel, window.stride, window.dilation, extra, strict=True)
    full = [
        (length - 1) * stride + (kernel - 1) * dilation + 1 + more for length, kernel, stride, dilation, more in steps
    ]
    wanted = node.attributes.get("output_shape")
    if node.attributes.get("auto_pad", "NOTSET").startswith("SAME"):
        wanted = [length * stride for length, stride in zip(size, window.stride, strict=True)]
    if wanted is None:
        return window, extra
    surplus = [have - want for have, want in zip(full, wanted, strict=True)]
    begin, end = tuple(max(s, 0) // 2 for s in surplus), tuple(-(-max(s, 0) // 2) for s in surplus)
    missing = tuple(more + max(-s, 0) for more, s in zip(extra, surplus, strict=True))
    return replace(window, begin=begin, end=end), missing


def _cropped(y: np.ndarray, window: Window) -> np.ndarray:
    rows, columns = (
        slice(first, length - last) for first, length, last in zip(window.begin, y.shape[2:], window.end, strict=True)
    )
    return y[:, :, rows, columns]


def maximum(node: Node) -> list[np.ndarray]:
    x = node.inputs[0]
    window = Window.of(node, x, node.attributes["kernel_shape"])
    x, padding = (image(x), window.begin) if window.fits_a_pooling_layer else (window.padded(image(x), -np.inf), 0)
    places = {"return_indices": node.outputs > 1, "ceil_mode": bool(node.attributes.get("ceil_mode", 0))}
    layer = nn.MaxPool2d(window.kernel, window.stride, padding, window.dilation, **places)
    y = window.restored(layer(x))
    return [y, _places(node, layer.indices, x)] if node.outputs > 1 else [y]


def _places(node: Node, indices: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return indices into the whole array instead of into one image, column by column where ONNX asks for that."""
    images, channels, height, width = x.shape
    rows, columns = np.divmod(indices, width)
    within = columns * height + rows if node.attributes.get("storage_order", 0) else indices
    first = np.arange(images * channels).reshape(images, channels, 1, 1) * height * width
    return within + first


def average(node: Node) -> list[np.ndarray]:
    x = node.inputs[0]
    window = Window.of(node, x, node.attributes["kernel_shape"])
    if window.dilation != (1, 1):
        raise OutOfScope(Reason.DILATED_AVERAGE)
    include, ceil = (bool(node.attributes.get(name, 0)) for name in ("count_include_pad", "ceil_mode"))
    if window.fits_a_pooling_layer:
        layer = nn.AvgPool2d(window.kernel, window.stride, window.begin, ceil, include)
        return [window.restored(layer(image(x)))]
    if include and not ceil:
        return [window.restored(nn.AvgPool2d(window.kernel, window.stride)(window.padded(image(x), 0)))]
    return [window.restored(_average_of_one_sided(window, image(x)))]


def _average_of_one_sided(window: Window, x: np.ndarray) -> np.ndarray:
    """Pad both ends alike and leave out the windows at the end that has less padding; right for a stride of one."""
    most = tuple(np.maximum(window.begin, window.end).tolist())
    if window.stride != (1, 1) or not replace(window, begin=most, end=most).fits_a_pooling_layer:
        raise OutOfScope(Reason.WIDE_PADDING)
    y = nn.AvgPool2d(window.kernel, 1, most, count_include_pad=False)(x)
    unused = [tuple(big - small for big, small in zip(most, ends, strict=True)) for ends in (window.begin, window.end)]
    return _cropped(y, replace(window, begin=unused[0], end=unused[1]))


WINDOWS = {
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "MaxPool": maximum,
    "AveragePool": average,
    "GlobalAveragePool": lambda node: [nn.AdaptiveAvgPool2d(1)(node.inputs[0])],
    "GlobalMaxPool": lambda node: [nn.MaxPool2d(node.inputs[0].shape[2:])(node.inputs[0])],
}
