"""What the kernels in C run: steps over tensors in one piece of memory, and constants.

It knows nothing of layers or of artifacts, and writes no text. The fields of a step are those of ``Step`` in
``kernels.c``, in its order; a program in another language can write the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = (
    "PIXELS",
    "ROW",
    "QUANTIZE",
    "DEQUANTIZE",
    "PRODUCTS",
    "DEPTHWISE",
    "CODE_PRODUCTS",
    "CODE_DEPTHWISE",
    "MAXIMUM",
    "CODE_MAXIMUM",
    "MEAN",
    "CODE_MEAN",
    "ADD",
    "CODE_ADD",
    "ADD_CONSTANT",
    "GELU",
    "NORMALIZE",
    "ATTENTION",
    "LOOK_UP",
)
FORMS = ("FLOATS", "HALVES", "BYTES", "NIBBLES", "SMALL_BYTES")
FIELDS = (
    "kind",
    "source",
    "other",
    "result",
    "height",
    "width",
    "channels",
    "out_height",
    "out_width",
    "out_channels",
    "kernel_height",
    "kernel_width",
    "stride",
    "padding",
    "rectify",
    "heads",
    "form",
    "weight",
    "bias",
    "scale",
    "correction",
    "depth",
    "rows",
    "patches",
    "panels",
    "zero",
    "other_zero",
    "out_zero",
)

BLOCK = 16
"""Numbers that kernels treat at a time; a tensor has room for so many more."""

_MOST = 2**31 - 1  # places are 32-bit numbers
_LINE = 16  # floats of a cache line: tensors and constants start at one


@dataclass(frozen=True)
class Grid:
    """The 256 values that a code can stand for: ``scale * (code - zero)``."""

    scale: np.float32
    zero: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """What lies between two steps: [height, width, channels], as floats, or on a grid as codes of one byte."""

    height: int
    width: int
    channels: int
    grid: Grid | None = None

    @property
    def pixels(self) -> int:
        """How many there are, or tokens."""
        return self.height * self.width

    @property
    def floats(self) -> int:
        """Its place in memory, in floats."""
        size = self.pixels * self.channels
        return size if self.grid is None else -(-size // 4)


@dataclass(frozen=True)
class Step:
    """One step: its kind, what it reads and makes, further fields, and the scratch it needs, in floats by field."""

    kind: str
    sources: tuple[Tensor, ...]
    result: Tensor
    fields: Mapping[str, int] = field(default_factory=dict)
    scratch: Mapping[str, int] = field(default_factory=dict)


class Constants:
    """Floats, whole numbers and bytes that steps refer to by their places."""

    def __init__(self) -> None:
        self._arrays: dict[str, list[NDArray[Any]]] = {"<f4": [], "<i4": [], "|i1": []}
        self._sizes = dict.fromkeys(self._arrays, 0)

    def add(self, values: NDArray[Any]) -> int:
        """Keep float32, int32 or int8 numbers, and return their place among those of their type.

        Raises
        ------
        ValueError
            If a float is not finite.
        """
        flat = np.ravel(values)
        if flat.dtype.kind == "f" and not np.isfinite(flat).all():
            raise ValueError("there are weights that are not finite")
        kind = flat.dtype.newbyteorder("<").str
        place = self._sizes[kind]
        padded = np.zeros(-(-len(flat) // (4 * _LINE)) * 4 * _LINE, flat.dtype)
        padded[: len(flat)] = flat
        self._arrays[kind].append(padded)
        self._sizes[kind] += len(padded)
        return place

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers there are of each type."""
        return tuple(self._sizes.values())

    @property
    def floats(self) -> NDArray[np.float32]:
        """All that were added, one after the other, each at the start of a cache line."""
        return self._joined("<f4", np.float32)

    @property
    def wholes(self) -> NDArray[np.int32]:
        """The same of whole numbers."""
        return self._joined("<i4", np.int32)

    @property
    def bytes(self) -> NDArray[np.int8]:
        """The same of bytes."""
        return self._joined("|i1", np.int8)

    def _joined(self, kind: str, element: type) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, element), *self._arrays[kind]])


