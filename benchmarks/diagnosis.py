"""Whether `trimtab diagnose` names the causes that were put in, and none where none was: injected causes, graded.

    python benchmarks/diagnosis.py                           # all causes, ten data sets of each grade: hours
    python benchmarks/diagnosis.py --only clean overfit --cases 5

Each case is a data set (a synthetic table, or the digits with fewer pixels to tell them by) with one thing made wrong,
at one of three grades, or with nothing made wrong. A run is trained on it and diagnosed; the cause is named when its
code is found. On clean cases every code that is found is a false alarm, except that few test rows are few. Causes of
the data alone (leakage, duplicates, imbalance) are looked for by `trimtab audit`, whose findings the diagnosis
takes over.

Everything is trained by the NumPy engine for a fixed number of steps, so only the limit in minutes depends on the
clock. Prints a table and writes it with every finding, command, versions and hardware to
benchmarks/results/diagnosis.json. `--resume` goes on with the cases that are not there yet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import trimtab
from trimtab.findings import CODES
from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "diagnosis.json"
SETTINGS = {"engine": "numpy", "minutes": 30.0, "validation_fraction": 0.3, "test_fraction": 0.2, "threads": 1}
SOUND = {"options": {"hidden": [32, 16]}, "steps": 900, "dropout": 0.3, "weight_decay": 0.1, "learning_rate": 0.003}
WIDE = SOUND | {"options": {"hidden": [96, 48]}, "dropout": 0.2, "steps": 1200}  # what the digits need
GREEDY = {"dropout": 0.0, "weight_decay": 0.0, "learning_rate": 0.01}

Arrays = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Injected:
    """One data set with what is wrong with it.

    Attributes
    ----------
    cause
        The code that should be found; ``"clean"`` when none should.
    grade
        1 to 3, the strongest last; 0 when clean.
    make
        From a seed to rows [N, F] and labels [N].
    settings
        Of the plan.
    """

    cause: str
    grade: int
    make: Callable[[int], Arrays]
    settings: dict[str, Any] = field(default_factory=dict)


def mixture(
    seed: int, *, rows: int = 1500, classes: int = 3, informative: int = 6, noise: int = 4, apart: float = 1.0
) -> Arrays:
    """Return rows of overlapping classes, two clusters each, with columns that mean nothing beside them."""
    rng = np.random.default_rng((seed, 1))
    labels = rng.integers(0, classes, rows)
    centers = rng.standard_normal((classes, 2, informative)) * apart
    known = centers[labels, rng.integers(0, 2, rows)] + rng.standard_normal((rows, informative))
    return np.concatenate([known, rng.standard_normal((rows, noise))], axis=1), labels


def two_classes(seed: int, *, rows: int = 1000, noise: int = 24) -> Arrays:
    """Return rows of two classes that three columns tell apart a little, with columns that mean nothing beside them."""
    rng = np.random.default_rng((seed, 7))
    labels = rng.integers(0, 2, rows)
    known = 0.5 * (2 * labels - 1)[:, None] + rng.standard_normal((rows, 3))
    return np.concatenate([known, rng.standard_normal((rows, noise))], axis=1), labels


def digits(seed: int, *, rows: int = 1700, pixels: int = 12) -> Arrays:
    """Return digits of which only some pixels are known, so that some are told wrong."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng((seed, 2))
    data, labels = load_digits(return_X_y=True)
    chosen = rng.permutation(len(data))[:rows]
    varying = np.flatnonzero(data.std(axis=0) > 2)
    return data[chosen][:, rng.permutation(varying)[:pixels]], labels[chosen].astype(np.int64)


def flipped(data: Arrays, seed: int, share: float) -> Arrays:
    """Return the same with a share of the labels drawn anew among the other classes."""
    rng = np.random.default_rng((seed, 3))
    rows, labels = data
    classes, moved = int(labels.max()) + 1, rng.random(len(labels)) < share
    return rows, np.where(moved, (labels + rng.integers(1, classes, len(labels))) % classes, labels)


