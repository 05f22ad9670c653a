from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.data.encoding import CategoryEncoding, NumberEncoding, TableEncoder
from trimtab.deployment import export_onnx
from trimtab.deployment.onnx_nn import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    LayerNorm,
    Linear,
    Residual,
    Sequential,
    ShiftNorm2d,
    Tokens,
)
from trimtab.deployment.session import Session
from trimtab.models import build

ENCODER = TableEncoder(
    columns=(
        NumberEncoding(name="age", edges=(0.0, 30.0, 60.0, 90.0), median=40.0, has_missing=True),
        CategoryEncoding(name="job", values=("cook", "smith", "")),
    )
)
IMAGE = {"image_size": 16, "channels": 3, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
CLASSES = ["a", "b", "c", "d"]
KWARGS: dict[str, dict[str, Any]] = {
    "cnn": {"in_channels": 3, "image_size": 16, "channels": [16, 32, 48], "num_classes": 4},
    "separable_cnn": {"in_channels": 3, "image_size": 16, "channels": [32, 64, 96], "num_classes": 4},
    "resnet": {"in_channels": 3, "image_size": 16, "channels": [32, 48], "num_classes": 4},
    "vit": {"in_channels": 3, "image_size": 16, "num_classes": 4, "width": 48, "depth": 2, "heads": 4, "patch": 4},
    "mlp": {"in_features": ENCODER.num_features, "hidden": [96, 96], "num_classes": 4},
}


def random_arrays(layer: Any, prefix: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights in the scale of a trained network, normalization included; no training framework needed."""
    if isinstance(layer, Sequential):
        items = [random_arrays(child, f"{prefix}{i}.", rng) for i, child in enumerate(layer.layers)]
        return {key: value for item in items for key, value in item.items()}
    if isinstance(layer, Residual):
        return random_arrays(layer.module, f"{prefix}module.", rng)
    if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
        return norm_arrays(layer, prefix, rng)
    if isinstance(layer, (Conv2d, Linear)):
        return weight_arrays(layer, prefix, rng)
    if isinstance(layer, LayerNorm):
        return {f"{prefix}{name}": rng.normal(0.8, 0.2, layer.width).astype(np.float32) for name in ("weight", "bias")}
    if isinstance(layer, Tokens):
        return {f"{prefix}position": rng.normal(0, 0.2, layer.shape).astype(np.float32)}
    return {}


def norm_arrays(layer: Any, prefix: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    width = layer.num_features
    values = {
        "weight": rng.normal(0.8, 0.5, width),  # some negative
        "bias": rng.normal(0, 0.2, width),
        "running_mean": rng.normal(0, 0.2, width),
        "running_var": rng.uniform(0.5, 1.5, width),
    }
    if isinstance(layer, ShiftNorm2d):
        del values["weight"]
    return {f"{prefix}{name}": value.astype(np.float32) for name, value in values.items()}


def weight_arrays(layer: Any, prefix: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    shape = layer.weight_shape
    weight = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
    arrays = {f"{prefix}weight": weight}
    if layer.has_bias:
        arrays[f"{prefix}bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
    return arrays


def make_artifact(name: str) -> Artifact:
    from trimtab.deployment import onnx_nn

    arrays = random_arrays(build(onnx_nn, name, KWARGS[name]), "", np.random.default_rng(5))
    meta: dict[str, Any] = {"class_names": CLASSES}
    meta |= {"kind": "table", "encoder": ENCODER.to_dict()} if name == "mlp" else {"kind": "image", **IMAGE}
    return Artifact(builder=name, kwargs=KWARGS[name], arrays=arrays, meta=meta)


def make_feeds(name: str, rows: int, *, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    if name == "mlp":
        ages = rng.uniform(-5, 95, (rows, 1)).astype(np.float32)
        ages[::7] = np.nan
        jobs = np.array(["cook", "smith", "", "astronaut"], dtype=object)[rng.integers(0, 4, (rows, 1))]
        return {"age": ages, "job": jobs}
    small = rng.integers(0, 256, (rows, 4, 4, 3), dtype=np.uint8)
    return {"image": np.kron(small, np.ones((1, 4, 4, 1), np.uint8))}


def center_without_bias(artifact: Artifact, images: np.ndarray) -> None:
    """Have the last layer of a resnet, in place, ignore what all pictures have in common, and see the rest well."""
    network = build(numpy_nn, artifact.builder, artifact.kwargs).eval()
    counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    network.load_state_dict(counters | artifact.arrays)
    pixels = (images.astype(np.float32) / 255 - 0.5) / 0.25
    features = numpy_nn.Sequential(*network.layers[:-3]).eval()(pixels.transpose(0, 3, 1, 2))
    key = list(artifact.arrays)[-1]
    common, weight = features.mean(axis=0), artifact.arrays[key]
    weight -= np.outer(weight @ common, common) / np.square(common).sum()
    weight *= 9 / (features @ weight.T).std(axis=0).mean()


def center(artifact: Artifact, probabilities: np.ndarray) -> None:
    """Shift and scale the last layer, in place, so that every class is the answer for some inputs."""
    logits = np.log(probabilities.astype(np.float64))
    logits -= logits.mean(axis=1, keepdims=True)
    last = max(int(key.split(".")[0]) for key in artifact.arrays)
    scale = 1 / logits.std(axis=0).mean()
    artifact.arrays[f"{last}.weight"] *= np.float32(scale)
    artifact.arrays[f"{last}.bias"] -= logits.mean(axis=0).astype(np.float32)
    artifact.arrays[f"{last}.bias"] *= np.float32(scale)


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Float models by name, their exports, and inputs for them."""
    folder = tmp_path_factory.mktemp("float")
    paths: dict[str, Path] = {}
    artifacts: dict[str, Artifact] = {}
    for name in KWARGS:
        paths[name] = folder / f"{name}.onnx"
        artifact = artifacts[name] = make_artifact(name)
        export_onnx(artifact, paths[name])
        feeds = make_feeds(name, 200, seed=2)
        if name == "resnet":
            center_without_bias(artifact, feeds["image"])
        else:
            center(artifact, Session(paths[name]).run(feeds))
        export_onnx(artifact, paths[name])
    return SimpleNamespace(paths=paths, artifacts=artifacts, feeds=make_feeds)
