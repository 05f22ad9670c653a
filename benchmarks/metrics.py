"""Metrics of ten million rows on one thread against scikit-learn, torchmetrics and `confidenceinterval`: time, memory.

    python benchmarks/metrics.py [--rounds 5]                # less than five minutes
    pip install torchmetrics confidenceinterval              # beforehand, to have them in the comparison

All sides run in turn in one process, on the same arrays; what counts are the CPU-seconds of that process. A ratio is
taken within each round; medians, lowest and highest are printed. The slowest peer runs in two rounds only.
Each side's values are compared with trimtab's. Only trimtab and `confidenceinterval` also give intervals. Memory is
that of fresh processes. The bars are those that the project set itself; a missed one makes the exit code 1. Prints
tables and writes them, with command, versions and hardware, to benchmarks/results/metrics.json.

What is timed:
- `areas`: the area under the ROC curve, with its interval, and average precision, of two classes: int64 labels,
  float64 scores; trimtab also with smaller types, with tied scores, and with scores of both signs;
- `counts, 2 classes` and `counts, 10 classes`: everything that `evaluate` finds in int64 labels and predicted labels,
  which is more than what the peers are asked for.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # on some machines set to other processors' values
    os.environ.pop(_name, None)

import numpy as np  # noqa: E402
from sklearn import metrics as sklearn_metrics  # noqa: E402

from trimtab.evaluation import average_precision, evaluate, roc_auc_estimate  # noqa: E402
from trimtab.machine import describe_machine, package_versions  # noqa: E402
from trimtab.storage import write_json  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "metrics.json"
ROWS = 10_000_000
SLOW, SLOW_ROUNDS = ("confidenceinterval",), 2
OPTIONAL = [name for name in ("torchmetrics", "confidenceinterval") if find_spec(name) is not None]
PEERS_IN_MEMORY = ["sklearn", *(name for name in OPTIONAL if name not in SLOW)]
COUNTED = ("accuracy", "precision", "recall", "f1", "mcc", "kappa")
LABELLED = "sklearn accuracy, mcc, kappa"
Values = dict[str, float]  # metric -> value
Side = Callable[[], Values]

# what: trimtab's CPU-seconds at most; (side, at least so many times trimtab's CPU-seconds)
SECONDS_AT_MOST = {"areas": 1.5, "counts, 2 classes": 0.15, "counts, 10 classes": 0.15}
TIMES_AT_LEAST = {
    "areas": ("sklearn roc_auc", 5.0),
    "counts, 2 classes": ("sklearn report", 10.0),
    "counts, 10 classes": ("sklearn report", 10.0),
}
MEMORY_AT_MOST = 1.5  # above the input, as a multiple of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default 5)")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)  # what this file calls itself
    options = parser.parse_args()
    if options.memory_of:
        print(measure_memory(options.memory_of[0], Path(options.memory_of[1])))
        return
    for name in {"torchmetrics", "confidenceinterval"}.difference(OPTIONAL):
        print(f"left out: {name} is not installed; pip install {name}\n")
    tables = [time_sides("areas", area_sides(), options.rounds)]
    tables += [time_sides(f"counts, {count} classes", count_sides(count), options.rounds) for count in (2, 10)]
    memory = compare_memory()
    is_met = all(bar["met"] for table in [*tables, memory] for bar in table["bars"])
    print("every bar is met" if is_met else "a bar was MISSED")
    versions = package_versions() | {name: metadata.version(name) for name in ("scipy", *OPTIONAL)}
    about = {"command": f"python benchmarks/metrics.py --rounds {options.rounds}", "rows": ROWS, "threads": 1}
    result = {**about, "machine": describe_machine(), "versions": versions, "tables": tables, "memory": memory}
    write_json(RESULTS, result)
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print(f"{describe_machine()}\nwritten to {RESULTS}")
    sys.exit(0 if is_met else 1)


# ---- timing ----


def time_sides(what: str, sides: dict[str, Side], rounds: int) -> dict[str, Any]:
    """Run all sides in turn, print their times, ratios and bars, and return them."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, Values] = {}
    for number in range(rounds):
        for name, call in sides.items():
            if number < SLOW_ROUNDS or not name.startswith(SLOW):
                gc.collect()
                started = time.process_time()
                found[name] = call()
                seconds[name].append(time.process_time() - started)
    if LABELLED in seconds:
        both = zip(seconds["sklearn report"], seconds[LABELLED], strict=True)
        seconds["sklearn report and these"] = [sum(pair) for pair in both]
    print(f"{what}, {ROWS:,} rows, n = {rounds}")
    print(f"  {'':<40}{'CPU-seconds':<26}{'times trimtab':<24}{'differs by'}")
    rows = [time_row(name, seconds, found) for name in seconds]
    bars = [bar for row in rows for bar in bars_of(what, row)]
    print(flush=True)
    return {"what": what, "rounds": rounds, "sides": rows, "bars": bars}


