"""What a vote of fold models gains over one of them, and how much of that its student keeps, on CIFAR-10 pictures.

    python benchmarks/ensemble.py --data DIR [--rows 20000] [--folds 5] [--minutes 20] [--student-minutes 20]

DIR/cifar10-train.parquet is unpacked into a folder with a train part of so many pictures and a test part of 10,000
others. `trimtab crossval` trains the fold models in the first minutes, `trimtab ensemble --distill` the student in the
second. A control is trained like the student, as long, from the same plan, but by the labels alone: what it gains is no
merit of the teacher. All are compared on the 10,000 pictures with paired tests. Prints the table and writes
benchmarks/results/ensemble.json; a missed bar makes the exit code 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import trimtab
from trimtab.console import Console
from trimtab.ensembling import Ensembled
from trimtab.evaluation import ManyCompared, compare_many
from trimtab.evaluation.aligned import read_aligned
from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "ensemble.json"
FILE = "cifar10-train.parquet"
TEST_ROWS = 10_000
KEPT_AT_LEAST = 0.5  # of the ensemble's gain in accuracy
SINGLE, VOTE, STUDENT, CONTROL = "fold model", "ensemble", "student", "control"


def main() -> None:
    options = parse()
    unpack(options.data, options.work / "pictures", options.rows)
    started = time.monotonic()
    folds = trimtab.crossval(
        options.work / "pictures",
        folds=options.folds,
        minutes=options.minutes,
        seed=options.seed,
        out=options.work / "runs" / "pictures-cv",
        console=Console(),
    )
    made = trimtab.ensemble(folds.directory, distill=True, minutes=options.student_minutes, console=Console())
    assert made.student is not None  # noqa: S101 - distill gives one
    plan = replace(made.student.plan, teacher=None, label_smoothing=folds.plan.label_smoothing)
    control = trimtab.run(plan.data, plan, out=options.work / "runs" / "pictures-control", console=Console())
    compared = compare(made, made.student.directory, control.directory)
    figures = summarize(compared)
    write_json(
        options.out,
        {
            "command": " ".join(["python", "benchmarks/ensemble.py", *sys.argv[1:]]),
            "machine": describe_machine(),
            "versions": package_versions(),
            "seconds": round(time.monotonic() - started),
            "megabytes": {STUDENT: made.student.cost.megabytes, CONTROL: control.cost.megabytes},
            "network": {"model": plan.model, "options": plan.options},
            **figures,
            **compared.to_dict(),
        },
    )
    print(f"\n{compared.to_table()}\n\n{compared.to_table('log_loss')}\n")
    print(f"the student keeps {figures['kept_share']:.2f} of the ensemble's gain, the control {figures['control']:.2f}")
    print(f"written to {options.out}")
    sys.exit(0 if figures["is_met"] else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"directory with {FILE}")
    parser.add_argument("--rows", type=int, default=20_000, help="pictures to train and cross-validate on")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=20.0, help="of all folds together")
    parser.add_argument("--student-minutes", type=float, default=20.0, help="of the student, and of the control")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "trimtab-ensemble")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not (options.data / FILE).exists():
        parser.error(f"there is no {FILE} in {options.data}")
    return options


def unpack(data: Path, folder: Path, rows: int) -> None:
    """Write ``train/CLASS/*`` and ``test/CLASS/*``, unless as many pictures are there already."""
    if len(list(folder.rglob("*.*"))) == rows + TEST_ROWS:
        return
    pictures = pq.read_table(data / FILE, columns=["image"]).column("image").to_pylist()
    order = np.random.default_rng(0).permutation(len(pictures))
    for place, index in enumerate(order[: rows + TEST_ROWS]):
        picture = pictures[index]
        path = folder / ("test" if place < TEST_ROWS else "train") / picture["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture["bytes"])


def compare(made: Ensembled, student: Path, control: Path) -> ManyCompared:
    """Return all pairs on the test pictures."""
    files = {
        SINGLE: made.directory / "fold_model.csv",
        VOTE: made.directory / "predictions.csv",
        STUDENT: student / "evaluation" / "predictions.csv",
        CONTROL: control / "evaluation" / "predictions.csv",
    }
    answers = read_aligned(list(files.values()))
    probabilities = {name: each.probabilities for name, each in zip(files, answers, strict=True)}
    return compare_many(answers[0].labels, probabilities)


def summarize(compared: ManyCompared) -> dict[str, Any]:
    """Return the shares of the ensemble's gain, and whether the bars are met."""
    pairs = {pair.names: pair.metrics["accuracy"] for pair in compared.pairs}
    gain = pairs[SINGLE, VOTE]
    share = {name: pairs[SINGLE, name].difference / gain.difference for name in (STUDENT, CONTROL)}
    is_met = gain.is_significant and gain.is_better and share[STUDENT] >= KEPT_AT_LEAST
    return {"kept_share": share[STUDENT], "control": share[CONTROL], "is_met": is_met}


if __name__ == "__main__":
    main()
