"""What a teacher says of the training rows, for a run that learns from it: computed once and kept with the run.

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

from trimtab.data import Dataset, Split
from trimtab.errors import InputError, IntegrityError
from trimtab.stages.job import Features, Job
from trimtab.stages.teachers import Teacher, open_teacher
from trimtab.storage import sha256_file, write_bytes

_FILE = "teacher.npz"


def teach(job: Job, dataset: Dataset, split: Split, features: Features) -> Features:
    """Return the features with the teacher's probabilities of the training rows, where the plan names a teacher.

    Raises
    ------
    InputError
        If there is no teacher, it is about other data, has seen this run's test rows, or is another one than when the
        run was started.
    IntegrityError
        If one of its models, or what was kept of it, was altered.
    """
    if job.plan.teacher is None:
        return features
    path = Path(job.plan.teacher)
    teacher = open_teacher(path, dataset, split, job.plan)
    earlier = job.ledger.events("teacher")
    if earlier and earlier[-1]["teacher"] != teacher.sha256:
        raise InputError(
            f"the teacher at {path} changed since {job.directory.path} was started",
            "the same one, to continue that run",
            "give another directory with --out",
        )
    if earlier:
        probabilities = _kept(job.directory.data / _FILE, earlier[-1]["sha256"])
        job.console.stage("teacher", f"its answers to {len(probabilities):,} training rows are there")
    else:
        if teacher.doubt:
            job.warn(teacher.doubt)
        probabilities = _ask(job, features, teacher)
    return replace(features, training=replace(features.training, targets=probabilities))


def _ask(job: Job, features: Features, teacher: Teacher) -> NDArray[np.float32]:
    """Let the teacher answer the training rows, and keep the answers."""
    started = time.monotonic()
    numbers = features.training_rows
    probabilities = teacher.answers(numbers)
    content = io.BytesIO()
    np.savez(content, rows=numbers, probabilities=probabilities)
    path = job.directory.data / _FILE
    write_bytes(path, content.getvalue())
    job.ledger.append(
        "teacher",
        teacher=teacher.sha256,
        sha256=sha256_file(path),
        models=teacher.models,
        rows=len(numbers),
        seconds=round(time.monotonic() - started, 3),
    )
    models = "1 model" if teacher.models == 1 else f"{teacher.models} models"
    job.console.stage("teacher", f"{models} answered {len(numbers):,} training rows")
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
