from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from trimtab.artifact import Artifact
from trimtab.data.encoding import NumberEncoding, TableEncoder
from trimtab.data.images import resize_image
from trimtab.data.schema import Table
from trimtab.deployment import export_onnx
from trimtab.deployment.export import to_model
from trimtab.deployment.session import Session
from trimtab.deployment.signature import name_input
from trimtab.errors import ExportError
from trimtab.models import MODELS


def head(nn: Any, features: int) -> tuple[Any, ...]:
    return nn.Flatten(), nn.Linear(features, 3)


IMAGE_LAYERS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda nn: nn.Sequential(*head(nn, 432)),
    "linear without bias": lambda nn: nn.Sequential(nn.Flatten(), nn.Linear(432, 3, bias=False)),
    "convolution": lambda nn: nn.Sequential(nn.Conv2d(3, 4, 3), *head(nn, 400)),
    "strided, padded, dilated": lambda nn: nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=False), *head(nn, 240)
    ),
    "grouped": lambda nn: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), *head(nn, 600)),
    "normalized convolution": lambda nn: nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)), nn.ReLU(), *head(nn, 400)
    ),
    "normalized after pooling": lambda nn: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU(), *head(nn, 288)
    ),
    "normalized twice": lambda nn: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, eps=0.1), *head(nn, 400)
    ),
    "normalized input": lambda nn: nn.Sequential(nn.BatchNorm2d(3), *head(nn, 432)),
    "normalized linear": lambda nn: nn.Sequential(nn.Flatten(), nn.Linear(432, 9), nn.BatchNorm1d(9), nn.Linear(9, 3)),
    "normalized activations": lambda nn: nn.Sequential(
        nn.Flatten(), nn.Linear(432, 9), nn.ReLU(), nn.BatchNorm1d(9), nn.Linear(9, 3)
    ),
    "residual": lambda nn: nn.Sequential(nn.Residual(nn.Conv2d(3, 3, 3, padding=1)), *head(nn, 432)),
    "residual that starts with a normalization": lambda nn: nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.Residual(nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))),
        *head(nn, 400),
    ),
    "residual around nothing": lambda nn: nn.Sequential(nn.Residual(nn.Identity()), *head(nn, 432)),
    "silu": lambda nn: nn.Sequential(nn.SiLU(), *head(nn, 432)),
    "gelu": lambda nn: nn.Sequential(nn.GELU(), *head(nn, 432)),
    "gelu approximated": lambda nn: nn.Sequential(nn.GELU(approximate="tanh"), *head(nn, 432)),
    "max pool": lambda nn: nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1), *head(nn, 108)),
    "mean pool": lambda nn: nn.Sequential(nn.AvgPool2d(3, stride=2, padding=1), *head(nn, 108)),
    "global pools": lambda nn: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(1), nn.AdaptiveAvgPool2d((1, 1)), *head(nn, 8)
    ),
    "shifted after pooling": lambda nn: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.ShiftNorm2d(8), nn.ReLU(), *head(nn, 288)
    ),
    "shifted after pooling, bent otherwise": lambda nn: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.ShiftNorm2d(8), nn.GELU(), *head(nn, 288)
    ),
    "shifted input": lambda nn: nn.Sequential(nn.MaxPool2d(2), nn.ShiftNorm2d(3), *head(nn, 108)),
    "branch that is sometimes left out": lambda nn: nn.Sequential(
        nn.Residual(nn.Conv2d(3, 3, 3, padding=1), 0.5), *head(nn, 432)
    ),
    "tokens and their mean": lambda nn: nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4), nn.Tokens(9, 8), nn.TokenMean(9, 8), nn.Linear(8, 3)
    ),
    "attention": lambda nn: nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4),
        nn.Tokens(9, 8),
        nn.LayerNorm(8),
        nn.Linear(8, 36),
        nn.SelfAttention(9, 12, 3),
        nn.TokenMean(9, 12),
        nn.Linear(12, 3),
    ),
    "scaled activations": lambda nn: nn.Sequential(
        nn.Flatten(), nn.Linear(432, 9), nn.ReLU(), nn.Scale(0.5), nn.Linear(9, 3)
    ),
    "scale, dropout, identity": lambda nn: nn.Sequential(
        nn.Dropout(0.9), nn.Identity(), *head(nn, 432), nn.Scale(0.125)
    ),
}
BUILDERS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [16, 16], "num_classes": 2, "dropout": 0.5},
    "cnn": {"in_channels": 3, "image_size": 12, "channels": [4, 8, 8], "num_classes": 3, "dropout": 0.5},
    "separable_cnn": {"in_channels": 3, "image_size": 12, "channels": [4, 8, 8], "num_classes": 3},
    "resnet": {"in_channels": 3, "image_size": 12, "channels": [8, 12], "num_classes": 3, "depth": 3},
    "vit": {
        "in_channels": 3,
        "image_size": 12,
        "num_classes": 3,
        "width": 12,
        "depth": 2,
        "heads": 3,
        "patch": 4,
        "stochastic_depth": 0.5,
    },
}


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def assert_same_probabilities(exported: np.ndarray, expected: np.ndarray) -> None:
    assert exported.dtype == np.float32
    assert len(np.unique(expected.round(3))) > 3, "a constant output would prove nothing"
    np.testing.assert_allclose(exported, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", IMAGE_LAYERS)
def test_each_layer_gives_torchs_probabilities(
    case: str, oracle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "probe", IMAGE_LAYERS[case])  # type: ignore[arg-type]
    network, images = oracle.make_network("probe", {}), random_images(5, 12, 12, 3)
    artifact = oracle.make_artifact("probe", {}, oracle.image_meta, network)
    exported = oracle.run_onnx(artifact, tmp_path / "m.onnx", {"image": images})
    assert_same_probabilities(exported, oracle.run_torch(network, oracle.normalize(images, oracle.image_meta)))


@pytest.mark.parametrize("name", list(MODELS))
def test_each_model_gives_torchs_probabilities(name: str, oracle: Any, tmp_path: Path) -> None:
    kwargs = BUILDERS[name]
    if name == "mlp":
        kwargs, table = {**kwargs, "in_features": oracle.encoder.num_features}, oracle.make_table()
        features, meta, feeds = oracle.encoder.encode(table), oracle.table_meta, feeds_of(table)
    else:
        images, meta = random_images(5, 12, 12, 3), oracle.image_meta
        features, feeds = oracle.normalize(images, meta), {"image": images}
    network = oracle.make_network(name, kwargs)
    exported = oracle.run_onnx(oracle.make_artifact(name, kwargs, meta, network), tmp_path / "m.onnx", feeds)
    assert_same_probabilities(exported, oracle.run_torch(network, features))


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_a_temperature_is_part_of_the_graph(
    temperature: float, image_artifact: Artifact, oracle: Any, tmp_path: Path
) -> None:
    feeds = {"image": random_images(5, 12, 12, 3)}
    plain = oracle.run_onnx(image_artifact, tmp_path / "plain.onnx", feeds).astype(np.float64)
    artifact = dataclasses.replace(image_artifact, meta={**image_artifact.meta, "temperature": temperature})
    expected = plain ** (1 / temperature)
    exported = oracle.run_onnx(artifact, tmp_path / "m.onnx", feeds)
    assert np.abs(exported - plain).max() > 0.01
    assert_same_probabilities(exported, expected / expected.sum(axis=1, keepdims=True))


def test_a_temperature_of_one_adds_no_node(image_artifact: Artifact) -> None:
    artifact = dataclasses.replace(image_artifact, meta={**image_artifact.meta, "temperature": 1.0})
    assert to_model(artifact).SerializeToString() == to_model(image_artifact).SerializeToString()


def feeds_of(table: Table) -> dict[str, np.ndarray]:
    with np.errstate(over="ignore"):
        return {
            name_input(name): values[:, None].astype(np.float32) if kind == "number" else values[:, None]
            for (name, values), kind in zip(table.columns.items(), table.kinds.values(), strict=True)
        }


def encode_with_graph(encoder: TableEncoder, table: Table, path: Path) -> np.ndarray:
    """The encoding inside the graph, read as a model output."""
    width = encoder.num_features
    meta = {"kind": "table", "class_names": [str(i) for i in range(width)], "encoder": encoder.to_dict()}
    arrays = {"0.weight": np.eye(width, dtype=np.float32), "0.bias": np.zeros(width, np.float32)}
    kwargs = {"in_features": width, "hidden": [], "num_classes": width}
    model = to_model(Artifact(builder="mlp", kwargs=kwargs, arrays=arrays, meta=meta))
    model.graph.node[-1].op_type = "Identity"  # instead of Softmax
    del model.graph.node[-1].attribute[:]
    path.write_bytes(model.SerializeToString())
    return Session(path).run(feeds_of(table))


@pytest.mark.parametrize("columns", [slice(None), slice(0, 1), slice(1, 2), slice(4, 5), slice(0, 2), slice(3, 6)])
def test_table_encoding_in_the_graph_equals_the_encoder(columns: slice, oracle: Any, tmp_path: Path) -> None:
    encoder, table = TableEncoder(columns=oracle.encoder.columns[columns]), oracle.make_table()
    kept = [column.name for column in encoder.columns]
    table = Table(
        columns={name: table.columns[name] for name in kept}, kinds={name: table.kinds[name] for name in kept}
    )
    np.testing.assert_array_equal(encode_with_graph(encoder, table, tmp_path / "m.onnx"), encoder.encode(table))


def test_numbers_with_only_an_indicator_are_encoded(tmp_path: Path) -> None:
    encoder = TableEncoder(columns=(NumberEncoding(name="x", edges=(2.0,), median=2.0, has_missing=True),))
    table = Table(columns={"x": np.array([2.0, np.nan])}, kinds={"x": "number"})
    np.testing.assert_array_equal(encode_with_graph(encoder, table, tmp_path / "m.onnx"), [[0.0], [1.0]])


RESIZES = [
    (12, 12, 12, 3),
    (40, 50, 12, 3),
    (7, 5, 12, 3),
    (1, 1, 12, 1),
    (3, 200, 12, 3),
    (31, 33, 32, 1),
    (99, 30, 48, 3),
]


@pytest.mark.parametrize(("height", "width", "size", "channels"), RESIZES)
def test_resizing_in_the_graph_is_within_one_level_of_pillows(
    height: int, width: int, size: int, channels: int, oracle: Any, tmp_path: Path
) -> None:
    statistics = {"mean": [0.5] * channels, "std": [0.5] * channels}
    meta = {**oracle.image_meta, **statistics, "image_size": size, "channels": channels}
    kwargs = {"in_channels": channels, "image_size": size, "channels": [2], "num_classes": 3}
    model = to_model(oracle.make_artifact("cnn", kwargs, meta, oracle.make_network("cnn", kwargs)))
    del model.graph.node[1:], model.graph.output[:]
    assert model.graph.node[0].op_type == "Resize"
    output = model.graph.node[0].output[0]
    shape = ["N", size, size, channels]
    model.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.UINT8, shape))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    images = random_images(2, height, width, channels)
    result = Session(tmp_path / "m.onnx").run({"image": images}).astype(int)
    expected = np.stack([resize_image(image, size) for image in images]).astype(int)
    assert np.abs(result - expected).max() <= (0 if height == width == size else 1)


