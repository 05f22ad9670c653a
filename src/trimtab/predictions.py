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
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_SUFFIXES = ", ".join(_PICTURES)


def predict_files(run: str, inputs: list[str], *, out: str | None, as_json: bool, engine: str = "onnx") -> int:
    """Predict for pictures, or for the rows of one table, and print or write what came of it.

    Raises
    ------
    InputError
        If the inputs do not suit the model, or the engine (see `trimtab.load`) is not installed.
    """
    from trimtab.console import Console

    predictor = load(run, threads=available_threads(), engine=engine)
    if predictor.kind == "image":
        inputs = _expand(inputs)
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


def _expand(inputs: list[str]) -> list[str]:
    """Return the inputs with folders replaced by the pictures in them."""
    names: list[str] = []
    for name in inputs:
        if not Path(name).is_dir():
            names.append(name)
            continue
        found = sorted(str(path) for path in Path(name).rglob("*") if path.suffix.lower() in _PICTURES)
        if not found:
            raise InputError(f"the folder {name} holds no picture", f"files ending in {_SUFFIXES}", "give another")
        names += found
    return names


def _read_array(name: str) -> NDArray[Any]:
    try:
        with np.load(name, allow_pickle=False) as arrays:
            values: NDArray[Any] = arrays["X"]
            return values
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{name} cannot be read", "an .npz file with an array X of numbers", "write it anew"
        ) from error


def _predict(predictor: Predictor, inputs: list[str]) -> tuple[list[str], NDArray[np.float32], tuple[str, ...]]:
    if predictor.kind == "image":
        probabilities, warnings = predictor.predict_proba_with_warnings(inputs)
        return inputs, probabilities, warnings
    if len(inputs) != 1:
        raise InputError(
            f"there are {len(inputs)} inputs", "one CSV or Parquet file, since this model reads tables", "give one"
        )
    data = _read_array(inputs[0]) if inputs[0].endswith(".npz") else inputs[0]
    probabilities, warnings = predictor.predict_proba_with_warnings(data)
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
