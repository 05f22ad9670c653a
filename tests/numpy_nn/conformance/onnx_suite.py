"""ONNX's backend tests, read from the installed package ``onnx``, run node by node.

A graph is in scope when each of its nodes either is one of ours (``onnx_layers``, ``onnx_windows``) or only lays an
array out anew (``LAYOUT``), and at least one is ours. Nothing is downloaded; expected values and tolerances are ONNX's.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from .onnx_layers import LAYERS
from .onnx_node import Node
from .onnx_windows import WINDOWS
from .outcome import Outcome, OutOfScope, Reason, judge

KINDS = ("node", "pytorch-converted", "pytorch-operator")
OURS = {**LAYERS, **WINDOWS}
LAYOUT = {
    "Constant": lambda node: [node.attributes["value"]],
    "Shape": lambda node: [np.array(node.inputs[0].shape)],
    "Squeeze": lambda node: [np.squeeze(node.inputs[0], tuple(node.attributes["axes"]))],
    "Transpose": lambda node: [np.transpose(node.inputs[0], node.attributes.get("perm"))],
    "Unsqueeze": lambda node: [np.expand_dims(node.inputs[0], tuple(node.attributes["axes"]))],
}


@dataclass(frozen=True)
class Case:
    """One test of the suite: a graph, the arrays that go in and those that must come out."""

    kind: str
    name: str
    graph: Any
    opset: int
    inputs: list
    outputs: list
    rtol: float
    atol: float

    @property
    def operator(self) -> str:
        """Operators of ours in this graph, for example ``"LogSoftmax + NegativeLogLikelihoodLoss"``."""
        return " + ".join(sorted({node.op_type for node in self.graph.node} & set(OURS)))

    @property
    def in_reach(self) -> bool:
        operators = {node.op_type for node in self.graph.node}
        return operators <= {*OURS, *LAYOUT} and bool(operators & set(OURS))


@functools.cache
def outcomes() -> list[Outcome]:
    """Outcome of every case of the suites; graphs with other operators are out of scope unread."""
    return [outcome(case) for case in cases()]


def outcome(case: Case) -> Outcome:
    """Outcome of one case."""
    if not case.in_reach:
        return Outcome(f"onnx {case.kind}", "", case.name, reason=Reason.OTHER_OPERATORS)
    return judge(f"onnx {case.kind}", case.operator, case.name, lambda: _run(case))


@functools.cache
def cases() -> list[Case]:
    """Every case of the suites, sorted by name within each; ONNX makes most of them when they are asked for."""
    return list(_cases())


def _cases() -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the generators of Cast, Log and others overflow on purpose
        from onnx.backend.test.loader import load_model_tests

        tests = {kind: load_model_tests(kind=kind) for kind in KINDS}
    for kind in KINDS:
        for test in sorted(tests[kind], key=lambda test: test.name):
            model = test.model or onnx.load(Path(test.model_dir) / "model.onnx")
            inputs, outputs = test.data_sets[0] if test.data_sets else _stored(Path(test.model_dir))
            opset = model.opset_import[0].version
            yield Case(kind, test.name, model.graph, opset, inputs, outputs, test.rtol, test.atol)


def _stored(directory: Path) -> tuple[list, list]:
    files = sorted((directory / "test_data_set_0").glob("*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    sides = [[path for path in files if path.name.startswith(side)] for side in ("input", "output")]
    return tuple([numpy_helper.to_array(onnx.load_tensor(path)) for path in paths] for paths in sides)


def _run(case: Case) -> tuple[str, ...]:
    values = _computed(case)
    names = [output.name for output in case.graph.output]
    for name, expected in zip(names, case.outputs, strict=True):
        if name in values:
            got = np.asarray(values[name])
            assert got.dtype == np.asarray(expected).dtype, (name, got.dtype, np.asarray(expected).dtype)
            assert got.shape == np.shape(expected), (name, got.shape, np.shape(expected))
            np.testing.assert_allclose(got, expected, rtol=case.rtol, atol=case.atol, err_msg=name)
    assert names[0] in values
    return tuple(name for name in names if name not in values)


def _computed(case: Case) -> dict[str, np.ndarray]:
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in case.graph.initializer}
    fed = [value.name for value in case.graph.input if value.name not in values]
    values.update(zip(fed, case.inputs, strict=True))
    for proto in case.graph.node:
        inputs = [values.get(name) for name in proto.input]
        node = Node(proto.op_type, _attributes(proto), inputs, len(proto.output), case.opset)
        run = OURS[proto.op_type] if proto.op_type in OURS else LAYOUT[proto.op_type]
        if proto.op_type in OURS:
            _check_values(inputs[0], proto.op_type)
        values.update(zip(proto.output, run(node), strict=False))
    return values


def _check_values(first: Any, operator: str) -> None:
    if not isinstance(first, (np.ndarray, np.generic)):
        raise OutOfScope(Reason.SEQUENCE)
    if operator != "Reshape" and first.dtype.kind != "f":
        raise OutOfScope(Reason.INTEGERS)


def _attributes(proto: Any) -> dict[str, Any]:
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in proto.attribute}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
