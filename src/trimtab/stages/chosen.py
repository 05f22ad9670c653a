"""What is delivered of a ladder: its chosen file, measured on the sealed test rows, in a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.budget import Budget, Cost, Verdict
from trimtab.compression.ladder import AS_TRAINED, Rung
from trimtab.data.seal import Look
from trimtab.deployment import ParityReport, parity, write_bundle
from trimtab.deployment.parity import TOLERANCE
from trimtab.deployment.server_check import golden_answer
from trimtab.evaluation import Evaluation, evaluate, peak_memory_megabytes
from trimtab.evaluation.opening import level_of_look
from trimtab.evaluation.temperature import apply_temperature
from trimtab.machine import package_versions
from trimtab.stages.formats import predictor_of
from trimtab.stages.job import raw_inputs
from trimtab.stages.rungs import Rungs
from trimtab.storage import sha256_file


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """A file's answers on the sealed test rows.

    Attributes
    ----------
    rows
        Their numbers, [N].
    probabilities
        [N, K].
    evaluation
        The figures.
    look
        Which look at these rows it was.
    """

    rows: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    evaluation: Evaluation
    look: Look


def measure_chosen(rungs: Rungs, rung: Rung, *, caller: str, warn: Callable[[str], None]) -> Tested:
    """Open the sealed test rows and measure a rung on them: one look, which the run's ledger notes."""
    case, (path, artifact) = rungs.case, rungs.file_of(rung)
    rows, look = case.split.open_test(
        case.dataset,
        case.ledger,
        caller=caller,
        model=sha256_file(path),
        level_of=level_of_look,
        neighbours=case.directory.neighbours(),
    )
    for text in look.warnings:
        warn(text)
    probabilities = predictor_of(artifact, path, case.facts.threads).predict_proba(raw_inputs(case.dataset, rows))
    evaluation = evaluate(
        case.dataset.labels[rows],
        probabilities,
        class_names=case.dataset.class_names,
        groups=None if case.dataset.groups is None else case.dataset.groups[rows],
        level=level_of_look(look.number),
        seed=case.plan.seed,
    )
    return Tested(rows=rows, probabilities=probabilities, evaluation=evaluation, look=look)


def write_chosen(
    rungs: Rungs, rung: Rung, evaluation: Evaluation, folder: Path, *, budget: Budget, seconds: float
) -> tuple[Cost, Verdict]:
    """Write the bundle of a rung, with what was measured and whether it is within the budget.

    Parameters
    ----------
    rungs, rung
        The ladder, and what is delivered of it.
    evaluation
        On the test rows.
    folder
        Of the bundle.
    budget
        To compare the cost with.
    seconds
        That were spent so far.
    """
    path, artifact = rungs.file_of(rung)
    cost = _cost(rungs, rung, seconds)
    verdict = budget.check(cost)
    write_bundle(
        folder,
        onnx_path=path,
        artifact=artifact,
        parity=check_export(rungs, rung.network),
        name=rungs.case.directory.path.name,
        variant=rung.number_format,
        metrics={name: asdict(estimate) for name, estimate in evaluation.metrics.items()},
        budget=budget,
        cost=cost,
        verdict=verdict,
        versions=package_versions(),
        golden=golden_answer(predictor_of(artifact, path, 1)),
    )
    return cost, verdict


def _cost(rungs: Rungs, rung: Rung, seconds: float) -> Cost:
    return Cost(
        seconds=seconds,
        megabytes=rung.megabytes,
        milliseconds_p50=rung.latency.p50_ms,
        milliseconds_p95=rung.latency.p95_ms,
        milliseconds_p99=rung.latency.p99_ms,
        threads=rung.latency.threads,
        parameters=rung.parameters,
        macs=rung.macs,
        training_seconds=float(rungs.case.trained["seconds"]) if rung.network == AS_TRAINED else rung.seconds,
        peak_memory_megabytes=peak_memory_megabytes(),
    )


def check_export(rungs: Rungs, network: str) -> ParityReport:
    """Return how far the float file of a network is from the network that was trained, on the validation rows.

    Raises
    ------
    ExportError
        If it is farther than rounding explains.
    """
    from trimtab.training.stepper import predict_probabilities

    case, artifact = rungs.case, rungs.trained[network]
    temperature = float(artifact.meta.get("temperature", 1.0))
    if network == AS_TRAINED:
        native = case.probabilities
    else:
        rows, plan = case.features.validation, case.plan
        native = predict_probabilities(artifact, rows, engine=str(plan.engine), threads=plan.threads or 1)
        native = apply_temperature(native, temperature)
    return parity(
        native,
        rungs.answers[network, "float32"],
        case.features.validation.labels,
        tolerance=TOLERANCE / min(1.0, temperature),  # one below 1 widens differences of logits
    )
