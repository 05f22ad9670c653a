"""Processor seconds of greedy ensemble selection, against the usual inner loop over all classes.

    python benchmarks/selection.py [--models 40] [--rows 50000] [--classes 100] [--members 5] [--repeat 3]

Both get the same made-up out-of-fold probabilities, float32, on one thread, in turn. The usual loop averages tables of
all classes and takes the log loss of each trial; ours takes the true class's column out of each table first, which is
timed, too. Prints both and whether the members are the same, and writes benchmarks/results/selection.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

from trimtab.generalization.selection import best_round, select_members, true_class_column  # noqa: E402
from trimtab.machine import describe_machine  # noqa: E402
from trimtab.storage import write_json  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "selection.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    tables, labels = made_up(options.models, options.rows, options.classes)
    columns = np.stack([true_class_column(table, labels) for table in tables])
    cases: dict[str, Callable[[], list[int]]] = {
        "selection": lambda: ours(columns, options.classes, options.members),
        "columns and selection": lambda: from_tables(tables, labels, options.members),
        "the usual loop": lambda: plain(tables, labels, options.members),
    }
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    members: dict[str, list[int]] = {}
    for _ in range(options.repeat):
        for name, action in cases.items():
            started = time.process_time()
            members[name] = action()
            seconds[name].append(time.process_time() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    are_equal = len({tuple(each) for each in members.values()}) == 1
    machine = describe_machine()
    write_json(
        RESULTS,
        {
            "command": " ".join(["python", "benchmarks/selection.py", *sys.argv[1:]]),
            "machine": machine,
            "numpy": np.__version__,
            "processor_seconds": seconds,
            "times_faster": medians["the usual loop"] / medians["columns and selection"],
            "members": members["selection"],
            "same_members": are_equal,
        },
    )
    print(machine)
    print(f"{options.models} models, {options.rows:,} rows, {options.classes} classes, {options.members} members")
    for name, values in seconds.items():
        print(f"{name:<22} median {medians[name]:8.3f} s, {min(values):.3f} to {max(values):.3f} (n {len(values)})")
    print(f"the same members: {'yes' if are_equal else 'NO'}")


def made_up(models: int, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [M, N, K] probabilities of models that partly share their mistakes, and the labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, rows)
    shared = random.standard_normal((rows, classes), np.float32)
    tables = np.empty((models, rows, classes), np.float32)
    for table in tables:
        random.standard_normal(out=table, dtype=np.float32)
        table += shared
        table[np.arange(rows), labels] += np.float32(random.uniform(2, 4))
        np.exp(table, out=table)
        table /= table.sum(axis=1, keepdims=True)
    return tables, labels


def ours(columns: np.ndarray, classes: int, members: int) -> list[int]:
    return list(select_members(columns, num_classes=classes, members=members).members)


def from_tables(tables: np.ndarray, labels: np.ndarray, members: int) -> list[int]:
    columns = np.stack([true_class_column(table, labels) for table in tables])
    return ours(columns, tables.shape[2], members)


def plain(tables: np.ndarray, labels: np.ndarray, rounds: int) -> list[int]:
    """Return the members by the algorithm as it is usually written."""
    total, members, losses = np.zeros(tables.shape[1:]), [], []
    for size in range(1, rounds + 1):
        found = [loss_of((total + table) / size, labels) for table in tables]
        best = int(np.argmin(found))
        total += tables[best]
        members.append(best)
        losses.append(found[best])
    return members[: best_round(losses)]


def loss_of(probabilities: np.ndarray, labels: np.ndarray) -> float:
    right = probabilities[np.arange(len(labels)), labels]
    return -float(np.log(np.maximum(right, np.finfo(np.float64).eps)).mean())


if __name__ == "__main__":
    main()
