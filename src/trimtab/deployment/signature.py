"""What an exported model takes and gives, from an artifact's ``meta``; needs neither onnx nor onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OUTPUT = "probabilities"


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, element type (``"uint8"``, ``"float32"``, ``"string"``) and shape of an input or output.

    A dimension that is a string (``"N"``, ``"H"``, ``"W"``) may be any size. ``column`` is the table column that
    the input holds, ``None`` for pictures and for the output.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    column: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the column only where there is one."""
        fields = {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}
        return fields if self.column is None else {**fields, "column": self.column}


def describe_inputs(meta: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    """Return the inputs in order: ``image``, or one per column of the table."""
    if meta["kind"] == "image":
        return (TensorSpec(name="image", dtype="uint8", shape=("N", "H", "W", int(meta["channels"]))),)
    return tuple(
        TensorSpec(
            name=name_input(column["name"]),
            dtype="float32" if column["kind"] == "number" else "string",
            shape=("N", 1),
            column=column["name"],
        )
        for column in meta["encoder"]["columns"]
    )


def describe_outputs(meta: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    """Return the one output: a probability per class."""
    return (TensorSpec(name=OUTPUT, dtype="float32", shape=("N", len(meta["class_names"]))),)


def name_input(column: str) -> str:
    """Return the input of a column: its own name, but for the few that the graph itself needs."""
    return f"column {column}" if column in ("", OUTPUT) or column.startswith("/") else column
