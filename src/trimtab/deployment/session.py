"""The one door to ONNX Runtime for inference: quiet, offline, with the threads it was given and no more.

Training frameworks and the onnx package are not needed here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError

_FATAL_ONLY = 4  # failures reach the caller as exceptions; the log would only say them twice


class AnySession(Protocol):
    """A loaded model: what a predictor asks for probabilities."""

    input_names: tuple[str, ...]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return probabilities [N, K] for one array per input name."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input of a graph: its name, ONNX Runtime's name of its type, its sizes (a text or ``None`` where free)."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


@final
class Session:
    """A loaded ONNX model with one output.

    Parameters
    ----------
    path
        The model file.
    threads
        Threads for one operator; operators run one after the other. Idle threads sleep.

    Raises
    ------
    ValueError
        If ``threads`` is below one.
    IntegrityError
        If the file is missing or no model that this ONNX Runtime can run.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; expected at least 1; see trimtab.machine.available_threads().")
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _FATAL_ONLY
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no class of their own
            raise IntegrityError(
                f"{path} cannot be loaded ({_first_line(error)})",
                "an ONNX model that this version of ONNX Runtime can run",
                "copy the file again from where it was made",
            ) from error
        self.inputs = tuple(
            Tensor(name=entry.name, type=entry.type, shape=tuple(entry.shape)) for entry in self._session.get_inputs()
        )
        self.input_names: tuple[str, ...] = tuple(tensor.name for tensor in self.inputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the output for one array per input name."""
        output: NDArray[np.float32] = self._session.run(None, dict(feeds))[0]
        return output


def import_onnxruntime() -> Any:
    """Return the onnxruntime module, imported with its telemetry off: no file, no connection.

    A user who has set ``ORT_DISABLE_TELEMETRY`` keeps what was set.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
