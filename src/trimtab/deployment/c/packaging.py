"""A bundle as C in a folder, with the verdict of the check on what was written.

Legend: ``N`` examples, ``H W C`` height, width, channels, ``F`` features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.data.encoding import TableEncoder
from trimtab.data.images import decode_image, resize_image
from trimtab.deployment.bundle import ARTIFACT, find_bundle
from trimtab.deployment.c import checking
from trimtab.deployment.c.checking import DIFFERS, Check
from trimtab.deployment.c.lowering import to_program
from trimtab.deployment.c.program import KINDS, Program
from trimtab.deployment.c.source import Source, identifier, write_source
from trimtab.deployment.loading import load
from trimtab.deployment.parity import TOLERANCE
from trimtab.deployment.predictor import Predictor
from trimtab.deployment.server_check import GOLDEN_TOLERANCE, example_input, example_row, table_columns
from trimtab.errors import InputError
from trimtab.storage import new_directory, sha256_file, write_json, write_text

REPORT = "check.json"

_PICTURES = 24  # made up, of each coarseness
_GRAINS = (1, 4, 16)  # pixels of a made-up picture's side
_ROWS = 64
_UNKNOWN = "no value that training had"


@dataclass(frozen=True, kw_only=True)
class CPackage:
    """What was written, and whether it answers as the bundle does.

    Attributes
    ----------
    directory
        Where it is.
    source
        The files and their sizes.
    check
        What compiling and running them found.
    """

    directory: Path
    source: Source
    check: Check

    def to_dict(self) -> dict[str, Any]:
        """Return what `REPORT` holds."""
        return {
            "format": "c",
            "name": self.source.name,
            "files": sorted(self.source.files),
            "weight_bytes": self.source.weight_bytes,
            "work_bytes": self.source.work_bytes,
            **self.check.to_dict(),
        }


def package_c(path: Path, out: Path) -> CPackage:
    """Write a bundle's model as C, then compile it and compare its answers with those of the NumPy engine.

    The examples are made up: the one that the bundle keeps a golden answer for, and others of many kinds.

    Parameters
    ----------
    path
        Of the bundle, or of a run that holds one.
    out
        The folder to write; it appears whole or not at all, and replaces an earlier package.

    Raises
    ------
    InputError
        If there is no bundle, its model has a layer that no kernel is written for, or ``out`` holds something else.
    IntegrityError
        If a file of the bundle was altered.
    """
    _check_free(out)
    bundle = find_bundle(path)
    predictor = load(bundle, engine="numpy")
    artifact = Artifact.load(bundle / ARTIFACT)
    try:
        program = to_program(artifact)
    except ValueError as error:
        raise InputError(
            f"the model of {bundle} cannot become C ({str(error).rstrip('.')})",
            "layers and numbers that the kernels in C have a form for",
            "package it as ONNX, or choose another network",
        ) from error
    name = identifier(str(predictor.manifest["name"]))
    weights = sha256_file(bundle / ARTIFACT / "weights.safetensors")
    source = write_source(artifact, program, name=name, sha256=weights)
    made = CPackage(directory=out, source=source, check=_check(source, program, predictor))
    with new_directory(out) as temporary:
        for file, text in source.files.items():
            write_text(temporary / file, text)
        write_json(temporary / REPORT, made.to_dict())
    return made


def _check_free(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier package."""
    if out.exists() and not (out / REPORT).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something else", "an empty folder or an earlier package", "choose another --out")


def _check(source: Source, program: Program, predictor: Predictor) -> Check:
    inputs, expected = _examples(predictor)
    tolerance = GOLDEN_TOLERANCE if _rounds_floats(program) else TOLERANCE
    found = checking.check(source, inputs, expected, predictor.class_names, tolerance=tolerance)
    golden = predictor.manifest.get("golden")
    if found.first is None or golden is None or np.allclose(found.first, golden, rtol=0, atol=GOLDEN_TOLERANCE):
        return found
    return found.but(DIFFERS, "the answer to the bundle's example is not the golden one")


def _rounds_floats(program: Program) -> bool:
    """Return whether floats that were computed, not read, are rounded to codes: then the last bit may tip one over."""
    kinds = program.steps[:, 0].tolist()
    return bool(KINDS.index("QUANTIZE") in kinds[2:])


# ---- examples ----


def _examples(predictor: Predictor) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return made-up inputs as the C reads them, that of the golden answer first, and what the NumPy engine answers."""
    rng = np.random.default_rng(0)
    if predictor.kind == "image":
        pictures = _pictures(predictor, rng)
        return pictures, predictor.predict_proba(pictures)
    rows = [example_row(predictor.manifest), *_rows(predictor.manifest, rng)]
    encoder = TableEncoder.from_dict(predictor.manifest["preprocessing"]["encoder"])
    return encoder.encode(encoder.parse_rows(rows)[0]), predictor.predict_proba(rows)


def _pictures(predictor: Predictor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return uint8 [N, H, W, C]: the golden example, and noise of several grains and contrasts."""
    details = predictor.manifest["preprocessing"]
    size, channels = int(details["image_size"]), int(details["channels"])
    pictures = [decode_image(example_input(predictor)[0], channels=channels)]
    for grain in _GRAINS:
        side = -(-size // grain)
        for _ in range(_PICTURES):
            contrast, level = rng.uniform(0, 1), rng.uniform(0, 255, channels)
            noise = level + contrast * (rng.uniform(0, 255, (side, side, channels)) - level)
            pictures.append(resize_image(noise.astype(np.uint8), size))
    return np.stack(pictures)


def _rows(manifest: dict[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return rows of known, unknown and missing values, and of numbers within and beyond the bins."""
    encodings = {column["name"]: column for column in manifest["preprocessing"]["encoder"]["columns"]}
    rows = []
    for _ in range(_ROWS):
        row: dict[str, Any] = {}
        for column in table_columns(manifest):
            edges = encodings[column["name"]].get("edges") or [column["typical"]]
            if column["kind"] == "category":
                row[column["name"]] = str(rng.choice([*column["values"], _UNKNOWN]))
            elif rng.random() < 0.9:
                spread = float(edges[-1]) - float(edges[0])
                row[column["name"]] = float(rng.uniform(edges[0] - 0.1 * spread, edges[-1] + 0.1 * spread))
        rows.append(row)
    return rows
