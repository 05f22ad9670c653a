"""Small pictures and files, and a cache of its own for each test."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]
MakeFolder = Callable[[Mapping[str, int]], Path]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TRIMTAB_CACHE", str(directory))
    return directory


@pytest.fixture
def encode() -> Encode:
    def encode_picture(mode: str = "RGB", file_format: str = "PNG", seed: int = 0, **options: Any) -> bytes:
        """A picture of 20 rows and 30 columns in a mode and format of Pillow."""
        pixels = np.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=np.uint8)
        return save(Image.fromarray(pixels).convert(mode), file_format, **options)

    return encode_picture


def save(picture: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.fixture
def make_folder(tmp_path: Path, encode: Encode) -> MakeFolder:
    def make(counts: Mapping[str, int]) -> Path:
        """photos/<folder>/<number>.png, as many of each folder as asked; names may hold slashes."""
        root = tmp_path / "photos"
        root.mkdir(exist_ok=True)
        for position, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True)
            for number in range(count):
                (root / folder / f"{number:03}.png").write_bytes(encode(seed=1000 * position + number))
        return root

    return make


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "churn.csv") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
