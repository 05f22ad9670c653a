"""What a vote of fold models gains over one of them, and how much of that its student keeps, on CIFAR-10 pictures.

    python benchmarks/ensemble.py --data DIR --steps 600 --channels 24 96 96    # the same on a busy machine
    python benchmarks/ensemble.py --data DIR [--rows 20000] [--folds 5] [--minutes 20] [--student-minutes 20]
    python benchmarks/ensemble.py ... --work DIR --resume                       # goes on where it was interrupted

DIR/cifar10-train.parquet is unpacked into a folder with a train part of so many pictures and a test part of 10,000
others. `trimtab crossval` trains the fold models, `trimtab ensemble --distill` the student. A control is trained like
the student, as long, from the same plan, but by the labels alone: what it gains is no merit of the teacher. With
--steps there is a short control besides, for as many passes as a fold model: what it gains is the merit of the rows
that a fold model does without. All are compared on the 10,000 pictures with paired tests.

By minutes all depends on what else the machine does. With --steps each fold model is trained for so many steps, the
student and the control for as many as the fold models together, whatever the clock says.

Prints the table and writes benchmarks/results/ensemble.json; a missed bar makes the exit code 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import trimtab
from trimtab.artifact import Artifact
from trimtab.console import Console
from trimtab.data import open_source
from trimtab.directory import RunDirectory
from trimtab.ensembling import Ensembled
from trimtab.evaluation import ManyCompared, compare_many
from trimtab.evaluation.aligned import read_aligned
from trimtab.generalization.ensembles import predict_rows
from trimtab.ledger import Ledger
from trimtab.machine import describe_machine, package_versions
from trimtab.plan import Plan
from trimtab.stages.teachers import reader_of
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "ensemble.json"
FILE = "cifar10-train.parquet"
TEST_ROWS = 10_000
KEPT_AT_LEAST = 0.5  # of the ensemble's gain in accuracy
PLENTY = 24 * 60.0  # minutes, where steps are the limit
SINGLE, VOTE, STUDENT, CONTROL, SHORT = "fold model", "ensemble", "student", "control", "short control"


def main() -> None:
    options = parse()
    unpack(options.data, options.work / "pictures", options.rows)
    folds = cross_validate(options, options.work / "runs" / "pictures-cv")
    minutes = {} if options.steps else {"minutes": options.student_minutes}
    made = trimtab.ensemble(folds.path, distill=True, console=Console(), **minutes)
    assert made.student is not None  # noqa: S101 - distill gives one
    others = train_controls(options, made.student, Plan.from_toml(folds.plan))
    runs = {STUDENT: made.student, **others}
    compared = compare(made, runs)
    figures = summarize(compared, accuracies_of(made))
    directories = {SINGLE: folds} | {name: RunDirectory(run.directory) for name, run in runs.items()}
    size = (made.ensemble.members[0].models[0] / "weights.safetensors").stat().st_size
    facts = {
        "command": " ".join(["python benchmarks/ensemble.py", *words(sys.argv[1:])]),
        "machine": describe_machine(),
        "versions": package_versions(),
        "seconds": {name: seconds_of(directory) for name, directory in directories.items()},
        "steps": {name: steps_of(directory) for name, directory in directories.items()},
        "rows": options.rows,
        "network": {"model": made.student.plan.model, "options": made.student.plan.options},
        "megabytes": {SINGLE: size / 1e6} | {name: run.cost.megabytes for name, run in runs.items()},
    }
    write_json(options.out, {**facts, **figures, **compared.to_dict()})
    report(compared, figures)
    print(f"written to {options.out}")
    sys.exit(0 if figures["is_met"] else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"directory with {FILE}")
    parser.add_argument("--rows", type=int, default=20_000, help="pictures to train and cross-validate on")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=20.0, help="of all folds together")
    parser.add_argument("--student-minutes", type=float, default=20.0, help="of the student, and of the control")
    parser.add_argument("--steps", type=int, help="of each fold model, instead of minutes")
    parser.add_argument("--channels", type=int, nargs="+", help="of a resnet (default: the network that a run chooses)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "trimtab-ensemble")
    parser.add_argument("--resume", action="store_true", help="go on with the runs in --work")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not (options.data / FILE).exists():
        parser.error(f"there is no {FILE} in {options.data}")
    if (options.work / "runs").exists() and not options.resume:
        parser.error(f"there are runs in {options.work}: go on with them by --resume, or name another --work")
    return options


def words(arguments: list[str]) -> list[str]:
    """Return the command's words, without those that say nothing elsewhere."""
    shown = [word for word in arguments if word != "--resume"]
    before = ["", *shown[:-1]]
    return ["DIR" if name in ("--data", "--work", "--out") else word for name, word in zip(before, shown, strict=True)]


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


