"""A model that also looks at mirror images: its logits are the mean of both, in every engine and variant."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trimtab.artifact import Artifact
from trimtab.deployment import export_onnx, load
from trimtab.deployment.numpy_session import NumpySession
from trimtab.deployment.session import Session
from trimtab.errors import IntegrityError
from trimtab.training.rows import Rows
from trimtab.training.stepper import predict_probabilities

MIRROR = {"test_time": "mirror"}


def with_meta(artifact: Artifact, **meta: Any) -> Artifact:
    return dataclasses.replace(artifact, meta={**artifact.meta, **meta})


def pictures_of(count: int, *, size: int = 12, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, size // 3, size // 3, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, 3, 3, 1), np.uint8))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def mean_of_both(answers: Any, pictures: np.ndarray) -> np.ndarray:
    """The softmax of the mean of two logits, which a logarithm of probabilities is but for a constant."""
    one, other = (np.log(answers(each).astype(np.float64)) for each in (pictures, pictures[:, :, ::-1]))
    return softmax((one + other) / 2)


def with_various_answers(artifact: Artifact) -> Artifact:
    """Center and spread the logits, by the last layer."""
    logits = np.log(NumpySession(artifact).run({"image": pictures_of(200, seed=2)}).astype(np.float64))
    logits -= logits.mean(axis=1, keepdims=True)
    weight, bias = list(artifact.arrays)[-2:]
    factor = 1 / logits.std(axis=0).mean()
    changes = {
        weight: factor * artifact.arrays[weight],
        bias: factor * (artifact.arrays[bias] - logits.mean(axis=0)),
    }
    changed = {key: value.astype(np.float32) for key, value in changes.items()}
    return dataclasses.replace(artifact, arrays=artifact.arrays | changed)


@pytest.fixture(scope="module")
def made(image_artifact: Artifact, oracle: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The same network with and without mirror images: float and int8, ONNX file and artifact."""
    folder = tmp_path_factory.mktemp("mirror")
    plain = with_various_answers(image_artifact)
    found = SimpleNamespace(folder=folder)
    for name, artifact in {"plain": plain, "mirror": with_meta(plain, **MIRROR)}.items():
        export_onnx(artifact, folder / f"{name}-float32.onnx")
        int8 = oracle.make_int8(artifact, {"image": pictures_of(100, seed=1)}, folder / f"{name}-int8.onnx")
        setattr(found, name, {"float32": artifact, "int8": int8})
    return found


def answers_of(made: SimpleNamespace, name: str, variant: str, engine: str) -> Any:
    if engine == "numpy":
        session: Any = NumpySession(getattr(made, name)[variant])
    else:
        session = Session(made.folder / f"{name}-{variant}.onnx")
    return lambda pictures: session.run({"image": pictures})


@pytest.mark.parametrize("engine", ["onnx", "numpy"])
def test_float_probabilities_are_the_softmax_of_the_mean_of_two_logits(made: SimpleNamespace, engine: str) -> None:
    pictures = pictures_of(40)
    both, one = (answers_of(made, name, "float32", engine) for name in ("mirror", "plain"))
    expected = mean_of_both(one, pictures)
    assert np.abs(expected - one(pictures)).max() > 0.05, "mirror images that change nothing would prove nothing"
    np.testing.assert_allclose(both(pictures), expected, atol=1e-5)


def test_int8_probabilities_are_the_softmax_of_the_mean_of_two_logits(
    made: SimpleNamespace, oracle: Any, tmp_path: Path
) -> None:
    """The plain int8 model is calibrated on the same pictures: on both images of each."""
    calibration = pictures_of(100, seed=1)
    both_ways = np.concatenate([calibration, calibration[:, :, ::-1]])
    oracle.make_int8(made.plain["float32"], {"image": both_ways}, tmp_path / "int8.onnx")
    session = Session(tmp_path / "int8.onnx")
    pictures = pictures_of(40)
    expected = mean_of_both(lambda each: session.run({"image": each}), pictures)
    np.testing.assert_allclose(answers_of(made, "mirror", "int8", "onnx")(pictures), expected, atol=1e-5)


def test_int8_answers_in_numpy_are_those_of_the_int8_file(made: SimpleNamespace) -> None:
    pictures = pictures_of(40)
    numpy, onnx = (answers_of(made, "mirror", "int8", engine)(pictures) for engine in ("numpy", "onnx"))
    # A number in the middle between two steps may fall to either side: a handful of rows, by a step.
    assert (np.abs(numpy - onnx).max(axis=1) < 1e-4).mean() > 0.8
    assert np.abs(numpy - onnx).max() < 0.05


