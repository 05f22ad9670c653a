from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from trimtab.compression import quantize_int8
from trimtab.deployment import export_onnx
from trimtab.deployment.session import Session

MODELS = ["cnn", "separable_cnn", "resnet", "vit", "mlp"]


@pytest.mark.parametrize("name", MODELS)
def test_int8_model_agrees_with_the_float_model(name: str, examples: SimpleNamespace, tmp_path: Path) -> None:
    quantize_int8(examples.paths[name], examples.feeds(name, 96, seed=0), tmp_path / "int8.onnx")
    feeds = examples.feeds(name, 300, seed=1)
    exact, rounded = (Session(path).run(feeds) for path in (examples.paths[name], tmp_path / "int8.onnx"))
    assert np.bincount(exact.argmax(axis=1)).max() < 200, "a constant answer would prove nothing"
    assert np.mean(exact.argmax(axis=1) == rounded.argmax(axis=1)) > 0.9
    assert np.abs(exact - rounded).mean() < 0.05


@pytest.mark.parametrize(
    ("name", "ratio"), [("cnn", 3.0), ("separable_cnn", 2.0), ("resnet", 3.0), ("vit", 1.5), ("mlp", 2.0)]
)
def test_int8_model_is_smaller(name: str, ratio: float, examples: SimpleNamespace, tmp_path: Path) -> None:
    quantize_int8(examples.paths[name], examples.feeds(name, 8, seed=0), tmp_path / "int8.onnx")
    assert examples.paths[name].stat().st_size > ratio * (tmp_path / "int8.onnx").stat().st_size


@pytest.mark.parametrize("name", MODELS)
def test_preprocessing_and_softmax_stay_float(name: str, examples: SimpleNamespace, tmp_path: Path) -> None:
    quantize_int8(examples.paths[name], examples.feeds(name, 8, seed=0), tmp_path / "int8.onnx")
    before, after = onnx.load(examples.paths[name]), onnx.load(tmp_path / "int8.onnx")
    nodes = {node.name: node for node in after.graph.node}
    for node in before.graph.node:
        if node.name.startswith("/preprocessing"):
            assert nodes[node.name].input == node.input
    producers = {output: node for node in after.graph.node for output in node.output}
    assert producers[nodes["/softmax"].input[0]].op_type == "Gemm"
    assert [entry.name for entry in after.graph.input] == [entry.name for entry in before.graph.input]
    assert {entry.key: entry.value for entry in before.metadata_props}.items() <= {
        entry.key: entry.value for entry in after.metadata_props
    }.items()


@pytest.mark.parametrize("name", MODELS)
def test_logits_stay_float_before_a_temperature(name: str, examples: SimpleNamespace, tmp_path: Path) -> None:
    artifact = examples.artifacts[name]
    export_onnx(dataclasses.replace(artifact, meta={**artifact.meta, "temperature": 2.0}), tmp_path / "float.onnx")
    quantize_int8(tmp_path / "float.onnx", examples.feeds(name, 8, seed=0), tmp_path / "int8.onnx")
    producers = {output: node for node in onnx.load(tmp_path / "int8.onnx").graph.node for output in node.output}
    division = producers[producers["probabilities"].input[0]]
    assert division.op_type == "Div"
    assert producers[division.input[0]].op_type == "Gemm"


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_is_int8(name: str, examples: SimpleNamespace, tmp_path: Path) -> None:
    quantize_int8(examples.paths[name], examples.feeds(name, 8, seed=0), tmp_path / "int8.onnx")
    large = [
        constant
        for constant in onnx.load(tmp_path / "int8.onnx").graph.initializer
        if len(constant.dims) > 1 and not constant.name.startswith("/preprocessing") and np.prod(constant.dims) > 96
        if not constant.name.endswith(".position")  # added to activations, not multiplied with them
    ]
    assert large
    assert {constant.data_type for constant in large} == {onnx.TensorProto.INT8}


def test_rows_may_come_in_batches(examples: SimpleNamespace, tmp_path: Path) -> None:
    feeds = examples.feeds("cnn", 80, seed=0)
    quantize_int8(examples.paths["cnn"], feeds, tmp_path / "whole.onnx")
    batches = ({"image": feeds["image"][start : start + 10]} for start in range(0, 80, 10))
    quantize_int8(examples.paths["cnn"], batches, tmp_path / "batches.onnx")
    assert (tmp_path / "whole.onnx").read_bytes() == (tmp_path / "batches.onnx").read_bytes()


def test_nothing_is_printed_logged_or_left_behind(
    examples: SimpleNamespace,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system, work, source = (tmp_path / name for name in ("system", "work", "source"))
    for folder in (system, work, source):
        folder.mkdir()
    (source / "float.onnx").write_bytes(examples.paths["cnn"].read_bytes())
    monkeypatch.setenv("TMPDIR", str(system))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(work)
    handlers = list(logging.getLogger().handlers)
    quantize_int8(source / "float.onnx", examples.feeds("cnn", 8, seed=0), tmp_path / "out" / "int8.onnx")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger().handlers == handlers
    assert not logging.getLogger().disabled
    assert list(system.iterdir()) == list(work.iterdir()) == []
    assert os.listdir(source) == ["float.onnx"]
    assert os.listdir(tmp_path / "out") == ["int8.onnx"]


def test_failure_leaves_nothing_behind(examples: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="image"):
        quantize_int8(examples.paths["cnn"], examples.feeds("mlp", 8, seed=0), tmp_path / "int8.onnx")
    assert os.listdir(tmp_path) == []
    assert not logging.getLogger().disabled


@pytest.mark.parametrize("calibration", [[], {}, {"image": np.zeros((0, 16, 16, 3), np.uint8)}])
def test_no_calibration_row_is_refused(calibration: object, examples: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^there are no calibration rows; expected some hundred; give rows of the"):
        quantize_int8(examples.paths["cnn"], calibration, tmp_path / "int8.onnx")  # type: ignore[arg-type]
