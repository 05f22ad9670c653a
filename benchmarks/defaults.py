"""Which defaults teach most: one setting changed at a time, at an equal number of rows seen, on three data sets.

    python benchmarks/defaults.py                     # digits only: needs nothing but the installation
    python benchmarks/defaults.py --data DIR          # also DIR/cifar10-train.parquet and DIR/adult-train.csv

The network of each data set is fixed; everything else is what trimtab decides by itself, except for the setting that
is varied. Each training runs for a fixed number of passes on one thread, as many at a time as `--processes` says, and
is validated on a fifth of the rows. Variations are compared with the default by pairs of the same seed, which decides
split, weights and order. Nothing is measured by the clock, so other work on the machine does no harm.

Prints a table and writes it, with the settings that were decided, command, versions and hardware, to
benchmarks/results/defaults.json. `--resume` skips the trainings that are there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trimtab.machine import describe_machine, package_versions
from trimtab.plan import Plan
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "defaults.json"
VALIDATED = {"validation_fraction": 0.2, "test_fraction": 0.02, "threads": 1}
RESNET = {"stem": "whitening"}
OF_PICTURES = {
    "optimizer": ["adamw", "muon", "sgd"],
    "learning_rate": ["/2", "*2"],
    "batch_size": ["/2", "*2"],
    "weight_decay": [0.0, "*10"],
    "label_smoothing": [0.0, 0.1, 0.2],
    "dropout": [0.1, 0.3],
    "schedule": ["linear", "cosine", "constant"],
    "augment": ["none", "strong"],
    "mixup": [0.2],
    "cutmix": [1.0],
    "ema": [0.98],
}
OF_TABLES = {
    "optimizer": ["muon", "sgd"],
    "learning_rate": ["/3", "*3"],
    "batch_size": ["/4", "*4"],
    "weight_decay": [0.0, "*10"],
    "label_smoothing": [0.1],
    "dropout": [0.0, 0.2],
    "schedule": ["linear", "cosine", "constant"],
    "mixup": [0.2],
    "ema": [0.98],
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A data set with its network, and what is varied."""

    name: str
    file: str
    settings: dict[str, Any]
    passes: float
    seeds: int
    variations: dict[str, list[Any]]

    def cases(self) -> Iterator[tuple[str, Any]]:
        """Yield the default, then one setting and value after the other."""
        yield "default", None
        for setting, values in self.variations.items():
            for value in values:
                yield setting, value