def test_normalizations_are_folded_and_leave_no_node(oracle: Any) -> None:
    kwargs = BUILDERS["separable_cnn"]
    network = oracle.make_network("separable_cnn", kwargs)
    kinds = [
        node.op_type
        for node in to_model(oracle.make_artifact("separable_cnn", kwargs, oracle.image_meta, network)).graph.node
    ]
    preprocessing, rest = kinds[:5], kinds[5:]
    assert preprocessing == ["Resize", "Transpose", "Cast", "Sub", "Div"]
    assert rest.count("Conv") == 9
    assert set(rest) == {"Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm", "Softmax"}


def test_a_resnet_is_convolutions_activations_and_maxima(oracle: Any) -> None:
    kwargs = BUILDERS["resnet"]
    network = oracle.make_network("resnet", kwargs)
    model = to_model(oracle.make_artifact("resnet", kwargs, oracle.image_meta, network))
    kinds = [node.op_type for node in model.graph.node][5:]
    stage = ["Conv", "Relu", "MaxPool", "Conv", "Relu", "Conv", "Relu", "Add"]  # pools last: nothing is in between
    assert kinds == ["Conv", "Relu", *stage, *stage, "MaxPool", "Flatten", "Gemm", "Softmax"]


def test_file_says_what_it_takes_and_gives(image_artifact: Artifact, table_artifact: Artifact) -> None:
    image, table = to_model(image_artifact), to_model(table_artifact)
    assert describe(image.graph.input) == [("image", 2, ["N", "H", "W", 3])]
    assert describe(image.graph.output) == [("probabilities", 1, ["N", 3])]
    assert [(name, kind) for name, kind, _ in describe(table.graph.input)] == [
        ("job", 8),
        ("age", 1),
        ("constant", 1),
        ("column probabilities", 8),
        ("time stamp", 1),
        ("rare", 8),
        ("column /path", 1),
    ]
    metadata = {entry.key: entry.value for entry in image.metadata_props}
    assert json.loads(metadata["class_names"]) == ["cat", "dog", "emu"]


