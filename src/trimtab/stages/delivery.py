"""From a chosen file to a delivered, measured bundle: the test rows, the bundle, the report."""

from __future__ import annotations

import shutil

from trimtab.budget import Cost, Verdict
from trimtab.compression.ladder import Rung
from trimtab.console import describe_look
from trimtab.data import Dataset, Split
from trimtab.evaluation import Evaluation
from trimtab.stages.chosen import measure_chosen, write_chosen
from trimtab.stages.job import Job
from trimtab.stages.page import prepare_page, write_evaluation_files, write_run_summary
from trimtab.stages.rungs import Rungs
from trimtab.storage import sha256_file


def measure(job: Job, rungs: Rungs, delivered: Rung) -> Evaluation:
    """Open the sealed test rows and measure the delivered file on them, once."""
    tested = measure_chosen(rungs, delivered, caller="trimtab run", warn=job.warn)
    job.console.stage("evaluate", f"the delivered file on {len(tested.rows):,} test rows, opened now")
    if tested.look.number > 1:
        job.console.note(describe_look(tested.look.number, tested.look.others))
    for note in tested.evaluation.notes:
        job.warn(note)
    write_evaluation_files(job, rungs.case.dataset, tested.rows, tested.probabilities, tested.evaluation)
    return tested.evaluation


def deliver(job: Job, rungs: Rungs, delivered: Rung, evaluation: Evaluation) -> tuple[Cost, Verdict]:
    """Write the bundle with what was measured and whether it is within the budget."""
    prepare_page()
    folder, budget = job.directory.bundle, job.plan.budget
    cost, verdict = write_chosen(rungs, delivered, evaluation, folder, budget=budget, seconds=job.seconds())
    job.ledger.append(
        "delivered",
        variant=delivered.number_format,
        verdict=verdict.word,
        cost=cost.to_dict(),
        model_sha256=sha256_file(folder / "model.onnx"),
        metrics_sha256=sha256_file(job.directory.evaluation / "metrics.json"),
        predictions_sha256=sha256_file(job.directory.evaluation / "predictions.csv"),
    )
    return cost, verdict


def write_page(job: Job, dataset: Dataset, split: Split, verdict: Verdict) -> None:
    """Write the report; it comes last and says that the run is finished."""
    from trimtab.report import write_report

    write_run_summary(job, dataset, split)
    job.ledger.append("finished", verdict=verdict.word, seconds=round(job.seconds(), 3))
    shutil.rmtree(job.directory.checkpoints, ignore_errors=True)
    write_report(job.directory.path)
    job.console.stage("report", str(job.directory.report))
