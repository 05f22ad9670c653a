"""Whether remedies that a run tries by itself pay: sealed test figures of runs with and without them, paired by seed.

    python benchmarks/remedies.py                     # digits and a noisy table: needs nothing but the installation
    python benchmarks/remedies.py --data DIR          # also 2,000 rows of DIR/adult-train.csv

Each seed divides the rows anew and trains twice, with ``--no-remedies`` and with ``--remedies``; everything else is
what trimtab decides by itself, the length of each job excepted. Both are measured on the same sealed test rows. Where
nothing is tried or nothing helps, the two deliver the same model, up to what the clock does to a timed training.

Prints a table and writes it with every run, command, versions and hardware to benchmarks/results/remedies.json.
`--resume` keeps the runs that are there.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import trimtab
from trimtab.ledger import Ledger
from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "remedies.json"
ADULT = "adult-train.csv"
FIGURES = ("log_loss", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A data set: ``make`` writes it for a seed and returns what to run on, from a folder and the data directory."""

    name: str
    make: Callable[[int, Path, Path | None], str]
    settings: dict[str, Any]


def adult(seed: int, folder: Path, data: Path | None) -> str:
    """Write 2,000 rows of the census, others for each seed."""
    with ((data or Path()) / ADULT).open(newline="") as file:
        head, *rows = csv.reader(file)
    return _write(folder, head, random.Random(seed).sample(rows, 2000))


def noisy(seed: int, folder: Path, data: Path | None) -> str:
    """Write 1,000 rows of two classes that 3 of 27 columns tell apart a little; a tenth of the labels are wrong."""
    rng = np.random.default_rng((seed, 1))
    labels = rng.integers(0, 2, 1000)
    known = 0.5 * (2 * labels - 1)[:, None] + rng.standard_normal((1000, 3))
    columns = np.concatenate([known, rng.standard_normal((1000, 24))], axis=1)
    labels = np.where(rng.random(1000) < 0.1, 1 - labels, labels)
    head = [*(f"x{number}" for number in range(27)), "label"]
    return _write(folder, head, [[*map("{:.4f}".format, row), f"c{y}"] for row, y in zip(columns, labels, strict=True)])


def _write(folder: Path, head: list[str], rows: list[list[str]]) -> str:
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return str(path)


