"""The files that people look at: figures, predictions, plots, the worst mistakes, the summary for the report."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset, Split
from trimtab.evaluation import Evaluation
from trimtab.evaluation.calibration import Reliability
from trimtab.evaluation.plots import plot_evaluation, plot_learning_curves
from trimtab.evaluation.statistics import predicted_classes, reliability_of
from trimtab.evaluation.temperature import apply_temperature
from trimtab.machine import describe_machine
from trimtab.stages.job import Job, describe_data, raw_row
from trimtab.storage import write_json, write_text

_MISTAKES = 24


def write_evaluation_files(
    job: Job, dataset: Dataset, rows: NDArray[np.int64], probabilities: NDArray[np.float32], evaluation: Evaluation
) -> None:
    """Write metrics.json, predictions.csv, the plots and the worst mistakes of these rows."""
    directory = job.directory.evaluation
    write_json(directory / "metrics.json", evaluation.to_dict())
    names = [dataset.row_names[int(row)] for row in rows]
    labels = [dataset.class_names[int(label)] for label in dataset.labels[rows]]
    groups = None if dataset.groups is None else [str(group) for group in dataset.groups[rows]]
    text = predictions_csv(names, probabilities, dataset.class_names, labels, groups)
    write_text(directory / "predictions.csv", text)
    before = _before_calibration(job, dataset.labels[rows], probabilities)
    plot_evaluation(evaluation, directory, before=before)
    draw_curves(job)
    _write_mistakes(directory, dataset, rows, probabilities)


def draw_curves(job: Job) -> Path:
    """Draw the history of training and return the file."""
    path = job.directory.evaluation / "learning_curves.svg"
    path.parent.mkdir(exist_ok=True)
    plot_learning_curves(read_history(job.directory.history), path)
    return path


def _before_calibration(job: Job, labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Reliability | None:
    """Return what the confidences would be without the temperature that was kept, if one was."""
    events = job.ledger.events("calibrated")
    temperature = float(events[-1]["temperature"]) if events else 1.0
    if temperature == 1:
        return None
    before = apply_temperature(probabilities, 1 / temperature)
    return reliability_of(labels, before, predicted_classes(before))


def predictions_csv(
    names: list[str],
    probabilities: NDArray[np.float32],
    class_names: tuple[str, ...],
    labels: list[str] | None = None,
    groups: list[str] | None = None,
) -> str:
    """Return CSV text: name, label and group (when known), prediction, and a column ``p_<class>`` per class.

    Probabilities have as many digits as float32 holds.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    known_columns = {"label": labels, "group": groups}
    known = {column: values for column, values in known_columns.items() if values}
    writer.writerow(["name", *known, "prediction", *(f"p_{name}" for name in class_names)])
    chosen = probabilities.argmax(1)
    for index, name in enumerate(names):
        shares = [f"{value:.9g}" for value in probabilities[index]]
        writer.writerow([name, *(values[index] for values in known.values()), class_names[chosen[index]], *shares])
    return text.getvalue()


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of a history, without what is missing in them; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def _write_mistakes(
    directory: Path, dataset: Dataset, rows: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> None:
    """Write the rows whose wrong class had the highest probability; pictures beside them and together on a sheet."""
    from trimtab.report.pictures import save_mistakes, save_picture

    chosen = probabilities.argmax(1)
    wrong = np.flatnonzero(chosen != dataset.labels[rows])
    worst = wrong[np.argsort(-probabilities[wrong, chosen[wrong]], kind="stable")][:_MISTAKES]
    entries = []
    for rank, index in enumerate(worst):
        row = int(rows[index])
        entry: dict[str, Any] = {
            "name": dataset.row_names[row],
            "true": dataset.class_names[int(dataset.labels[row])],
            "predicted": dataset.class_names[int(chosen[index])],
            "probability": float(probabilities[index, chosen[index]]),
        }
        if dataset.images is not None:
            entry["image"] = f"{rank:02d}.png"
            save_picture(dataset.images[row], directory / "mistakes" / entry["image"])
        else:
            entry["row"] = {name: None if value != value else value for name, value in raw_row(dataset, row).items()}
        entries.append(entry)
    write_json(directory / "mistakes.json", entries)
    if dataset.images is not None and entries:
        save_mistakes([dataset.images[int(rows[index])] for index in worst], entries, directory / "mistakes.png")


def prepare_page() -> None:
    """Load what the report needs before the clock is read for the last time."""
    import_module("jinja2")


def write_run_summary(job: Job, dataset: Dataset, split: Split) -> None:
    """Write run.json: what the report says about the run besides its figures."""
    plan = job.plan
    write_json(
        job.directory.path / "run.json",
        {
            "name": job.directory.path.name,
            "command": job.command,
            "repeat_command": f"trimtab run {quote(str(job.directory.plan))}",
            "data": plan.data,
            "data_summary": describe_data(job),
            "rows": {"train": len(split.train), "validation": len(split.validation), "test": split.test_count},
            "class_names": list(dataset.class_names),
            "not_checked": _not_checked(job, dataset),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
        },
    )


def _not_checked(job: Job, dataset: Dataset) -> list[str]:
    """Return what the figures do not say, in sentences a reader can act on."""
    sentences = [
        "Whether tomorrow's data look like these: the test rows come from the same source as the training rows.",
        "Whether the labels are right: they were taken as given, in the test rows too.",
        "Other machines: latency was measured on this one only.",
        "Other seeds: one model was trained; another seed would give slightly other figures.",
    ]
    if dataset.groups is None:
        sentences.insert(
            0,
            "Rows that belong together without being copies (one person, one scene): without --group they may stand in "
            "both the training and the test part, which makes figures too good.",
        )
    if job.facts.kind == "image" and not job.facts.is_one_size:
        sentences.append("The pictures' proportions: they were squashed to squares before training.")
    if job.source.median_size and dataset.read_original is not None:
        height, width = job.source.median_size
        sentences.append(f"Larger files: the time was measured on files of this data set (median {width} x {height}).")
    return sentences
