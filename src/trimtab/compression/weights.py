"""Weights in fewer bits, arithmetic as before: a smaller file, not a faster one, and hardly another answer.

The file holds codes and what makes float32 weights of them: a few nodes on constants, which a runtime computes once,
when it loads the file. The artifact beside it holds the same codes, with batch normalization folded in as in the file.

Legend: ``O`` output channels of a weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.models import build
from trimtab.numpy_nn import quantized
from trimtab.storage import write_bytes

if TYPE_CHECKING:
    import onnx

BITS = (16, 8, 4)
"""16: floating point; 8 and 4: whole numbers times a scale per output channel."""

_PRODUCTS = ("Conv", "Gemm")
_CLIPS = np.linspace(0.5, 1.0, 26)  # shares of the largest weight at which 4 bits may end


def shrink_weights(trained: Artifact, float_onnx: Path, out: Path, *, bits: int) -> Artifact:
    """Write an exported model with the weights of its convolutions and linear layers in fewer bits.

    Parameters
    ----------
    trained
        That was exported.
    float_onnx
        What `trimtab.deployment.export_onnx` wrote.
    out
        The file to write, atomically.
    bits
        One of `BITS`.

    Returns
    -------
    Artifact
        The same model for NumPy.

    Raises
    ------
    ValueError
        If there is no such number of bits.
    """
    import onnx

    if bits not in BITS:
        raise ValueError(f"bits is {bits}; expected one of {', '.join(map(str, BITS))}; pick one.")
    model = onnx.load(float_onnx)
    constants = {constant.name: onnx.numpy_helper.to_array(constant) for constant in model.graph.initializer}
    arrays: dict[str, NDArray[Any]] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in _PRODUCTS:
            layer, (weight, bias) = node.name.removeprefix("/"), (constants[name] for name in node.input[1:])
            coded = _encode(weight, bits)
            arrays |= {f"{layer}.{key}": array for key, array in coded.items()} | {f"{layer}.bias": bias}
            nodes += _replace(model.graph, node.input[1], weight.shape, coded, bits)
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    onnx.checker.check_model(model)
    write_bytes(out, model.SerializeToString())
    return artifact_of_codes(trained, arrays)


def artifact_of_codes(trained: Artifact, arrays: Mapping[str, NDArray[Any]]) -> Artifact:
    """Return a trained model with other weights of its convolutions and linear layers, multiplied in floating point.

    ``arrays`` are ``<layer>.weight``, ``<layer>.weight.scale`` and ``<layer>.bias`` as `Artifact` describes them.
    """
    network = build(numpy_nn, trained.builder, trained.kwargs)
    own = {key: np.asarray(trained.arrays[key], np.float32) for key in quantized.float_parameters(network)}
    found = Artifact(
        builder=trained.builder,
        kwargs=trained.kwargs,
        arrays={**arrays, **own},
        meta={**trained.meta, "quantization": {"activations": {}}},
    )
    quantized.assemble(network, found.arrays, {})  # refuses what it has no place for
    return found


# ---- codes ----


def _encode(weight: NDArray[np.float32], bits: int) -> dict[str, NDArray[Any]]:
    """Return ``weight``, and ``weight.scale`` float32 [O] where the weight is whole numbers."""
    if bits == 16:
        return {"weight": weight.astype(np.float16)}
    largest, rows = 2 ** (bits - 1) - 1, weight.reshape(len(weight), -1)
    scale = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / largest
    if bits == 4:
        scale = scale * _best_clips(rows, scale, largest)
    codes = np.clip(np.rint(rows / scale[:, None]), -largest, largest)
    return {"weight": codes.astype(np.int8).reshape(weight.shape), "weight.scale": scale.astype(np.float32)}


def _best_clips(rows: NDArray[np.float32], scale: NDArray[Any], largest: int) -> NDArray[np.float64]:
    """Return by what each row's scale is best multiplied: clipping the largest weights makes the others finer."""
    errors = []
    for clip in _CLIPS:
        own = (scale * clip)[:, None]
        errors.append(((np.clip(np.rint(rows / own), -largest, largest) * own - rows) ** 2).sum(axis=1))
    return np.asarray(_CLIPS[np.argmin(errors, axis=0)])


# ---- the file ----


def _replace(
    graph: onnx.GraphProto, name: str, shape: tuple[int, ...], coded: Mapping[str, NDArray[Any]], bits: int
) -> list[onnx.NodeProto]:
    """Put codes in the place of a constant, and return the nodes that make the constant of them."""
    from onnx import TensorProto, helper

    graph.initializer.remove(next(constant for constant in graph.initializer if constant.name == name))
    if bits == 16:
        codes = _constant(graph, f"{name}.half", coded["weight"])
        return [helper.make_node("Cast", [codes], [name], name=name, to=TensorProto.FLOAT)]
    scale = coded["weight.scale"].reshape(-1, *[1] * (len(shape) - 1))
    factor = _constant(graph, f"{name}.scale", scale)
    nodes: list[onnx.NodeProto] = []
    if bits == 8:
        whole = _constant(graph, f"{name}.codes", coded["weight"])
    else:
        nodes, whole = _unpacking(graph, name, coded["weight"])
    nodes.append(helper.make_node("Cast", [whole], [f"{name}.whole"], name=f"{name}.whole", to=TensorProto.FLOAT))
    return [*nodes, helper.make_node("Mul", [f"{name}.whole", factor], [name], name=name)]


def _unpacking(graph: onnx.GraphProto, name: str, codes: NDArray[np.int8]) -> tuple[list[onnx.NodeProto], str]:
    """Return the nodes that take two codes out of each byte, and the name of what they give: int8 of the shape."""
    from onnx import TensorProto, helper

    flat = (codes.ravel().astype(np.int16) + 8).astype(np.uint8)
    half = math.ceil(len(flat) / 2)
    low, high = flat[:half], np.concatenate([flat[half:], np.full(2 * half - len(flat), 8, np.uint8)])
    packed = _constant(graph, f"{name}.packed", low | (high << 4))
    numbers = {
        "fifteen": np.array(15, np.uint8),
        "four": np.array(4, np.uint8),
        "eight": np.array(8, np.int8),
        "begin": np.array([0]),
        "end": np.array([len(flat)]),
        "shape": np.array(codes.shape),
    }
    given = {key: _constant(graph, f"{name}.{key}", number) for key, number in numbers.items()}

    def node(operator: str, inputs: list[str], result: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(operator, inputs, [f"{name}.{result}"], name=f"{name}.{result}", **attributes)

    nodes = [
        node("BitwiseAnd", [packed, given["fifteen"]], "low"),
        node("BitShift", [packed, given["four"]], "high", direction="RIGHT"),
        node("Concat", [f"{name}.low", f"{name}.high"], "both", axis=0),
        node("Slice", [f"{name}.both", given["begin"], given["end"]], "flat"),
        node("Reshape", [f"{name}.flat", given["shape"]], "unsigned"),
        node("Cast", [f"{name}.unsigned"], "shifted", to=TensorProto.INT8),
        node("Sub", [f"{name}.shifted", given["eight"]], "signed"),
    ]
    return nodes, f"{name}.signed"


def _constant(graph: onnx.GraphProto, name: str, value: NDArray[Any]) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(value, name))
    return name
