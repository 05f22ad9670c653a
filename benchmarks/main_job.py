"""The main job on real data, as a user starts it: accuracy, size, latency and wall clock of whole processes.

    python benchmarks/main_job.py                           # digits only: needs nothing but the installation
    python benchmarks/main_job.py --data DIR --repeat 3     # also DIR/cifar10-train.parquet and DIR/adult-train.csv

Each repeat is a fresh process with an empty cache and another seed (of split, weights and order), so the spread is
that of the whole method. Prints a table and writes it, with command, versions and hardware, to
benchmarks/results/main_job.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "main_job.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="directory with cifar10-train.parquet and adult-train.csv")
    parser.add_argument("--repeat", type=int, default=1, help="processes per data set (default 1)")
    parser.add_argument("--only", help="run only the job of this name, and write no file")
    options = parser.parse_args()
    rows = []
    for name, arguments in jobs(options.data).items():
        if options.only in (None, name):
            runs = [run(arguments, seed) for seed in range(options.repeat)]
            rows.append(summarize(name, arguments, runs))
            print(format_row(rows[-1]), flush=True)
    if options.only:
        return
    words = ["DIR" if word == str(options.data) else word for word in sys.argv[1:]]  # a path says nothing elsewhere
    command = " ".join(["python benchmarks/main_job.py", *words])
    result = {"command": command, "machine": describe_machine(), "versions": package_versions(), "jobs": rows}
    write_json(RESULTS, result)
    print(f"written to {RESULTS}")


def jobs(data: Path | None) -> dict[str, list[str]]:
    """Return the arguments of each job whose data are there; say so where they are not."""
    wanted = {"digits": ["digits"]}
    files = {
        "cifar10": ("cifar10-train.parquet", ["--minutes", "8", "--megabytes", "1", "--milliseconds", "5"]),
        "adult": ("adult-train.csv", ["--target", "income", "--minutes", "1"]),
    }
    for name, (file, limits) in files.items():
        if data is not None and (data / file).exists():
            wanted[name] = [str(data / file), *limits]
        else:
            print(f"{name}: no {file}, left out; give its directory with --data", file=sys.stderr)
    return wanted


def run(arguments: list[str], seed: int) -> dict:
    """Run one process; return what ``--json`` printed and the wall clock."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "trimtab", "run", *arguments, "--seed", str(seed), "--json"]
        started = time.perf_counter()
        process = subprocess.run(
            [*command, "--out", f"{directory}/run"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TRIMTAB_CACHE": f"{directory}/cache"},
        )
        seconds = time.perf_counter() - started
        if process.returncode not in (0, 3):
            sys.exit(f"{' '.join(command)} exited with {process.returncode}: {process.stderr}")
        table = json.loads((Path(directory) / "run" / "compression" / "table.json").read_text())
    return {**json.loads(process.stdout.splitlines()[-1]), "wall_seconds": seconds, "candidates": table}


def summarize(name: str, arguments: list[str], runs: list[dict]) -> dict:
    """Return median, lowest and highest of each figure over the repeats."""

    def spread(values: list[float]) -> dict[str, float]:
        return {"median": statistics.median(values), "low": min(values), "high": max(values)}

    return {
        "job": name,
        "arguments": [Path(arguments[0]).name, *arguments[1:]],
        "n": len(runs),
        "accuracy": spread([run["metrics"]["accuracy"]["value"] for run in runs]),
        "first_interval": [runs[0]["metrics"]["accuracy"][end] for end in ("low", "high")],
        "megabytes": spread([run["cost"]["megabytes"] for run in runs]),
        "milliseconds_p95": spread([run["cost"]["milliseconds_p95"] for run in runs]),
        "wall_seconds": spread([run["wall_seconds"] for run in runs]),
        "drop_points_on_validation": spread([drop(run["candidates"]) for run in runs]),
        "verdicts": [run["verdict"] for run in runs],
    }


def drop(candidates: list[dict]) -> float:
    """Return the accuracy points that the delivered file lost against float32 on the validation rows."""
    return next(100 * (row["drop"] or 0.0) for row in candidates if row["delivered"])


def format_row(row: dict) -> str:
    accuracy, low, high = row["accuracy"], *row["first_interval"]
    return (
        f"{row['job']:<8} n={row['n']}  accuracy {accuracy['median']:.4f}"
        f" ({accuracy['low']:.4f}-{accuracy['high']:.4f}) [first 95% {low:.4f}-{high:.4f}]"
        f"  {row['megabytes']['median']:.3f} MB"
        f"  p95 {row['milliseconds_p95']['median']:.2f} ms  wall {row['wall_seconds']['median']:.1f} s"
        f" (at most {row['wall_seconds']['high']:.1f})"
        f"  drop {row['drop_points_on_validation']['median']:+.2f} points on validation"
        f"  {'/'.join(row['verdicts'])}"
    )


if __name__ == "__main__":
    main()
