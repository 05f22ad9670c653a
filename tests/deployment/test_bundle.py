from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trimtab.artifact import Artifact
from trimtab.deployment import find_bundle, load, read_manifest
from trimtab.errors import InputError, IntegrityError
from trimtab.storage import sha256_file

FILES = {"README.txt", "artifact/artifact.json", "artifact/weights.safetensors", "model.onnx", "parity.json"}


@pytest.fixture
def bundle(bundle_of: Callable[[Artifact], Path], image_artifact: Artifact, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(bundle_of(image_artifact), tmp_path / "pets"))


def test_manifest_describes_the_model(bundle: Path, image_artifact: Artifact) -> None:
    manifest = read_manifest(bundle)
    assert manifest["format"] == "trimtab-bundle/1"
    assert manifest["name"] == "pets"
    assert manifest["kind"] == "image"
    assert manifest["inputs"] == [{"name": "image", "dtype": "uint8", "shape": ["N", "H", "W", 3]}]
    assert manifest["outputs"] == [{"name": "probabilities", "dtype": "float32", "shape": ["N", 3]}]
    assert manifest["class_names"] == ["cat", "dog", "emu"]
    assert manifest["metrics"]["accuracy"]["low"] == 0.8
    assert manifest["budget"] == {"minutes": 2, "megabytes": None, "milliseconds": None}
    assert manifest["cost"]["milliseconds_p95"] == 2.0
    assert manifest["verdict"]["verdict"] == "met"
    assert manifest["versions"] == {"trimtab": "0.1.0"}
    assert manifest["model"] == {"builder": "cnn", "kwargs": image_artifact.kwargs, "variant": "float32"}
    assert manifest["preprocessing"] == image_artifact.meta
    assert manifest["hashes"] == {name: sha256_file(bundle / name) for name in FILES}


def test_inputs_of_a_table_name_their_columns(bundle_of: Callable[[Artifact], Path], table_artifact: Artifact) -> None:
    inputs = {entry["name"]: entry for entry in read_manifest(bundle_of(table_artifact))["inputs"]}
    assert inputs["age"] == {"name": "age", "dtype": "float32", "shape": ["N", 1], "column": "age"}
    assert inputs["column probabilities"]["column"] == "probabilities"


def test_artifact_and_parity_are_inside(bundle: Path, image_artifact: Artifact) -> None:
    assert Artifact.load(bundle / "artifact").sha256 == image_artifact.sha256
    assert json.loads((bundle / "parity.json").read_text())["label_flips"] == 0
    assert "model.predict" in (bundle / "README.txt").read_text()


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_altered_byte_is_found(name: str, bundle: Path) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        load(bundle)
    assert str(caught.value) == (
        f"{bundle / name} is not the file that was written; expected the SHA-256 that the manifest lists; "
        "copy the bundle again from where it was made."
    )


def test_missing_file_is_named(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    with pytest.raises(IntegrityError) as caught:
        load(bundle)
    assert str(caught.value) == (
        f"{bundle / 'model.onnx'} is missing; expected every file that the manifest lists; "
        "copy the bundle again from where it was made."
    )


@pytest.mark.parametrize(("meta", "temperature"), [({}, 1.0), ({"temperature": 1.5}, 1.5)])
def test_the_manifest_says_the_temperature(
    meta: dict[str, Any], temperature: float, image_artifact: Artifact, oracle: Any, tmp_path: Path
) -> None:
    artifact = dataclasses.replace(image_artifact, meta={**image_artifact.meta, **meta})
    manifest = load(oracle.write_bundle(tmp_path / "pets", artifact)).manifest
    assert manifest["temperature"] == temperature
    assert manifest["preprocessing"] == image_artifact.meta


def swap_classes(manifest: dict[str, Any]) -> None:
    manifest["class_names"].reverse()


def better_accuracy(manifest: dict[str, Any]) -> None:
    manifest["metrics"]["accuracy"]["value"] = 1.0


def other_format(manifest: dict[str, Any]) -> None:
    manifest["format"] = "trimtab-bundle/9"


def no_hashes(manifest: dict[str, Any]) -> None:
    manifest["hashes"] = {}


@pytest.mark.parametrize("alter", [swap_classes, better_accuracy, other_format, no_hashes])
def test_altered_manifest_is_found(alter: Callable[[dict[str, Any]], None], bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    alter(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError) as caught:
        load(bundle)
    assert str(caught.value) == (
        f"{bundle / 'manifest.json'} is not the file that was written; expected a whole manifest of the format "
        "trimtab-bundle/1; copy the bundle again from where it was made."
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"format": 1}', b"\xff\xfe", b"[" * 100_000])
def test_manifest_that_is_none_is_refused(content: bytes, bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"manifest\.json is not the file that was written"):
        load(bundle)


def test_run_directory_stands_for_its_bundle(bundle: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(bundle, run / "bundle")
    assert find_bundle(run) == run / "bundle"
    assert load(run).class_names == ("cat", "dog", "emu")


@pytest.mark.parametrize(("name", "given"), [("nowhere", "there is no directory {}"), ("empty", "{} holds no bundle")])
def test_missing_bundle_is_named(name: str, given: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        load(tmp_path / name)
    assert str(caught.value) == (
        f"{given.format(tmp_path / name)}; expected a bundle (a directory with manifest.json and model.onnx) or a "
        "finished run that holds one; give the directory that `trimtab run` printed."
    )


def test_bundle_is_whole_or_absent(image_artifact: Artifact, oracle: Any, tmp_path: Path) -> None:
    directory = tmp_path / "pets"
    broken = Artifact(
        builder="cnn",
        kwargs=image_artifact.kwargs,
        arrays=image_artifact.arrays,
        meta={**image_artifact.meta, "note": float("nan")},
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        oracle.write_bundle(directory, broken)
    assert [path.name for path in tmp_path.iterdir()] == ["pets.onnx"]
