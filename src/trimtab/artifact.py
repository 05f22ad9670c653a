"""A trained model as data: a builder's name, its keyword arguments, arrays, and what goes around them.

Two files, ``artifact.json`` and ``weights.safetensors``; neither can run code when it is read. Reading them needs
NumPy alone; writing needs the safetensors package.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError
from trimtab.storage import new_directory, sha256_bytes, write_bytes, write_json

FORMAT = "trimtab-artifact/1"
_ELEMENTS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}  # safetensors' names of element types, and NumPy's


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What is needed to build a model again, in any engine.

    Attributes
    ----------
    builder
        A name in `trimtab.models.MODELS`.
    kwargs
        The builder's keyword arguments; plain JSON values.
    arrays
        The state dict: torch's keys and layouts, parameters and running statistics. Of an int8 model instead, for
        each convolution and linear layer, with batch normalization and fixed factors folded in: ``<layer>.weight`` int8
        and ``<layer>.weight.scale`` float32 [outputs], where the weight is the one times the other; ``<layer>.bias``
        int32 [outputs], where the bias is that times the weight's scale and the scale of the layer's input; and the
        parameters of layer normalizations and positions as they are. A layer may stay in floating point: a weight
        float32 or float16 without a scale. A bias may be float32 in any case.
    meta
        ``kind`` (``"image"`` or ``"table"``), ``class_names``, and the preprocessing: for pictures ``image_size``,
        ``channels``, ``mean`` and ``std`` (network input = (uint8 / 255 - mean) / std, NCHW); for tables ``encoder``.
        ``test_time``, where it is ``"mirror"``: the logits are the mean of those of the picture, resized, and of its
        left-right mirror image. ``temperature``, where there is one: probabilities are the softmax of the logits
        divided by it.
        Of an int8 model also ``quantization``: its ``activations`` are a mapping from a place in the network to
        ``[scale, zero_point]``, and what comes out there is rounded, half to even, to
        ``scale * (clip(round(x / scale) + zero_point, 0, 255) - zero_point)``. The places are ``"input"``, a layer's
        key in the state dict (after a rectifier that of the rectifier), and ``<key>.sum`` for a residual sum.
    """

    builder: str
    kwargs: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def has_mirror(self) -> bool:
        """Whether the model averages the logits of each picture and of its mirror image.

        Raises
        ------
        ValueError
            If the meta asks for anything else at test time, or for that with rows that are no pictures.
        """
        test_time = self.meta.get("test_time", "none")
        if test_time not in ("none", "mirror") or (test_time, self.meta.get("kind")) == ("mirror", "table"):
            raise ValueError(f"test_time is {test_time!r}; expected 'none', or for pictures 'mirror'; correct it.")
        return bool(test_time == "mirror")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one network input: (C, H, W) of a picture, (F,) of a table row."""
        if self.meta["kind"] == "image":
            return (self.meta["channels"], self.meta["image_size"], self.meta["image_size"])
        return (self.kwargs["in_features"],)

    @property
    def sha256(self) -> str:
        """Hash of the weights file's content: equal exactly when every array is equal bit for bit."""
        return sha256_bytes(self._weights())

    @property
    def weights_size(self) -> int:
        """Bytes of the weights file."""
        return len(self._weights())

    def save(self, directory: Path) -> None:
        """Write both files; the directory appears whole or not at all, and replaces one of the same name."""
        weights = self._weights()
        description = {
            "format": FORMAT,
            "builder": self.builder,
            "kwargs": self.kwargs,
            "meta": self.meta,
            "weights_sha256": sha256_bytes(weights),
        }
        with new_directory(directory) as temporary:
            write_bytes(temporary / "weights.safetensors", weights)
            write_json(temporary / "artifact.json", {**description, "description_sha256": _hash(description)})

    @classmethod
    def load(cls, directory: Path) -> Artifact:
        """Read and verify what `save` wrote.

        Raises
        ------
        IntegrityError
            If a file is missing, cannot be parsed, or does not have the hash that was written down.
        """
        try:
            description = json.loads((directory / "artifact.json").read_text())
            weights = (directory / "weights.safetensors").read_bytes()
            is_whole = description.pop("description_sha256") == _hash(description)
            if not is_whole or description["weights_sha256"] != sha256_bytes(weights):
                raise ValueError("hash")
            if description["format"] != FORMAT:
                raise ValueError("format")
            return cls(
                builder=description["builder"],
                kwargs=description["kwargs"],
                arrays=read_tensors(weights),
                meta=description["meta"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise IntegrityError(
                f"{directory} is not a whole, unaltered artifact",
                "artifact.json and weights.safetensors, each with the hash that was written",
                "copy the directory again from where it was made, or train again",
            ) from error

    def _weights(self) -> bytes:
        from safetensors.numpy import save

        # safetensors writes the buffer as it lies in memory, strides unseen.
        return save({key: np.asarray(self.arrays[key], order="C") for key in sorted(self.arrays)})


def read_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays in a safetensors file, by name, as copies.

    The file is eight bytes with the length of a header, the header in JSON, and the arrays' elements, little-endian,
    one array directly after the other; nothing else is accepted.

    Raises
    ------
    ValueError
        If the content is anything else; says what.
    """
    length, start = int.from_bytes(content[:8], "little"), 8
    if len(content) < start + length or content[start : start + 1] != b"{":
        raise ValueError("there is no whole header")
    data = memoryview(content)[start + length :]
    header = json.loads(content[start : start + length].decode(), object_pairs_hook=_unique)
    header.pop("__metadata__", None)
    entries = sorted((_check_entry(name, entry), name) for name, entry in header.items())
    ends = [0, *(end for (_, end, _, _), _ in entries)]
    if [begin for (begin, _, _, _), _ in entries] != ends[:-1] or ends[-1] != len(data):
        raise ValueError("the arrays do not lie one after the other from the header to the end")
    return {name: _to_array(data[begin:end], kind, shape) for (begin, end, kind, shape), name in entries}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in the header")
    return found


def _check_entry(name: str, entry: Any) -> tuple[int, int, str, list[int]]:
    """Return where an array begins and ends, its element type as NumPy calls it, and its shape."""
    match entry:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [begin, end]} if len(entry) == 3:
            are_counts = all(type(count) is int and count >= 0 for count in (*shape, begin, end))
            if kind in _ELEMENTS and are_counts:
                size = np.dtype(_ELEMENTS[kind]).itemsize * math.prod(shape)
                if end - begin == size:
                    return begin, end, _ELEMENTS[kind], shape
    raise ValueError(f"the header's entry for '{name}' does not describe an array")


def _to_array(content: memoryview, kind: str, shape: list[int]) -> NDArray[Any]:
    values = np.frombuffer(content, np.dtype(kind))
    if kind == "|b1" and values.view(np.uint8).max(initial=0) > 1:
        raise ValueError("an array of truth values holds something else")
    try:
        return values.astype(values.dtype.newbyteorder("=")).reshape(shape)
    except (OverflowError, ValueError) as error:  # an empty array of absurd shape
        raise ValueError("a shape is too large") from error


def _hash(description: dict[str, Any]) -> str:
    return sha256_bytes(json.dumps(description, sort_keys=True).encode())
