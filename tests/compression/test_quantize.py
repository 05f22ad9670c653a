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
from trimtab.compression.quantize import Int8, layers_of
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


def test_layers_that_are_named_stay_in_floating_point(examples: SimpleNamespace, tmp_path: Path) -> None:
    first, *_, last = layers = layers_of(examples.paths["cnn"])
    assert (first, last, len(layers)) == ("0.0", "8", 8)
    feeds = examples.feeds("cnn", 32, seed=0)
    quantize_int8(examples.paths["cnn"], feeds, tmp_path / "int8.onnx", settings=Int8(float_layers=(first, last)))
    constants = {entry.name for entry in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert {f"/{first}.weight", f"/{last}.weight"} <= constants
    assert {f"/{layer}.weight_quantized" for layer in layers} - constants == {
        f"/{first}.weight_quantized",
        f"/{last}.weight_quantized",
    }


def test_a_weight_has_one_scale_unless_there_is_one_per_channel(examples: SimpleNamespace, tmp_path: Path) -> None:
    sizes = []
    for is_per_channel in (True, False):
        settings = Int8(is_per_channel=is_per_channel)
        quantize_int8(examples.paths["cnn"], examples.feeds("cnn", 32, seed=0), tmp_path / "a.onnx", settings=settings)
        graph = onnx.load(tmp_path / "a.onnx").graph
        scale = next(entry for entry in graph.initializer if entry.name == "/0.0.weight_scale")
        sizes.append(onnx.numpy_helper.to_array(scale).size)
    assert sizes == [16, 1]


@pytest.mark.parametrize("name", ["cnn", "separable_cnn", "vit", "mlp"])
def test_float_layers_are_computed_in_floating_point(name: str, examples: SimpleNamespace, tmp_path: Path) -> None:
    """ONNX Runtime rounds the weights of float layers among int8 ones, when it optimizes, unless it is kept from it."""
    import onnxruntime

    layers, feeds = layers_of(examples.paths[name]), examples.feeds(name, 32, seed=0)
    settings = Int8(float_layers=tuple(layers[1:-1:2]))
    quantize_int8(examples.paths[name], feeds, tmp_path / "int8.onnx", settings=settings)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(tmp_path / "int8.onnx", plain)
    feeds = examples.feeds(name, 100, seed=1)
    optimized = Session(tmp_path / "int8.onnx").run(feeds)
    assert np.abs(session.run(None, feeds)[0] - optimized).mean() < 1e-3


@pytest.mark.parametrize("calibration", ["percentile"])
def test_other_calibrations_clip_what_is_rare(calibration: str, examples: SimpleNamespace, tmp_path: Path) -> None:
    def input_scale(settings: Int8) -> float:
        quantize_int8(examples.paths["cnn"], examples.feeds("cnn", 64, seed=0), tmp_path / "a.onnx", settings=settings)
        constants = {entry.name: entry for entry in onnx.load(tmp_path / "a.onnx").graph.initializer}
        return sum(
            float(onnx.numpy_helper.to_array(entry))
            for name, entry in constants.items()
            if name.endswith("_scale") and "weight" not in name and not entry.dims
        )

    assert input_scale(Int8(calibration=calibration)) < input_scale(Int8())


def test_ranges_that_were_kept_are_used_again(examples: SimpleNamespace, tmp_path: Path) -> None:
    ranges, feeds = tmp_path / "ranges.json", examples.feeds("cnn", 32, seed=0)
    files = []
    for name in ("first.onnx", "again.onnx"):
        quantize_int8(examples.paths["cnn"], feeds, tmp_path / name, ranges=ranges)
        files.append((tmp_path / name).read_bytes())
        feeds = {"image": feeds["image"][:1]}  # from which other ranges would come
    assert files[0] == files[1]


def test_an_unknown_calibration_is_refused(examples: SimpleNamespace, tmp_path: Path) -> None:
    feeds = examples.feeds("cnn", 8, seed=0)
    with pytest.raises(ValueError, match="expected one of min-max, entropy, percentile"):
        quantize_int8(examples.paths["cnn"], feeds, tmp_path / "a.onnx", settings=Int8(calibration="luck"))