JOBS = (
    Job(
        name="cnn on digits",
        file="digits",
        settings={"model": "cnn", "options": {"channels": [32, 64]}},
        passes=8,
        seeds=6,
        variations=OF_PICTURES,
    ),
    Job(
        name="resnet on CIFAR-10",
        file="cifar10-train.parquet",
        settings={"model": "resnet", "options": RESNET | {"channels": [24, 96, 96], "depth": 3}},
        passes=12,
        seeds=2,
        variations={
            "options": [RESNET | {"channels": [28, 112, 112], "depth": 2}],  # as many multiplications
            "optimizer": ["adamw"],
            "learning_rate": ["/2", "*2"],
            "batch_size": ["/2", "*2"],
            "weight_decay": [0.0005, "*2.5"],
            "label_smoothing": [0.1],
            "dropout": [0.1],
            "augment": ["none", "strong"],
            "cutmix": [1.0],
        },
    ),
    Job(
        name="mlp on adult",
        file="adult-train.csv",
        settings={"model": "mlp", "target": "income", "options": {"hidden": [256, 128]}},
        passes=12,
        seeds=4,
        variations=OF_TABLES,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="directory with cifar10-train.parquet and adult-train.csv")
    parser.add_argument("--only", nargs="+", help="words of the jobs to run, such as digits")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--seeds", type=int, help="at most so many of each job")
    parser.add_argument("--resume", action="store_true", help="keep what the file of results already holds")
    options = parser.parse_args()
    result: dict[str, Any] = {"jobs": {}}
    if options.resume and RESULTS.exists():
        result = json.loads(RESULTS.read_text())
    words = ["DIR" if word == str(options.data) else word for word in sys.argv[1:]]  # a path says nothing elsewhere
    result["command"] = " ".join(["python benchmarks/defaults.py", *words])
    result |= {"machine": describe_machine(), "versions": package_versions()}
    for job in JOBS:
        data = job.file if job.file == "digits" else str((options.data or Path()) / job.file)
        if options.only and not any(word in job.name for word in options.only):
            continue
        if job.file != "digits" and not (options.data and Path(data).exists()):
            print(f"{job.name}: no {job.file}, left out; give its directory with --data", file=sys.stderr)
            continue
        measure(job, data, options.processes, min(job.seeds, options.seeds or job.seeds), result)


def measure(job: Job, data: str, processes: int, seeds: int, result: dict[str, Any]) -> None:
    """Train all cases of a job that are not there yet, saving after each."""
    saved = result["jobs"].setdefault(job.name, {"passes": job.passes, "settings": {}, "cells": []})
    saved["settings"] = decided(job, data)
    done = {(cell["setting"], str(cell["value"]), cell["seed"]) for cell in saved["cells"]}
    todo = [
        (setting, value, seed)
        for seed in range(seeds)
        for setting, value in job.cases()
        if setting == "default" or value != decided(job, data)[setting]
        if (setting, str(value), seed) not in done
    ]
    with ThreadPoolExecutor(processes) as pool:  # threads that wait for processes
        for cell in pool.map(lambda case: train(job, data, *case), todo):
            saved["cells"].append(cell)
            saved["table"] = summarize(job, saved["cells"])
            write_json(RESULTS, result)
    print(f"\n{job.name}, {job.passes:g} passes\n{to_text(saved['table'])}", flush=True)


@cache
def decided(job: Job, data: str, *settings: tuple[str, Any]) -> dict[str, Any]:
    """Return every setting of the plan that trimtab makes of this."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.toml"
        path.write_text(Plan(data=data, **job.settings, **VALIDATED, **dict(settings)).to_toml())
        shown = trimtab("plan", path)
        path.write_text(shown)
        plan = asdict(Plan.from_toml(path))
    return {name: value for name, value in plan.items() if name != "data"}


def train(job: Job, data: str, setting: str, value: Any, seed: int) -> dict[str, Any]:
    """Train one case; return its accuracy and log loss on the validation rows."""
    own = {} if setting == "default" else {setting: changed(decided(job, data)[setting], value)}
    batch = decided(job, data, *own.items())["batch_size"]
    rows = {"digits": 1797, "cifar10-train.parquet": 50_000, "adult-train.csv": 24_561}[job.file]
    steps = max(1, round(job.passes * 0.78 * rows / batch))
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(data=data, seed=seed, steps=steps, **job.settings, **VALIDATED, **own)
        (Path(folder) / "plan.toml").write_text(plan.to_toml())
        said = trimtab("train", Path(folder) / "plan.toml", "--out", Path(folder) / "run", "--json")
    metrics = json.loads(said.splitlines()[-1])["validation"]
    figures = {name: metrics[name]["value"] for name in ("accuracy", "log_loss")}
    cell = {"setting": setting, "value": value, "is": own.get(setting), "seed": seed, "steps": steps, **figures}
    print(cell, flush=True)
    return cell


def changed(default: Any, value: Any) -> Any:
    """Return the value of a variation, which may be a multiple of the default."""
    if not isinstance(value, str) or value[0] not in "/*":
        return value
    factor = float(value[1:]) if value[0] == "*" else 1 / float(value[1:])
    return type(default)(float(f"{default * factor:.3g}"))


def trimtab(*arguments: object) -> str:
    """Run the command line in a fresh process; return what it prints."""
    command = [sys.executable, "-m", "trimtab", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {process.returncode}: {process.stderr[-2000:]}")
    return process.stdout


def summarize(job: Job, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, per case, the mean accuracy and the mean difference to the default over the seeds, in points."""
    defaults = {cell["seed"]: cell["accuracy"] for cell in cells if cell["setting"] == "default"}
    table = []
    for setting, value in job.cases():
        own = [cell for cell in cells if (cell["setting"], cell["value"]) == (setting, value)]
        gains = [100 * (cell["accuracy"] - defaults[cell["seed"]]) for cell in own if cell["seed"] in defaults]
        if gains:
            error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else None
            row = {"setting": setting, "value": value, "is": own[0]["is"], "n": len(gains)}
            row |= {"accuracy": statistics.mean(cell["accuracy"] for cell in own)}
            table.append(row | {"gain_points": statistics.mean(gains), "standard_error": error})
    return table


def to_text(table: list[dict[str, Any]]) -> str:
    """Return a line per case."""
    return "\n".join(
        f"{row['setting']:<16} {row['is']!s:<10} {row['accuracy']:.4f}  {row['gain_points']:+.2f} points"
        + ("" if row["standard_error"] is None else f" (se {row['standard_error']:.2f})")
        + f", n = {row['n']}"
        for row in table
    )


if __name__ == "__main__":
    main()
