"""A trained artifact as one ONNX file: raw input in, probabilities out.

No training framework takes part: the builder is run over `trimtab.deployment.onnx_nn`, whose layers write nodes.
That the file gives the trained model's answers is not assumed here; `trimtab.deployment.parity` measures it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trimtab.artifact import Artifact
from trimtab.deployment.signature import describe_inputs, describe_outputs
from trimtab.errors import ExportError
from trimtab.models import build
from trimtab.storage import write_bytes

if TYPE_CHECKING:
    import onnx

    from trimtab.deployment.graph import Graph


def export_onnx(artifact: Artifact, path: Path) -> None:
    """Write the artifact as an ONNX model, atomically.

    Pictures: ``image`` uint8 [N, H, W, C], any H and W. Tables: one input [N, 1] per column, float32 (NaN where
    missing) or string. Output: ``probabilities`` float32 [N, K].

    Raises
    ------
    ExportError
        If the artifact's arrays are not those of its builder.
    """
    write_bytes(path, to_model(artifact).SerializeToString())


def to_model(artifact: Artifact) -> onnx.ModelProto:
    """Return what `export_onnx` writes.

    Raises
    ------
    ExportError
        If the artifact's arrays are not those of its builder.
    """
    from trimtab.deployment import onnx_nn
    from trimtab.deployment.graph import Graph
    from trimtab.deployment.preprocessing_graph import emit_preprocessing

    graph = Graph(artifact.arrays)
    network = build(onnx_nn, artifact.builder, artifact.kwargs)
    inputs = emit_preprocessing(graph, artifact.meta)
    if artifact.has_mirror:
        inputs = _with_mirror_images(graph, inputs)
    try:
        logits = network.emit(graph, inputs, "")
    except LookupError as error:
        raise _mismatch(artifact, str(error)) from error
    if graph.unread:
        raise _mismatch(artifact, f"hold {', '.join(map(repr, graph.unread[:5]))}, which it does not read")
    if artifact.has_mirror:
        logits = _mean_of_both(graph, logits, len(artifact.meta["class_names"]))
    logits = _at_temperature(graph, logits, artifact.meta.get("temperature", 1.0))
    metadata = {"class_names": json.dumps(artifact.meta["class_names"]), "builder": artifact.builder}
    return graph.to_model(describe_inputs(artifact.meta), logits, describe_outputs(artifact.meta)[0], metadata)


def _with_mirror_images(graph: Graph, pictures: str) -> str:
    """Append the left-right mirror images [N, C, S, S] to the batch: one pass over 2 N costs less than two over N."""
    last, before_first = -1, -(2**31)
    bounds = {"start": last, "end": before_first, "axis": 3, "step": -1}
    constants = [graph.constant(f"preprocessing.mirror_{name}", np.array([value])) for name, value in bounds.items()]
    mirrored = graph.node("Slice", [pictures, *constants], "preprocessing.mirrored")
    return graph.node("Concat", [pictures, mirrored], "preprocessing.both", axis=0)


def _mean_of_both(graph: Graph, logits: str, num_classes: int) -> str:
    """Average the logits [2 N, K] of the pictures and of their mirror images."""
    shape = graph.constant("test_time.shape", np.array([2, -1, num_classes]))
    pairs = graph.node("Reshape", [logits, shape], "test_time.pairs")  # [2, N, K]
    return graph.node("ReduceMean", [pairs, graph.constant("test_time.axis", np.array([0]))], "test_time", keepdims=0)


def _at_temperature(graph: Graph, logits: str, temperature: float) -> str:
    """Divide the logits by a temperature; write nothing when it is 1."""
    if temperature == 1:
        return logits
    divisor = graph.constant("temperature.value", np.array(temperature, np.float32))
    return graph.node("Div", [logits, divisor], "temperature")


def _mismatch(artifact: Artifact, what: str) -> ExportError:
    return ExportError(
        f"the arrays of this '{artifact.builder}' {what}",
        "exactly the parameters that the builder makes with its keyword arguments",
        "export the artifact that training saved",
    )
