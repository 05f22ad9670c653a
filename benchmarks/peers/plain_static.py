"""ONNX Runtime's static quantization as its documentation shows it: prepared, calibrated, the rest by default."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[Any]]


class Reader:
    """Calibration rows, one batch after the other, as the tool asks for them."""

    def __init__(self, batches: Iterable[Feeds]) -> None:
        self._batches: Iterator[Feeds] = iter(batches)

    def get_next(self) -> Feeds | None:
        """Return the next batch, ``None`` after the last."""
        return next(self._batches, None)


def quantize(float_onnx: Path, batches: Iterable[Feeds], out: Path) -> None:
    """Write the int8 file."""
    from onnxruntime.quantization import quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().addHandler(logging.NullHandler())  # or the tool installs one that prints
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(float_onnx), str(prepared), skip_symbolic_shape=True)  # which fails on resizing
        quantize_static(str(prepared), str(out), Reader(batches))
