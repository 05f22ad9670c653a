"""``trimtab predict``: files in, classes and probabilities out, for eyes, programs or a spreadsheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.deployment import Predictor, load
from trimtab.errors import InputError
from trimtab.machine import available_threads
from trimtab.storage import write_text

_SHOWN = 20


def predict_files(run: str, inputs: list[str], *, out: str | None, as_json: bool) -> int:
    """Predict for pictures, or for the rows of one table, and print or write what came of it.

    Raises
    ------
    InputError
        If the inputs do not suit the model.
    """
    from trimtab.console import Console

    predictor = load(run, threads=available_threads())
    names, probabilities, warnings = _predict(predictor, inputs)
    console = Console()
    for warning in warnings:
        console.warn(warning)
    if out is not None:
        from trimtab.stages.page import predictions_csv

        write_text(Path(out), predictions_csv(names, probabilities, predictor.class_names))
        print(f"{len(names):,} predictions in {out}")
    elif not as_json:
        _print(names, probabilities, predictor.class_names)
    if as_json:
        print(json.dumps(_summary(names, probabilities, predictor.class_names, warnings)))
    return 0


def _predict(predictor: Predictor, inputs: list[str]) -> tuple[list[str], NDArray[np.float32], tuple[str, ...]]:
    if predictor.kind == "image":
        probabilities, warnings = predictor.predict_proba_with_warnings(inputs)
        return inputs, probabilities, warnings
    if len(inputs) != 1:
        raise InputError(
            f"there are {len(inputs)} inputs", "one CSV or Parquet file, since this model reads tables", "give one"
        )
    probabilities, warnings = predictor.predict_proba_with_warnings(inputs[0])
    return [f"row {number + 1}" for number in range(len(probabilities))], probabilities, warnings


def _print(names: list[str], probabilities: NDArray[np.float32], class_names: tuple[str, ...]) -> None:
    width = max((len(name) for name in names[:_SHOWN]), default=0)
    for name, row in list(zip(names, probabilities, strict=True))[:_SHOWN]:
        best = int(row.argmax())
        print(f"{name:<{width}}  {class_names[best]}  {row[best]:.3f}")
    if len(names) > _SHOWN:
        print(f"... and {len(names) - _SHOWN:,} more: --out FILE.csv writes them all")


def _summary(
    names: list[str], probabilities: NDArray[np.float32], class_names: tuple[str, ...], warnings: tuple[str, ...]
) -> dict[str, Any]:
    predictions = [
        {
            "name": name,
            "class": class_names[int(row.argmax())],
            "probability": float(row.max()),
            "probabilities": {label: float(value) for label, value in zip(class_names, row, strict=True)},
        }
        for name, row in zip(names, probabilities, strict=True)
    ]
    return {"predictions": predictions, "warnings": list(warnings)}
