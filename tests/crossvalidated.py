"""A finished cross-validation as `trimtab crossval` leaves it, made quickly: small networks, few steps."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from trimtab.artifact import Artifact
from trimtab.data import Dataset, Split, TableEncoder, make_split
from trimtab.ledger import Ledger
from trimtab.pipeline import prepare
from trimtab.plan import Plan, plan_text
from trimtab.planning import model_kwargs
from trimtab.stages.following import rows_of
from trimtab.stages.learning import recipe_of
from trimtab.training.loop import train
from trimtab.training.rows import channel_statistics
from trimtab.training.stepper import predict_probabilities


def make_crossvalidation(directory: Path, data: str, *, folds: int = 3, repeats: int = 1, **settings) -> Path:
    """Write the directory of a cross-validation of ``data`` with the plan's settings; the NumPy engine trains."""
    source, facts, plan, reasons = prepare(Plan(data=data, engine="numpy", minutes=1, **settings))
    dataset = source.load(image_size=plan.image_size)
    split = make_split(
        dataset, validation_fraction=plan.validation_fraction, test_fraction=plan.test_fraction, seed=plan.seed
    )
    split.save(directory / "data" / "split")
    split.note_seal(Ledger(directory / "ledger.jsonl"))
    (directory / "plan.toml").write_text(plan_text(plan, reasons))
    job = SimpleNamespace(plan=plan, facts=facts, warn=print)
    pool = np.sort(np.concatenate([split.train, split.validation]))
    entries, tables = [], []
    for repeat in range(1, repeats + 1):
        parts = np.array_split(np.random.default_rng(repeat).permutation(pool), folds)
        for test in map(np.sort, parts):
            number = len(entries) + 1
            rows = np.setdiff1d(pool, test)
            entries.append(
                {
                    "number": number,
                    "repeat": repeat,
                    "train_rows": len(rows),
                    "test_rows": len(test),
                    "sha256": "",
                }
            )
            artifact = train_fold(job, dataset, rows, split)
            artifact.save(directory / "folds" / f"{number:02d}" / "model")
            (directory / "data" / "folds").mkdir(exist_ok=True)
            np.savez(directory / "data" / "folds" / f"{number:02d}.npz", train=rows, test=test)
            tables.append(answers(artifact, dataset, number, test))
    content = {"format": "trimtab-folds/1", "kind": "stratified", "repeats": repeats, "folds": entries}
    (directory / "data" / "folds.json").write_text(json.dumps(content))
    (directory / "evaluation").mkdir()
    parquet.write_table(pa.concat_tables(tables), directory / "evaluation" / "out_of_fold.parquet")
    (directory / "report.html").write_text("<html></html>")
    return directory


def train_fold(job: SimpleNamespace, dataset: Dataset, rows: np.ndarray, split: Split) -> Artifact:
    """Train on the rows; the validation rows choose the weights."""
    meta = {"kind": dataset.kind, "class_names": list(dataset.class_names)}
    if dataset.images is not None:
        mean, std = channel_statistics(dataset.images, rows)
        meta |= {"image_size": dataset.images.shape[1], "channels": dataset.images.shape[3], "mean": mean, "std": std}
        kwargs = model_kwargs(job.plan, job.facts)
    else:
        encoder = TableEncoder.fit(dataset.table, rows)
        meta |= {"encoder": encoder.to_dict(), "target": job.plan.target}
        kwargs = model_kwargs(job.plan, job.facts, in_features=encoder.num_features)
    training, validation = rows_of(dataset, rows, meta), rows_of(dataset, split.validation, meta)
    trained = train(job.plan.model, kwargs, training, validation, recipe_of(job))
    return Artifact(builder=job.plan.model, kwargs=kwargs, arrays=trained.arrays, meta=meta)


def answers(artifact: Artifact, dataset: Dataset, number: int, test: np.ndarray) -> pa.Table:
    """Return the rows of the out-of-fold predictions that are this fold's."""
    found = predict_probabilities(artifact, rows_of(dataset, test, artifact.meta), engine="numpy", threads=2)
    columns = {
        "row": test,
        "fold": np.full(len(test), number),
        "name": [dataset.row_names[row] for row in test],
        "label": [dataset.class_names[label] for label in dataset.labels[test]],
    }
    columns |= {f"p_{name}": found[:, k] for k, name in enumerate(dataset.class_names)}
    return pa.table(columns)
