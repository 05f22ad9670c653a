from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trimtab.artifact import Artifact
from trimtab.budget import Budget, Cost
from trimtab.compression import int8_artifact, quantize_int8
from trimtab.data.encoding import CategoryEncoding, NumberEncoding, TableEncoder
from trimtab.data.schema import Table
from trimtab.deployment import export_onnx, parity, write_bundle
from trimtab.deployment.session import Session
from trimtab.models import build
from trimtab.training import torch_nn

IMAGE_META: dict[str, Any] = {
    "kind": "image",
    "class_names": ["cat", "dog", "emu"],
    "image_size": 12,
    "channels": 3,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
}
ENCODER = TableEncoder(
    columns=(
        CategoryEncoding(name="job", values=("cook", "", "Köchin", "smith")),
        NumberEncoding(name="age", edges=(17.0, 25.5, 40.0, 90.0), median=38.0, has_missing=True),
        NumberEncoding(name="constant", edges=(1.0,), median=1.0, has_missing=False),
        CategoryEncoding(name="probabilities", values=("high", "low")),
        NumberEncoding(name="time stamp", edges=(1.6e9, 1.7e9), median=1.65e9, has_missing=False),
        CategoryEncoding(name="rare", values=()),
        NumberEncoding(name="/path", edges=(-1.0, 0.0, 1e-3), median=0.0, has_missing=True),
    )
)
TABLE_META: dict[str, Any] = {"kind": "table", "class_names": ["no", "yes"], "encoder": ENCODER.to_dict()}


TORCH = SimpleNamespace(**vars(torch.nn) | vars(torch_nn))


def make_network(name: str, kwargs: dict[str, Any], *, seed: int = 0) -> torch.nn.Module:
    """A torch network in evaluation mode whose normalizations are not the identity, negative scales included."""
    torch.manual_seed(seed)
    network: torch.nn.Module = build(TORCH, name, kwargs)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.LayerNorm)):
            if module.weight is not None:
                torch.nn.init.normal_(module.weight, 0.5, 0.8)
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


def make_artifact(name: str, kwargs: dict[str, Any], meta: dict[str, Any], network: torch.nn.Module) -> Artifact:
    arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    return Artifact(builder=name, kwargs=kwargs, arrays=arrays, meta=meta)


def run_torch(network: torch.nn.Module, features: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.softmax(network(torch.from_numpy(features)), dim=1).numpy()


def normalize(images: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """uint8 [N, S, S, C] -> float32 [N, C, S, S], as the artifact's meta says."""
    scaled = (images / np.float32(255) - np.float32(meta["mean"])) / np.float32(meta["std"])
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


def run_onnx(artifact: Artifact, path: Path, feeds: dict[str, np.ndarray]) -> np.ndarray:
    export_onnx(artifact, path)
    return Session(path).run(feeds)


def make_table(rows: int = 64, *, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)

    def pick(*values: object) -> np.ndarray:
        return np.array([values[index] for index in rng.integers(0, len(values), rows)], dtype=object)

    columns = {
        "job": pick("cook", "", "Köchin", "smith", "astronaut"),
        "age": pick(17.0, 25.5, np.nan, 33.3, 90.0, 1e300, -5.0).astype(float),
        "constant": pick(1.0, np.nan).astype(float),
        "probabilities": pick("high", "low", ""),
        "time stamp": rng.uniform(1.59e9, 1.71e9, rows),
        "rare": pick("a", "b"),
        "/path": pick(np.nan, -0.5, 5e-4, 2.0, 1e-3).astype(float),
    }
    kinds = {column.name: "number" if hasattr(column, "edges") else "category" for column in ENCODER.columns}
    return Table(columns=columns, kinds=kinds)


def make_int8(artifact: Artifact, feeds: dict[str, np.ndarray], path: Path) -> Artifact:
    """Write the int8 ONNX file of a float artifact, and return its int8 artifact."""
    export_onnx(artifact, path)
    quantize_int8(path, feeds, path)
    return int8_artifact(artifact, path)


def write_test_bundle(directory: Path, artifact: Artifact, *, model: Path | None = None, **changes: Any) -> Path:
    """Write a bundle of an artifact; of an int8 one give the ONNX file."""
    if model is None:
        model = directory.with_suffix(".onnx")
        export_onnx(artifact, model)
    cost = Cost(
        seconds=60.0,
        megabytes=0.5,
        milliseconds_p50=1.0,
        milliseconds_p95=2.0,
        milliseconds_p99=3.0,
        threads=1,
        parameters=10,
        macs=20,
        training_seconds=30.0,
        peak_memory_megabytes=300.0,
    )
    budget = Budget(minutes=2)
    same = np.array([[0.25, 0.75]])
    fields: dict[str, Any] = {
        "onnx_path": model,
        "artifact": artifact,
        "parity": parity(same, same, np.array([1])),
        "name": "pets",
        "variant": "int8" if "quantization" in artifact.meta else "float32",
        "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "method": "wilson", "level": 0.95}},
        "budget": budget,
        "cost": cost,
        "verdict": budget.check(cost),
        "versions": {"trimtab": "0.1.0"},
    }
    write_bundle(directory, **(fields | changes))
    return directory


@pytest.fixture(scope="session")
def oracle() -> SimpleNamespace:
    """What tests of this room share: example meta data, torch as the oracle, and makers."""
    return SimpleNamespace(
        encoder=ENCODER,
        image_meta=IMAGE_META,
        table_meta=TABLE_META,
        make_network=make_network,
        make_artifact=make_artifact,
        make_table=make_table,
        normalize=normalize,
        run_torch=run_torch,
        run_onnx=run_onnx,
        make_int8=make_int8,
        write_bundle=write_test_bundle,
    )


@pytest.fixture(scope="session")
def image_artifact() -> Artifact:
    kwargs = {"in_channels": 3, "image_size": 12, "channels": [4, 8], "num_classes": 3}
    return make_artifact("cnn", kwargs, IMAGE_META, make_network("cnn", kwargs))


@pytest.fixture(scope="session")
def gray_artifact() -> Artifact:
    meta = {**IMAGE_META, "channels": 1, "mean": [0.5], "std": [0.25]}
    kwargs = {"in_channels": 1, "image_size": 12, "channels": [4, 8], "num_classes": 3}
    return make_artifact("cnn", kwargs, meta, make_network("cnn", kwargs))


@pytest.fixture(scope="session")
def table_artifact() -> Artifact:
    kwargs = {"in_features": ENCODER.num_features, "hidden": [16, 16], "num_classes": 2}
    return make_artifact("mlp", kwargs, TABLE_META, make_network("mlp", kwargs))


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Artifact], Path]:
    made: dict[str, Path] = {}

    def get(artifact: Artifact) -> Path:
        if artifact.sha256 not in made:
            made[artifact.sha256] = write_test_bundle(tmp_path_factory.mktemp("bundles") / "pets", artifact)
        return made[artifact.sha256]

    return get
