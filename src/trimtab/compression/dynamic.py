"""Int8 with ranges that are measured anew in each call: for transformers, whose activations differ from row to row.

Nothing has to be calibrated. Weights of linear layers become int8 per output channel, of seven bits like those of
static quantization; what they multiply is rounded to uint8 by the range that it has at that moment. Convolutions and
attention stay in floating point.

Legend: ``I O`` inputs and outputs of a layer.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.compression.quantize import silent, temporary_files_in
from trimtab.compression.weights import artifact_of_codes
from trimtab.storage import write_bytes

if TYPE_CHECKING:
    import onnx

BUILDERS = ("vit",)
"""Networks for which it is faster or more exact than static quantization."""

_LAYERS = ("MatMul", "Gemm")


def quantize_dynamic_int8(trained: Artifact, float_onnx: Path, out: Path) -> Artifact:
    """Write the version of an exported model whose linear layers compute in int8, atomically.

    Parameters
    ----------
    trained
        That was exported.
    float_onnx
        What `trimtab.deployment.export_onnx` wrote.
    out
        The file to write; its directory holds temporary files meanwhile.

    Returns
    -------
    Artifact
        For NumPy: the same weights, multiplied in floating point.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # must be there before the first import
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with (
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as name,
        silent(),
        temporary_files_in(name),
    ):
        source, made = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        source.write_bytes(float_onnx.read_bytes())  # the tool writes beside what it reads
        quantize_dynamic(
            source,
            made,
            op_types_to_quantize=list(_LAYERS),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        content = made.read_bytes()
    write_bytes(out, content)
    return _artifact(trained, onnx.load(float_onnx).graph, onnx.load_from_string(content).graph)


def _artifact(trained: Artifact, before: onnx.GraphProto, after: onnx.GraphProto) -> Artifact:
    arrays: dict[str, NDArray[Any]] = {}
    floats, codes = _constants(before), _constants(after)
    for node in before.node:
        if node.op_type in ("Conv", "Gemm"):
            layer, weight = node.name.removeprefix("/"), node.input[1]
            arrays[f"{layer}.bias"] = floats[node.input[2]]
            coded = f"{weight}_Transposed"  # [I, O]; the tool turns a layer into a product of matrices
            if f"{coded}_quantized" in codes:
                arrays[f"{layer}.weight"] = np.ascontiguousarray(codes[f"{coded}_quantized"].T)
                scale = codes[f"{coded}_scale"]
                arrays[f"{layer}.weight.scale"] = np.array(np.broadcast_to(scale, len(arrays[f"{layer}.bias"])))
            else:
                arrays[f"{layer}.weight"] = floats[weight]
    return artifact_of_codes(trained, arrays)


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    return {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
