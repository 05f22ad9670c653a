"""Generated C, compiled and loaded into this process: to time it and to compare its answers where they are needed.

What is delivered is the source; this is for those who want to know beforehand how fast it will be.

Legend: ``N`` examples, ``H W C`` height, width, channels, ``K`` classes.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.data.images import resize_image
from trimtab.deployment.c.checking import CompileError, find_compiler
from trimtab.deployment.c.lowering import to_program
from trimtab.deployment.c.source import OPTIONS, write_source
from trimtab.deployment.numpy_session import encode_feeds
from trimtab.deployment.signature import describe_inputs

_NAME = "model"
_LIBRARY = ("-shared", "-fPIC", "-s")
_COMPILE_SECONDS = 600.0


@final
class CSession:
    """A model as compiled C; what `trimtab.deployment.session.Session` is for an ONNX file.

    Parameters
    ----------
    artifact
        The model.

    Attributes
    ----------
    size
        Bytes of the compiled library: code and constants.

    Raises
    ------
    CompileError
        If there is no C compiler on the PATH, or it fails.
    ValueError
        If the model has a layer that no kernel is written for.
    """

    def __init__(self, artifact: Artifact) -> None:
        source = write_source(artifact, to_program(artifact), name=_NAME, sha256=artifact.sha256)
        self.input_names: tuple[str, ...] = tuple(spec.name for spec in describe_inputs(artifact.meta))
        self._meta, self._num_classes = artifact.meta, len(artifact.meta["class_names"])
        self._is_picture = artifact.meta["kind"] == "image"
        with tempfile.TemporaryDirectory(prefix="trimtab-c-") as name:
            library = _compile(source.files, Path(name))
            self.size = library.stat().st_size
            loaded = ctypes.CDLL(str(library))  # stays loaded when the file is gone
        self._predict = getattr(loaded, f"{_NAME}_predict" if self._is_picture else f"{_NAME}_predict_row")
        self._predict.argtypes, self._predict.restype = [ctypes.c_void_p] * 3, ctypes.c_int
        self._work = np.empty(-(-source.work_bytes // 4), np.float32)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the probabilities [N, K] for one array per input name."""
        rows = np.ascontiguousarray(self._pictures(feeds["image"]) if self._is_picture else self._encoded(feeds))
        found = np.empty((len(rows), self._num_classes), np.float32)
        for row, probabilities in zip(rows, found, strict=True):
            self._predict(row.ctypes.data, probabilities.ctypes.data, self._work.ctypes.data)
        return found

    def _pictures(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = int(self._meta["image_size"])
        if pictures.shape[1:3] == (size, size):
            return pictures
        return np.stack([resize_image(picture, size) for picture in pictures])

    def _encoded(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return encode_feeds(self._meta, feeds)


def _compile(files: Mapping[str, str], folder: Path) -> Path:
    """Return the files as a shared library."""
    compiler = find_compiler()
    if compiler is None:
        raise CompileError("there is no C compiler on the PATH")
    for name, text in files.items():
        (folder / name).write_text(text)
    library = folder / f"{_NAME}.so"
    command = [compiler, *OPTIONS, *_LIBRARY, f"{_NAME}.c", "-o", str(library)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_COMPILE_SECONDS)
    if done.returncode != 0:
        raise CompileError(done.stderr.strip() or f"{compiler} exits with {done.returncode}")
    return library
