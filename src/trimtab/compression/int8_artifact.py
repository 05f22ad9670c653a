"""The numbers of a quantized ONNX file as an artifact, so that an int8 model also runs where ONNX Runtime does not.

Nothing is computed anew: weights, scales and zero points are those in the file. Needs the onnx package.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.models import build
from trimtab.numpy_nn import quantized

if TYPE_CHECKING:
    import onnx

_PRODUCTS = ("Conv", "Gemm")
_UNCHANGING = ("MaxPool", "Flatten")  # they pass numbers on, so the rounding after them finds nothing to round


def int8_artifact(trained: Artifact, int8_onnx: Path) -> Artifact:
    """Return the artifact of the int8 model in a file, in the form that `trimtab.artifact.Artifact` describes.

    Parameters
    ----------
    trained
        The float model that the file was made from: builder, arguments and preprocessing are its own.
    int8_onnx
        What `trimtab.compression.quantize_int8` wrote.

    Raises
    ------
    ValueError
        If the file holds something that the form has no place for, or lacks a number.
    """
    import onnx

    file = _File(onnx.load(int8_onnx).graph)
    arrays: dict[str, NDArray[Any]] = {}
    activations: dict[str, list[float]] = {}
    for node in file.nodes:
        if node.op_type in _PRODUCTS:
            arrays |= file.read_layer(node)
        elif node.op_type == "QuantizeLinear" and not file.follows_unchanging(node):
            place = _place(node.input[0])
            if place in activations:
                raise _unexpected(f"more than one rounding of '{place}'")
            activations[place] = file.read_activation(node)
    if not any(array.dtype == np.int8 for array in arrays.values()):
        raise _unexpected("nothing but floating point")
    network = build(numpy_nn, trained.builder, trained.kwargs)
    arrays |= {key: np.asarray(trained.arrays[key], np.float32) for key in quantized.float_parameters(network)}
    quantized.assemble(network, arrays, activations)  # refuses what it has no place for
    return Artifact(
        builder=trained.builder,
        kwargs=trained.kwargs,
        arrays=arrays,
        meta={**trained.meta, "quantization": {"activations": activations}},
    )


class _File:
    """A quantized graph, with its constants and what makes each tensor."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        from onnx import numpy_helper

        self.nodes = list(graph.node)
        self._makers = {output: node for node in graph.node for output in node.output}
        self._constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}

    def read_layer(self, node: onnx.NodeProto) -> dict[str, NDArray[Any]]:
        """Return the weight, its scales and the bias of a convolution or matrix product; of a float one no scales."""
        layer = node.name.removeprefix("/")
        if node.input[1] in self._constants:
            weight, bias = (self._constants[name] for name in node.input[1:])
            return {f"{layer}.weight": weight, f"{layer}.bias": bias}
        weight, scale = self._codes(node.input[1], np.int8)
        bias, bias_scale = self._codes(node.input[2], np.int32)
        input_scale = self._constants[self._rounding(node.input[0]).input[1]]
        if not np.allclose(bias_scale, input_scale * scale, rtol=1e-5, atol=0):
            raise _unexpected(f"a bias '{node.input[2]}' of another scale than the products'")
        return {f"{layer}.weight": weight, f"{layer}.weight.scale": scale, f"{layer}.bias": bias}

    def _codes(self, tensor: str, kind: type[np.integer[Any]]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return the whole numbers of a constant and the scale of each output channel."""
        codes, scale, zero_point = (self._constants[name] for name in self._rounding(tensor).input)
        if codes.dtype != kind or scale.shape not in ((), (1,), codes.shape[:1]) or zero_point.any():
            raise _unexpected(f"{codes.dtype} {list(codes.shape)} in '{tensor}'")
        return codes, np.array(np.broadcast_to(scale, codes.shape[:1]))

    def _rounding(self, tensor: str) -> onnx.NodeProto:
        """Return the node that makes a tensor of whole numbers."""
        maker: onnx.NodeProto | None = self._makers.get(tensor)
        if maker is None or maker.op_type != "DequantizeLinear":
            raise _unexpected(f"'{tensor}' in floating point")
        return maker

    def read_activation(self, node: onnx.NodeProto) -> list[float]:
        """Return scale and zero point."""
        scale, zero_point = (self._constants[name] for name in node.input[1:])
        if scale.shape != () or zero_point.dtype != np.uint8:
            raise _unexpected(f"{zero_point.dtype} activations at '{node.input[0]}'")
        return [float(scale), int(zero_point)]

    def follows_unchanging(self, node: onnx.NodeProto) -> bool:
        """Return whether the numbers were rounded to this scale already."""
        maker = self._makers.get(node.input[0])
        while maker is not None and maker.op_type in _UNCHANGING:
            maker = self._makers.get(maker.input[0])
        return maker is not None and maker.op_type == "DequantizeLinear"


def _place(tensor: str) -> str:
    return "input" if tensor.startswith("/preprocessing.") else tensor.removeprefix("/")


def _unexpected(what: str) -> ValueError:
    return ValueError(f"the int8 model holds {what}; expected what quantize_int8 writes; quantize the model again.")