def describe(values: Any) -> list[tuple[str, int, list[str | int]]]:
    tensors = [(value.name, value.type.tensor_type) for value in values]
    return [(name, kind.elem_type, [d.dim_param or d.dim_value for d in kind.shape.dim]) for name, kind in tensors]


def test_same_artifact_gives_the_same_bytes(image_artifact: Artifact, tmp_path: Path) -> None:
    export_onnx(image_artifact, tmp_path / "a.onnx")
    export_onnx(image_artifact, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("key", "array", "what"),
    [
        ("0.0.weight", None, "lack '0.0.weight'"),
        (
            "0.0.weight",
            np.zeros((4, 3, 5, 5), np.float32),
            "hold '0.0.weight' in the shape [4, 3, 5, 5] instead of [4, 3, 3, 3]",
        ),
        ("9.weight", np.zeros(3, np.float32), "hold '9.weight', which it does not read"),
    ],
)
def test_array_that_does_not_fit_the_builder_is_named(
    key: str, array: np.ndarray | None, what: str, image_artifact: Artifact, tmp_path: Path
) -> None:
    arrays = {name: value for name, value in {**image_artifact.arrays, key: array}.items() if value is not None}
    artifact = Artifact(builder="cnn", kwargs=image_artifact.kwargs, arrays=arrays, meta=image_artifact.meta)
    with pytest.raises(ExportError) as caught:
        export_onnx(artifact, tmp_path / "m.onnx")
    assert str(caught.value) == (
        f"the arrays of this 'cnn' {what}; expected exactly the parameters that the builder makes with its "
        "keyword arguments; export the artifact that training saved."
    )
    assert list(tmp_path.iterdir()) == []


def test_export_does_not_import_torch(image_artifact: Artifact, tmp_path: Path) -> None:
    image_artifact.save(tmp_path / "artifact")
    program = (
        "import sys; from pathlib import Path; from trimtab.artifact import Artifact\n"
        "from trimtab.deployment import export_onnx; folder = Path(sys.argv[1])\n"
        "export_onnx(Artifact.load(folder / 'artifact'), folder / 'm.onnx')\n"
        "print(sorted({'torch', 'onnxruntime', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
