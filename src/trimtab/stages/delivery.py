"""From a trained artifact to a delivered, measured bundle: export, choose, measure, deliver, report."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.budget import Cost, Verdict
from trimtab.compression import Measured, accept, int8_artifact, quantize_int8
from trimtab.console import describe_look, describe_size
from trimtab.data import Dataset, Split
from trimtab.deployment import ParityReport, export_onnx, parity, write_bundle
from trimtab.deployment.server_check import golden_answer
from trimtab.evaluation import Evaluation, Latency, compare_accuracy, evaluate, measure_latency, peak_memory_megabytes
from trimtab.evaluation.opening import level_of_look
from trimtab.machine import package_versions
from trimtab.stages.calibration import Calibrated
from trimtab.stages.formats import predictor_of
from trimtab.stages.job import Features, Job, raw_inputs, raw_row
from trimtab.stages.page import write_evaluation_files, write_run_summary
from trimtab.storage import sha256_file, write_json

_CALIBRATION_ROWS = 512
_CALIBRATION_SEED = 1  # of the choice of rows; apart from the plan's seed, which chose the split


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An exported model, measured on the validation rows.

    Attributes
    ----------
    variant
        ``"float32"`` or ``"int8"``.
    path
        The ONNX file.
    artifact
        The same model for NumPy.
    probabilities
        float32 [N, K] on the validation rows.
    latency
        Of one example, end to end.
    parity
        Of the float export against the trained model.
    """

    variant: str
    path: Path
    artifact: Artifact
    probabilities: NDArray[np.float32]
    latency: Latency
    parity: ParityReport

    @property
    def megabytes(self) -> float:
        """Size of the file in 1,000,000 bytes."""
        return self.path.stat().st_size / 1e6

    @property
    def measured(self) -> Measured:
        """What the guard needs to know."""
        return Measured(variant=self.variant, megabytes=self.megabytes, milliseconds_p95=self.latency.p95_ms)


def export_candidates(job: Job, dataset: Dataset, calibrated: Calibrated, features: Features) -> list[Candidate]:
    """Export the float model, check it against the trained one, and make the int8 model from it."""
    artifact = calibrated.artifact
    float_path = job.directory.compression / "float32" / "model.onnx"
    float_path.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(artifact, float_path)
    validation = raw_inputs(dataset, features.validation_rows)
    exported = predictor_of(artifact, float_path, job.facts.threads).predict_proba(validation)
    labels = dataset.labels[features.validation_rows]
    report = parity(calibrated.probabilities, exported, labels, tolerance=calibrated.tolerance)
    job.console.stage(
        "export",
        f"float32, {describe_size(float_path.stat().st_size / 1e6)}; largest difference from the trained model "
        f"{report.largest_difference:.1e} in {report.rows:,} rows",
    )
    models = {"float32": (float_path, artifact, exported)}
    if job.plan.quantize:
        path = _quantize(job, dataset, features, artifact, float_path)
        answers = predictor_of(artifact, path, job.facts.threads).predict_proba(validation)
        models["int8"] = (path, int8_artifact(artifact, path), answers)
    return [
        Candidate(
            variant=variant,
            path=path,
            artifact=own,
            probabilities=probabilities,
            latency=time_example(artifact, path, dataset, features.validation_rows),
            parity=report,
        )
        for variant, (path, own, probabilities) in models.items()
    ]


def _quantize(job: Job, dataset: Dataset, features: Features, artifact: Artifact, float_path: Path) -> Path:
    """Make the int8 model; it is calibrated on training rows only."""
    random = np.random.default_rng(_CALIBRATION_SEED)
    count = min(_CALIBRATION_ROWS, len(features.training_rows))
    rows = np.sort(random.choice(features.training_rows, count, replace=False))
    path = job.directory.compression / "int8" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    feeds = predictor_of(artifact, float_path, 1).feeds(raw_inputs(dataset, rows))
    quantize_int8(float_path, feeds, path)
    job.console.stage(
        "quantize", f"int8, {describe_size(path.stat().st_size / 1e6)}, calibrated on {count} training rows"
    )
    return path


def time_example(artifact: Artifact, path: Path, dataset: Dataset, rows: NDArray[np.int64]) -> Latency:
    """Time one example on one thread, from the encoded file or the raw row where there is one."""
    single = predictor_of(artifact, path, 1)
    examples = cycle([original_of(dataset, int(row)) for row in rows[:32]])
    return measure_latency(lambda: single.predict_proba([next(examples)]), threads=1, seconds=0.7)


def original_of(dataset: Dataset, row: int) -> Any:
    """Return a row as a user has it: the encoded file or the raw row, where there is one."""
    if dataset.read_original is not None:
        return dataset.read_original(row)
    return dataset.images[row] if dataset.images is not None else raw_row(dataset, row)


