"""The check a server makes before it says that it is ready, and the made-up example that it makes it with.

It shows that this machine's runtime gives a stable probability distribution, how fast, and, where the manifest keeps
a golden answer, that it is the answer given where the bundle was made. It says nothing about the quality of the
model: the bundle's hashes and its parity report do.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError

if TYPE_CHECKING:
    from trimtab.deployment.predictor import Predictor

REPEATS = 7
MAX_CHECK_SECONDS = 1.0
TOLERANCE = 1e-3
GOLDEN_TOLERANCE = 0.05  # processors round an 8-bit model differently; one that is broken is further off


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What the check measured.

    Attributes
    ----------
    milliseconds
        Median time for one example, raw input to probabilities, after warm-up.
    """

    milliseconds: float


def self_check(predictor: Predictor, *, clock: Callable[[], float] = time.perf_counter) -> SelfCheck:
    """Predict one made-up example a few times and return how long it takes.

    Raises
    ------
    IntegrityError
        If an answer is not one probability per class that sum to 1, differs between calls, or is far from the
        manifest's ``golden`` answer.
    """
    example = example_input(predictor)
    first = predictor.predict_proba(example)  # warm-up
    _check_answer(predictor, first)
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < MAX_CHECK_SECONDS:
        started = clock()
        again = predictor.predict_proba(example)
        seconds.append(clock() - started)
        if not np.allclose(again, first, rtol=0, atol=TOLERANCE):
            raise _failed(predictor, "answers differently to the same example")
    return SelfCheck(milliseconds=float(np.median(seconds)) * 1000)


def golden_answer(predictor: Predictor) -> list[float]:
    """Return the probabilities of the made-up example, to be kept as ``golden`` in the manifest of a new bundle."""
    answer = predictor.predict_proba(example_input(predictor))
    return [round(float(probability), 6) for probability in answer[0]]


def _check_answer(predictor: Predictor, answer: NDArray[np.float32]) -> None:
    shape = (1, len(predictor.class_names))
    if answer.shape != shape or not (np.all(answer >= 0) and abs(float(answer.sum()) - 1) <= TOLERANCE):
        raise _failed(predictor, f"answers {answer.tolist()} to the check's example")
    golden = predictor.manifest.get("golden")
    if golden is not None and not np.allclose(answer[0], golden, rtol=0, atol=GOLDEN_TOLERANCE):
        raise _failed(predictor, f"answers {answer[0].tolist()}, where it was made {golden}")


def _failed(predictor: Predictor, finding: str) -> IntegrityError:
    return IntegrityError(
        f"the model {predictor.manifest.get('name', '')} {finding}",
        f"the same {len(predictor.class_names)} probabilities that sum to 1 every time",
        "export the bundle again, or compare the versions here with those in its manifest.json",
    )


def example_input(predictor: Predictor) -> list[Any]:
    """Return one example that the predictor takes: an encoded PNG of a colored gradient, or a typical row."""
    if predictor.kind == "table":
        return [example_row(predictor.manifest)]
    from PIL import Image

    details = predictor.manifest["preprocessing"]
    size, channels = int(details["image_size"]), int(details["channels"])
    ramp = np.linspace(0, 255, size, dtype=np.uint8)
    planes = np.broadcast_arrays(ramp[:, None], ramp[None, :], ramp[::-1, None])[:channels]
    picture = np.stack(planes, axis=-1) if channels > 1 else planes[0].copy()  # [H, W, 3] or [H, W]
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return [file.getvalue()]


def example_row(manifest: Mapping[str, Any]) -> dict[str, float | str]:
    """Return one row with the median of each number column and the first known value of each category column."""
    row: dict[str, float | str] = {}
    for column in table_columns(manifest):
        row[column["name"]] = column["typical"]
    return row


def table_columns(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a form needs to know of each column: ``name``, ``kind``, ``typical`` and a category's ``values``."""
    from trimtab.data.encoding import NumberEncoding, TableEncoder

    columns: list[dict[str, Any]] = []
    for column in TableEncoder.from_dict(manifest["preprocessing"]["encoder"]).columns:
        if isinstance(column, NumberEncoding):
            median = float(f"{column.median:.4g}")
            typical: float | str = int(median) if median.is_integer() else median
            columns.append({"name": column.name, "kind": "number", "typical": typical})
        else:
            values = [value for value in column.values if value]
            typical = values[0] if values else ""
            columns.append({"name": column.name, "kind": "category", "typical": typical, "values": values})
    return columns
