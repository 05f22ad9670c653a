from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trimtab.artifact import Artifact
from trimtab.deployment import export_onnx
from trimtab.deployment.session import Session
from trimtab.errors import IntegrityError


def test_model_runs_at_any_batch_size(image_artifact: Artifact, tmp_path: Path) -> None:
    export_onnx(image_artifact, tmp_path / "m.onnx")
    session = Session(tmp_path / "m.onnx", threads=2)
    images = np.random.default_rng(0).integers(0, 256, (7, 20, 9, 3), dtype=np.uint8)
    whole = session.run({"image": images})
    parts = np.concatenate([session.run({"image": images[:1]}), session.run({"image": images[1:]})])
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-6)
    assert session.input_names == ("image",)


def test_file_that_is_no_model_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(IntegrityError) as caught:
        Session(path)
    assert caught.value.given.startswith(f"{path} cannot be loaded (")
    assert caught.value.expected == "an ONNX model that this version of ONNX Runtime can run"
    assert caught.value.action == "copy the file again from where it was made"
    assert capfd.readouterr() == ("", "")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"cannot be loaded \(.*No such file"):
        Session(tmp_path / "m.onnx")


def test_no_thread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="threads is 0; expected at least 1"):
        Session(tmp_path / "m.onnx", threads=0)


def test_running_leaves_no_file_in_the_home_directory(image_artifact: Artifact, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    export_onnx(image_artifact, tmp_path / "m.onnx")
    program = (
        "import sys, numpy; from pathlib import Path; from trimtab.deployment.session import Session\n"
        "session = Session(Path(sys.argv[1]))\n"
        "print(session.run({'image': numpy.zeros((1, 5, 5, 3), numpy.uint8)}).shape)"
    )
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "m.onnx")],
        env={**inherited, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("(1, 3)\n", "")
    assert list(home.rglob("*")) == []
