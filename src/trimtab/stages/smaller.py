"""Smaller networks for a run, trained: what is left of its own, or the same small network from scratch.

Each gets the same seconds. With a teacher, the run's network or another one says what it makes of the training rows,
and the small one learns that besides the labels.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.compression.prune import choose_kept, magnitudes, pruned, scales, taylor
from trimtab.console import Console
from trimtab.evaluation.temperature import choose_temperature
from trimtab.generalization.evidence import log_softmax
from trimtab.models.channels import Argument
from trimtab.plan import Plan, hash_plan
from trimtab.stages.case import Case
from trimtab.stages.job import mode_of
from trimtab.stages.teachers import Teacher
from trimtab.stages.trying import setup_with
from trimtab.storage import write_bytes
from trimtab.training.gradients import loss_gradients
from trimtab.training.stepper import make_stepper, using_threads

IMPORTANCES = ("magnitude", "taylor", "scale")
_FINE_TUNING, _ROUNDING = 0.3, 0.1  # times the peak of the learning rate that a network is trained with from scratch


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is to be trained.

    Attributes
    ----------
    builder, kwargs
        It.
    start
        Gives its weights before; fresh ones without it.
    origin
        In words, what ``start`` gives.
    part
        Of the seconds that a network gets: those that it is cut from have a part of them, too.
    has_teacher
        Whether it learns from the teacher.
    is_rounding
        Whether it computes as in int8 meanwhile.
    plan
        That it is trained by; the run's unless given.
    """

    builder: str
    kwargs: Mapping[str, Any]
    start: Callable[[], Mapping[str, NDArray[Any]]] | None = None
    origin: str = "fresh"
    part: float = 1.0
    has_teacher: bool = True
    is_rounding: bool = False
    plan: Plan | None = None

    def describe(self, run: str, teacher: str, minutes: float) -> str:
        """Return in words what it is made of: equal only where training would be the same.

        ``run`` and ``teacher`` are the hashes of what it is cut from and learns from.
        """
        kwargs = json.dumps(self.kwargs, sort_keys=True)
        teacher, rounding = f"teacher {teacher if self.has_teacher else None}", f"rounding {self.is_rounding}"
        plan = "" if self.plan is None else hash_plan(self.plan)
        return " ".join([run, self.builder, kwargs, self.origin, teacher, rounding, plan, f"{minutes:g} minutes"])


def score(case: Case, artifact: Artifact, importance: str) -> list[NDArray[np.float64]]:
    """Return how important each channel of a network is for a run's data, as of `trimtab.compression.prune`.

    Raises
    ------
    ValueError
        If the network has no such importance.
    """
    if importance == "taylor":
        engine, threads = str(case.plan.engine), case.plan.threads or 1
        return taylor(artifact, loss_gradients(artifact, case.features.training, engine=engine, threads=threads))
    return (magnitudes if importance == "magnitude" else scales)(artifact)


def cut(artifact: Artifact, scores: Sequence[NDArray[np.float64]], widths: Mapping[Argument, int]) -> Artifact:
    """Return a network with only its most important channels, not trained since.

    Parameters
    ----------
    artifact
        The network.
    scores
        What `score` returned of it.
    widths
        How many channels stay, by argument.
    """
    return pruned(artifact, choose_kept(artifact.builder, artifact.kwargs, scores, widths))


def teach(case: Case, teacher: Teacher, path: Path) -> NDArray[np.float32]:
    """Return what a teacher says about the training rows, [R, K]; asked once and kept in a file."""
    kept = _kept(path, teacher.sha256)
    if kept is not None:
        return kept
    answers = teacher.answers(case.split.train)
    content = io.BytesIO()
    np.savez(content, probabilities=answers, teacher=teacher.sha256)
    write_bytes(path, content.getvalue())
    return answers


