"""Soft voting: the mean of the probabilities of several models, each weighted.

An ensemble is kept as a small file that names its models by relative path and by the hash of their weights. How rows
are read and encoded is the caller's business: each model brings the preprocessing that was fitted for it.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.errors import InputError, IntegrityError
from trimtab.storage import sha256_file, write_json
from trimtab.training.rows import Rows

FILE = "ensemble.json"
_FORMAT = "trimtab-ensemble/1"

RowsOf = Callable[[Artifact, NDArray[np.int64]], Rows]
"""From a model and row numbers to these rows as that model reads them."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """Models that vote as one: the fold models of a configuration.

    Attributes
    ----------
    name
        To tell it apart in tables.
    weight
        Its share of the vote, which its models divide equally.
    models
        Directories of artifacts.
    sha256
        Hashes of their weights.
    """

    name: str
    weight: float
    models: tuple[Path, ...]
    sha256: tuple[str, ...]

    @classmethod
    def of(cls, name: str, weight: float, models: Sequence[Path]) -> Member:
        """Return a member of models as they are now."""
        hashes = tuple(Artifact.load(model).sha256 for model in models)
        return cls(name=name, weight=weight, models=tuple(models), sha256=hashes)


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Models whose probabilities are averaged.

    Attributes
    ----------
    class_names
        K names, in the order of the probabilities.
    members
        Who votes; their weights add up to 1.
    data_hash
        Content hash of the data that its models were trained on.
    test_hash
        Of the test rows that none of them has seen.
    facts
        What else is to be known about it: how it was selected.
    """

    class_names: tuple[str, ...]
    members: tuple[Member, ...]
    data_hash: str
    test_hash: str
    facts: dict[str, Any]

    @property
    def model_count(self) -> int:
        """How many models vote."""
        return sum(len(member.models) for member in self.members)

    def save(self, directory: Path) -> None:
        """Write ``ensemble.json``, in which the models are named relative to the directory."""
        members = []
        for member in self.members:
            paths = [os.path.relpath(model.resolve(), directory.resolve()) for model in member.models]
            members.append({**asdict(member), "models": paths, "sha256": list(member.sha256)})
        content = {name: value for name, value in vars(self).items() if name != "members"}
        write_json(directory / FILE, {"format": _FORMAT, **content, "members": members})

    @classmethod
    def load(cls, directory: Path) -> Ensemble:
        """Return what `save` wrote; the models are read and checked when they are used.

        Raises
        ------
        InputError
            If there is no ensemble.
        IntegrityError
            If its file is not what `save` wrote.
        """
        if not (directory / FILE).is_file():
            raise InputError(
                f"there is no ensemble at {directory}",
                f"a folder with {FILE}, which `trimtab ensemble` makes",
                "run `trimtab ensemble` on a cross-validation first",
            )
        try:
            content = json.loads((directory / FILE).read_text())
            if content.pop("format") != _FORMAT:
                raise ValueError("format")
            members = tuple(_member(entry, directory) for entry in content.pop("members"))
            return cls(**{**content, "class_names": tuple(content["class_names"])}, members=members)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"{directory / FILE} is not an ensemble that was written whole",
                f"a file of format {_FORMAT}",
                "run `trimtab ensemble` again",
            ) from error

    def predict_proba(
        self, rows_of: RowsOf, numbers: NDArray[np.int64], *, engine: str, threads: int
    ) -> NDArray[np.float32]:
        """Return the weighted mean of all models' probabilities: float32 [N, K].

        Parameters
        ----------
        rows_of
            How a model's rows are read.
        numbers
            Of the rows, int64 [N].
        engine, threads
            That compute.

        Raises
        ------
        IntegrityError
            If a model is missing or is not the one that was selected.
        """
        total = np.zeros((len(numbers), len(self.class_names)))
        for member in self.members:
            for model, expected in zip(member.models, member.sha256, strict=True):
                artifact = load_model(model, expected)
                share = member.weight / len(member.models)
                total += share * predict_rows(artifact, rows_of, numbers, engine=engine, threads=threads)
        shares: NDArray[np.float32] = (total / total.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares


def hash_ensemble(directory: Path) -> str:
    """Return a hash that stands for the ensemble in a directory, its models included, whose hashes are in its file."""
    return sha256_file(directory / FILE)


def load_model(path: Path, sha256: str) -> Artifact:
    """Return a model that has the hash that was written down.

    Raises
    ------
    IntegrityError
        If it is another one, or not whole.
    """
    artifact = Artifact.load(path)
    if artifact.sha256 != sha256:
        raise IntegrityError(
            f"the model in {path} is not the one that was selected",
            f"weights with the hash {sha256[:12]}",
            "restore it from a copy, or run `trimtab ensemble` again",
        )
    return artifact


def predict_rows(
    artifact: Artifact, rows_of: RowsOf, numbers: NDArray[np.int64], *, engine: str, threads: int
) -> NDArray[np.float32]:
    """Return the probabilities of one model for some rows: float32 [N, K]."""
    from trimtab.training.stepper import predict_probabilities

    return predict_probabilities(artifact, rows_of(artifact, numbers), engine=engine, threads=threads)


def predict_out_of_fold(
    models: Sequence[Artifact],
    held_out: Sequence[NDArray[np.int64]],
    rows_of: RowsOf,
    *,
    engine: str,
    threads: int,
) -> NDArray[np.float32]:
    """Return the answers of each model on the rows it was not trained on, in the order of all these: float32 [N, K]."""
    answers = [
        predict_rows(model, rows_of, numbers, engine=engine, threads=threads)
        for model, numbers in zip(models, held_out, strict=True)
    ]
    return np.concatenate(answers)[np.argsort(np.concatenate(held_out), kind="stable")]


def _member(entry: dict[str, Any], directory: Path) -> Member:
    models = tuple(Path(os.path.normpath(directory / path)) for path in entry["models"])
    return Member(name=entry["name"], weight=entry["weight"], models=models, sha256=tuple(entry["sha256"]))
