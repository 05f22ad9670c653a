"""The runtimes that a model may be delivered for: in which it is timed, and which of its files a limit is on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from trimtab.artifact import Artifact
from trimtab.deployment import Predictor
from trimtab.deployment.numpy_session import NumpySession
from trimtab.errors import InputError
from trimtab.stages.formats import manifest_of, predictor_of

TARGETS: Mapping[str, str] = MappingProxyType(
    {"native": "ONNX Runtime", "numpy": "the NumPy engine", "c": "C compiled for this machine"}
)
"""What ``--target`` may be, and what it is in words."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A model in its runtime.

    Attributes
    ----------
    predictor
        Computes with it.
    megabytes
        Of what the runtime reads: the ONNX file, the artifact's weights, or the compiled library.
    """

    predictor: Predictor
    megabytes: float


def in_runtime(target: str, artifact: Artifact, path: Path, threads: int) -> Delivered:
    """Return a model in one of `TARGETS`.

    Parameters
    ----------
    target
        The runtime.
    artifact, path
        The same model for NumPy and as an ONNX file.
    threads
        That it may use; C uses one.
    """
    if target == "native":
        return Delivered(predictor=predictor_of(artifact, path, threads), megabytes=path.stat().st_size / 1e6)
    if target == "numpy":
        session = NumpySession(artifact, threads=threads)
        predictor = Predictor(manifest_of(artifact), session, threads=threads)
        return Delivered(predictor=predictor, megabytes=artifact.weights_size / 1e6)
    from trimtab.deployment.c.session import CSession

    compiled = CSession(artifact)
    return Delivered(predictor=Predictor(manifest_of(artifact), compiled, threads=1), megabytes=compiled.size / 1e6)


def check_target(target: str, threads: int) -> None:
    """Refuse a runtime that there is not.

    Raises
    ------
    InputError
        If it is none of `TARGETS`, or cannot be had here.
    """
    from trimtab.deployment.c.checking import COMPILERS, find_compiler

    if target not in TARGETS:
        raise InputError(f"--target is '{target}'", f"one of {', '.join(TARGETS)}", "choose one")
    if target == "c" and find_compiler() is None:
        raise InputError("--target is 'c'", f"a C compiler on the PATH ({', '.join(COMPILERS)})", "install one")
    if target == "c" and threads != 1:
        raise InputError(f"--target-cpu-threads is {threads}", "1 for C", "leave it out")
