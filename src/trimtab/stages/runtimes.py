"""The runtimes that a model may be delivered for: in which it is timed, and which of its files a limit is on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from trimtab.artifact import Artifact
from trimtab.deployment import Predictor
from trimtab.deployment.numpy_session import NumpySession
from trimtab.stages.formats import manifest_of, predictor_of

TARGETS: Mapping[str, str] = MappingProxyType({"native": "ONNX Runtime", "numpy": "the NumPy engine"})
"""What ``--target`` may be, and what it is in words."""


def predictor_for(target: str, artifact: Artifact, path: Path, threads: int) -> Predictor:
    """Return a predictor that computes with one of `TARGETS`.

    Parameters
    ----------
    target
        The runtime.
    artifact, path
        The same model for NumPy and as an ONNX file.
    threads
        That it may use.
    """
    if target == "numpy":
        return Predictor(manifest_of(artifact), NumpySession(artifact, threads=threads), threads=threads)
    return predictor_of(artifact, path, threads)


def megabytes_for(target: str, artifact: Artifact, path: Path) -> float:
    """Return the size of what one of `TARGETS` reads: the ONNX file, or the artifact's weights."""
    return (artifact.weights_size if target == "numpy" else path.stat().st_size) / 1e6
