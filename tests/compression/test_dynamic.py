"""Int8 with ranges measured in each call: what it writes, answers and leaves for NumPy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.compression.dynamic import quantize_dynamic_int8
from trimtab.deployment import export_onnx
from trimtab.deployment.numpy_session import NumpySession
from trimtab.deployment.session import Session
from trimtab.models import build

KWARGS = {"in_channels": 3, "image_size": 16, "num_classes": 5, "width": 32, "depth": 2, "heads": 2, "patch": 4}
META = {"kind": "image", "channels": 3, "image_size": 16, "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture(scope="module")
def trained():
    random = np.random.default_rng(0)
    network = build(numpy_nn, "vit", KWARGS)
    arrays = {
        key: random.normal(0, 0.2, array.shape).astype(np.float32) + (key.endswith("0.weight") and array.ndim == 1)
        for key, array in network.state_dict().items()
    }
    return Artifact(builder="vit", kwargs=KWARGS, arrays=arrays, meta={**META, "class_names": list("abcde")})


@pytest.fixture(scope="module")
def made(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dynamic")
    export_onnx(trained, folder / "float.onnx")
    return folder, quantize_dynamic_int8(trained, folder / "float.onnx", folder / "int8.onnx")


def test_linear_layers_multiply_whole_numbers_and_the_file_is_smaller(made):
    folder, _ = made
    operators = [node.op_type for node in onnx.load(folder / "int8.onnx").graph.node]
    assert operators.count("MatMulInteger") == 2 * 4 + 1  # four linear layers in each block, and the last one
    assert "Gemm" not in operators
    assert (folder / "int8.onnx").stat().st_size < 0.6 * (folder / "float.onnx").stat().st_size
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_it_answers_like_the_float_model_and_like_numpy_with_the_same_weights(made):
    folder, artifact = made
    pictures = {"image": np.random.default_rng(1).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)}
    exact, int8 = (Session(folder / f"{name}.onnx", threads=1).run(pictures) for name in ("float", "int8"))
    assert np.ptp(exact, axis=0).min() > 0.02  # the answers differ from row to row
    np.testing.assert_allclose(int8, exact, atol=0.05)
    np.testing.assert_allclose(NumpySession(artifact).run(pictures), int8, atol=0.05)


def test_the_artifact_holds_the_codes_of_the_file(made):
    _, artifact = made
    coded = [key for key, array in artifact.arrays.items() if array.dtype == np.int8]
    assert len(coded) == 9
    for key in coded:
        assert np.abs(artifact.arrays[key]).max() <= 64  # seven bits
        assert artifact.arrays[f"{key}.scale"].shape == artifact.arrays[key].shape[:1]