def own_teacher(case: Case) -> Teacher:
    """Return the run's own network as a teacher, of its training rows alone.

    It answers as in the validations of its training, in the precision of that and without a mirror image: three to
    six times as fast as it is delivered, and as good a teacher.
    """
    return Teacher(sha256=case.artifact.sha256, models=1, answers=lambda _: _own_answers(case))


def _own_answers(case: Case) -> NDArray[np.float32]:
    setup = setup_with(replace(case.plan, steps=1), case.facts, case.features, {})
    with using_threads(setup.recipe.engine, setup.recipe.threads):
        stepper = make_stepper(case.artifact.builder, case.artifact.kwargs, case.features.training, setup.recipe)
        stepper.use(replace(mode_of(case.trained), is_compiled=False))
        stepper.load_weights(case.artifact.arrays)
        logits = stepper.logits(case.features.training)
    return np.asarray(np.exp(log_softmax(logits)), np.float32)


def _kept(path: Path, sha256: str) -> NDArray[np.float32] | None:
    """Return the answers in a file, if it is whole and they are of this teacher."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            answers = np.asarray(arrays["probabilities"], np.float32)
            return answers if str(arrays["teacher"]) == sha256 else None
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def train_smaller(
    case: Case,
    network: Network,
    folder: Path,
    teacher: NDArray[np.float32],
    console: Console,
    *,
    seconds: Callable[[], float],
) -> Artifact:
    """Train a network for a run, and return it at the temperature that fits it; go on where an attempt was killed.

    Parameters
    ----------
    case
        The run: its rows, and the recipe of its plan.
    network
        To be trained.
    folder
        Where its weights and, meanwhile, its checkpoints go.
    teacher
        [R, K], for the training rows.
    console
        Where progress goes.
    seconds
        That are left for it; asked at every step.

    Raises
    ------
    TrainingError
        If training diverges.
    """
    from trimtab.training.loop import train
    from trimtab.training.watch import Watch

    if (folder / "model").exists():
        console.stage("training", f"{folder.name} was trained before")
        return Artifact.load(folder / "model")
    plan = network.plan or case.plan
    setup = setup_with(replace(plan, steps=1), case.facts, case.features, _settings(plan, network))
    recipe = replace(setup.recipe, steps=None, rounding=network.is_rounding)
    rows = case.features.training
    trained = train(
        network.builder,
        network.kwargs,
        replace(rows, targets=teacher) if network.has_teacher else rows,
        case.features.validation,
        recipe,
        watch=Watch(seconds_left=seconds, on_step=console.step),
        checkpoints=folder / "checkpoints",
        initial=network.start and network.start(),
    )
    meta = {key: value for key, value in case.artifact.meta.items() if key not in ("temperature", "test_time")}
    meta |= {} if plan.test_time in (None, "none") else {"test_time": plan.test_time}
    artifact = Artifact(builder=network.builder, kwargs=dict(network.kwargs), arrays=trained.arrays, meta=meta)
    artifact = _at_temperature(case, artifact)
    artifact.save(folder / "model")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return artifact


def _settings(plan: Plan, network: Network) -> dict[str, Any]:
    """Return what differs from the plan."""
    rate, settings = 1.0, dict[str, Any](patience=0)
    if network.is_rounding:
        rate = _ROUNDING
    elif network.start is not None:
        rate = _FINE_TUNING
    if network.has_teacher:
        settings |= {"label_smoothing": 0.0}
    return settings | {"learning_rate": rate * (plan.learning_rate or 0.0)}


def _at_temperature(case: Case, artifact: Artifact) -> Artifact:
    from trimtab.training.stepper import predict_probabilities

    if not case.plan.calibrate:
        return artifact
    plan, rows = case.plan, case.features.validation
    native = predict_probabilities(artifact, rows, engine=str(plan.engine), threads=plan.threads or 1)
    choice = choose_temperature(native, rows.labels, groups=case.groups, seed=plan.seed)
    return replace(artifact, meta={**artifact.meta, "temperature": choice.temperature}) if choice.is_kept else artifact
