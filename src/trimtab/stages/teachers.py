"""Teachers: an ensemble, a finished run or any ONNX file, asked what they make of some rows.

A teacher sees the rows its own way: a run's network with the preprocessing it was trained with, trimtab's own files as
they are, another's file at the size that its graph says, with the mean and the spread that the user names.

Legend: ``R`` rows, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.data import Dataset, Split, resize_image
from trimtab.deployment.session import Session, Tensor
from trimtab.directory import RunDirectory
from trimtab.errors import InputError
from trimtab.generalization.ensembles import FILE, Ensemble, RowsOf, hash_ensemble, load_model, predict_rows
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.stages.following import rows_of
from trimtab.storage import sha256_file
from trimtab.training.rows import Rows

_PICTURES_AT_ONCE = 64
_SUM_OFF = 1e-3  # by which probabilities may miss a sum of one
_CHANNELS = (1, 3)

Answers = Callable[[NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """What can be asked.

    Attributes
    ----------
    sha256
        Of everything that its answers depend on, but for the rows.
    models
        How many answer together.
    answers
        From numbers of rows [R] to probabilities, float32 [R, K].
    doubt
        What cannot be known of it, a sentence without a full stop, or nothing.
    """

    sha256: str
    models: int
    answers: Answers
    doubt: str = ""


def open_teacher(path: Path, dataset: Dataset, split: Split, plan: Plan) -> Teacher:
    """Return the teacher at a path.

    Parameters
    ----------
    path
        The folder of an ensemble, the directory of a finished run, or an ONNX file.
    dataset, split
        The data whose rows it will be asked about, and which of them are sealed.
    plan
        Engine and threads, and how a foreign file wants its pixels: ``teacher_mean``, ``teacher_std``.

    Raises
    ------
    InputError
        If there is none, it is about other data or classes, or has seen the test rows.
    IntegrityError
        If one of its files was altered.
    """
    if path.is_file():
        return _of_file(path, dataset, plan)
    if (path / FILE).is_file():
        return _of_ensemble(path, dataset, split, plan)
    if (path / "ledger.jsonl").is_file():
        return _of_run(path, dataset, split, plan)
    raise InputError(
        f"there is no teacher at {path}",
        f"a folder with {FILE}, which `trimtab ensemble` makes, the directory of a finished run, or an ONNX file",
        "check the name",
    )


def reader_of(dataset: Dataset) -> RowsOf:
    """Return what gives some rows of a dataset as a model reads them."""

    def read(artifact: Artifact, numbers: NDArray[np.int64]) -> Rows:
        return rows_of(dataset, numbers, artifact.meta)

    return read


def _of_ensemble(path: Path, dataset: Dataset, split: Split, plan: Plan) -> Teacher:
    ensemble, engine, threads = Ensemble.load(path), str(plan.engine), plan.threads or 1
    own = (ensemble.data_hash, ensemble.class_names, ensemble.test_hash)
    _check(f"the ensemble at {path}", "cross-validation", own, dataset, split)
    return Teacher(
        sha256=hash_ensemble(path),
        models=ensemble.model_count,
        answers=lambda numbers: ensemble.predict_proba(reader_of(dataset), numbers, engine=engine, threads=threads),
    )


def _of_run(path: Path, dataset: Dataset, split: Split, plan: Plan) -> Teacher:
    directory = RunDirectory(path)
    if not directory.is_finished:
        raise InputError(f"the run at {path} is not finished", "a finished run as teacher", "finish it first")
    ledger, own = Ledger(directory.ledger), Split.load(directory.data / "split")
    own.check_sealed(ledger)
    artifact = load_model(directory.model, ledger.events("trained")[-1]["weights_sha256"])
    facts = (own.data_hash, tuple(artifact.meta["class_names"]), own.test_hash)
    _check(f"the run at {path}", "run", facts, dataset, split)
    engine, threads = str(plan.engine), plan.threads or 1
    return Teacher(
        sha256=artifact.sha256,
        models=1,
        answers=lambda numbers: predict_rows(artifact, reader_of(dataset), numbers, engine=engine, threads=threads),
    )


def _check(what: str, kind: str, own: tuple[str, tuple[str, ...], str], dataset: Dataset, split: Split) -> None:
    data_hash, class_names, test_hash = own
    if (data_hash, class_names) != (dataset.content_hash, dataset.class_names):
        raise InputError(
            f"{what} was made from other data than {dataset.name} is now",
            f"the data of its {kind}, at the same image size",
            "give these, or make a teacher for the new ones",
        )
    if test_hash != split.test_hash:
        raise InputError(
            f"{what} was trained on rows that are test rows of this run",
            f"a split that seals the same rows as that of its {kind}",
            "use the same --seed, --group, --validation-fraction and --test-fraction",
        )


# ---- any ONNX file ----


def _of_file(path: Path, dataset: Dataset, plan: Plan) -> Teacher:
    if dataset.images is None:
        raise InputError(
            f"the teacher is the file {path} and {dataset.name} is a table",
            "a file as teacher for pictures alone",
            "give the directory of a run, or the folder of an ensemble",
        )
    session = Session(path, threads=plan.threads or 1)
    form = _Form.of(path, session, dataset, plan)
    return Teacher(
        sha256=f"{sha256_file(path)} {plan.teacher_mean or ''} {plan.teacher_std or ''}".strip(),
        models=1,
        answers=lambda numbers: _ask(path, session, form, dataset, numbers),
        doubt=f"whether the teacher {path.name} was trained on test rows of this run cannot be known",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Form:
    """How a file wants its pictures: ``mean`` and ``std`` by channel, ``None`` where it takes bytes."""

    name: str
    size: int | None
    is_channels_first: bool
    at_once: int
    mean: NDArray[np.float32] | None
    std: NDArray[np.float32] | None

    @classmethod
    def of(cls, path: Path, session: Session, dataset: Dataset, plan: Plan) -> _Form:
        """Return the form that a graph asks for."""
        channels = int(np.asarray(dataset.images).shape[3])
        tensor = session.inputs[0]
        places = [place for place in (1, 3) if len(tensor.shape) == 4 and tensor.shape[place] == channels]
        is_bytes = tensor.type == "tensor(uint8)"
        if len(session.inputs) != 1 or not (places or is_bytes) or tensor.type not in (*_FLOATS, "tensor(uint8)"):
            raise InputError(
                f"the teacher {path} takes {', '.join(map(_describe, session.inputs))}",
                f"one input of float [N, {channels}, H, W] or [N, H, W, {channels}], or of uint8 [N, H, W, {channels}]",
                "give another file, or export it so",
            )
        is_first = not is_bytes and places[0] == 1
        side = tensor.shape[2 if is_first else 1]
        batch = tensor.shape[0]
        return cls(
            name=tensor.name,
            size=side if isinstance(side, int) else None,
            is_channels_first=is_first,
            at_once=batch if isinstance(batch, int) else _PICTURES_AT_ONCE,
            mean=None if is_bytes else _numbers("mean", plan.teacher_mean, 0.0, channels),
            std=None if is_bytes else _numbers("std", plan.teacher_std, 1.0, channels),
        )

    def feed(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return pictures [R, H, W, C] as the file takes them."""
        if self.size is not None and pictures.shape[1:3] != (self.size, self.size):
            pictures = np.stack([resize_image(picture, self.size) for picture in pictures])
        if self.mean is None or self.std is None:
            return pictures
        values = (pictures.astype(np.float32) / 255 - self.mean) / self.std
        return np.asarray(values.transpose(0, 3, 1, 2) if self.is_channels_first else values, np.float32, order="C")


