"""Static int8 quantization of an exported model, after training, with ranges measured on calibration rows.

Weights become int8 per output channel, activations uint8 per tensor. What stays float: the preprocessing before the
first layer, attention, layer normalization, GELU, the logits and the softmax. Whether the result is good enough is
decided in `ladder`.

Signed activations would run at half the speed on x86. Weights keep to seven bits: sums of products of 8-bit ones
overflow on processors without VNNI, so that figures measured on one machine would not hold on another. Which ranges
calibrate best differs from model to model, and so is a setting, like the layers that stay in floating point.
"""

from __future__ import annotations

import inspect
import io
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
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
_PRODUCTS = ("Conv", "Gemm")

_METHODS = {"min-max": 0, "entropy": 1, "percentile": 2}  # as ONNX Runtime numbers them
CALIBRATIONS = tuple(_METHODS)


@dataclass(frozen=True, kw_only=True)
class Int8:
    """How a model is quantized.

    Attributes
    ----------
    is_per_channel
        Whether each output channel of a weight has a scale of its own, or the whole weight has one.
    calibration
        One of `CALIBRATIONS`: which range of an activation is covered. The latter two clip what is rare; they hold
        every activation of the calibration rows in memory.
    float_layers
        Names of convolutions and linear layers, as of `layers_of`, that stay in floating point.
    """

    is_per_channel: bool = True
    calibration: str = "min-max"
    float_layers: tuple[str, ...] = ()


def layers_of(float_onnx: Path) -> list[str]:
    """Return the names of the convolutions and linear layers of an exported model, first to last."""
    import onnx

    graph = onnx.load(float_onnx).graph
    return [node.name.removeprefix("/") for node in graph.node if node.op_type in _PRODUCTS]


def quantize_int8(
    float_onnx: Path,
    calibration: Feeds | Iterable[Feeds],
    out: Path,
    *,
    settings: Int8 | None = None,
    ranges: Path | None = None,
) -> None:
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
    settings
        The defaults of `Int8` unless given.
    ranges
        A file that keeps what calibration found, for further calls with the same model, rows and calibration.

    Raises
    ------
    ValueError
        If there is no calibration row, or no such calibration.
    """
    import onnx

    settings = settings or Int8()
    if settings.calibration not in CALIBRATIONS:
        known = ", ".join(CALIBRATIONS)
        raise ValueError(f"there is no calibration '{settings.calibration}'; expected one of {known}; pick one.")
    reader = _Reader(_batches(calibration))
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as name,
        silent(),
        temporary_files_in(name),
    ):
        source, quantized = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        source.write_bytes(float_onnx.read_bytes())  # the tool writes beside what it reads
        _quantize(source, reader, quantized, settings, ranges)
        model = _float_logits(onnx.load(quantized))
        _keep_in_floating_point(model.graph)
        content = model.SerializeToString()
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


def _quantize(source: Path, reader: _Reader, out: Path, settings: Int8, ranges: Path | None) -> None:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # must be there before the first import
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    # Older versions calibrate anew each time.
    keeps_ranges = "calibration_cache_path" in inspect.signature(quantize_static).parameters
    quantize_static(
        source,
        out,
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=[*_OPERATORS, *_POOLS],
        per_channel=settings.is_per_channel,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[f"/{layer}" for layer in settings.float_layers],
        calibrate_method=CalibrationMethod(_METHODS[settings.calibration]),
        **({"calibration_cache_path": ranges} if keeps_ranges else {}),
    )


def _float_logits(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take out the rounding between the last layer and what makes probabilities: it costs accuracy, saves nothing."""
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


def _keep_in_floating_point(graph: onnx.GraphProto) -> None:
    """Have ONNX Runtime leave float layers as they are: by itself it rounds the weights of those that read codes.

    It does so, with one scale for the whole weight, where the codes have one scale, too. Here they get the same scale
    once for each channel, in a node of their own.
    """
    from onnx import helper

    constants = {constant.name: constant for constant in graph.initializer}
    makers = {output: (place, node) for place, node in enumerate(graph.node) for output in node.output}
    added: list[tuple[int, onnx.NodeProto]] = []
    for node in graph.node:
        place, maker = makers.get(node.input[0], (0, None)) if node.op_type in _PRODUCTS else (0, None)
        if maker is None or maker.op_type != "DequantizeLinear" or node.input[1] not in constants:
            continue
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        width, name = constants[node.input[1]].dims[1] * groups, f"{node.name}.input"
        inputs = [maker.input[0], *(_repeated(graph, constants[given], width, name) for given in maker.input[1:])]
        added.append((place, helper.make_node("DequantizeLinear", inputs, [name], name=name, axis=1)))
        node.input[0] = name
    for place, node in sorted(added, key=lambda pair: -pair[0]):
        graph.node.insert(place, node)
    _remove_unread_nodes(graph)
    _remove_unused_constants(graph)


def _repeated(graph: onnx.GraphProto, constant: onnx.TensorProto, count: int, layer: str) -> str:
    """Add a constant that holds a number so many times, and return its name."""
    from onnx import numpy_helper

    number = numpy_helper.to_array(constant)
    name = f"{layer}.{constant.name.rsplit('_', 1)[-1]}"
    graph.initializer.append(numpy_helper.from_array(np.full(count, number), name))
    return name


def _remove_unread_nodes(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for node in [node for node in graph.node if not read & set(node.output)]:
        graph.node.remove(node)


def _remove_unused_constants(graph: onnx.GraphProto) -> None:
    """Remove what no node reads: a runtime would warn the user about each."""
    used = {name for node in graph.node for name in node.input}
    for constant in [constant for constant in graph.initializer if constant.name not in used]:
        graph.initializer.remove(constant)


@contextmanager
def silent() -> Iterator[None]:
    """Keep the quantizer's advice, and the root handler that it would install, out of the program's log."""
    root, handler = logging.getLogger(), logging.NullHandler()
    was_disabled = root.disabled
    root.addHandler(handler)
    root.disabled = True
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.disabled = was_disabled
        root.removeHandler(handler)


@contextmanager
def temporary_files_in(directory: str) -> Iterator[None]:
    """Have the tool's own temporary files beside the result instead of in the system's directory."""
    before = tempfile.tempdir
    tempfile.tempdir = directory
    try:
        yield
    finally:
        tempfile.tempdir = before
