"""A finished run's model, measured once more on its sealed test rows, against what was recorded."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimtab.console import Console
from trimtab.data import Split, open_source
from trimtab.deployment import load
from trimtab.directory import RunDirectory
from trimtab.errors import InputError
from trimtab.evaluation import Evaluation, evaluate
from trimtab.evaluation.opening import level_of_look
from trimtab.ledger import Ledger
from trimtab.machine import available_threads
from trimtab.plan import Plan
from trimtab.stages.job import raw_inputs
from trimtab.storage import sha256_file


@dataclass(frozen=True, kw_only=True)
class Again:
    """What came of it.

    Attributes
    ----------
    evaluation
        The figures of today.
    largest_difference
        Between a recorded probability and that of today.
    label_flips
        Rows whose predicted class is another one.
    look
        The number of the look at these rows; the same model again keeps its number.
    """

    evaluation: Evaluation
    largest_difference: float
    label_flips: int
    look: int


def measure_again(path: str | Path, console: Console) -> Again:
    """Read the data of a run again, compare them with the seal, and measure the delivered model on the test rows.

    Raises
    ------
    InputError
        If the data are not there any more, or another process writes to the run.
    IntegrityError
        If the test rows, the split, the seal, the ledger or the bundle were altered.
    """
    directory = RunDirectory(Path(path))
    plan, ledger = Plan.from_toml(directory.plan), Ledger(directory.ledger)
    split = Split.load(directory.data / "split")
    source = open_source(plan.data, target=plan.target, group=plan.group, skip_unreadable=plan.skip_unreadable)
    dataset = source.load(image_size=plan.image_size, progress=console.shows_bars)
    lock = directory.lock()
    if lock is None:
        raise InputError(f"another process writes to {directory.path}", "to be the only one", "try again later")
    try:
        rows, look = split.open_test(
            dataset,
            ledger,
            caller="trimtab evaluate --again",
            model=sha256_file(directory.bundle / "model.onnx"),
            level_of=level_of_look,
            neighbours=directory.neighbours(),
        )
    finally:
        os.close(lock)
    if dataset.content_hash != split.data_hash:
        console.warn(f"the data at {plan.data} changed since {directory.path} was made, but not the test rows")
    for text in look.warnings:
        console.warn(text)
    probabilities = load(directory.path, threads=available_threads()).predict_proba(raw_inputs(dataset, rows))
    recorded = _recorded(directory.evaluation / "predictions.csv", dataset.class_names)
    evaluation = evaluate(
        dataset.labels[rows],
        probabilities,
        class_names=dataset.class_names,
        groups=None if dataset.groups is None else dataset.groups[rows],
        level=level_of_look(look.number),
        seed=plan.seed,
    )
    return Again(
        evaluation=evaluation,
        largest_difference=float(np.abs(probabilities - recorded).max()),
        label_flips=int((probabilities.argmax(1) != recorded.argmax(1)).sum()),
        look=look.number,
    )


def _recorded(path: Path, class_names: tuple[str, ...]) -> np.ndarray:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [[float(row[f"p_{name}"]) for name in class_names] for row in csv.DictReader(file)]
    return np.array(rows, dtype=np.float32)