_FLOATS = ("tensor(float)",)


def _describe(tensor: Tensor) -> str:
    return f"'{tensor.name}': {tensor.type} [{', '.join(map(str, tensor.shape))}]"


def _numbers(name: str, text: str | None, default: float, channels: int) -> NDArray[np.float32]:
    """Return a number for each channel, from ``"0.5"`` or ``"0.4,0.5,0.6"``."""
    try:
        found = [float(word) for word in text.split(",")] if text else [default]
    except ValueError:
        found = []
    is_right = len(found) in (1, channels) and np.isfinite(found).all() and (name == "mean" or min(found) > 0)
    if not is_right:
        raise InputError(
            f"--teacher-{name} is '{text}'",
            f"a number, or {channels} with commas between" + (", above 0" if name == "std" else ""),
            "give those that the teacher was trained with, for pixels from 0 to 1",
        )
    return np.broadcast_to(np.array(found, np.float32), (channels,))


def _ask(
    path: Path, session: Session, form: _Form, dataset: Dataset, numbers: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return a file's probabilities for some rows."""
    images = np.asarray(dataset.images)
    parts = []
    for start in range(0, len(numbers), form.at_once):
        pictures = images[numbers[start : start + form.at_once]]
        missing = form.at_once - len(pictures) if form.at_once != _PICTURES_AT_ONCE else 0  # where the graph fixes it
        padded = np.concatenate([pictures, np.repeat(pictures[-1:], missing, axis=0)]) if missing else pictures
        parts.append(session.run({form.name: form.feed(padded)})[: len(pictures)])
    found = np.concatenate(parts).astype(np.float64)
    classes = len(dataset.class_names)
    if found.shape != (len(numbers), classes) or not np.isfinite(found).all():
        raise InputError(
            f"the teacher {path} answers with {list(found.shape[1:])} numbers for a picture",
            f"{classes}, one for each class in this order: {', '.join(dataset.class_names[:5])}, ...",
            "give a teacher of these classes",
        )
    is_sure = (found >= -_SUM_OFF).all() and np.allclose(found.sum(axis=1), 1, atol=_SUM_OFF)
    if not is_sure:  # then they are logits
        found = np.exp(found - found.max(axis=1, keepdims=True))
    found = np.maximum(found, 0)
    return np.asarray(found / found.sum(axis=1, keepdims=True), np.float32)
