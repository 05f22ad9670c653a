"""Do the intervals hold the true value as often as they say: simulated coverage of nominal 95%.

    python benchmarks/coverage.py [--repeats 2000] [--workers 2] [--quick]

Rows are drawn from a known law, evaluated as a user's rows would be, and each interval is held against the true value
of its metric. The law: a row is positive with the given prevalence; its score is normal, with means so far apart that
the area under the ROC curve is the given one; the probability is the true one of that score (calibrated), or that
with its log odds multiplied (too sure, not sure enough). True values come from integrals over the score, not from
samples. With few repeats the coverage itself is noisy: its standard error stands in the table, and a cell is counted
as outside only when it lies outside the band by more than twice that.

A cell is excused, and counted apart, when the evaluation itself warns there (a note of the method's weak region) in
more than half of the repeats: that is what a user would see. Prints a table for each metric, lists what lies outside,
and writes everything, with command, versions and hardware, to benchmarks/results/coverage.json.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

from trimtab.evaluation import Evaluation, Statistics, evaluate_statistics  # noqa: E402
from trimtab.evaluation.calibration import BINS, Reliability, smooth_ece  # noqa: E402
from trimtab.evaluation.count_metrics import COUNT_METRICS  # noqa: E402
from trimtab.evaluation.counts import ClassCounts  # noqa: E402
from trimtab.machine import describe_machine, package_versions  # noqa: E402
from trimtab.storage import write_json  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "coverage.json"
ROWS = (200, 1_000, 10_000, 100_000)
PREVALENCES = (0.01, 0.1, 0.5)
AREAS = (0.7, 0.9, 0.97, 0.99, 0.995)
SURENESS = {"calibrated": 1.0, "too sure": 1.6, "not sure enough": 0.6}
BAND = (0.935, 0.965)
METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "f1_macro",
    "matthews_corrcoef",
    "cohen_kappa",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier_score",
    "smooth_ece",
)
CALIBRATION_SHARE = 20  # one repeat in so many has the calibration error too, which takes most of the time
MANY_ROWS = 100_000  # from here on a third of the repeats
_POINTS = 400_001  # of an integral


@dataclass(frozen=True)
class Law:
    """Where rows come from."""

    area: float
    prevalence: float
    sureness: str

    @property
    def distance(self) -> float:
        """Between the means of the two sides, in standard deviations."""
        return math.sqrt(2) * NormalDist().inv_cdf(self.area)

    def probability(self, score: np.ndarray) -> np.ndarray:
        """Return the probability that the model gives to class 1."""
        odds = self.distance * (score - self.distance / 2) + math.log(self.prevalence / (1 - self.prevalence))
        return 1 / (1 + np.exp(-SURENESS[self.sureness] * odds))

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return labels [N] and probabilities [N, 2]."""
        labels = (rng.random(rows) < self.prevalence).astype(np.int64)
        positive = self.probability(rng.normal(size=rows) + self.distance * labels)
        return labels, np.stack([1 - positive, positive], axis=1)

    def truth(self) -> dict[str, float]:
        """Return the true value of each metric."""
        score = np.linspace(-9, 9 + self.distance, _POINTS)
        share = np.stack([_density(score), _density(score - self.distance)])
        share *= np.array([1 - self.prevalence, self.prevalence])[:, None] / share.sum(axis=1, keepdims=True)
        positive = np.clip(self.probability(score), 2.3e-16, 1 - 2.3e-16)
        predicted = positive > 0.5
        cells = np.array([[side[~predicted].sum(), side[predicted].sum()] for side in share])
        counts = ClassCounts.of(cells)
        values = {name: float(metric(counts)) for name, metric in COUNT_METRICS.items()}
        values |= {name: float(getattr(counts, name)[1]) for name in ("precision", "recall", "f1")}
        values["roc_auc"] = self.area
        above = np.cumsum(share[:, ::-1], axis=1)[:, ::-1] - share / 2
        values["average_precision"] = float((share[1] * above[1] / above.sum(axis=0)).sum() / self.prevalence)
        values["log_loss"] = float(-(share[0] * np.log1p(-positive) + share[1] * np.log(positive)).sum())
        values["brier_score"] = float((share[0] * positive**2 + share[1] * (1 - positive) ** 2).sum())
        values["smooth_ece"] = smooth_ece(_population(share, positive))
        return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats", type=int, default=2000, help="samples per cell (default 2000; a third from 100,000 rows on)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="sample sizes")
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), choices=METRICS, help="only these")
    parser.add_argument("--quick", action="store_true", help="200 samples per cell of 200 and 1,000 rows")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file for the results")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.rows = 200, [200, 1000]
    laws = [(area, prevalence, "calibrated") for area in AREAS for prevalence in PREVALENCES]
    laws += [(0.9, prevalence, sureness) for prevalence in PREVALENCES for sureness in list(SURENESS)[1:]]
    jobs = [
        (Law(*law), rows, options.repeats if rows < MANY_ROWS else options.repeats // 3)
        for rows in sorted(options.rows, reverse=True)
        for law in laws
    ]
    started, cells = time.monotonic(), []
    with ProcessPoolExecutor(options.workers) as pool:
        for number, found in enumerate(pool.map(simulate, jobs), start=1):
            cells += [cell for cell in found if cell["metric"] in options.metrics]
            seconds = time.monotonic() - started
            print(f"\r{number} of {len(jobs)} laws, {seconds:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    report(cells)
    write_json(
        options.out,
        {
            "command": " ".join(["python", "benchmarks/coverage.py", *sys.argv[1:]]),
            "machine": describe_machine(),
            "versions": package_versions(),
            "seconds": round(time.monotonic() - started),
            "band": BAND,
            "cells": cells,
        },
    )


def simulate(job: tuple[Law, int, int]) -> list[dict[str, Any]]:
    """Return the coverage of each metric's interval for one law and one number of rows."""
    law, rows, repeats = job
    rng = np.random.default_rng([rows, *(int(1e6 * value) for value in (law.area, law.prevalence)), len(law.sureness)])
    truth = law.truth()
    below: Counter[str] = Counter()  # the true value lies below the interval
    above: Counter[str] = Counter()
    defined: Counter[str] = Counter()
    warned: Counter[str] = Counter()
    for repeat in range(repeats):
        statistics = Statistics.of(*law.draw(rows, rng), class_names=("negative", "positive"))
        is_slow = repeat >= repeats // CALIBRATION_SHARE
        evaluation = evaluate_statistics(statistics, seed=repeat, has_calibration=not is_slow)
        for name in METRICS:
            estimate = estimate_of(evaluation, name)
            if estimate is None or estimate.low is None or estimate.high is None:
                continue
            defined[name] += 1
            below[name] += truth[name] < estimate.low - 1e-12
            above[name] += truth[name] > estimate.high + 1e-12
            warned[name] += any(name in note.partition(":")[0].split(", ") for note in evaluation.notes)
    return [
        {
            "metric": name,
            "rows": rows,
            "prevalence": law.prevalence,
            "area": law.area,
            "sureness": law.sureness,
            "truth": truth[name],
            "repeats": defined[name],
            "undefined": (repeats // CALIBRATION_SHARE if name == "smooth_ece" else repeats) - defined[name],
            "coverage": 1 - (below[name] + above[name]) / defined[name] if defined[name] else None,
            "below": below[name] / max(defined[name], 1),
            "above": above[name] / max(defined[name], 1),
            "warned": warned[name] / max(defined[name], 1),
        }
        for name in METRICS
    ]


def estimate_of(evaluation: Evaluation, name: str) -> Any:
    """Return the estimate: of class 1 for what is defined for a class."""
    of_class = evaluation.per_class["positive"]
    return of_class[name] if name in of_class else evaluation.metrics.get(name)


def state_of(cell: dict[str, Any]) -> str:
    """Return "in", "outside" or "warned" for a cell; "rare" when it was hardly ever defined."""
    if cell["coverage"] is None or cell["repeats"] < 100:
        return "rare"
    error = math.sqrt(cell["coverage"] * (1 - cell["coverage"]) / cell["repeats"])
    if BAND[0] - 2 * error <= cell["coverage"] <= BAND[1] + 2 * error:
        return "in"
    return "warned" if cell["warned"] > 0.5 else "outside"


def report(cells: list[dict[str, Any]]) -> None:
    """Print how many cells of each metric lie in the band, and those that do not."""
    print(f"{'metric':<20}{'in band':>9}{'warned':>8}{'outside':>9}{'rare':>6}{'lowest':>9}{'highest':>9}")
    for name in METRICS:
        own = [cell for cell in cells if cell["metric"] == name]
        if not own:
            continue
        states = Counter(map(state_of, own))
        known = [cell["coverage"] for cell in own if state_of(cell) != "rare"]
        columns = (states["in"], states["warned"], states["outside"], states["rare"])
        print(f"{name:<20}{columns[0]:>9}{columns[1]:>8}{columns[2]:>9}{columns[3]:>6}", end="")
        print(f"{min(known):>9.3f}{max(known):>9.3f}" if known else "")
    for state in ("outside", "warned"):
        chosen = [cell for cell in cells if state_of(cell) == state]
        if chosen:
            print(f"\n{state}: metric, rows, prevalence, area, sureness: coverage (true value below, above), warned")
        for cell in chosen:
            print(
                f"  {cell['metric']:<20}{cell['rows']:>8,}{cell['prevalence']:>6}{cell['area']:>7}  "
                f"{cell['sureness']:<16}{cell['coverage']:.3f} ({cell['below']:.3f}, {cell['above']:.3f})  "
                f"{cell['warned']:.2f}"
            )


def _density(score: np.ndarray) -> np.ndarray:
    return np.exp(-np.square(score) / 2)


def _population(share: np.ndarray, positive: np.ndarray) -> Reliability:
    """Return the reliability of a thousand million rows of these shares."""
    bins = np.minimum((positive * BINS).astype(np.int64), BINS - 1)
    scale = 1e9
    hits, rows = (np.bincount(bins, weights=side, minlength=BINS) * scale for side in (share[1], share.sum(axis=0)))
    confidence = np.bincount(bins, weights=share.sum(axis=0) * positive, minlength=BINS) * scale * 2.0**32
    counts = [np.rint(values).astype(np.int64) for values in (rows, hits, confidence)]
    return Reliability(counts=counts[0], hits=counts[1], confidence_sums=counts[2])


if __name__ == "__main__":
    main()