@pytest.mark.parametrize("engine", ["onnx", "numpy"])
def test_a_picture_and_its_mirror_image_get_the_same_answer(made: SimpleNamespace, engine: str) -> None:
    answers = answers_of(made, "mirror", "float32", engine)
    pictures = pictures_of(10)
    np.testing.assert_allclose(answers(pictures), answers(pictures[:, :, ::-1]), atol=1e-6)


@pytest.mark.parametrize("engine", ["onnx", "numpy"])
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_each_row_has_the_answer_that_it_has_alone(made: SimpleNamespace, engine: str, variant: str) -> None:
    answers = answers_of(made, "mirror", variant, engine)
    pictures = pictures_of(7)
    alone = np.concatenate([answers(pictures[index : index + 1]) for index in range(7)])
    np.testing.assert_allclose(answers(pictures), alone, atol=1e-5)


@pytest.mark.parametrize("engine", ["onnx", "numpy"])
def test_no_pictures_give_no_answers(made: SimpleNamespace, engine: str) -> None:
    assert answers_of(made, "mirror", "float32", engine)(pictures_of(0)).shape == (0, 3)


@pytest.mark.parametrize("engine", ["onnx", "numpy"])
def test_pictures_of_another_size_are_mirrored_too(made: SimpleNamespace, engine: str) -> None:
    answers = answers_of(made, "mirror", "float32", engine)
    pictures = pictures_of(5, size=24)
    np.testing.assert_allclose(answers(pictures), answers(pictures[:, :, ::-1]), atol=1e-2)  # resizing rounds


def test_the_temperature_divides_the_mean(made: SimpleNamespace, tmp_path: Path) -> None:
    artifact = with_meta(made.mirror["float32"], temperature=2.5)
    export_onnx(artifact, tmp_path / "model.onnx")
    feeds = {"image": pictures_of(20)}
    mean = np.log(Session(made.folder / "mirror-float32.onnx").run(feeds).astype(np.float64))
    for session in (Session(tmp_path / "model.onnx"), NumpySession(artifact)):
        np.testing.assert_allclose(session.run(feeds), softmax(mean / 2.5), atol=1e-5)


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_the_trained_model_predicts_what_the_exported_one_does(made: SimpleNamespace, engine: str) -> None:
    artifact, pictures = made.mirror["float32"], pictures_of(40)
    rows = Rows.of(pictures, np.zeros(40, np.int64), mean=artifact.meta["mean"], std=artifact.meta["std"])
    native = predict_probabilities(artifact, rows, engine=engine, threads=1)
    np.testing.assert_allclose(answers_of(made, "mirror", "float32", "onnx")(pictures), native, atol=1e-5)


def test_the_int8_logits_stay_float_before_the_mean(made: SimpleNamespace) -> None:
    import onnx

    graph = onnx.load(made.folder / "mirror-int8.onnx").graph
    producers = {output: node for node in graph.node for output in node.output}
    mean = producers[producers["probabilities"].input[0]]
    assert mean.op_type == "ReduceMean"
    assert producers[producers[mean.input[0]].input[0]].op_type == "Gemm"


def test_a_bundle_says_so_and_answers_alike_in_both_engines(made: SimpleNamespace, oracle: Any, tmp_path: Path) -> None:
    oracle.write_bundle(tmp_path / "pets", made.mirror["float32"])
    manifest = json.loads((tmp_path / "pets" / "manifest.json").read_text())
    assert manifest["test_time"] == "mirror"
    assert "test_time" not in manifest["preprocessing"]
    onnx, numpy = (load(tmp_path / "pets", engine=engine).predict_proba(pictures_of(9)) for engine in ("onnx", "numpy"))
    np.testing.assert_allclose(numpy, onnx, atol=1e-5)


def test_a_table_has_no_mirror_image(table_artifact: Artifact, tmp_path: Path) -> None:
    words = "test_time is 'mirror'; expected 'none', or for pictures 'mirror'; correct it."
    with pytest.raises(ValueError, match=words):
        export_onnx(with_meta(table_artifact, **MIRROR), tmp_path / "model.onnx")


def test_an_artifact_that_asks_for_something_unknown_is_refused(image_artifact: Artifact) -> None:
    with pytest.raises(IntegrityError, match="test_time is 'rotate'"):
        NumpySession(with_meta(image_artifact, test_time="rotate"))
