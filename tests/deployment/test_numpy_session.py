"""The NumPy engine answers as ONNX Runtime does, for every builder, in float32 and in int8."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trimtab.artifact import Artifact
from trimtab.data.images import resize_image
from trimtab.deployment import Predictor, export_onnx, load
from trimtab.deployment.numpy_session import NumpySession
from trimtab.deployment.session import Session
from trimtab.errors import IntegrityError

CLASSES = 3
IMAGE_KWARGS = {"image_size": 12, "num_classes": CLASSES}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "cnn, color": ("cnn", {"in_channels": 3, "channels": [4, 8, 16], **IMAGE_KWARGS}),
    "cnn, gray": ("cnn", {"in_channels": 1, "channels": [16, 16, 32], **IMAGE_KWARGS}),
    "cnn, pruned": ("cnn", {"in_channels": 3, "channels": [3, 7, 5], **IMAGE_KWARGS}),
    "cnn, stem alone": ("cnn", {"in_channels": 3, "channels": [6], **IMAGE_KWARGS}),
    "separable_cnn, color": ("separable_cnn", {"in_channels": 3, "channels": [8, 16, 24], **IMAGE_KWARGS}),
    "separable_cnn, gray": ("separable_cnn", {"in_channels": 1, "channels": [8, 16], **IMAGE_KWARGS}),
    "separable_cnn, pruned": ("separable_cnn", {"in_channels": 3, "channels": [5, 11, 7], **IMAGE_KWARGS}),
    "resnet, color": ("resnet", {"in_channels": 3, "channels": [8, 16], **IMAGE_KWARGS}),
    "resnet, gray, branches": ("resnet", {"in_channels": 1, "channels": [8, 16], "depth": 3, **IMAGE_KWARGS}),
    "resnet, gelu": ("resnet", {"in_channels": 3, "channels": [8, 16], "activation": "gelu", **IMAGE_KWARGS}),
    "resnet, separable": (
        "resnet",
        {"in_channels": 3, "channels": [8, 16], "separable": True, "stem": "patch", **IMAGE_KWARGS},
    ),
    "vit": ("vit", {"in_channels": 3, "width": 12, "depth": 2, "heads": 3, "patch": 4, **IMAGE_KWARGS}),
    "mlp": ("mlp", {"hidden": [16, 16], "num_classes": 2}),
    "mlp, pruned": ("mlp", {"hidden": [11, 3], "num_classes": 2}),
    "mlp, no hidden layer": ("mlp", {"hidden": [], "num_classes": 2}),
}


class Example(SimpleNamespace):
    """A model in both engines and both variants, and the files that it comes from."""

    trained: Artifact
    int8: Artifact
    float_path: Path
    int8_path: Path

    def predictor(self, engine: str, variant: str) -> Predictor:
        meta = self.trained.meta
        manifest = {"kind": meta["kind"], "class_names": meta["class_names"], "preprocessing": meta}
        artifact, path = {"float32": (self.trained, self.float_path), "int8": (self.int8, self.int8_path)}[variant]
        return Predictor(manifest, NumpySession(artifact) if engine == "numpy" else Session(path), threads=1)


@pytest.fixture(scope="module")
def example_of(tmp_path_factory: pytest.TempPathFactory, oracle: Any) -> Callable[[str], Example]:
    made: dict[str, Example] = {}

    def make(name: str) -> Example:
        builder, kwargs = NETWORKS[name]
        if builder == "mlp":
            meta, kwargs = oracle.table_meta, {"in_features": oracle.encoder.num_features, **kwargs}
        else:
            count = kwargs["in_channels"]
            meta = (
                oracle.image_meta
                | {"channels": count}
                | {key: oracle.image_meta[key][:count] for key in ("mean", "std")}
            )
        network = oracle.make_network(builder, kwargs)
        trained = oracle.make_artifact(builder, kwargs, meta, network)
        if builder == "resnet":
            center(network, oracle.normalize(inputs_of(trained, oracle, 100, seed=2)[0], meta))
        folder = tmp_path_factory.mktemp("model")
        example = Example(trained=trained, float_path=folder / "float.onnx", int8_path=folder / "int8.onnx")
        spread(trained, oracle.run_onnx(trained, example.float_path, inputs_of(trained, oracle, 100, seed=2)[1]))
        export_onnx(trained, example.float_path)
        example.int8 = oracle.make_int8(trained, inputs_of(trained, oracle, 100, seed=1)[1], example.int8_path)
        return example

    def get(name: str) -> Example:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return get


def last_weight(artifact: Artifact) -> str:
    return [key for key in artifact.arrays if key.endswith(".weight")][-1]


def center(network: Any, x: np.ndarray) -> None:
    """Have a last layer without bias, in place, ignore what all inputs have in common."""
    *body, last, _ = network
    with torch.no_grad():
        common = torch.nn.Sequential(*body)(torch.from_numpy(x)).mean(0)
        last.weight -= torch.outer(last.weight @ common, common) / common.square().sum()


def spread(artifact: Artifact, probabilities: np.ndarray) -> None:
    """Shift and scale the last layer, in place, so that the answers to other inputs are others."""
    logits = np.log(probabilities.astype(np.float64))
    logits -= logits.mean(axis=1, keepdims=True)
    weight = last_weight(artifact)
    bias = weight.replace("weight", "bias")
    scale = 1 / logits.std(axis=0).mean()
    artifact.arrays[weight] = (artifact.arrays[weight] * scale).astype(np.float32)
    if bias in artifact.arrays:
        artifact.arrays[bias] = ((artifact.arrays[bias] - logits.mean(axis=0)) * scale).astype(np.float32)


def inputs_of(artifact: Artifact, oracle: Any, rows: int, *, seed: int = 0) -> tuple[Any, dict[str, np.ndarray]]:
    """Random rows as a predictor takes them, and as the model file does."""
    if artifact.meta["kind"] == "table":
        table = oracle.make_table(rows, seed=seed)  # missing values and unknown categories among them
        manifest = {"kind": "table", "class_names": ["no", "yes"], "preprocessing": artifact.meta}
        feeds: dict[str, np.ndarray] = next(Predictor(manifest, None, threads=1).feeds(table))
        return table, feeds
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (rows, 4, 4, artifact.meta["channels"]), dtype=np.uint8)
    images = np.kron(coarse, np.ones((1, 3, 3, 1), np.uint8))
    return images, {"image": images}


@pytest.mark.parametrize("name", NETWORKS)
def test_float_answers_are_those_of_the_onnx_file(name: str, example_of: Any, oracle: Any) -> None:
    example = example_of(name)
    data, _ = inputs_of(example.trained, oracle, 300)
    exact, answers = (example.predictor(engine, "float32").predict_proba(data) for engine in ("onnx", "numpy"))
    assert exact.std(axis=0).min() > 0.05, "a constant answer would prove nothing"
    assert (answers.dtype, answers.shape) == (np.float32, exact.shape)
    np.testing.assert_allclose(answers, exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_answers_are_those_of_the_int8_onnx_file(name: str, example_of: Any, oracle: Any) -> None:
    example = example_of(name)
    data, _ = inputs_of(example.trained, oracle, 300)
    exact, answers = (example.predictor(engine, "int8").predict_proba(data) for engine in ("onnx", "numpy"))
    floats = example.predictor("numpy", "float32").predict_proba(data)
    np.testing.assert_allclose(answers, exact, rtol=0, atol=1e-2)
    assert np.sum(answers.argmax(axis=1) != exact.argmax(axis=1)) <= 1
    assert np.abs(answers - exact).mean() < 0.05 * np.abs(floats - exact).mean(), "the float weights do not explain it"


@pytest.mark.parametrize("temperature", [0.5, 3.0])
@pytest.mark.parametrize("name", ["cnn, color", "mlp"])
def test_answers_at_a_temperature_are_those_of_the_onnx_files(
    name: str, temperature: float, example_of: Any, oracle: Any, tmp_path: Path
) -> None:
    example = example_of(name)
    trained = dataclasses.replace(example.trained, meta={**example.trained.meta, "temperature": temperature})
    float_path, int8_path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(trained, float_path)
    int8 = oracle.make_int8(trained, inputs_of(trained, oracle, 100, seed=1)[1], int8_path)
    for key, array in example.int8.arrays.items():
        np.testing.assert_array_equal(int8.arrays[key], array)
    _, feeds = inputs_of(trained, oracle, 300)
    for artifact, path, plain in ((trained, float_path, example.trained), (int8, int8_path, example.int8)):
        exact, answers = Session(path).run(feeds), NumpySession(artifact).run(feeds)
        np.testing.assert_allclose(answers, exact, rtol=0, atol=1e-4 if plain is example.trained else 1e-2)
        powers = NumpySession(plain).run(feeds).astype(np.float64) ** (1 / temperature)
        np.testing.assert_allclose(answers, powers / powers.sum(axis=1, keepdims=True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn, color", "separable_cnn, gray", "mlp"])
def test_int8_answers_depend_on_neither_threads_nor_batches(name: str, example_of: Any, oracle: Any) -> None:
    example = example_of(name)
    _, feeds = inputs_of(example.trained, oracle, 64)
    whole = NumpySession(example.int8).run(feeds)
    np.testing.assert_array_equal(NumpySession(example.int8, threads=2).run(feeds), whole)
    one_by_one = [
        NumpySession(example.int8).run({key: value[row : row + 1] for key, value in feeds.items()}) for row in (0, 63)
    ]
    np.testing.assert_array_equal(np.concatenate(one_by_one), whole[[0, 63]])


def test_float_answers_on_two_threads_are_the_same(example_of: Any, oracle: Any) -> None:
    example = example_of("cnn, gray")
    _, feeds = inputs_of(example.trained, oracle, 64)
    one, two = (NumpySession(example.trained, threads=threads).run(feeds) for threads in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("variant", ["trained", "int8"])
def test_calls_from_several_threads_do_not_disturb_each_other(variant: str, example_of: Any, oracle: Any) -> None:
    example = example_of("cnn, color")
    session = NumpySession(getattr(example, variant), threads=2)
    batches = [inputs_of(example.trained, oracle, 40, seed=seed)[1] for seed in range(8)]
    expected = [session.run(feeds) for feeds in batches]
    with ThreadPoolExecutor(4) as pool:
        for answers, alone in zip(pool.map(session.run, batches * 3), expected * 3, strict=True):
            np.testing.assert_array_equal(answers, alone)


def test_pictures_of_another_size_are_resized_as_in_training(example_of: Any) -> None:
    session = NumpySession(example_of("cnn, color").trained)
    images = np.random.default_rng(0).integers(0, 256, (3, 30, 17, 3), dtype=np.uint8)
    resized = np.stack([resize_image(image, 12) for image in images])
    np.testing.assert_array_equal(session.run({"image": images}), session.run({"image": resized}))
    assert session.run({"image": images[:0]}).shape == (0, CLASSES)


@pytest.mark.parametrize("name", ["cnn, color", "mlp"])
def test_no_rows_give_no_probabilities(name: str, example_of: Any, oracle: Any) -> None:
    example = example_of(name)
    _, feeds = inputs_of(example.trained, oracle, 2)
    for artifact in (example.trained, example.int8):
        answers = NumpySession(artifact).run({key: value[:0] for key, value in feeds.items()})
        assert (answers.shape, answers.dtype) == ((0, len(artifact.meta["class_names"])), np.float32)


def test_inputs_have_the_names_that_the_onnx_file_gives_them(example_of: Any) -> None:
    for name in ("cnn, gray", "mlp"):
        example = example_of(name)
        assert set(NumpySession(example.trained).input_names) == set(Session(example.float_path).input_names)


def test_a_bundle_is_loaded_with_either_engine(bundle_of: Callable[[Artifact], Path], image_artifact: Artifact) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 12, 12, 3), dtype=np.uint8)
    onnx, numpy = (load(bundle_of(image_artifact), engine=engine) for engine in ("onnx", "numpy"))
    np.testing.assert_allclose(numpy.predict_proba(images), onnx.predict_proba(images), atol=1e-5)
    assert repr(numpy) == repr(onnx)
    assert numpy.manifest == onnx.manifest


def test_an_int8_bundle_holds_int8_and_its_manifest_no_activations(
    example_of: Any, oracle: Any, tmp_path: Path
) -> None:
    example = example_of("cnn, color")
    bundle = oracle.write_bundle(tmp_path / "pets", example.int8, model=example.int8_path)
    assert Artifact.load(bundle / "artifact").sha256 == example.int8.sha256
    model = load(bundle, engine="numpy")
    assert model.manifest["model"]["variant"] == "int8"
    assert model.manifest["preprocessing"] == example.trained.meta
    images, feeds = inputs_of(example.trained, oracle, 20)
    np.testing.assert_array_equal(model.predict_proba(images), NumpySession(example.int8).run(feeds))


# ---- words ----


@pytest.mark.parametrize(
    ("engine", "hint"), [("numpi", "did you mean 'numpy'? "), ("ONNX", "did you mean 'onnx'? "), ("torch", "")]
)
def test_an_engine_that_there_is_not(engine: str, hint: str, tmp_path: Path) -> None:
    sentence = f"there is no engine '{engine}'; expected one of onnx, numpy; {hint}pick one."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        load(tmp_path, engine=engine)


def test_no_thread_is_refused(image_artifact: Artifact) -> None:
    with pytest.raises(
        ValueError, match=r"^threads is 0; expected at least 1; see trimtab\.machine\.available_threads\(\)\.$"
    ):
        NumpySession(image_artifact, threads=0)


def test_a_missing_input_is_named(table_artifact: Artifact) -> None:
    with pytest.raises(
        ValueError, match=r"^the feeds lack 'job'; expected an array for each input; see `input_names`\.$"
    ):
        NumpySession(table_artifact).run({"age": np.zeros((1, 1), np.float32)})


def without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: {"builder": "cnm"}, "there is no model 'cnm'"),
        (lambda a: {"kwargs": {"hidden": [4]}}, "cnn() got an unexpected keyword argument 'hidden'"),
        (lambda a: {"arrays": without(a.arrays, "0.0.weight")}, "'0.0.weight' is missing"),
        (
            lambda a: {"arrays": a.arrays | {"0.0.weight": np.zeros((4, 3, 1, 1), np.float32)}},
            "'0.0.weight' has the shape [4, 3, 1, 1] instead of [4, 3, 3, 3]",
        ),
        (lambda a: {"meta": without(a.meta, "mean")}, "there is no 'mean'"),
        (lambda a: {"meta": a.meta | {"quantization": {}}}, "there is no 'activations'"),
        (lambda a: {"meta": a.meta | {"temperature": 0}}, "the temperature is 0.0"),
    ],
)
def test_an_artifact_that_is_no_network_says_why(
    change: Callable[[Artifact], dict[str, Any]], reason: str, image_artifact: Artifact
) -> None:
    broken = dataclasses.replace(image_artifact, **change(image_artifact))
    with pytest.raises(IntegrityError) as caught:
        NumpySession(broken)
    assert str(caught.value) == (
        f"the artifact is no '{broken.builder}' that can be built ({reason}); expected exactly the arrays that the "
        "builder makes with its keyword arguments, and the preprocessing; copy it again from where it was made."
    )


def test_float_weights_are_not_passed_off_as_int8(example_of: Any, oracle: Any, tmp_path: Path) -> None:
    example = example_of("cnn, color")
    old = oracle.write_bundle(tmp_path / "pets", example.trained, model=example.int8_path, variant="int8")
    load(old)
    with pytest.raises(IntegrityError) as caught:
        load(old, engine="numpy")
    assert str(caught.value) == (
        f"{old / 'artifact'} is not the delivered int8 model; expected its int8 weights; use the engine onnx, or "
        "deliver the model again with this version of trimtab."
    )
