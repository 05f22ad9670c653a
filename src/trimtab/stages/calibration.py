"""A trained model's probabilities made as sure as the validation rows show they should be, where that can be shown.

The trained weights stay as they are. The temperature stands beside them in the artifact, from where the exported
graph, the int8 model and the NumPy engine take it. How it is fitted and judged is in
`trimtab.evaluation.temperature`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.data import Dataset
from trimtab.evaluation import Evaluation, evaluate
from trimtab.evaluation.temperature import TemperatureChoice, apply_temperature, choose_temperature
from trimtab.stages.job import Features, Job


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The trained model as it is to be exported.

    Attributes
    ----------
    artifact
        Trained weights; ``temperature`` in its meta when one was kept.
    probabilities
        float32 [N, K] of the trained network on the validation rows, at that temperature.
    """

    artifact: Artifact
    probabilities: NDArray[np.floating]


def calibrate(job: Job, dataset: Dataset, artifact: Artifact, features: Features) -> Calibrated:
    """Fit a temperature on the validation rows, and keep it when held-out rows show that it helps."""
    from trimtab.training.stepper import predict_probabilities

    plan = job.plan
    native = predict_probabilities(artifact, features.validation, engine=str(plan.engine), threads=plan.threads or 1)
    if not plan.calibrate or not np.isfinite(native).all():  # the export's check says what is wrong with the latter
        return Calibrated(artifact=artifact, probabilities=native)
    choice = _choice(job, dataset, features, native)
    fitted = "no temperature" if choice.fitted_temperature is None else f"temperature {choice.fitted_temperature:.3g}"
    verdict = " kept" if choice.is_kept else "" if choice.fitted_temperature is None else " not kept"
    job.console.stage("calibrate", f"{fitted}{verdict}: {choice.reason}")
    if not choice.is_kept:
        return Calibrated(artifact=artifact, probabilities=native)
    return Calibrated(
        artifact=replace(artifact, meta={**artifact.meta, "temperature": choice.temperature}),
        probabilities=apply_temperature(native, choice.temperature),
    )


def _choice(job: Job, dataset: Dataset, features: Features, native: NDArray[np.float32]) -> TemperatureChoice:
    """Return what an earlier attempt chose, or choose now and write it down."""
    earlier = job.ledger.events("calibrated")
    if earlier:
        return TemperatureChoice.from_dict(earlier[-1])
    groups = None if dataset.groups is None else dataset.groups[features.validation_rows]
    choice = choose_temperature(native, features.validation.labels, groups=groups, seed=job.plan.seed)
    job.ledger.append("calibrated", **choice.to_dict())
    return choice


def judge_on_validation(job: Job, dataset: Dataset, artifact: Artifact, features: Features) -> Evaluation:
    """Return figures of the trained network on the validation rows; these chose its weights, so they flatter it."""
    from trimtab.training.stepper import predict_probabilities

    plan, rows = job.plan, features.validation
    probabilities = predict_probabilities(artifact, rows, engine=str(plan.engine), threads=plan.threads or 1)
    groups = None if dataset.groups is None else dataset.groups[features.validation_rows]
    return evaluate(rows.labels, probabilities, class_names=dataset.class_names, groups=groups, seed=plan.seed)
