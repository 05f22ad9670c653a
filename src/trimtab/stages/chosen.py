"""What a ladder delivers: its chosen file, measured on the sealed test rows, in a bundle."""

from __future__ import annotations

from dataclasses import asdict

from trimtab.budget import Cost, Verdict
from trimtab.compression.ladder import AS_TRAINED, Rung
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


def measure_chosen(rungs: Rungs, rung: Rung) -> Evaluation:
    """Open the sealed test rows and measure a rung on them: one look, which the run's ledger notes."""
    case, (path, artifact) = rungs.case, rungs.file_of(rung)
    rows, look = case.split.open_test(
        case.dataset,
        case.ledger,
        caller="trimtab compress",
        model=sha256_file(path),
        level_of=level_of_look,
        neighbours=case.directory.neighbours(),
    )
    for text in look.warnings:
        rungs.console.warn(text)
    probabilities = predictor_of(artifact, path, case.facts.threads).predict_proba(raw_inputs(case.dataset, rows))
    return evaluate(
        case.dataset.labels[rows],
        probabilities,
        class_names=case.dataset.class_names,
        groups=None if case.dataset.groups is None else case.dataset.groups[rows],
        level=level_of_look(look.number),
        seed=case.plan.seed,
    )


def write_chosen(rungs: Rungs, rung: Rung, evaluation: Evaluation, *, seconds: float) -> tuple[Cost, Verdict]:
    """Write the bundle of a rung, with what was measured and whether it is within the limits."""
    path, artifact = rungs.file_of(rung)
    cost = _cost(rungs, rung, seconds)
    verdict = rungs.wanted.budget.check(cost)
    write_bundle(
        rungs.folder / "bundle",
        onnx_path=path,
        artifact=artifact,
        parity=_parity(rungs, rung),
        name=rungs.case.directory.path.name,
        variant=rung.number_format,
        metrics={name: asdict(estimate) for name, estimate in evaluation.metrics.items()},
        budget=rungs.wanted.budget,
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


def _parity(rungs: Rungs, rung: Rung) -> ParityReport:
    """Return how far the float export of a rung's network is from the network that was trained."""
    from trimtab.training.stepper import predict_probabilities

    case, rows = rungs.case, rungs.case.features.validation
    place = rungs.place_of(rung.network)
    artifact = rungs.trained[rung.network]
    native = predict_probabilities(artifact, rows, engine=str(case.plan.engine), threads=case.plan.threads or 1)
    exported = predictor_of(artifact, place / "float32" / "model.onnx", case.facts.threads)
    temperature = float(artifact.meta.get("temperature", 1.0))
    return parity(
        apply_temperature(native, temperature),
        exported.predict_proba(raw_inputs(case.dataset, case.split.validation)),
        rows.labels,
        tolerance=TOLERANCE / min(1.0, temperature),
    )