GREEDY = {"dropout": 0.0, "weight_decay": 0.0, "learning_rate": 0.01, "patience": 0, "epochs_at_most": 40}
HELD_OUT = {"validation_fraction": 0.6, "test_fraction": 0.2}  # few rows to learn by heart, many to judge by
JOBS = (
    Job(name="digits", make=lambda seed, folder, data: "digits", settings={}),
    Job(name="noisy table, 5 minutes", make=noisy, settings={"target": "label", "minutes": 5.0}),
    Job(
        name="noisy table, greedy by hand",
        make=noisy,
        settings={"target": "label", "minutes": 5.0, "options": {"hidden": [96, 48]}, **GREEDY},
    ),
    Job(
        name="noisy table, learned by heart",
        make=noisy,
        settings={"target": "label", "minutes": 5.0, "options": {"hidden": [96, 48]}, **GREEDY, **HELD_OUT},
    ),
    Job(name="adult, 2,000 rows", make=adult, settings={"target": "income"}),
    Job(name="adult, 2,000 rows, 5 minutes", make=adult, settings={"target": "income", "minutes": 5.0}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=f"directory with {ADULT}")
    parser.add_argument("--only", nargs="+", help="words of the jobs to run, such as digits")
    parser.add_argument("--seeds", type=int, default=5, help="of each job (default 5)")
    parser.add_argument("--resume", action="store_true", help="keep what the file of results already holds")
    options = parser.parse_args()
    result: dict[str, Any] = {"cells": []}
    if options.resume and RESULTS.exists():
        result = json.loads(RESULTS.read_text())
    words = ["DIR" if word == str(options.data) else word for word in sys.argv[1:]]  # a path says nothing elsewhere
    result["command"] = " ".join(["python benchmarks/remedies.py", *words])
    result |= {"machine": describe_machine(), "versions": package_versions()}
    for job in JOBS:
        if options.only and not any(word in job.name for word in options.only):
            continue
        if job.make is adult and not (options.data and (options.data / ADULT).exists()):
            print(f"{job.name}: no {ADULT}, left out; give its directory with --data", file=sys.stderr)
            continue
        for seed in range(options.seeds):
            for remedies in (False, True):
                key = {"job": job.name, "seed": seed, "remedies": remedies}
                if any(key.items() <= cell.items() for cell in result["cells"]):
                    continue
                result["cells"].append(key | measure(job, seed, remedies, options.data))
                result["table"] = summarize(result["cells"])
                write_json(RESULTS, result)
                print(result["cells"][-1], flush=True)
    print(to_text(result.get("table", [])))


def measure(job: Job, seed: int, remedies: bool, data: Path | None) -> dict[str, Any]:
    """Run once; return figures on the sealed test rows, seconds, and what was tried and taken over."""
    with tempfile.TemporaryDirectory() as folder:
        source = job.make(seed, Path(folder), data)
        run = trimtab.run(source, out=Path(folder) / "run", seed=seed, remedies=remedies, **job.settings)
        ledger = Ledger(run.directory / "ledger.jsonl")
    tried, skipped = ledger.events("remedies"), ledger.events("remedies_skipped")
    return {
        **{name: run.evaluation.metrics[name].value for name in FIGURES},
        "seconds": round(run.cost.seconds, 1),
        "minutes": run.plan.minutes,
        "training_seconds": ledger.events("trained")[0]["seconds"],
        "skipped": skipped[-1]["reason"] if skipped else None,
        "accepted": tried[-1]["accepted"] if tried else None,
        "trials": [
            {name: trial[name] for name in ("remedy", "gain", "low", "accuracy_gain")} for trial in tried[-1]["tried"]
        ]
        if tried
        else [],
        "trial_seconds": tried[-1]["seconds"] if tried else 0.0,
    }


def summarize(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per job how often remedies were tried and taken over, and the paired differences of with to without."""
    table = []
    for name in dict.fromkeys(cell["job"] for cell in cells):
        own = [cell for cell in cells if cell["job"] == name]
        without = {cell["seed"]: cell for cell in own if not cell["remedies"]}
        pairs = [(without[cell["seed"]], cell) for cell in own if cell["remedies"] and cell["seed"] in without]
        if not pairs:
            continue
        row: dict[str, Any] = {"job": name, "n": len(pairs)}
        row["tried"] = sum(bool(after["trials"]) for _, after in pairs)
        row["taken_over"] = sum(after["accepted"] is not None for _, after in pairs)
        for figure in FIGURES:
            gains = [after[figure] - before[figure] for before, after in pairs]
            row[figure] = statistics.mean(before[figure] for before, _ in pairs)
            row[f"{figure}_difference"] = statistics.mean(gains)
            row[f"{figure}_error"] = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else None
        row["seconds"] = [statistics.mean(pair[side]["seconds"] for pair in pairs) for side in (0, 1)]
        row["most_seconds"] = [60 * pairs[0][1]["minutes"], max(after["seconds"] for _, after in pairs)]
        table.append(row)
    return table


def to_text(table: list[dict[str, Any]]) -> str:
    """Return a line per job."""
    lines = []
    for row in table:
        losses, points = (
            f"{scale * row[f'{name}_difference']:+.{digits}f}"
            + ("" if row[f"{name}_error"] is None else f" (se {scale * row[f'{name}_error']:.{digits}f})")
            for name, scale, digits in (("log_loss", 1, 4), ("accuracy", 100, 2))
        )
        lines.append(
            f"{row['job']:<30} tried {row['tried']}, taken over {row['taken_over']} of {row['n']}; log loss "
            f"{row['log_loss']:.4f} {losses}, accuracy {100 * row['accuracy']:.2f} {points} points, "
            f"{row['seconds'][0]:.0f} -> {row['seconds'][1]:.0f} s"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
