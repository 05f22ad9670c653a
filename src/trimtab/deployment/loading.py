"""From the name of a bundle to an object that predicts, by ONNX Runtime or by NumPy alone.

An engine's packages are imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.artifact import Artifact
from trimtab.deployment.bundle import ARTIFACT, MODEL, find_bundle, read_manifest
from trimtab.deployment.predictor import Predictor
from trimtab.deployment.session import AnySession, Session
from trimtab.errors import InputError, IntegrityError, nearest

ENGINES = ("onnx", "numpy")


def load(path: str | Path, *, threads: int = 1, engine: str = "onnx") -> Predictor:
    """Return the predictor of a bundle, or of a run that holds one, after verifying every file's hash.

    Parameters
    ----------
    path
        Of the bundle or run.
    threads
        That one prediction may use.
    engine
        ``"onnx"`` runs ``model.onnx`` in ONNX Runtime; ``"numpy"`` runs ``artifact/``, the same model, and needs
        NumPy alone (and Pillow to decode picture files).

    Raises
    ------
    ValueError
        If ``threads`` is below one or there is no such engine.
    InputError
        If there is no bundle, or the engine is not installed.
    IntegrityError
        If a file is missing or altered, or the bundle's artifact is not the delivered model.
    """
    if engine not in ENGINES:
        known = ", ".join(ENGINES)
        raise ValueError(f"there is no engine '{engine}'; expected one of {known}; {nearest(engine, ENGINES)}pick one.")
    directory = find_bundle(Path(path))
    manifest = read_manifest(directory)
    make_session = _numpy_session if engine == "numpy" else _onnx_session
    return Predictor(manifest, make_session(directory, manifest, threads), threads=threads)


def _onnx_session(directory: Path, _: Mapping[str, Any], threads: int) -> AnySession:
    try:
        return Session(directory / MODEL, threads=threads)
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise InputError(
            "onnxruntime is not installed",
            "it for the engine onnx",
            "pip install onnxruntime, or use the engine numpy (--engine numpy), which works without it",
        ) from error


def _numpy_session(directory: Path, manifest: Mapping[str, Any], threads: int) -> AnySession:
    from trimtab.deployment.numpy_session import NumpySession

    artifact = Artifact.load(directory / ARTIFACT)
    variant = manifest["model"]["variant"]
    if (variant == "float32") == ("quantization" in artifact.meta):
        raise IntegrityError(
            f"{directory / ARTIFACT} is not the delivered {variant} model",
            f"its {variant} weights",
            "use the engine onnx, or deliver the model again with this version of trimtab",
        )
    return NumpySession(artifact, threads=threads)