def with_leak(data: Arrays, seed: int, share: float) -> Arrays:
    """Return the same with a column that gives the label away in a share of the rows."""
    rng = np.random.default_rng((seed, 4))
    rows, labels = data
    leak = np.where(rng.random(len(labels)) < share, labels, rng.permutation(labels)) + rng.normal(0, 0.1, len(labels))
    return np.concatenate([rows, leak[:, None]], axis=1), labels


def with_copies(data: Arrays, seed: int, share: float) -> Arrays:
    """Return the same with a share of the rows there twice."""
    rng = np.random.default_rng((seed, 5))
    chosen = rng.permutation(len(data[1]))[: round(share * len(data[1]))]
    return np.concatenate([data[0], data[0][chosen]]), np.concatenate([data[1], data[1][chosen]])


def unbalanced(data: Arrays, seed: int, share: float) -> Arrays:
    """Return the same with only a share of the rows of class 0."""
    kept = (data[1] != 0) | (np.random.default_rng((seed, 6)).random(len(data[1])) < share)
    return data[0][kept], data[1][kept]


def cases() -> Iterator[Injected]:
    """Yield every case, clean ones first."""
    sound = ((mixture, SOUND), (digits, WIDE))
    for make, settings in sound:
        yield Injected(cause="clean", grade=0, make=make, settings=settings)
    for grade, noise in enumerate((6, 12, 24), 1):
        yield Injected(
            cause="OVERFIT",
            grade=grade,
            make=lambda seed, noise=noise: two_classes(seed, noise=noise),
            settings=GREEDY | {"options": {"hidden": [96, 48]}, "steps": 240, "validation_fraction": 0.6},
        )
    for grade, steps in enumerate((60, 30, 15), 1):
        yield Injected(cause="UNDERFIT", grade=grade, make=mixture, settings=SOUND | {"steps": steps})
    for grade, share in enumerate((0.2, 0.35, 0.5), 1):
        yield Injected(
            cause="LABEL_NOISE",
            grade=grade,
            make=lambda seed, share=share: flipped(digits(seed, pixels=64), seed, share),
            settings=WIDE | {"dropout": 0.1},
        )
    for grade, apart in enumerate((0.1, 0.03, 0.0), 1):
        yield Injected(
            cause="NO_SIGNAL", grade=grade, make=lambda seed, apart=apart: mixture(seed, apart=apart), settings=SOUND
        )
    for grade, share in enumerate((0.1, 0.05, 0.02), 1):
        yield Injected(cause="TEST_TOO_SMALL", grade=grade, make=mixture, settings=SOUND | {"test_fraction": share})
    for grade, smoothing in enumerate((0.2, 0.4, 0.6), 1):
        yield Injected(
            cause="UNCALIBRATED",
            grade=grade,
            make=mixture,
            settings=SOUND | {"label_smoothing": smoothing, "calibrate": False},
        )
    if find_spec("trimtab.auditing") is None:
        print("there is no `trimtab audit`: causes of the data alone are left out", file=sys.stderr)
        return
    for code, change, shares in (
        ("LEAKAGE", with_leak, (0.6, 0.85, 1.0)),
        ("DUPLICATES", with_copies, (0.01, 0.05, 0.2)),
        ("IMBALANCE", unbalanced, (0.2, 0.1, 0.04)),
    ):
        for grade, share in enumerate(shares, 1):
            yield Injected(
                cause=code,
                grade=grade,
                make=lambda seed, change=change, share=share: change(mixture(seed), seed, share),
                settings=SOUND,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="CAUSE", help=f"clean, {', '.join(CODES)}; small letters will do")
    parser.add_argument("--grades", nargs="+", type=int, metavar="N", help="0 is clean, 3 the strongest")
    parser.add_argument("--cases", type=int, default=10, help="data sets of each (default 10)")
    parser.add_argument("--minutes", type=float, default=10, help="of each diagnosis (default 10)")
    parser.add_argument("--seeds", type=int, default=5, help="of each trial (default 5)")
    parser.add_argument("--resume", action="store_true", help="keep what the file of results already holds")
    options = parser.parse_args()
    result: dict[str, Any] = {"cells": []}
    if options.resume and RESULTS.exists():
        result = json.loads(RESULTS.read_text())
    result["command"] = " ".join(["python benchmarks/diagnosis.py", *sys.argv[1:]])
    result |= {"machine": describe_machine(), "versions": package_versions()}
    wanted = None if options.only is None else {word.lower().replace("-", "_") for word in options.only}
    for number, case in enumerate(cases()):
        if wanted is not None and case.cause.lower() not in wanted:
            continue
        if options.grades is not None and case.grade not in options.grades:
            continue
        for seed in range(options.cases):
            key = {"case": number, "cause": case.cause, "grade": case.grade, "seed": seed}
            if any(key.items() <= cell.items() for cell in result["cells"]):
                continue
            result["cells"].append(key | examine(case, seed, options))
            result["table"] = summarize(result["cells"])
            write_json(RESULTS, result)
    print(to_text(result.get("table", [])))


