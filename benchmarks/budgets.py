"""Runs with budgets from 20 seconds to 10 minutes: is one ever overrun, how much of it is used, and for what.

    python benchmarks/budgets.py --data DIR            # 20 runs, three quarters of an hour
    python benchmarks/budgets.py --data DIR --resume   # those that an interrupted one has not come to
    python benchmarks/budgets.py --data DIR --quick    # 4 short ones; writes no file

DIR holds cifar10-train.parquet and adult-train.csv. Every run is a fresh process with an empty cache, so that a
budget pays for decoding, too; the clock is that of whoever started the process. Every second run has another process
beside it that computes without a pause. A run that ends early because validation has stalled, or because the passes
over the data are limited, has not used its time by intention: it is counted apart.

Prints a table and writes it after each run, with command, versions and hardware, to benchmarks/results/budgets.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trimtab.ledger import Ledger
from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json
from trimtab.training.pace import follows_the_clock

RESULTS = Path(__file__).parent / "results" / "budgets.json"
BUDGETS = [  # seconds, and what is learned in them; each once alone and once beside another process
    (20, "digits"),
    (20, "pictures"),
    (30, "digits"),
    (30, "table"),
    (45, "pictures"),
    (60, "cifar"),
    (90, "cifar"),
    (180, "cifar"),
    (300, "cifar"),
    (600, "cifar"),
]
QUICK = [(20, "digits"), (40, "pictures")]
FEW_PICTURES = 5000
LOAD = "while True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory with the two files")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--resume", action="store_true", help="keep the runs that the file of results holds")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text())["rows"] if options.resume else []
    done = {(row["budget_seconds"], row["data"], row["is_loaded"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "digits": ["digits"],
            "pictures": [str(unpack(options.data / "cifar10-train.parquet", Path(folder) / "pictures"))],
            "table": [str(options.data / "adult-train.csv"), "--target", "income"],
            "cifar": [str(options.data / "cifar10-train.parquet")],
        }
        print(f"{'budget':>6} {'data':<9}{'beside':<8}{'used':>7} {'share':>6} {'steps':>6} {'last rate':>9} accuracy")
        for seconds, name in QUICK if options.quick else BUDGETS:
            for is_loaded in (False, True):
                if (seconds, name, is_loaded) in done:
                    continue
                with loaded() if is_loaded else alone():
                    found = run(arguments[name], seconds, Path(folder))
                rows.append({"budget_seconds": seconds, "data": name, "is_loaded": is_loaded, **found})
                print(format_row(rows[-1]), flush=True)
                if not options.quick:
                    save(rows)
    print("; ".join(f"{name} {value}" for name, value in summarize(rows).items()))


def save(rows: list[dict[str, Any]]) -> None:
    """Write what there is so far."""
    result = {"command": "python benchmarks/budgets.py --data DIR", "machine": describe_machine()}
    write_json(RESULTS, {**result, "versions": package_versions(), **summarize(rows), "rows": rows})


def run(arguments: list[str], seconds: int, folder: Path) -> dict[str, Any]:
    """Carry out one run and return what came of it."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        out = Path(place) / "run"
        command = [sys.executable, "-m", "trimtab", "run", *arguments, "--minutes", f"{seconds / 60:.6f}"]
        started = time.monotonic()
        process = subprocess.run(
            [*command, "--json", "--out", str(out)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TRIMTAB_CACHE": f"{place}/cache"},
        )
        used = time.monotonic() - started
        if process.returncode not in (0, 3):
            sys.exit(f"{' '.join(command)} exited with {process.returncode}: {process.stderr}")
        result = json.loads(process.stdout.splitlines()[-1])
        trained = Ledger(out / "ledger.jsonl").events("trained")[-1]
        with (out / "history.csv").open(newline="") as file:
            rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    return {
        "used_seconds": used,
        "is_over": used > seconds,
        "share": used / seconds,
        "steps_share": trained["stepping_seconds"] / seconds,
        "reserved_seconds": trained["reserved_seconds"],
        "last_rate_of_peak": rates[-1] / max(rates),
        "steps": trained["corrections"][-1]["total_steps"],
        "corrections": len(trained["corrections"]),
        "mode": trained["mode"],
        "ending": trained["corrections"][-1]["reason"],
        "used_its_time": follows_the_clock(trained["corrections"][-1]["reason"]),
        "accuracy": result["metrics"]["accuracy"]["value"],
    }


def unpack(parquet: Path, folder: Path) -> Path:
    """Write some of the pictures to class folders, as users have them."""
    import pyarrow.parquet as pq

    pictures = pq.read_table(parquet, columns=["image"]).column(0).to_pylist()
    for picture in random.Random(0).sample(pictures, FEW_PICTURES):
        path = folder / picture["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture["bytes"])
    return folder


@contextmanager
def loaded() -> Iterator[None]:
    """Keep one processor busy with something else."""
    process = subprocess.Popen([sys.executable, "-c", LOAD])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def alone() -> Iterator[None]:
    """Do nothing beside the run."""
    yield


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures that must hold."""
    used = [row["share"] for row in rows if row["used_its_time"]]
    longest = max(row["budget_seconds"] for row in rows)
    return {
        "runs": len(rows),
        "over": sum(row["is_over"] for row in rows),
        "ended_early_by_intention": len(rows) - len(used),
        "median_share_of_the_others": round(statistics.median(used), 3) if used else None,
        "least_share_in_steps_of_the_longest": round(
            min(row["steps_share"] for row in rows if row["budget_seconds"] == longest), 3
        ),
        "highest_last_rate_of_peak": round(max(row["last_rate_of_peak"] for row in rows), 4),
    }


def format_row(row: dict[str, Any]) -> str:
    return (
        f"{row['budget_seconds']:>6} {row['data']:<9}{'another' if row['is_loaded'] else 'nothing':<8}"
        f"{row['used_seconds']:7.1f} {row['share']:6.1%} {row['steps_share']:6.1%} {row['last_rate_of_peak']:9.4f}"
        f" {row['accuracy']:.4f}{'  OVER' if row['is_over'] else ''}"
        f"{'' if row['used_its_time'] else '  ended early: ' + row['ending']}"
    )


if __name__ == "__main__":
    main()
