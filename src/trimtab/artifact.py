"""A trained model as data: a builder's name, its keyword arguments, arrays, and what goes around them.

Two files, ``artifact.json`` and ``weights.safetensors``; neither can run code when it is read. NumPy is enough.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError
from trimtab.storage import new_directory, sha256_bytes, write_bytes, write_json

FORMAT = "trimtab-artifact/1"


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
        The state dict: torch's keys and layouts, parameters and running statistics.
    meta
        ``kind`` (``"image"`` or ``"table"``), ``class_names``, and the preprocessing: for pictures ``image_size``,
        ``channels``, ``mean`` and ``std`` (network input = (uint8 / 255 - mean) / std, NCHW); for tables ``encoder``.
    """

    builder: str
    kwargs: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of the weights file's content: equal exactly when every array is equal bit for bit."""
        return sha256_bytes(self._weights())

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
        from safetensors.numpy import load

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
                arrays=load(weights),
                meta=description["meta"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"{directory} is not a whole, unaltered artifact",
                "artifact.json and weights.safetensors, each with the hash that was written",
                "copy the directory again from where it was made, or train again",
            ) from error

    def _weights(self) -> bytes:
        from safetensors.numpy import save

        # safetensors writes the buffer as it lies in memory, strides unseen.
        return save({key: np.asarray(self.arrays[key], order="C") for key in sorted(self.arrays)})


def _hash(description: dict[str, Any]) -> str:
    return sha256_bytes(json.dumps(description, sort_keys=True).encode())