def choose(job: Job, dataset: Dataset, candidates: list[Candidate], features: Features) -> Candidate:
    """Deliver int8 when it is smaller and the guard on the validation rows passes, or the budget needs it."""
    labels = features.validation.labels
    groups = None if dataset.groups is None else dataset.groups[features.validation_rows]
    base = candidates[0]
    table = [_table_row(base, labels)]
    delivered, reason = base, "the only candidate"
    for candidate in candidates[1:]:
        decision = accept(
            base.measured,
            candidate.measured,
            compare_accuracy(labels, base.probabilities, candidate.probabilities, groups=groups),
            budget=job.plan.budget,
            max_drop_points=job.plan.max_drop,
        )
        delivered = candidate if decision.variant == candidate.variant else base
        reason = decision.reason
        drops = {"drop": decision.drop_points / 100, "drop_upper_bound": decision.drop_bound_points / 100}
        table.append({**_table_row(candidate, labels), **drops})
    for row in table:
        is_delivered = row["variant"] == delivered.variant
        row |= {"delivered": is_delivered, "reason": reason if is_delivered else ""}
    write_json(job.directory.compression / "table.json", table)
    job.ledger.append("decision", name="variant", value=delivered.variant, reason=reason)
    job.console.stage("choose", f"{delivered.variant} is delivered: {reason}")
    return delivered


def _table_row(candidate: Candidate, labels: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "variant": candidate.variant,
        "megabytes": candidate.megabytes,
        "accuracy": float(np.mean(candidate.probabilities.argmax(1) == labels)),
        "drop": None,
        "drop_upper_bound": None,
        "milliseconds_p50": candidate.latency.p50_ms,
    }


def measure(job: Job, dataset: Dataset, split: Split, artifact: Artifact, delivered: Candidate) -> Evaluation:
    """Open the sealed test rows and measure the delivered file on them, once."""
    rows, look = split.open_test(
        dataset,
        job.ledger,
        caller="trimtab run",
        model=sha256_file(delivered.path),
        level_of=level_of_look,
        neighbours=job.directory.neighbours(),
    )
    for text in look.warnings:
        job.warn(text)
    probabilities = predictor_of(artifact, delivered.path, job.facts.threads).predict_proba(raw_inputs(dataset, rows))
    groups = None if dataset.groups is None else dataset.groups[rows]
    evaluation = evaluate(
        dataset.labels[rows],
        probabilities,
        class_names=dataset.class_names,
        groups=groups,
        level=level_of_look(look.number),
        seed=job.plan.seed,
    )
    job.console.stage("evaluate", f"the delivered file on {len(rows):,} test rows, opened now")
    if look.number > 1:
        job.console.note(describe_look(look.number, look.others))
    for note in evaluation.notes:
        job.warn(note)
    write_evaluation_files(job, dataset, rows, probabilities, evaluation)
    return evaluation


def deliver(job: Job, artifact: Artifact, delivered: Candidate, evaluation: Evaluation) -> tuple[Cost, Verdict]:
    """Write the bundle with what was measured and whether it is within the budget."""
    from trimtab.models import measure_size
    from trimtab.stages.page import prepare_page

    prepare_page()
    size = measure_size(artifact.builder, artifact.kwargs, input_shape(artifact))
    cost = Cost(
        seconds=job.seconds(),
        megabytes=delivered.megabytes,
        milliseconds_p50=delivered.latency.p50_ms,
        milliseconds_p95=delivered.latency.p95_ms,
        milliseconds_p99=delivered.latency.p99_ms,
        threads=delivered.latency.threads,
        parameters=size.parameters,
        macs=size.macs * (2 if artifact.has_mirror else 1),
        training_seconds=job.training_seconds,
        peak_memory_megabytes=peak_memory_megabytes(),
    )
    verdict = job.plan.budget.check(cost)
    write_bundle(
        job.directory.bundle,
        onnx_path=delivered.path,
        artifact=delivered.artifact,
        parity=delivered.parity,
        name=job.directory.path.name,
        variant=delivered.variant,
        metrics={name: asdict(estimate) for name, estimate in evaluation.metrics.items()},
        budget=job.plan.budget,
        cost=cost,
        verdict=verdict,
        versions=package_versions(),
        golden=golden_answer(predictor_of(artifact, delivered.path, 1)),
    )
    job.ledger.append(
        "delivered",
        variant=delivered.variant,
        verdict=verdict.word,
        cost=cost.to_dict(),
        model_sha256=sha256_file(job.directory.bundle / "model.onnx"),
        metrics_sha256=sha256_file(job.directory.evaluation / "metrics.json"),
        predictions_sha256=sha256_file(job.directory.evaluation / "predictions.csv"),
    )
    return cost, verdict


def input_shape(artifact: Artifact) -> tuple[int, ...]:
    """Return the shape of one network input: (C, H, W) or (F,)."""
    meta = artifact.meta
    if meta["kind"] == "image":
        return (meta["channels"], meta["image_size"], meta["image_size"])
    return (artifact.kwargs["in_features"],)


def write_page(job: Job, dataset: Dataset, split: Split, verdict: Verdict) -> None:
    """Write the report; it comes last and says that the run is finished."""
    from trimtab.report import write_report

    write_run_summary(job, dataset, split)
    job.ledger.append("finished", verdict=verdict.word, seconds=round(job.seconds(), 3))
    shutil.rmtree(job.directory.checkpoints, ignore_errors=True)
    write_report(job.directory.path)
    job.console.stage("report", str(job.directory.report))
