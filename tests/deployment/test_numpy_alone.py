"""Bundles predict where NumPy is the only package: everything else is made unimportable in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.artifact import Artifact
from trimtab.deployment import load

OTHERS = ["torch", "onnxruntime", "onnx", "safetensors", "PIL", "sklearn", "pyarrow", "pandas", "scipy"]
OTHERS += ["matplotlib", "jinja2", "tqdm", "starlette", "uvicorn", "anyio"]
PROGRAM = f"""
import sys
for name in {OTHERS!r}:
    sys.modules[name] = None
import json
import numpy as np
import trimtab
bundle, data = sys.argv[1:]
if data.endswith(".npy"):
    data = np.load(data)
elif data.startswith("["):
    data = json.loads(data)
print(json.dumps(trimtab.load(bundle, engine="numpy").predict_proba(data).tolist()))
"""


def predict_alone(bundle: Path, data: str) -> np.ndarray:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle), data], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return np.array(json.loads(done.stdout), np.float32)


@pytest.fixture
def images(tmp_path: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    return pixels


def test_a_float_picture_bundle(
    bundle_of: Callable[[Artifact], Path], image_artifact: Artifact, images: np.ndarray, tmp_path: Path
) -> None:
    bundle = bundle_of(image_artifact)
    answers = predict_alone(bundle, str(tmp_path / "images.npy"))
    np.testing.assert_allclose(answers, load(bundle).predict_proba(images), atol=1e-5)


def test_pictures_of_any_size(bundle_of: Callable[[Artifact], Path], image_artifact: Artifact, tmp_path: Path) -> None:
    bundle = bundle_of(image_artifact)
    large = np.kron(
        np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8), np.ones((1, 7, 5, 1), np.uint8)
    )
    np.save(tmp_path / "large.npy", large)
    answers = predict_alone(bundle, str(tmp_path / "large.npy"))
    np.testing.assert_allclose(
        answers, load(bundle).predict_proba(large), atol=0.02
    )  # Pillow's pixels differ by a level


def test_an_int8_picture_bundle(image_artifact: Artifact, oracle: Any, images: np.ndarray, tmp_path: Path) -> None:
    int8 = oracle.make_int8(image_artifact, {"image": images}, tmp_path / "int8.onnx")
    bundle = oracle.write_bundle(tmp_path / "pets", int8, model=tmp_path / "int8.onnx")
    answers = predict_alone(bundle, str(tmp_path / "images.npy"))
    np.testing.assert_allclose(answers, load(bundle).predict_proba(images), atol=1e-2)


def test_a_table_bundle_from_rows_and_from_a_file(
    bundle_of: Callable[[Artifact], Path], table_artifact: Artifact, tmp_path: Path
) -> None:
    bundle = bundle_of(table_artifact)
    rows = [{"job": "cook", "age": 41, "/path": None}, {"job": "astronaut", "time stamp": "1.62e9"}, {"job": ""}]
    expected = load(bundle).predict_proba(rows)
    np.testing.assert_allclose(predict_alone(bundle, json.dumps(rows)), expected, atol=1e-5)
    (tmp_path / "rows.csv").write_text("job,age\ncook,41\nastronaut,\n")
    answers = predict_alone(bundle, str(tmp_path / "rows.csv"))
    np.testing.assert_allclose(answers, load(bundle).predict_proba(tmp_path / "rows.csv"), atol=1e-5)


def test_what_is_not_needed_is_not_imported_either(
    bundle_of: Callable[[Artifact], Path], image_artifact: Artifact, images: np.ndarray, tmp_path: Path
) -> None:
    program = (
        "import sys, numpy, trimtab\n"
        "trimtab.load(sys.argv[1], engine='numpy').predict(numpy.load(sys.argv[2]))\n"
        f"print(sorted(set({OTHERS!r}) & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", program, str(bundle_of(image_artifact)), str(tmp_path / "images.npy")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_engine_that_is_missing_names_the_one_that_is_there(
    bundle_of: Callable[[Artifact], Path], image_artifact: Artifact
) -> None:
    program = PROGRAM.replace(', engine="numpy"', "")
    arguments = [sys.executable, "-c", program, str(bundle_of(image_artifact)), "[]"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "trimtab.errors.InputError: onnxruntime is not installed; expected it for the engine onnx; "
        "pip install onnxruntime, or use the engine numpy (--engine numpy), which works without it."
    )
