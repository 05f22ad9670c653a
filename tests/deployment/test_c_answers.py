"""Generated C answers as the NumPy engine: every builder, in every form of weights, on every path of the kernels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.deployment.c_cases import (
    CASES,
    CLASS_NAMES,
    WARNINGS,
    has_avx2,
    make_artifact,
    make_feeds,
    make_inputs,
    needs_compiler,
    run_c,
    run_numpy,
    source_of,
)

from trimtab.artifact import Artifact
from trimtab.compression.weights import shrink_weights
from trimtab.deployment import export_onnx
from trimtab.deployment.c import to_program
from trimtab.deployment.c.checking import answers, compile_example, find_compiler
from trimtab.deployment.c.program import FIELDS, FORMS, KINDS
from trimtab.deployment.numpy_session import NumpySession
from trimtab.deployment.session import Session

pytestmark = needs_compiler

COUNT = 40
QUICK = ("-O1", "-march=native", *WARNINGS)
BASELINE = ("-O1", *WARNINGS)
PLAIN = ("-O1", "-DTRIMTAB_PLAIN", *WARNINGS)
FUSING = ("-O3", "-march=native", "-ffp-contract=fast")
AVX2 = ("-O2", "-mavx2", "-mfma", *WARNINGS)
SANITIZED = ("-O1", "-g", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
EXACT = 1e-6  # what the exponentials of two libraries may differ by
PATHS = [
    pytest.param(BASELINE, id="baseline"),
    pytest.param(PLAIN, id="plain"),
    pytest.param(FUSING, id="fusing"),
    pytest.param(AVX2, id="avx2", marks=pytest.mark.skipif(not has_avx2(), reason="the processor has no AVX2")),
]


@pytest.fixture
def int8_of(oracle: SimpleNamespace, tmp_path: Path) -> Any:
    """From a label to an int8 artifact and its ONNX file."""

    def make(label: str, **meta: Any) -> tuple[Artifact, Path]:
        artifact, path = make_artifact(label, **meta), tmp_path / "int8.onnx"
        return oracle.make_int8(artifact, make_feeds(artifact, 100, seed=5), path), path

    return make


@pytest.mark.parametrize("label", CASES)
def test_a_float_model_answers_as_numpy(label: str, tmp_path: Path) -> None:
    artifact = make_artifact(label)
    expected = run_numpy(artifact, COUNT)
    assert expected.std(axis=0).max() > 0.02
    np.testing.assert_allclose(run_c(artifact, make_inputs(artifact, COUNT), tmp_path, QUICK), expected, atol=5e-6)


@pytest.mark.parametrize("label", [label for label in CASES if not label.startswith("vit")])
def test_an_int8_model_answers_exactly_as_numpy_and_as_onnx_runtime(label: str, int8_of: Any, tmp_path: Path) -> None:
    artifact, path = int8_of(label)
    expected = run_numpy(artifact, COUNT)
    found = run_c(artifact, make_inputs(artifact, COUNT), tmp_path, QUICK)
    np.testing.assert_allclose(found, expected, atol=EXACT)
    assert np.array_equal(found.argmax(axis=1), Session(path).run(make_feeds(artifact, COUNT)).argmax(axis=1))


def test_halves_are_rounded_to_even_and_the_rest_is_clipped(tmp_path: Path) -> None:
    """In numbers that are exact: an input grid of quarters, and rows of eighths."""
    rng = np.random.default_rng(0)
    codes, scale = rng.integers(-64, 65, (3, 7)).astype(np.int8), np.full(3, 2.0**-5, np.float32)
    arrays = {"0.weight": codes, "0.weight.scale": scale, "0.bias": np.array([1, -2, 3], np.int32)}
    kwargs = {"in_features": 7, "hidden": [], "num_classes": 3}
    meta = {**make_artifact("mlp").meta, "quantization": {"activations": {"input": [0.25, 253]}}}
    artifact = Artifact(builder="mlp", kwargs=kwargs, arrays=arrays, meta=meta)
    rows = rng.integers(0, 8, (COUNT, 7)).astype(np.float32) / 8
    rounded = np.minimum(np.rint(4 * rows), 2) / 4
    assert np.any(rounded > rows)
    assert np.any(rounded < rows)
    logits = (rounded.astype(float) @ codes.T + arrays["0.bias"] / 4) / 32
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(run_c(artifact, rows, tmp_path, QUICK), expected, atol=EXACT)


@pytest.mark.parametrize("label", ["vit", "vit, narrow heads"])
def test_where_floats_are_rounded_to_codes_few_may_tip_over(label: str, int8_of: Any, tmp_path: Path) -> None:
    artifact, _ = int8_of(label)
    expected = run_numpy(artifact, COUNT)
    differences = np.abs(run_c(artifact, make_inputs(artifact, COUNT), tmp_path, QUICK) - expected).max(axis=1)
    assert np.mean(differences > EXACT) < 0.1
    assert differences.max() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("options", PATHS)
@pytest.mark.parametrize("label", ["cnn", "resnet, patch stem, separable"])
def test_every_path_of_the_kernels_gives_the_same_codes(
    label: str, options: tuple[str, ...], int8_of: Any, tmp_path: Path
) -> None:
    artifact, _ = int8_of(label)
    found = run_c(artifact, make_inputs(artifact, COUNT), tmp_path, options)
    np.testing.assert_allclose(found, run_numpy(artifact, COUNT), atol=EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("options", [*PATHS, pytest.param(QUICK, id="native")])
def test_weights_of_full_eight_bits_do_not_overflow(options: tuple[str, ...], int8_of: Any, tmp_path: Path) -> None:
    """Those of `quantize_int8` keep to seven, for which there is a faster way."""
    artifact, _ = int8_of("resnet, branches")
    doubled = {
        key: np.clip(array.astype(int) * 2, -128, 127) for key, array in artifact.arrays.items() if is_codes(array)
    }
    arrays = artifact.arrays | {key: array.astype(np.int8) for key, array in doubled.items()}
    scales = {f"{key}.scale": arrays[f"{key}.scale"] / 2 for key in doubled}
    biases = {key.replace(".weight", ".bias"): arrays[key.replace(".weight", ".bias")] * 2 for key in doubled}
    artifact = dataclasses.replace(artifact, arrays=arrays | scales | biases)
    steps = to_program(artifact).steps
    products = steps[steps[:, FIELDS.index("kind")] == KINDS.index("CODE_PRODUCTS")]
    assert set(products[:, FIELDS.index("form")]) == {FORMS.index("BYTES")}
    inputs = np.where(make_inputs(artifact, COUNT) > 128, np.uint8(255), np.uint8(0))
    expected = NumpySession(artifact).run({"image": inputs})
    np.testing.assert_allclose(run_c(artifact, inputs, tmp_path, options), expected, atol=EXACT)


def is_codes(array: np.ndarray) -> bool:
    return array.dtype == np.int8


@pytest.mark.slow
@pytest.mark.parametrize("options", PATHS)
@pytest.mark.parametrize("label", ["separable_cnn", "vit"])
def test_every_path_of_the_kernels_gives_the_same_numbers(label: str, options: tuple[str, ...], tmp_path: Path) -> None:
    artifact = make_artifact(label)
    found = run_c(artifact, make_inputs(artifact, COUNT), tmp_path, options)
    np.testing.assert_allclose(found, run_numpy(artifact, COUNT), atol=5e-6)


@pytest.mark.parametrize("bits", [16, 8, 4])
@pytest.mark.parametrize(
    "label", ["cnn", *(pytest.param(label, marks=pytest.mark.slow) for label in ("separable_cnn", "vit", "mlp"))]
)
def test_weights_in_fewer_bits_stay_so_in_the_file(label: str, bits: int, tmp_path: Path) -> None:
    trained = make_artifact(label)
    export_onnx(trained, tmp_path / "float.onnx")
    artifact = shrink_weights(trained, tmp_path / "float.onnx", tmp_path / "small.onnx", bits=bits)
    found = run_c(artifact, make_inputs(artifact, COUNT), tmp_path, QUICK)
    np.testing.assert_allclose(found, run_numpy(artifact, COUNT), atol=5e-6)
    if label == "cnn":
        assert source_of(artifact).weight_bytes < source_of(trained).weight_bytes * (bits + 4) / 32


def test_layers_in_floating_point_take_and_give_codes(oracle: SimpleNamespace, tmp_path: Path) -> None:
    from trimtab.compression import int8_artifact, quantize_int8
    from trimtab.compression.quantize import Int8, layers_of

    trained, path = make_artifact("cnn"), tmp_path / "mixed.onnx"
    export_onnx(trained, path)
    settings = Int8(float_layers=tuple(layers_of(path)[1:3]))
    quantize_int8(path, make_feeds(trained, 100, seed=5), path, settings=settings)
    artifact = int8_artifact(trained, path)
    assert sum(array.dtype == np.float32 and array.ndim == 4 for array in artifact.arrays.values()) == 2
    found = run_c(artifact, make_inputs(artifact, COUNT), tmp_path, QUICK)
    np.testing.assert_allclose(found, run_numpy(artifact, COUNT), atol=0.01)


@pytest.mark.parametrize("meta", [{"temperature": 1.7}, {"test_time": "mirror"}], ids=["temperature", "mirror"])
def test_what_goes_around_the_network_is_in_the_c(meta: dict[str, Any], tmp_path: Path) -> None:
    plain, artifact = make_artifact("resnet"), make_artifact("resnet", **meta)
    found = run_c(artifact, make_inputs(artifact, COUNT), tmp_path, QUICK)
    np.testing.assert_allclose(found, run_numpy(artifact, COUNT), atol=5e-6)
    assert np.abs(found - run_numpy(plain, COUNT)).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "form"),
    [
        ("cnn", "float"),
        ("vit, narrow heads", "float"),
        ("vit", "int8"),
        ("resnet, patch stem, separable", "int8"),
        ("mlp", "int8"),
    ],
)
def test_no_memory_is_misused_and_no_behavior_is_undefined(label: str, form: str, int8_of: Any, tmp_path: Path) -> None:
    artifact = make_artifact(label) if form == "float" else int8_of(label)[0]
    found = run_c(artifact, make_inputs(artifact, 5), tmp_path, SANITIZED)
    np.testing.assert_allclose(found, run_numpy(artifact, 5), atol=0.01)


def test_a_picture_that_is_large_is_computed_in_pieces(tmp_path: Path) -> None:
    artifact = make_artifact("cnn")
    artifact = dataclasses.replace(
        artifact, kwargs={**artifact.kwargs, "image_size": 130}, meta={**artifact.meta, "image_size": 130}
    )
    found = run_c(artifact, make_inputs(artifact, 3), tmp_path, QUICK)
    np.testing.assert_allclose(found, run_numpy(artifact, 3), atol=5e-6)


def test_the_compiled_kernels_are_small(tmp_path: Path) -> None:
    """What the model takes besides its weights and the example, in an object file without symbols."""
    import subprocess

    source, compiler = source_of(make_artifact("mlp")), find_compiler()
    assert compiler is not None
    for name, text in source.files.items():
        (tmp_path / name).write_text(text)
    options = ["-O3", "-march=native", "-fno-asynchronous-unwind-tables", "-c", "pets.c"]
    subprocess.run([compiler, *options], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "pets.o").stat().st_size - source.weight_bytes < 33_000


def test_the_program_takes_several_inputs_and_says_which_class_is_first(tmp_path: Path) -> None:
    import subprocess

    artifact, compiler = make_artifact("mlp"), find_compiler()
    assert compiler is not None
    program, inputs = compile_example(source_of(artifact), tmp_path, compiler, QUICK), make_inputs(artifact, 2)
    done = subprocess.run([program], input=inputs.tobytes(), capture_output=True, check=True, timeout=60)
    lines, best = done.stdout.decode().splitlines(), run_numpy(artifact, 2).argmax(axis=1)
    assert [lines[4 * number + place].endswith(f"{CLASS_NAMES[place]} <") for number, place in enumerate(best)] == [
        1,
        1,
    ]
    assert answers(program, inputs, CLASS_NAMES).shape == (2, 3)
    with pytest.raises(ValueError, match=r"expected the class 'dog'$"):
        answers(program, inputs, ["cat", "dog", "emu"])
