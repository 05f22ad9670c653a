"""What an ensemble says of the training rows, for a run that learns from it: computed once and kept with the run.

Only the rows' own probabilities are kept; how they are mixed with the labels is the work of
`trimtab.training.soft_targets`.
"""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.data import Dataset, Split
from trimtab.errors import InputError, IntegrityError
from trimtab.generalization.ensembles import Ensemble, RowsOf, hash_ensemble
from trimtab.stages.following import rows_of
from trimtab.stages.job import Features, Job
from trimtab.storage import sha256_file, write_bytes
from trimtab.training.rows import Rows

_FILE = "teacher.npz"


def reader_of(dataset: Dataset) -> RowsOf:
    """Return what gives some rows of a dataset as a model reads them."""

    def read(artifact: Artifact, numbers: NDArray[np.int64]) -> Rows:
        return rows_of(dataset, numbers, artifact.meta)

    return read


def teach(job: Job, dataset: Dataset, split: Split, features: Features) -> Features:
    """Return the features with the teacher's probabilities of the training rows, where the plan names a teacher.

    Raises
    ------
    InputError
        If there is no ensemble, it is about other data, has seen this run's test rows, or is another one than when
        the run was started.
    IntegrityError
        If one of its models, or what was kept of it, was altered.
    """
    if job.plan.teacher is None:
        return features
    folder = Path(job.plan.teacher)
    ensemble, sha256 = Ensemble.load(folder), hash_ensemble(folder)
    _check(ensemble, folder, dataset, split)
    earlier = job.ledger.events("teacher")
    if earlier and earlier[-1]["ensemble"] != sha256:
        raise InputError(
            f"the ensemble at {folder} changed since {job.directory.path} was started",
            "the same one, to continue that run",
            "give another directory with --out",
        )
    if earlier:
        probabilities = _kept(job.directory.data / _FILE, earlier[-1]["sha256"])
        job.console.stage("teacher", f"its answers to {len(probabilities):,} training rows are there")
    else:
        probabilities = _ask(job, dataset, features, ensemble, sha256)
    return replace(features, training=replace(features.training, targets=probabilities))


def _ask(job: Job, dataset: Dataset, features: Features, ensemble: Ensemble, sha256: str) -> NDArray[np.float32]:
    """Let the ensemble answer the training rows, and keep the answers."""
    started = time.monotonic()
    plan, numbers = job.plan, features.training_rows
    probabilities = ensemble.predict_proba(
        reader_of(dataset), numbers, engine=str(plan.engine), threads=plan.threads or 1
    )
    content = io.BytesIO()
    np.savez(content, rows=numbers, probabilities=probabilities)
    path = job.directory.data / _FILE
    write_bytes(path, content.getvalue())
    job.ledger.append(
        "teacher",
        ensemble=sha256,
        sha256=sha256_file(path),
        models=ensemble.model_count,
        rows=len(numbers),
        seconds=round(time.monotonic() - started, 3),
    )
    job.console.stage("teacher", f"{ensemble.model_count} models answered {len(numbers):,} training rows")
    return probabilities


def _kept(path: Path, sha256: str) -> NDArray[np.float32]:
    if not path.is_file() or sha256_file(path) != sha256:
        raise IntegrityError(
            f"{path} is not the file that was written",
            "the hash that the ledger holds",
            "restore it from a copy, or start a new run",
        )
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays["probabilities"], np.float32)


def _check(ensemble: Ensemble, folder: Path, dataset: Dataset, split: Split) -> None:
    if (ensemble.data_hash, ensemble.class_names) != (dataset.content_hash, dataset.class_names):
        raise InputError(
            f"the ensemble at {folder} was made from other data than {dataset.name} is now",
            "the data of its cross-validation, at the same image size",
            "give these, or make an ensemble for the new ones",
        )
    if ensemble.test_hash != split.test_hash:
        raise InputError(
            f"the ensemble at {folder} was trained on rows that are test rows of this run",
            "a split that seals the same rows as that of its cross-validation",
            "use the same --seed, --group, --validation-fraction and --test-fraction",
        )
