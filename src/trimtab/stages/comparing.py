"""Fold model, ensemble and student on the sealed test rows: one look, and who is better than whom.

The student's answers are those of its delivered file, which its own run measured; the others are computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset, Split
from trimtab.directory import RunDirectory
from trimtab.evaluation import ManyCompared, compare_many
from trimtab.evaluation.aligned import read_aligned
from trimtab.evaluation.opening import level_of_look
from trimtab.generalization.ensembles import Ensemble, hash_ensemble, load_model, predict_rows
from trimtab.ledger import Ledger
from trimtab.stages.gathering import Machine
from trimtab.stages.page import predictions_csv
from trimtab.stages.teachers import reader_of
from trimtab.storage import sha256_bytes, sha256_file, write_text

SINGLE, VOTE, STUDENT = "fold model", "ensemble", "student"


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What one look at the test rows showed.

    Attributes
    ----------
    compared
        All pairs of fold model, ensemble and, where there is one, student.
    rows
        How many test rows there are.
    look
        The number of the look.
    others, warnings
        As of `trimtab.data.seal.Look`.
    """

    compared: ManyCompared
    rows: int
    look: int
    others: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def kept_share(self) -> float | None:
        """Which share of the ensemble's gain in accuracy over a fold model the student keeps, if there is a gain."""
        gains = {pair.names: pair.metrics["accuracy"].difference for pair in self.compared.pairs}
        gain = gains[SINGLE, VOTE]
        return gains[SINGLE, STUDENT] / gain if (SINGLE, STUDENT) in gains and gain > 0 else None


def compare_on_test(
    lead: RunDirectory,
    dataset: Dataset,
    split: Split,
    folder: Path,
    machine: Machine,
    *,
    student: RunDirectory | None,
) -> Contest:
    """Open the test rows, let the models answer and compare them in pairs; write their answers beside the ensemble.

    Parameters
    ----------
    lead
        The cross-validation whose ledger notes the look.
    dataset, split
        Its data, and how they were divided.
    folder
        Of the ensemble; its first model stands for a single one.
    machine
        What computes.
    student
        A finished run that learned from the ensemble.

    Raises
    ------
    IntegrityError
        If the test rows or a model were altered.
    """
    ensemble = Ensemble.load(folder)
    first = ensemble.members[0]
    hashes = [first.sha256[0], hash_ensemble(folder)]
    hashes += [] if student is None else [sha256_file(student.bundle / "model.onnx")]
    rows, look = split.open_test(
        dataset,
        Ledger(lead.ledger),
        caller="trimtab ensemble",
        model=sha256_bytes(" ".join(hashes).encode()),
        level_of=level_of_look,
        neighbours=lead.neighbours(),
    )
    read, engine, threads = reader_of(dataset), machine.engine, machine.threads
    single = predict_rows(load_model(first.models[0], first.sha256[0]), read, rows, engine=engine, threads=threads)
    vote = ensemble.predict_proba(read, rows, engine=engine, threads=threads)
    files = {
        SINGLE: _write(folder / "fold_model.csv", dataset, rows, single),
        VOTE: _write(folder / "predictions.csv", dataset, rows, vote),
    }
    files |= {} if student is None else {STUDENT: student.evaluation / "predictions.csv"}
    answers = read_aligned(list(files.values()))
    compared = compare_many(
        answers[0].labels,
        {name: each.probabilities for name, each in zip(files, answers, strict=True)},
        groups=answers[0].groups,
        level=level_of_look(look.number),
    )
    return Contest(compared=compared, rows=len(rows), look=look.number, others=look.others, warnings=look.warnings)


def _write(path: Path, dataset: Dataset, rows: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Path:
    names = [dataset.row_names[int(row)] for row in rows]
    labels = [dataset.class_names[int(label)] for label in dataset.labels[rows]]
    groups = None if dataset.groups is None else [str(group) for group in dataset.groups[rows]]
    write_text(path, predictions_csv(names, probabilities, dataset.class_names, labels, groups))
    return path