def time_row(name: str, seconds: dict[str, list[float]], found: dict[str, Values]) -> dict[str, Any]:
    """Print and return a side's seconds, their ratio to trimtab's, and how far its values are from trimtab's."""
    row: dict[str, Any] = {"side": name, "cpu_seconds": spread(seconds[name]), "rounds": len(seconds[name])}
    line = f"  {name:<40}{show(row['cpu_seconds'], 3):<26}"
    if not name.startswith("trimtab"):
        ours = f"trimtab {name.split()[-1]}" if f"trimtab {name.split()[-1]}" in seconds else "trimtab"
        pairs = zip(seconds[name], seconds[ours], strict=False)
        row |= {"against": ours, "times_trimtab": spread([theirs / mine for theirs, mine in pairs])}
        line += f"{show(row['times_trimtab'], 1):<24}"
        if name in found:
            shared = found[name].keys() & found[ours].keys()
            row["differs_by"] = max(abs(found[name][metric] - found[ours][metric]) for metric in shared)
            line += f"{row['differs_by']:.0e}"
    print(line.rstrip())
    return row


def bars_of(what: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Print and return whether a side meets its bar, if it has one."""
    side, at_least = TIMES_AT_LEAST[what]
    if row["side"].startswith("trimtab") and "average_precision" not in row["side"]:
        value, limit = row["cpu_seconds"]["median"], SECONDS_AT_MOST[what]
        bar = {"side": row["side"], "cpu_seconds": value, "at_most": limit, "met": value <= limit}
        print(f"  bar: {row['side']}, at most {limit} CPU-seconds: {'met' if bar['met'] else 'MISSED'}")
        return [bar]
    if row["side"] == side:
        value = row["times_trimtab"]["median"]
        bar = {"side": side, "times_trimtab": value, "at_least": at_least, "met": value >= at_least}
        print(f"  bar: {side}, at least {at_least:.0f} times trimtab: {'met' if bar['met'] else 'MISSED'}")
        return [bar]
    return []


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def show(values: dict[str, float], digits: int) -> str:
    return f"{values['median']:.{digits}f} ({values['low']:.{digits}f} to {values['high']:.{digits}f})"


# ---- areas ----


def scored_rows(what: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores, three in ten positive, with an area of about 0.80."""
    rng = np.random.default_rng(0)
    labels = (rng.random(ROWS) < 0.3).astype(np.int64)
    logits = rng.standard_normal(ROWS) + 1.2 * labels
    if what == "both signs":
        return labels, logits
    scores = 1 / (1 + np.exp(-logits))
    if what == "float32, int8":
        return labels.astype(np.int8), scores.astype(np.float32)
    return labels, np.round(scores, 3) if what == "tied" else scores


def area_sides() -> dict[str, Side]:
    labels, scores = scored_rows()
    sides = {
        "trimtab roc_auc": trimtab_area(labels, scores),
        "sklearn roc_auc": lambda: {"roc_auc": sklearn_metrics.roc_auc_score(labels, scores)},
        "sklearn average_precision": lambda: {
            "average_precision": sklearn_metrics.average_precision_score(labels, scores)
        },
        "trimtab average_precision": lambda: {"average_precision": average_precision(labels, scores)},
        **{f"{name} roc_auc": peer_area(name, labels, scores) for name in OPTIONAL},
    }
    others = ("float32, int8", "tied", "both signs")
    return sides | {f"trimtab roc_auc, {what}": trimtab_area(*scored_rows(what)) for what in others}


def trimtab_area(labels: np.ndarray, scores: np.ndarray) -> Side:
    """Return the call that finds the area under the ROC curve and its interval."""
    return lambda: {"roc_auc": roc_auc_estimate(labels, scores).value}


def peer_area(name: str, labels: np.ndarray, scores: np.ndarray) -> Side:
    """Return the call for the area under the ROC curve: torchmetrics' exact one, or with its interval."""
    if name == "confidenceinterval":
        from confidenceinterval import roc_auc_score

        return lambda: {"roc_auc": float(roc_auc_score(labels, scores)[0])}
    import torch
    from torchmetrics.functional.classification import binary_auroc

    torch.set_num_threads(1)
    truth, predictions = torch.from_numpy(labels), torch.from_numpy(scores)
    return lambda: {"roc_auc": float(binary_auroc(predictions, truth, thresholds=None))}


# ---- counts ----


def count_sides(num_classes: int) -> dict[str, Side]:
    """Return the sides; values are macro averages, in which all packages agree about two and about ten classes."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, num_classes, ROWS)
    predicted = np.where(rng.random(ROWS) < 0.8, truth, rng.integers(0, num_classes, ROWS))
    sides = {
        "trimtab": lambda: trimtab_counts(truth, predicted),
        "sklearn report": lambda: sklearn_report(truth, predicted),
        LABELLED: lambda: sklearn_rest(truth, predicted),
    }
    if "torchmetrics" in OPTIONAL:
        sides["torchmetrics, all of these"] = torchmetrics_counts(truth, predicted, num_classes)
    if "confidenceinterval" in OPTIONAL and num_classes == 2:
        sides["confidenceinterval, without mcc, kappa"] = lambda: confidenceinterval_counts(truth, predicted)
    return sides


def trimtab_counts(truth: np.ndarray, predicted: np.ndarray) -> Values:
    estimates = evaluate(truth, predicted).metrics
    names = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "matthews_corrcoef", "cohen_kappa")
    return {short: estimates[name].value for short, name in zip(COUNTED, names, strict=True)}


def sklearn_report(truth: np.ndarray, predicted: np.ndarray) -> Values:
    average = sklearn_metrics.classification_report(truth, predicted, output_dict=True)["macro avg"]
    return {"precision": average["precision"], "recall": average["recall"], "f1": average["f1-score"]}


def sklearn_rest(truth: np.ndarray, predicted: np.ndarray) -> Values:
    return {
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "mcc": sklearn_metrics.matthews_corrcoef(truth, predicted),
        "kappa": sklearn_metrics.cohen_kappa_score(truth, predicted),
    }


def torchmetrics_counts(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> Side:
    """Return the call of a collection whose metrics share their counts, the fastest way that torchmetrics has."""
    import torch
    from torchmetrics import MetricCollection
    from torchmetrics import classification as peer

    torch.set_num_threads(1)
    kinds = (
        peer.MulticlassAccuracy,
        peer.MulticlassPrecision,
        peer.MulticlassRecall,
        peer.MulticlassF1Score,
        peer.MulticlassMatthewsCorrCoef,
        peer.MulticlassCohenKappa,
    )
    labels, answers = torch.from_numpy(truth), torch.from_numpy(predicted)

    def find() -> Values:
        settings = [{"average": "micro"}, {}, {}, {}, {}, {}]
        metrics = {name: kind(num_classes, **each) for name, kind, each in zip(COUNTED, kinds, settings, strict=True)}
        shared = [["accuracy"], ["precision", "recall", "f1"], ["mcc", "kappa"]]
        collection = MetricCollection(metrics, compute_groups=shared)
        collection.update(answers, labels)
        return {name: float(value) for name, value in collection.compute().items()}

    return find


def confidenceinterval_counts(truth: np.ndarray, predicted: np.ndarray) -> Values:
    """Return what it has, each found together with its interval."""
    import confidenceinterval as peer

    return {
        "accuracy": float(peer.accuracy_score(truth, predicted)[0]),
        "precision": float(peer.precision_score(truth, predicted, average="macro")[0]),
        "recall": float(peer.recall_score(truth, predicted, average="macro")[0]),
        "f1": float(peer.f1_score(truth, predicted, average="macro")[0]),
    }


# ---- memory ----


def compare_memory() -> dict[str, Any]:
    """Print and return what each side takes above its input, each in a process of its own."""
    print("memory of the area under the ROC curve, as a multiple of labels and scores")
    sides, bars = [], []
    with tempfile.TemporaryDirectory() as folder:
        for what in ("float64", "float32, int8", "tied", "both signs"):
            save_rows(Path(folder), what)
            for package in ("trimtab", *(PEERS_IN_MEMORY if what == "float64" else ())):
                found = {"side": f"{package}, {what}", **memory_of(package, folder)}
                line = f"  {found['side']:<40}+{found['above_input']:.2f}, {1 + found['above_input']:.2f} in all"
                if package == "trimtab":
                    found["met"] = found["above_input"] <= MEMORY_AT_MOST
                    bars.append({"at_most": MEMORY_AT_MOST, **found})
                    line += f"   bar: at most +{MEMORY_AT_MOST}   {'met' if found['met'] else 'MISSED'}"
                print(line)
                sides.append(found)
    print(flush=True)
    return {"sides": sides, "bars": bars}


def save_rows(folder: Path, what: str) -> None:
    for name, array in zip(("labels", "scores"), scored_rows(what), strict=True):
        np.save(folder / f"{name}.npy", array)


def memory_of(package: str, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, "--memory-of", package, folder]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(package: str, folder: Path) -> str:
    """Return by how much one call raises the largest resident size of this process, in JSON."""
    labels, scores = (np.load(folder / f"{name}.npy") for name in ("labels", "scores"))
    few = labels[:1000].copy(), scores[:1000].copy()
    area_side(package, *few)()  # loads the libraries
    call = area_side(package, labels, scores)
    before = resident_bytes("VmRSS")
    call()
    input_bytes, above = labels.nbytes + scores.nbytes, resident_bytes("VmHWM") - before
    return json.dumps({"input_bytes": input_bytes, "peak_bytes": above, "above_input": above / input_bytes})


def area_side(package: str, labels: np.ndarray, scores: np.ndarray) -> Side:
    if package == "trimtab":
        return trimtab_area(labels, scores)
    if package == "sklearn":
        return lambda: {"roc_auc": sklearn_metrics.roc_auc_score(labels, scores)}
    return peer_area(package, labels, scores)


def resident_bytes(kind: str) -> int:
    """Return it from Linux's own books: what `resource` says includes the process that started this one."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind)]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
