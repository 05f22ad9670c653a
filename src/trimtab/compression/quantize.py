"""Static int8 quantization of an exported model, after training, with ranges measured on calibration rows.

Weights become int8 per output channel, activations uint8 per tensor. What stays float: the preprocessing before the
first layer, attention, layer normalization, GELU, the logits and the softmax. Whether the result is good enough is
decided in `guard`.

Signed activations would run at half the speed on x86. Minimum and maximum calibrate as well as percentiles, which
would hold every activation in memory. Weights keep to seven bits: sums of products of 8-bit ones overflow on
processors without VNNI, so that figures measured on one machine would not hold on another.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab.storage import write_bytes

if TYPE_CHECKING:
    import onnx

Feeds = Mapping[str, NDArray[Any]]

_OPERATORS = ("Conv", "Gemm", "Add", "Mul", "Relu", "Sigmoid", "Flatten")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool")
_ROWS_AT_ONCE = 32
_AFTER_LOGITS = ("/temperature", "/test_time", "/test_time.pairs")  # nodes between the last layer and the softmax


def quantize_int8(float_onnx: Path, calibration: Feeds | Iterable[Feeds], out: Path) -> None:
    """Write the int8 version of an exported float model, atomically.

    Parameters
    ----------
    float_onnx
        What `trimtab.deployment.export_onnx` wrote.
    calibration
        Model inputs by name, all rows in one mapping or batch by batch. From training data only; some hundred
        rows are enough.
    out
        The file to write; its directory holds temporary files meanwhile.

    Raises
    ------
    ValueError
        If there is no calibration row.
    """
    reader = _Reader(_batches(calibration))
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as name,
        _silent_logging(),
        _temporary_files_in(name),
    ):
        source, quantized = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        source.write_bytes(float_onnx.read_bytes())  # the tool writes beside what it reads
        _quantize(source, reader, quantized)
        content = _float_logits(quantized).SerializeToString()
    write_bytes(out, content)


class _Reader:
    """Batches in the form that ONNX Runtime asks for; refuses to be empty."""

    def __init__(self, batches: Iterator[Feeds]) -> None:
        first = next(batches, None)
        if first is None:
            raise ValueError("there are no calibration rows; expected some hundred; give rows of the training data.")
        self._next: Feeds | None = first
        self._batches = batches

    def get_next(self) -> Feeds | None:
        """Return the next batch, ``None`` after the last."""
        batch, self._next = self._next, next(self._batches, None)
        return batch


def _batches(calibration: Feeds | Iterable[Feeds]) -> Iterator[Feeds]:
    for feeds in [calibration] if isinstance(calibration, Mapping) else calibration:
        rows = min((len(values) for values in feeds.values()), default=0)
        for start in range(0, rows, _ROWS_AT_ONCE):
            yield {name: np.asarray(values[start : start + _ROWS_AT_ONCE]) for name, values in feeds.items()}


def _quantize(source: Path, reader: _Reader, out: Path) -> None:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # must be there before the first import
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    quantize_static(
        source,
        out,
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=[*_OPERATORS, *_POOLS],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )


def _float_logits(path: Path) -> onnx.ModelProto:
    """Take out the rounding between the last layer and what makes probabilities: it costs accuracy, saves nothing."""
    import onnx

    model = onnx.load(path)
    producers = {node.output[0]: node for node in model.graph.node}
    reader = producers[model.graph.output[0].name]
    while producers[reader.input[0]].name in _AFTER_LOGITS:
        reader = producers[reader.input[0]]
    dequantize = producers[reader.input[0]]
    quantize = producers.get(dequantize.input[0])
    if dequantize.op_type == "DequantizeLinear" and quantize is not None and quantize.op_type == "QuantizeLinear":
        reader.input[0] = quantize.input[0]
        model.graph.node.remove(dequantize)
        model.graph.node.remove(quantize)
    _remove_unused_constants(model.graph)
    return model


def _remove_unused_constants(graph: onnx.GraphProto) -> None:
    """Remove what no node reads: a runtime would warn the user about each."""
    used = {name for node in graph.node for name in node.input}
    for constant in [constant for constant in graph.initializer if constant.name not in used]:
        graph.initializer.remove(constant)


@contextmanager
def _silent_logging() -> Iterator[None]:
    """Keep the tool's advice, and the root handler that it would install, out of the program's log."""
    root, handler = logging.getLogger(), logging.NullHandler()
    was_disabled = root.disabled
    root.addHandler(handler)
    root.disabled = True
    try:
        yield
    finally:
        root.disabled = was_disabled
        root.removeHandler(handler)


@contextmanager
def _temporary_files_in(directory: str) -> Iterator[None]:
    """Have the tool's own temporary files beside the result instead of in the system's directory."""
    before = tempfile.tempdir
    tempfile.tempdir = directory
    try:
        yield
    finally:
        tempfile.tempdir = before
