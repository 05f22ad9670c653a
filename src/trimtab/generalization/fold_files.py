"""The directory of a cross-validation: where everything is, and its folds and predictions written and read.

::

    data/folds.json               kind, repeats, and of each fold: number, repeat, rows, hash
    data/folds/NN.npz             train, test (row numbers of the dataset), and selection: rows of train that chose
                                  the weights
    folds/NN/model/               the artifact, with the preprocessing that was fitted on the fold's training rows
    folds/NN/history.csv
    evaluation/out_of_fold.parquet
    evaluation/crossval.json
    report.html                   written last

The out-of-fold predictions are an ordinary file of predictions: a row per row and repeat.

Legend: ``M`` predictions, ``K`` classes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError
from trimtab.generalization.folds import Fold, Folding
from trimtab.storage import sha256_bytes, write_bytes, write_json

_FORMAT = "trimtab-folds/1"
_PARTS = ("train", "selection", "test")


@dataclass(frozen=True)
class FoldFiles:
    """Paths in the directory of a cross-validation, beside those of `trimtab.directory.RunDirectory`."""

    path: Path

    @property
    def folds(self) -> Path:
        """The list of folds; written after their rows."""
        return self.path / "data" / "folds.json"

    @property
    def out_of_fold(self) -> Path:
        """The predictions of each row by models that were not trained on it."""
        return self.path / "evaluation" / "out_of_fold.parquet"

    @property
    def figures(self) -> Path:
        """The figures with their intervals."""
        return self.path / "evaluation" / "crossval.json"

    @property
    def curves(self) -> Path:
        """The picture of all histories."""
        return self.path / "evaluation" / "fold_curves.svg"

    def rows(self, number: int) -> Path:
        """Return where the rows of a fold are."""
        return self.path / "data" / "folds" / f"{number:02d}.npz"

    def fold(self, number: int) -> Path:
        """Return the directory of what a fold's training left."""
        return self.path / "folds" / f"{number:02d}"

    def model(self, number: int) -> Path:
        """Return where the artifact of a fold is."""
        return self.fold(number) / "model"

    def history(self, number: int) -> Path:
        """Return where the history of a fold's training is."""
        return self.fold(number) / "history.csv"

    def checkpoints(self, number: int) -> Path:
        """Return where the newest state of a fold's training is; gone when the fold is finished."""
        return self.fold(number) / "checkpoints"

    def probabilities(self, number: int) -> Path:
        """Return where the answers of a fold's model to its test rows are: float32 [n, K], in the rows' order."""
        return self.fold(number) / "probabilities.npy"


def save_folds(directory: Path, folding: Folding, folds: Sequence[Fold]) -> None:
    """Write the rows of each fold and then the list of them, atomically."""
    files = FoldFiles(directory)
    for fold in folds:
        content = io.BytesIO()
        np.savez(content, **{part: getattr(fold, part) for part in _PARTS})
        write_bytes(files.rows(fold.number), content.getvalue())
    entries = [
        {
            "number": fold.number,
            "repeat": fold.repeat,
            "train_rows": len(fold.train),
            "test_rows": len(fold.test),
            "sha256": _hash_of(fold),
        }
        for fold in folds
    ]
    write_json(files.folds, {"format": _FORMAT, "kind": folding.kind, "repeats": folding.repeats, "folds": entries})


def load_folds(directory: Path) -> list[Fold]:
    """Return the folds that `save_folds` wrote.

    Raises
    ------
    IntegrityError
        If a file is missing or is not the one that was written.
    """
    files = FoldFiles(directory)
    try:
        content = json.loads(files.folds.read_text())
        found = [_load_fold(files, entry) for entry in content["folds"]]
        is_known = content["format"] == _FORMAT
        is_whole = all(entry["sha256"] == _hash_of(fold) for entry, fold in zip(content["folds"], found, strict=True))
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise _altered(directory) from error
    if not (is_known and is_whole):
        raise _altered(directory)
    return found


def _load_fold(files: FoldFiles, entry: dict[str, Any]) -> Fold:
    with np.load(files.rows(entry["number"]), allow_pickle=False) as arrays:
        return Fold(number=entry["number"], repeat=entry["repeat"], **{part: arrays[part] for part in _PARTS})


def _hash_of(fold: Fold) -> str:
    """Return a hash of the rows of all parts, and of where one ends and the next begins."""
    parts = [np.ascontiguousarray(getattr(fold, part), dtype="<i8") for part in _PARTS]
    return sha256_bytes(json.dumps([len(part) for part in parts]).encode() + b"".join(p.tobytes() for p in parts))


def _altered(directory: Path) -> IntegrityError:
    return IntegrityError(
        f"the folds in {directory / 'data'} are not those that were written",
        "folds.json and folds/NN.npz as they were saved",
        "restore these files, or cross-validate anew",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfFold:
    """Predictions of rows by models that were not trained on them.

    Attributes
    ----------
    rows
        Numbers in the dataset, int64 [M]; with repeats each stands there once per repeat.
    folds
        Number of the fold that predicted, int64 [M].
    labels
        int64 [M].
    probabilities
        float32 [M, K].
    class_names
        K names.
    names
        Of the rows, [M].
    """

    rows: NDArray[np.int64]
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]
    names: Sequence[str]


def save_out_of_fold(found: OutOfFold, path: Path) -> None:
    """Write predictions as Parquet: the columns row, fold, name, label (a class name) and p_<class>."""
    import pyarrow as pa
    from pyarrow import parquet

    labels = pa.DictionaryArray.from_arrays(pa.array(found.labels, pa.int32()), pa.array(list(found.class_names)))
    columns = {
        "row": pa.array(found.rows, pa.int64()),
        "fold": pa.array(found.folds, pa.int64()),
        "name": pa.array(list(found.names), pa.string()),
        "label": labels.cast(pa.string()),
    }
    columns |= {f"p_{name}": pa.array(found.probabilities[:, k]) for k, name in enumerate(found.class_names)}
    content = io.BytesIO()
    parquet.write_table(pa.table(columns), content)
    write_bytes(path, content.getvalue())


def load_out_of_fold(path: Path) -> OutOfFold:
    """Return the predictions that `save_out_of_fold` wrote.

    Raises
    ------
    IntegrityError
        If the file is missing, or is no such file.
    """
    import pyarrow as pa
    from pyarrow import compute, parquet

    try:
        table = parquet.read_table(path)
        class_names = tuple(name.removeprefix("p_") for name in table.column_names if name.startswith("p_"))
        labels = compute.index_in(table["label"], value_set=pa.array(class_names, pa.string()))
        return OutOfFold(
            rows=table["row"].to_numpy().astype(np.int64),
            folds=table["fold"].to_numpy().astype(np.int64),
            labels=labels.to_numpy().astype(np.int64),
            probabilities=np.stack([table[f"p_{name}"].to_numpy() for name in class_names], axis=1),
            class_names=class_names,
            names=table["name"].to_pylist(),
        )
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise IntegrityError(
            f"{path} holds no out-of-fold predictions",
            "the columns row, fold, name, label and p_<class>",
            "restore it, or cross-validate anew",
        ) from error