def cross_validate(options: argparse.Namespace, out: Path) -> RunDirectory:
    """Return the fold models, trained unless they are there."""
    there = RunDirectory(out)
    if not there.is_finished:
        network = {"model": "resnet", "options": {"channels": options.channels, "stem": "whitening"}}
        settings: dict[str, Any] = network if options.channels else {}
        settings["minutes"] = PLENTY if options.steps else options.minutes
        pictures = options.work / "pictures"
        console, shared = Console(), {"steps": options.steps, "seed": options.seed}
        trimtab.crossval(pictures, folds=options.folds, out=out, console=console, **shared, **settings)
    return there


def train_controls(options: argparse.Namespace, student: trimtab.Run, folds: Plan) -> dict[str, trimtab.Run]:
    """Return runs like the student's that learn from labels alone, smoothed as those of the folds."""
    plan = replace(student.plan, teacher=None, label_smoothing=folds.label_smoothing)
    lengths = {CONTROL: plan.steps}
    if options.steps:
        lengths[SHORT] = round(options.steps * options.folds / (options.folds - 1))
    home = options.work / "runs"
    return {
        name: train_once(replace(plan, steps=steps), home / name.replace(" ", "-")) for name, steps in lengths.items()
    }


def train_once(plan: Plan, out: Path) -> trimtab.Run:
    if RunDirectory(out).is_finished:
        return trimtab.open_run(out)
    return trimtab.run(plan.data, plan, out=out, console=Console())


def seconds_of(directory: RunDirectory) -> int:
    """Return the seconds by the clock, earlier attempts included; those of all fold models are one number."""
    return round(Ledger(directory.ledger).events("finished")[-1]["seconds"])


def steps_of(directory: RunDirectory) -> int | list[int]:
    """Return the steps of a run, or of each fold model."""
    ledger = Ledger(directory.ledger)
    if folds := ledger.events("fold_trained"):
        return [event["steps"] for event in folds]
    return int(ledger.events("trained")[-1]["corrections"][-1]["total_steps"])


def compare(made: Ensembled, runs: dict[str, trimtab.Run]) -> ManyCompared:
    """Return all pairs on the test pictures."""
    files = {SINGLE: made.directory / "fold_model.csv", VOTE: made.directory / "predictions.csv"}
    files |= {name: run.directory / "evaluation" / "predictions.csv" for name, run in runs.items()}
    answers = read_aligned(list(files.values()))
    probabilities = {name: each.probabilities for name, each in zip(files, answers, strict=True)}
    return compare_many(answers[0].labels, probabilities)


def accuracies_of(made: Ensembled) -> list[float]:
    """Return the accuracy of each fold model on the test pictures: the first, which is compared, may be lucky."""
    plan = Plan.from_toml(made.directory.parent / "plan.toml")
    dataset = open_source(plan.data).load(image_size=plan.image_size)
    numbers = np.flatnonzero([name.startswith("test/") for name in dataset.row_names])
    models = [Artifact.load(model) for model in made.ensemble.members[0].models]
    asked = {"engine": str(plan.engine), "threads": plan.threads or 1}
    answers = [predict_rows(model, reader_of(dataset), numbers, **asked) for model in models]
    return [float((each.argmax(axis=1) == dataset.labels[numbers]).mean()) for each in answers]


def summarize(compared: ManyCompared, singles: list[float]) -> dict[str, Any]:
    """Return the shares of the ensemble's gain that are kept, over the first fold model and over the mean of all."""
    pairs = {pair.names: pair.metrics["accuracy"] for pair in compared.pairs}
    gain, mean = pairs[SINGLE, VOTE], float(np.mean(singles))
    names = [b for a, b in pairs if a == SINGLE and b != VOTE]
    kept = {name: pairs[SINGLE, name].difference / gain.difference for name in names}
    of_mean = {name: (pairs[SINGLE, name].value_b - mean) / (gain.value_b - mean) for name in kept}
    is_met = gain.is_significant and gain.is_better and min(kept[STUDENT], of_mean[STUDENT]) >= KEPT_AT_LEAST
    return {"fold_models": singles, "kept": kept, "kept_over_mean": of_mean, "is_met": is_met}


def report(compared: ManyCompared, figures: dict[str, Any]) -> None:
    for metric in ("accuracy", "log_loss"):
        print(f"\n{compared.to_table(metric)}")
    shown = ", ".join(f"{value:.4f}" for value in figures["fold_models"])
    print(f"\naccuracy of each fold model: {shown}")
    for name, kept in figures["kept"].items():
        of_mean = figures["kept_over_mean"][name]
        print(f"of the ensemble's gain the {name} keeps {kept:.2f}; over the mean of the fold models {of_mean:.2f}")
    print(f"bar (gain shown, student keeps {KEPT_AT_LEAST:g} of both): {'met' if figures['is_met'] else 'MISSED'}")


if __name__ == "__main__":
    main()
