"""What the folds of a cross-validation answered: predictions, figures, the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset
from trimtab.generalization.fold_figures import FoldFigure, figures_of
from trimtab.generalization.fold_files import FoldFiles, OutOfFold, save_out_of_fold
from trimtab.generalization.folds import Fold, Folding
from trimtab.machine import describe_machine
from trimtab.stages.job import Job, describe_data
from trimtab.stages.page import read_history
from trimtab.storage import write_json

Answers = Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Of each fold the classes of its test rows [n], and what its model answered to them [n, K]."""


def answers_of(job: Job, dataset: Dataset, folds: Sequence[Fold]) -> Answers:
    """Return what the models of the folds answered."""
    files = FoldFiles(job.directory.path)
    return [
        (dataset.labels[each.test], np.load(files.probabilities(each.number), allow_pickle=False)) for each in folds
    ]


def write_out_of_fold(job: Job, dataset: Dataset, folds: Sequence[Fold], answers: Answers) -> None:
    """Write the answers to all rows as one file of predictions: repeat by repeat, in the order of the rows."""
    numbers = np.concatenate([np.full(len(each.test), each.number) for each in folds])
    repeats = np.concatenate([np.full(len(each.test), each.repeat) for each in folds])
    rows = np.concatenate([each.test for each in folds])
    order = np.lexsort([rows, repeats])
    found = OutOfFold(
        rows=rows[order],
        folds=numbers[order].astype(np.int64),
        labels=dataset.labels[rows[order]],
        probabilities=np.concatenate([probabilities for _, probabilities in answers])[order],
        class_names=dataset.class_names,
        names=[dataset.row_names[int(row)] for row in rows[order]],
    )
    save_out_of_fold(found, FoldFiles(job.directory.path).out_of_fold)


def write_figures(
    job: Job, dataset: Dataset, folding: Folding, folds: Sequence[Fold], answers: Answers
) -> dict[str, FoldFigure]:
    """Write the figures of the folds and of the whole, and return them."""
    train_rows = float(np.mean([len(each.train) for each in folds]))
    test_rows = float(np.mean([len(each.test) for each in folds]))
    figures = figures_of(answers, train_rows=train_rows, test_rows=test_rows)
    trained = {event["number"]: event for event in job.ledger.events("fold_trained")}
    entries = [
        {
            "number": each.number,
            "repeat": each.repeat,
            "train_rows": len(each.train),
            "test_rows": len(each.test),
            "steps": trained[each.number]["steps"],
        }
        for each in folds
    ]
    content = {
        "format": "trimtab-crossval/1",
        "kind": folding.kind,
        "repeats": folding.repeats,
        "folds": entries,
        "class_names": list(dataset.class_names),
        "run": _summary(job),
        "metrics": {name: figure.to_dict() for name, figure in figures.items()},
    }
    write_json(FoldFiles(job.directory.path).figures, content)
    return figures


def write_fold_page(job: Job) -> None:
    """Draw the histories and write the page; it comes last and says that the cross-validation is finished."""
    from trimtab.evaluation.plots import plot_fold_curves
    from trimtab.report.folds_page import write_folds_report

    files = FoldFiles(job.directory.path)
    numbers = sorted(event["number"] for event in job.ledger.events("fold_trained"))
    plot_fold_curves([read_history(files.history(number)) for number in numbers], files.curves)
    job.ledger.append("finished", seconds=round(job.seconds(), 3))
    write_folds_report(job.directory.path)
    job.console.stage("report", str(job.directory.report))


def _summary(job: Job) -> dict[str, Any]:
    """Return what the page says besides the figures."""
    return {
        "name": job.directory.path.name,
        "command": job.command,
        "data_summary": describe_data(job),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "warnings": list(dict.fromkeys(event["text"] for event in job.ledger.events("warning"))),
    }
