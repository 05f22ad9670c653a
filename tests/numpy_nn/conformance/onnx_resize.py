"""ONNX's Resize and Upsample as the layer Upsample, where both libraries mean the same pixels."""

from __future__ import annotations

import math

import numpy as np

from trimtab import numpy_nn as nn

from .onnx_node import Node
from .outcome import OutOfScope, Reason

Pair = tuple[int, int]
NEAREST = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def resize(node: Node) -> list[np.ndarray]:
    x = node.inputs[0]
    scales, sizes = _scales_and_sizes(node, x)
    mode = node.attributes.get("mode", "nearest")
    coordinates = "asymmetric" if node.operator == "Upsample" else _coordinates(node)
    _check_offered(node, mode, coordinates)
    out, factors = _output_size(node, x, scales, sizes)
    if mode == "nearest":
        _check_nearest(node, coordinates, x.shape[2:], out, factors)
        return [nn.Upsample(size=out)(x)]
    _check_linear(coordinates, x.shape[2:], out, factors)
    corners = coordinates == "align_corners"
    given = {"size": out} if scales is None or corners else {"scale_factor": tuple(scales)}
    return [nn.Upsample(**given, mode="bilinear", align_corners=corners)(x)]


def _coordinates(node: Node) -> str:
    return node.attributes.get("coordinate_transformation_mode", "half_pixel")


def _scales_and_sizes(node: Node, x: np.ndarray) -> tuple[list[float] | None, list[int] | None]:
    """Return scales or sizes of height and width; the one that is not given is ``None``."""
    if node.operator == "Upsample":
        return _of_image(node, node.inputs[1]), None
    _, _, scales, sizes = node.arrays(4)
    return _of_image(node, scales), _of_image(node, sizes)


def _of_image(node: Node, values: np.ndarray | None) -> list | None:
    if values is None or not values.size:
        return None
    by_axis = dict(zip(node.attributes.get("axes", range(4)), values.tolist(), strict=True))
    assert by_axis.get(0, 1) == by_axis.get(1, 1) == 1 or node.inputs[0].shape[:2] == (by_axis[0], by_axis[1])
    return [by_axis[2], by_axis[3]]


def _check_offered(node: Node, mode: str, coordinates: str) -> None:
    reasons = {
        Reason.CUBIC: mode == "cubic",
        Reason.ANTIALIAS: bool(node.attributes.get("antialias", 0)),
        Reason.CROP: coordinates == "tf_crop_and_resize",
        Reason.SYMMETRIC: coordinates == "half_pixel_symmetric",
    }
    for reason, applies in reasons.items():
        if applies:
            raise OutOfScope(reason)


def _output_size(node: Node, x: np.ndarray, scales: list | None, sizes: list | None) -> tuple[Pair, list[float]]:
    """Return height and width of the output, and the factors that ONNX computes coordinates with."""
    lengths = x.shape[2:]
    policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
    if scales is not None:
        return tuple(math.floor(scale * length) for scale, length in zip(scales, lengths, strict=True)), scales
    factors = [size / length for size, length in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return tuple(sizes), factors
    factor = min(factors) if policy == "not_larger" else max(factors)
    return tuple(math.floor(factor * length + 0.5) for length in lengths), [factor, factor]


def _check_nearest(node: Node, coordinates: str, lengths, out, factors) -> None:
    """Both rules must pick the same pixels: ONNX's for these attributes, and PyTorch's ``floor(i * in / out)``."""
    rule = NEAREST[
        "floor" if node.operator == "Upsample" else node.attributes.get("nearest_mode", "round_prefer_floor")
    ]
    for length, count, factor in zip(lengths, out, factors, strict=True):
        places = [_source(coordinates, index, length, count, factor) for index in range(count)]
        picked = [min(max(rule(place), 0), length - 1) for place in places]
        if picked != [index * length // count for index in range(count)]:
            raise OutOfScope(Reason.NEAREST_RULE)


def _source(coordinates: str, index: int, length: int, count: int, factor: float) -> float:
    if coordinates == "align_corners":
        return index * (length - 1) / (count - 1)
    return index / factor if coordinates == "asymmetric" else (index + 0.5) / factor - 0.5


def _check_linear(coordinates: str, lengths, out, factors) -> None:
    is_whole = all(length * factor == count for length, factor, count in zip(lengths, factors, out, strict=True))
    if coordinates == "align_corners" and not is_whole:
        raise OutOfScope(Reason.WHOLE_LENGTH)
    if coordinates == "pytorch_half_pixel" and 1 in out:
        raise OutOfScope(Reason.ONE_PIXEL)
    assert coordinates in ("align_corners", "half_pixel", "pytorch_half_pixel"), coordinates
