"""A finished run, opened again and verified: nothing in it was altered since it was written."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote

from trimtab.budget import Cost, Verdict
from trimtab.directory import RunDirectory, find
from trimtab.errors import InputError, IntegrityError
from trimtab.ledger import Ledger
from trimtab.pipeline import Run
from trimtab.plan import Plan
from trimtab.storage import sha256_file


def open_run(path: str | Path) -> Run:
    """Return what a finished run directory holds: ledger, split, seal, bundle, predictions and figures verified.

    Raises
    ------
    InputError
        If there is no run there, or it is not finished.
    IntegrityError
        If one of these was altered; names it.
    """
    from trimtab.deployment import find_bundle, read_manifest
    from trimtab.evaluation import Evaluation

    directory = find(path)
    if not directory.is_finished:
        raise InputError(
            f"the run at {path} is not finished",
            "a finished run",
            f"continue it with `trimtab run {quote(str(directory.plan))}`",
        )
    manifest = read_manifest(find_bundle(directory.path))
    ledger = Ledger(directory.ledger)
    _check_records(directory, ledger)
    evaluation = json.loads((directory.evaluation / "metrics.json").read_text())
    return Run(
        directory=directory.path,
        plan=Plan.from_toml(directory.plan),
        evaluation=Evaluation.from_dict(evaluation),
        cost=Cost.from_dict(manifest["cost"]),
        verdict=Verdict.from_dict(manifest["verdict"]),
        warnings=tuple(dict.fromkeys(event["text"] for event in ledger.events("warning"))),
    )


def _check_records(directory: RunDirectory, ledger: Ledger) -> None:
    """Raise `IntegrityError` if the ledger is not whole, or test part, model or figures are not those it speaks of."""
    from trimtab.data import Split

    if not (ledger.events("test_opened") and ledger.events("delivered") and ledger.events("finished")):
        raise IntegrityError(
            f"{ledger.path} ends before the run did" if ledger.events() else f"{ledger.path} is missing or empty",
            "the opening of the test rows, the delivery and the end of the run in it",
            "restore the file from a copy, or repeat the run",
        )
    Split.load(directory.data / "split").check_sealed(ledger)
    delivered = ledger.events("delivered")[-1]
    files = {
        "metrics_sha256": directory.evaluation / "metrics.json",
        "predictions_sha256": directory.evaluation / "predictions.csv",
        "model_sha256": directory.bundle / "model.onnx",
    }
    for name, path in files.items():  # earlier versions noted fewer
        if name in delivered and (not path.is_file() or sha256_file(path) != delivered[name]):
            raise IntegrityError(
                f"{path} is not the file that was written",
                "the hash that the ledger holds",
                "restore it from a copy, or repeat the run",
            )
