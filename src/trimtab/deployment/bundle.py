"""The bundle: a directory with everything that a delivered model needs, every byte of it accounted for.

Writing and verifying. The hashes find damage and mix-ups; they are no signature: whoever can write the manifest can
write new hashes. Loading never executes anything from the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from trimtab.artifact import Artifact
from trimtab.budget import Budget, Cost, Verdict
from trimtab.deployment.parity import ParityReport
from trimtab.deployment.signature import describe_inputs, describe_outputs
from trimtab.errors import InputError, IntegrityError
from trimtab.storage import new_directory, sha256_bytes, sha256_file, write_bytes, write_json, write_text

FORMAT = "trimtab-bundle/1"
MODEL = "model.onnx"
ARTIFACT = "artifact"
_MANIFEST = "manifest.json"
_NEEDED = ("name", "kind", "class_names", "inputs", "outputs", "preprocessing", "model", "hashes")

# Of an artifact's meta; the rest describes its input and classes.
_OF_THE_NETWORK = ("quantization", "temperature", "test_time")


def write_bundle(
    directory: Path,
    *,
    onnx_path: Path,
    artifact: Artifact,
    parity: ParityReport,
    name: str,
    variant: str,
    metrics: Mapping[str, Any],
    budget: Budget,
    cost: Cost,
    verdict: Verdict,
    versions: Mapping[str, str],
    golden: Sequence[float] | None = None,
) -> None:
    """Write the bundle; the directory appears whole or not at all, and replaces one of the same name.

    Parameters
    ----------
    directory
        Where; its files are ``model.onnx``, ``manifest.json``, ``artifact/``, ``parity.json``, ``README.txt``.
    onnx_path
        The delivered model, copied.
    artifact
        The same model for NumPy: of an int8 one the int8 numbers, not the float weights that they were made from.
    parity
        Float export against the trained model.
    name
        Of the run.
    variant
        ``"float32"`` or ``"int8"``.
    metrics
        Metric name to value, low, high, method, level: plain JSON values.
    budget, cost, verdict
        Limits, measurements, and the one against the other.
    versions
        Of the packages that made the model.
    golden
        The delivered model's probabilities for the made-up example of `golden_answer`; a server compares its own.

    Raises
    ------
    ValueError
        If a value is not JSON (NaN and infinity are not).
    """
    with new_directory(directory) as temporary:
        write_bytes(temporary / MODEL, onnx_path.read_bytes())
        artifact.save(temporary / ARTIFACT)
        write_json(temporary / "parity.json", parity.to_dict())
        write_text(temporary / "README.txt", _readme(name, artifact))
        manifest = {
            "format": FORMAT,
            "name": name,
            "kind": artifact.meta["kind"],
            "inputs": [spec.to_dict() for spec in describe_inputs(artifact.meta)],
            "outputs": [spec.to_dict() for spec in describe_outputs(artifact.meta)],
            "class_names": list(artifact.meta["class_names"]),
            "metrics": dict(metrics),
            "budget": asdict(budget),
            "cost": cost.to_dict(),
            "verdict": verdict.to_dict(),
            "versions": dict(versions),
            "golden": None if golden is None else list(golden),
            "model": {"builder": artifact.builder, "kwargs": artifact.kwargs, "variant": variant},
            "temperature": artifact.meta.get("temperature", 1.0),
            "test_time": artifact.meta.get("test_time", "none"),
            "preprocessing": {key: value for key, value in artifact.meta.items() if key not in _OF_THE_NETWORK},
            "hashes": _hash_files(temporary),
        }
        write_json(temporary / _MANIFEST, {**manifest, "manifest_sha256": _hash_manifest(manifest)})


def find_bundle(path: Path) -> Path:
    """Return the bundle's directory: ``path`` itself, or its ``bundle/`` when ``path`` is a run.

    Raises
    ------
    InputError
        If there is no bundle.
    """
    for directory in (path, path / "bundle"):
        if (directory / _MANIFEST).is_file():
            return directory
    given = f"{path} holds no bundle" if path.is_dir() else f"there is no directory {path}"
    raise InputError(
        given,
        f"a bundle (a directory with {_MANIFEST} and {MODEL}) or a finished run that holds one",
        "give the directory that `trimtab run` printed",
    )


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a bundle after every file was found to be the one that was written.

    Raises
    ------
    IntegrityError
        If the manifest or a file is missing, altered or of another format; names it.
    """
    try:
        manifest = json.loads((directory / _MANIFEST).read_bytes())
        written = manifest.pop("manifest_sha256")
        is_whole = manifest["format"] == FORMAT and all(key in manifest for key in _NEEDED)
        if not is_whole or written != _hash_manifest(manifest) or MODEL not in manifest["hashes"]:
            raise ValueError("format or hash")
        hashes = dict(manifest["hashes"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _altered(directory / _MANIFEST, f"a whole manifest of the format {FORMAT}") from error
    for name, expected in hashes.items():
        path = directory / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise _altered(directory / _MANIFEST, "file names inside the bundle")
        if not path.is_file():
            raise _altered(path, "every file that the manifest lists", "is missing")
        if sha256_file(path) != expected:
            raise _altered(path, "the SHA-256 that the manifest lists")
    return dict(manifest)


def _hash_files(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): sha256_file(path) for path in files}


def _hash_manifest(manifest: Mapping[str, Any]) -> str:
    return sha256_bytes(json.dumps(manifest, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _altered(path: Path, expected: str, what: str = "is not the file that was written") -> IntegrityError:
    return IntegrityError(f"{path} {what}", expected, "copy the bundle again from where it was made")


def _readme(name: str, artifact: Artifact) -> str:
    if artifact.meta["kind"] == "image":
        channels = artifact.meta["channels"]
        takes = f'"image", uint8 [N, H, W, {channels}], any height and width; resizing and scaling are in the model'
        call = 'model.predict(["picture.jpg"])'
    else:
        first = artifact.meta["encoder"]["columns"][0]["name"]
        takes = "one input [N, 1] per column: float32 (NaN where missing) or string; encoding is in the model"
        call = f"model.predict([{{{first!r}: ..., ...}}])"
    return f"""{name}: a classifier made by trimtab.

In Python, with `pip install trimtab` (no training framework is needed):

    import trimtab
    model = trimtab.load("this directory")
    {call}

Where there is NumPy and nothing else:  trimtab.load("this directory", engine="numpy")

Over HTTP:  trimtab serve "this directory"

In any ONNX runtime:  {MODEL}
    takes  {takes}
    gives  "probabilities", float32 [N, {len(artifact.meta["class_names"])}], in the order of "class_names"

{_MANIFEST} says what it takes and gives, how good it was measured to be and what it costs.
{ARTIFACT}/ holds the same model as plain arrays (safetensors and JSON; int8 where the model is int8): what NumPy runs.
parity.json says how closely the float export agrees with the trained network.
"""