@dataclass(frozen=True, kw_only=True)
class Program:
    """A model as the kernels run it.

    Attributes
    ----------
    steps
        int32 [steps, fields].
    floats, wholes, bytes
        The constants.
    memory
        Floats of working memory.
    logits
        Their place in it.
    """

    steps: NDArray[np.int32]
    floats: NDArray[np.float32]
    wholes: NDArray[np.int32]
    bytes: NDArray[np.int8]
    memory: int
    logits: int


def compile_steps(steps: Sequence[Step], constants: Constants) -> Program:
    """Give every tensor a place, and return the program; the last step makes the logits.

    Raises
    ------
    ValueError
        If places in memory or in the constants are too large for the kernels' numbers.
    """
    places, memory = _place(steps)
    if max(memory, *constants.sizes) > _MOST:
        largest = max(memory, *constants.sizes)
        raise ValueError(f"{largest:,} numbers lie in one piece; expected at most {_MOST:,}.")
    rows = [_row(step, index, places) for index, step in enumerate(steps)]
    return Program(
        steps=np.array(rows, np.int32),
        floats=constants.floats,
        wholes=constants.wholes,
        bytes=constants.bytes,
        memory=memory,
        logits=places[steps[-1].result],
    )


# ---- memory ----

_Scratch = tuple[int, str]  # a step and the field


def _place(steps: Sequence[Step]) -> tuple[dict[Tensor | _Scratch, int], int]:
    """Return where each tensor lies, so that none that is needed is overwritten, and the memory that takes.

    The largest come first, each at the lowest place that is free as long as it lives.
    """
    spans: dict[Tensor | _Scratch, tuple[int, int, int]] = {}  # first step, last step, floats
    for index, step in enumerate(steps):
        for tensor in (*step.sources, step.result):
            first = spans[tensor][0] if tensor in spans else index
            spans[tensor] = first, index, _aligned(tensor.floats + BLOCK)
        spans |= {(index, name): (index, index, _aligned(floats)) for name, floats in step.scratch.items()}
    last = steps[-1].result
    spans[last] = spans[last][0], len(steps), spans[last][2]
    places: dict[Tensor | _Scratch, int] = {}
    for item, (first, end, size) in sorted(spans.items(), key=lambda pair: -pair[1][2]):
        place = 0
        taken = [(places[other], spans[other]) for other in places]
        for start, (other_first, other_end, other_size) in sorted(taken, key=lambda pair: pair[0]):
            overlaps = other_first <= end and first <= other_end
            if overlaps and start < place + size and place < start + other_size:
                place = start + other_size
        places[item] = place
    return places, max(places[item] + spans[item][2] for item in places)


def _aligned(floats: int) -> int:
    return -(-floats // _LINE) * _LINE


def _row(step: Step, index: int, places: Mapping[Tensor | _Scratch, int]) -> list[int]:
    source, result = (*step.sources, step.result)[0], step.result
    values = {
        "kind": KINDS.index(step.kind),
        "source": places[source],
        "other": places[step.sources[-1]] if step.sources else 0,
        "result": places[result],
        "height": source.height,
        "width": source.width,
        "channels": source.channels,
        "out_height": result.height,
        "out_width": result.width,
        "out_channels": result.channels,
        "zero": _zero(source),
        "other_zero": _zero(step.sources[-1]) if step.sources else 0,
        "out_zero": _zero(result),
        **step.fields,
        **{name: places[index, name] for name in step.scratch},
    }
    return [values.get(name, 0) for name in FIELDS]


def _zero(tensor: Tensor) -> int:
    """Return the code of zero; -1 where there are no codes."""
    return -1 if tensor.grid is None else tensor.grid.zero