def examine(case: Injected, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run and diagnose one data set; return the codes found, and what the best remedy gains."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_table(Path(folder) / "t.csv", *case.make(seed))
        settings = SETTINGS | case.settings | {"seed": seed}
        run = trimtab.run(data, target="label", out=Path(folder) / "run", **settings)
        audit = audited(data, Path(folder)) if find_spec("trimtab.auditing") else None
        found = trimtab.diagnose(run.directory, minutes=options.minutes, seeds=options.seeds, audit=audit)
    states = {finding.code: finding.state for finding in found.findings}
    gains = {
        finding.code: max((gain or 0.0 for gain in finding.evidence.get("accuracy_gains", {}).values()), default=0.0)
        for finding in found.found
    }
    cell = {"states": states, "accuracy_gains": gains, "seconds": round(found.seconds, 1)}
    cell["trials"] = [
        {
            "cause": finding.code,
            "remedy": trial.remedy,
            "gain": trial.gain,
            "low": trial.low,
            "helped": trial.has_helped,
        }
        for finding in found.findings
        for trial in finding.trials
    ]
    named = ", ".join(code for code, state in states.items() if state == "found") or "nothing"
    print(f"{case.cause} {case.grade}, data set {seed}: found {named} in {found.seconds:.0f} s", flush=True)
    return cell


def write_table(path: Path, rows: NDArray[np.float64], labels: NDArray[np.int64]) -> Path:
    names = [*(f"x{index}" for index in range(rows.shape[1])), "label"]
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), f"c{label}"]) for row, label in zip(rows, labels, strict=True)
    ]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return path


def audited(data: Path, folder: Path) -> Path:
    """Audit a data set in a process of its own; return the directory of its findings."""
    command = [sys.executable, "-m", "trimtab", "audit", str(data), "--target", "label", "--out", str(folder / "audit")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {process.returncode}: {process.stderr[-2000:]}")
    return folder / "audit"


def summarize(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per cause and grade how often it was named, and per code how often clean data raised an alarm."""
    table = []
    for cause, grade in sorted({(cell["cause"], cell["grade"]) for cell in cells}):
        own = [cell for cell in cells if (cell["cause"], cell["grade"]) == (cause, grade)]
        if cause == "clean":
            for code in CODES:
                alarms = sum(cell["states"][code] == "found" for cell in own)
                table.append({"cause": "clean", "grade": 0, "code": code, "n": len(own), "share": alarms / len(own)})
            continue
        named = [cell for cell in own if cell["states"][cause] == "found"]
        gains = [cell["accuracy_gains"].get(cause, 0.0) for cell in named]
        row = {"cause": cause, "grade": grade, "code": cause, "n": len(own), "share": len(named) / len(own)}
        table.append(row | {"points_recovered": 100 * float(np.mean(gains)) if gains else None})
    return table


def to_text(table: list[dict[str, Any]]) -> str:
    """Return a line per cause and grade."""
    lines = []
    for row in table:
        what = f"false alarms of {row['code']}" if row["cause"] == "clean" else f"named, grade {row['grade']}"
        points = row.get("points_recovered")
        gained = "" if not points else f", {points:+.1f} points with the best remedy"
        lines.append(f"{row['cause']:<15} {what:<32} {row['share']:.0%} of {row['n']}{gained}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
