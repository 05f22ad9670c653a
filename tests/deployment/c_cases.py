"""Models to generate C from: every builder with every kind of its options, small, with normalizations that matter."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.cases import CASES

from trimtab import numpy_nn as nn
from trimtab.artifact import Artifact
from trimtab.data.encoding import NumberEncoding, TableEncoder
from trimtab.deployment.c import Source, to_program, write_source
from trimtab.deployment.c.checking import COMPILERS, answers, compile_example, find_compiler
from trimtab.deployment.numpy_session import NumpySession
from trimtab.models import build

CLASS_NAMES = ["cat", 'a "dog" or\ttwo', "Ému?"]
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason=f"there is no C compiler ({', '.join(COMPILERS)}) on the PATH"
)


def has_avx2() -> bool:
    """Whether this processor can run programs for AVX2."""
    facts = Path("/proc/cpuinfo")
    return facts.is_file() and {"avx2", "fma"} <= set(facts.read_text().split())


def make_artifact(label: str, **meta: Any) -> Artifact:
    """A float model with statistics of its own, whose answers differ from input to input."""
    builder, kwargs, shape = CASES[label]
    rng = np.random.default_rng(7)
    network = build(nn, builder, kwargs)
    network.reset_parameters(rng)
    empty = Artifact(builder=builder, kwargs=kwargs, arrays={}, meta=_meta(shape) | meta)
    features = _features(empty)
    network.load_state_dict({key: _spread(key, array, rng) for key, array in network.state_dict().items()})
    for _ in range(20):
        network(features)
    last = max(place for place, layer in enumerate(network.layers) if isinstance(layer, nn.Linear))
    with nn.inference():
        hidden = nn.Sequential(*network.layers[:last]).eval()(features)
    common, weight = hidden.mean(axis=0), network.layers[last].weight.data
    weight -= np.outer(weight @ common, common) / np.square(common).sum()  # what all inputs have in common is ignored
    weight *= (9 if builder == "resnet" else 1) / (hidden @ weight.T).std(axis=0)[:, None]
    arrays = network.state_dict()
    return dataclasses.replace(empty, arrays=arrays)


def _features(artifact: Artifact) -> np.ndarray:
    """What the network reads."""
    inputs = make_inputs(artifact, 64, seed=3)
    if artifact.meta["kind"] == "table":
        return inputs
    scaled = (inputs / np.float32(255) - np.float32(artifact.meta["mean"])) / np.float32(artifact.meta["std"])
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)


def _spread(key: str, array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scales and shifts of normalizations are not one and zero, and some scales are negative."""
    if array.ndim != 1 or "running" in key:
        return array
    noise = rng.normal(0, 0.4, array.shape).astype(array.dtype)
    return array + noise - (rng.random(array.shape) < 0.2).astype(array.dtype) * array * 2


def _meta(shape: tuple[int, ...]) -> dict[str, Any]:
    if len(shape) == 1:
        edges = tuple(float(edge) for edge in range(shape[0] + 1))
        column = NumberEncoding(name="age", edges=edges, median=1.0, has_missing=False)
        return {"kind": "table", "class_names": CLASS_NAMES, "encoder": TableEncoder(columns=(column,)).to_dict()}
    channels, size = shape[:2]
    numbers = {"mean": [0.5, 0.4, 0.3][:channels], "std": [0.2, 0.25, 0.3][:channels]}
    return {"kind": "image", "class_names": CLASS_NAMES, "image_size": size, "channels": channels, **numbers}


def make_inputs(artifact: Artifact, count: int, seed: int = 1) -> np.ndarray:
    """What the generated functions take: uint8 [N, S, S, C], or float32 [N, F] of the only column."""
    rng = np.random.default_rng(seed)
    if artifact.meta["kind"] == "table":
        return encoder_of(artifact).encode(rows_of(artifact, count, seed))
    size, channels = artifact.meta["image_size"], artifact.meta["channels"]
    noise = rng.integers(0, 60, (count, size, size, channels))
    return (noise + rng.integers(0, 196, (count, 1, 1, channels))).astype(np.uint8)


def make_feeds(artifact: Artifact, count: int, seed: int = 1) -> dict[str, np.ndarray]:
    """The same inputs as the other engines take them."""
    if artifact.meta["kind"] == "table":
        return {"age": rows_of(artifact, count, seed).columns["age"].astype(np.float32)[:, None]}
    return {"image": make_inputs(artifact, count, seed)}


def encoder_of(artifact: Artifact) -> TableEncoder:
    return TableEncoder.from_dict(artifact.meta["encoder"])


def rows_of(artifact: Artifact, count: int, seed: int) -> Any:
    from trimtab.data.schema import Table

    values = np.random.default_rng(seed).uniform(-1, 8, count).astype(np.float32).astype(float)
    return Table(columns={"age": values}, kinds={"age": "number"})


def source_of(artifact: Artifact, name: str = "pets") -> Source:
    return write_source(artifact, to_program(artifact), name=name, sha256=artifact.sha256)


def run_c(artifact: Artifact, inputs: np.ndarray, folder: Path, options: tuple[str, ...]) -> np.ndarray:
    """Probabilities [N, K] of the generated program."""
    compiler = find_compiler()
    assert compiler is not None
    return answers(compile_example(source_of(artifact), folder, compiler, options), inputs, CLASS_NAMES)


def run_numpy(artifact: Artifact, count: int, seed: int = 1) -> np.ndarray:
    return NumpySession(artifact).run(make_feeds(artifact, count, seed))


def with_meta(artifact: Artifact, **meta: Any) -> Artifact:
    return dataclasses.replace(artifact, meta={**artifact.meta, **meta})
