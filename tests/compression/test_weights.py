"""Weights in fewer bits: how large the file is, how close the answers, and that NumPy gives the same ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from trimtab.compression.weights import shrink_weights
from trimtab.deployment.numpy_session import NumpySession
from trimtab.deployment.session import Session

MODELS = ["cnn", "separable_cnn", "resnet", "vit", "mlp"]


@pytest.mark.parametrize("name", MODELS)
def test_the_fewer_bits_the_further_are_the_answers_from_the_float_models(
    name: str, examples: SimpleNamespace, tmp_path: Path
) -> None:
    feeds, path = examples.feeds(name, 100, seed=1), tmp_path / "small.onnx"
    exact, distances = Session(examples.paths[name]).run(feeds), []
    for bits in (16, 8, 4):
        shrink_weights(examples.artifacts[name], examples.paths[name], path, bits=bits)
        distances.append(float(np.abs(exact - Session(path).run(feeds)).mean()))
    assert 0 < distances[0] < 5e-4
    assert 5 * distances[0] < distances[1] < 0.05
    assert 5 * distances[1] < distances[2]


@pytest.mark.parametrize("bits", [8, 4])
def test_codes_are_the_nearest_ones(bits: int, examples: SimpleNamespace, tmp_path: Path) -> None:
    artifact = examples.artifacts["vit"]  # its linear layers have no normalization folded in
    small = shrink_weights(artifact, examples.paths["vit"], tmp_path / "small.onnx", bits=bits)
    weight, codes = artifact.arrays["9.weight"], small.arrays["9.weight"]
    scale, largest = small.arrays["9.weight.scale"][:, None], 2 ** (bits - 1) - 1
    assert np.abs(codes).max() == largest
    is_clipped = np.abs(weight) > scale * largest
    assert is_clipped.mean() < 0.1
    assert np.abs(codes * scale - weight)[~is_clipped].max() <= 0.5001 * scale.max()


@pytest.mark.parametrize("bits", [16, 8, 4])
@pytest.mark.parametrize("name", MODELS)
def test_numpy_gives_the_files_answers(name: str, bits: int, examples: SimpleNamespace, tmp_path: Path) -> None:
    artifact = shrink_weights(examples.artifacts[name], examples.paths[name], tmp_path / "small.onnx", bits=bits)
    artifact.save(tmp_path / "artifact")
    feeds = examples.feeds(name, 20, seed=1)
    numpy = NumpySession(type(artifact).load(tmp_path / "artifact"), threads=1)
    np.testing.assert_allclose(numpy.run(feeds), Session(tmp_path / "small.onnx").run(feeds), atol=1e-5)


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_weights_take_as_many_bits_as_asked_for(bits: int, examples: SimpleNamespace, tmp_path: Path) -> None:
    weights = sum(array.size for array in examples.artifacts["cnn"].arrays.values() if array.ndim > 1)
    shrink_weights(examples.artifacts["cnn"], examples.paths["cnn"], tmp_path / "small.onnx", bits=bits)
    saved = examples.paths["cnn"].stat().st_size - (tmp_path / "small.onnx").stat().st_size
    nodes = len(onnx.load(tmp_path / "small.onnx").graph.node)
    assert weights * (32 - bits) / 8 - 250 * nodes < saved < weights * (32 - bits) / 8


def test_other_numbers_of_bits_are_refused(examples: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of 16, 8, 4"):
        shrink_weights(examples.artifacts["mlp"], examples.paths["mlp"], tmp_path / "small.onnx", bits=2)
    assert not list(tmp_path.iterdir())
