"""The int8 artifact holds the numbers of the int8 ONNX file, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.compression import int8_artifact, quantize_int8
from trimtab.compression.quantize import Int8, layers_of
from trimtab.deployment.numpy_session import NumpySession
from trimtab.deployment.session import Session
from trimtab.models import build
from trimtab.numpy_nn.quantized import float_parameters

MODELS = ["cnn", "separable_cnn", "resnet", "vit", "mlp"]


@pytest.fixture(scope="module")
def made(examples: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Artifact]]:
    """Of each model the int8 file and artifact."""
    folder = tmp_path_factory.mktemp("int8")
    found = {}
    for name in MODELS:
        path = folder / f"{name}.onnx"
        quantize_int8(examples.paths[name], examples.feeds(name, 64, seed=0), path)
        found[name] = path, int8_artifact(examples.artifacts[name], path)
    return found


def constants_of(path: Path) -> dict[str, np.ndarray]:
    return {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("name", MODELS)
def test_weights_scales_and_biases_are_those_of_the_file(name: str, made: Any) -> None:
    path, artifact = made[name]
    constants = constants_of(path)
    layers = [key.removesuffix(".weight.scale") for key in artifact.arrays if key.endswith(".weight.scale")]
    assert len(layers) == sum(key.endswith(".weight_quantized") for key in constants) > 2
    for layer in layers:
        weight, scale, bias = (artifact.arrays[f"{layer}.{part}"] for part in ("weight", "weight.scale", "bias"))
        assert (weight.dtype, scale.dtype, bias.dtype) == (np.int8, np.float32, np.int32)
        np.testing.assert_array_equal(weight, constants[f"/{layer}.weight_quantized"])
        np.testing.assert_array_equal(scale, constants[f"/{layer}.weight_scale"])
        np.testing.assert_array_equal(bias, constants[f"/{layer}.bias_quantized"])
    network = build(numpy_nn, artifact.builder, artifact.kwargs)
    assert len(artifact.arrays) == 3 * len(layers) + len(float_parameters(network))


def test_what_computes_with_values_keeps_the_trained_parameters(examples: SimpleNamespace, made: Any) -> None:
    trained, artifact = examples.artifacts["vit"], made["vit"][1]
    names = float_parameters(build(numpy_nn, "vit", trained.kwargs))
    assert {"1.position", "2.module.0.weight", "2.module.0.bias", "7.weight"} <= set(names)
    assert len(names) == 1 + 2 * (2 * 2 + 1)  # positions; a normalization per branch and one in the head
    for name in names:
        np.testing.assert_array_equal(artifact.arrays[name], trained.arrays[name])
    for name in ("resnet", "cnn", "mlp"):
        assert float_parameters(build(numpy_nn, name, examples.artifacts[name].kwargs)) == []


@pytest.mark.parametrize("name", MODELS)
def test_activations_are_rounded_where_the_file_rounds(name: str, made: Any) -> None:
    path, artifact = made[name]
    constants = constants_of(path)
    activations = artifact.meta["quantization"]["activations"]
    for place, (scale, zero_point) in activations.items():
        tensor = next(key for key in constants if key.startswith("/preprocessing") and key.endswith("_zero_point"))
        tensor = tensor.removesuffix("_zero_point") if place == "input" else f"/{place}"
        assert np.float32(scale) == constants[f"{tensor}_scale"]
        assert zero_point == constants[f"{tensor}_zero_point"]
    scales = {key for key in constants if key.endswith("_zero_point") and constants[key].dtype == np.uint8}
    assert len(activations) == len(scales)


def test_places_are_named_by_the_layers_of_the_network(made: Any) -> None:
    assert list(made["mlp"][1].meta["quantization"]["activations"]) == ["input", "2", "6"]
    places = list(made["cnn"][1].meta["quantization"]["activations"])
    assert places[:5] == ["input", "0.2", "1.2", "2.module.0.2", "2.module.1.2"]
    assert places[5] == "2.sum"


@pytest.mark.parametrize("name", MODELS)
def test_the_rest_is_the_trained_models(name: str, examples: SimpleNamespace, made: Any) -> None:
    trained, artifact = examples.artifacts[name], made[name][1]
    assert (artifact.builder, artifact.kwargs) == (trained.builder, trained.kwargs)
    assert {key: value for key, value in artifact.meta.items() if key != "quantization"} == trained.meta


@pytest.mark.parametrize("name", MODELS)
def test_it_is_a_quarter_of_the_size_and_comes_back_bit_for_bit(
    name: str, examples: SimpleNamespace, made: Any, tmp_path: Path
) -> None:
    examples.artifacts[name].save(tmp_path / "float")
    made[name][1].save(tmp_path / "int8")
    before, after = ((tmp_path / folder / "weights.safetensors").stat().st_size for folder in ("float", "int8"))
    assert after < 0.35 * before
    again = Artifact.load(tmp_path / "int8")
    assert again.sha256 == made[name][1].sha256
    assert again.meta == made[name][1].meta


def test_a_file_of_another_network_is_refused(examples: SimpleNamespace, made: Any) -> None:
    trained = examples.artifacts["mlp"]
    wider = dataclasses.replace(trained, kwargs=trained.kwargs | {"in_features": 8})
    with pytest.raises(
        ValueError, match=r"^'0\.weight' is int8 \[96, 7\]; expected int8 or float32 or float16 \[96, 8\]\.$"
    ):
        int8_artifact(wider, made["mlp"][0])


def test_a_float_file_is_refused(examples: SimpleNamespace) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is compared
        int8_artifact(examples.artifacts["cnn"], examples.paths["cnn"])
    assert str(caught.value) == (
        "the int8 model holds nothing but floating point; expected what quantize_int8 writes; quantize the model again."
    )


def test_other_integers_are_refused(examples: SimpleNamespace, made: Any, tmp_path: Path) -> None:
    model = onnx.load(made["mlp"][0])
    for constant in model.graph.initializer:
        if constant.name == "/2_zero_point":
            constant.CopyFrom(numpy_helper.from_array(np.array(0, np.int8), "/2_zero_point"))
    onnx.save(model, tmp_path / "signed.onnx")
    with pytest.raises(
        ValueError, match=r"^the int8 model holds int8 activations at '/2'; expected what quantize_int8"
    ):
        int8_artifact(examples.artifacts["mlp"], tmp_path / "signed.onnx")


@pytest.mark.parametrize("settings", ["first layer", "last layer", "middle layers", "per tensor"])
@pytest.mark.parametrize("name", MODELS)
def test_numpy_gives_the_files_answers_with_float_layers_or_one_scale(
    name: str, settings: str, examples: SimpleNamespace, tmp_path: Path
) -> None:
    layers = layers_of(examples.paths[name])
    chosen = {
        "first layer": Int8(float_layers=(layers[0],)),
        "last layer": Int8(float_layers=(layers[-1],)),
        "middle layers": Int8(float_layers=tuple(layers[1:3])),
        "per tensor": Int8(is_per_channel=False),
    }[settings]
    quantize_int8(examples.paths[name], examples.feeds(name, 64, seed=0), tmp_path / "int8.onnx", settings=chosen)
    artifact = int8_artifact(examples.artifacts[name], tmp_path / "int8.onnx")
    in_floating_point = [
        key for key in artifact.arrays if artifact.arrays[key].ndim > 1 and artifact.arrays[key].dtype != np.int8
    ]
    assert {f"{layer}.weight" for layer in chosen.float_layers} <= set(in_floating_point)
    feeds = examples.feeds(name, 100, seed=1)
    ours, theirs = NumpySession(artifact).run(feeds), Session(tmp_path / "int8.onnx").run(feeds)
    assert np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1)) >= 0.99
    assert np.abs(ours - theirs).mean() < 2e-3
