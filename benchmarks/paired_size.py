"""Do the tests that compare models hold their size: how often they call a difference where there is none.

    python benchmarks/paired_size.py [--repeats 4000] [--workers 2] [--quick]

Two models of equal quality see most of the same evidence and some noise of their own, as two trained networks do. Rows
are drawn anew in each repeat, or whole groups of ten rows that share part of their difficulty. A test at 5% should
reject in 4 to 6% of the repeats; the standard error of each rate stands beside it, and a rate counts as outside only
when it lies outside by more than twice that. Cross-validation repeats five-fold splits of the same rows for two
equally good predictors. Holm's rate is that of any false alarm among the three pairs of three models.

Prints a table and writes it, with command, versions and hardware, to benchmarks/results/paired_size.json.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

from trimtab.evaluation import compare, compare_many, corrected_resampled_t  # noqa: E402
from trimtab.machine import describe_machine, package_versions  # noqa: E402
from trimtab.storage import write_json  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "paired_size.json"
LEVEL, BAND = 0.95, (0.04, 0.06)
ROWS, PREVALENCES, GROUP = (200, 1_000, 10_000), (0.1, 0.5), 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4000, help="comparisons per line (default 4000)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--quick", action="store_true", help="400 comparisons, without 10,000 rows")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file for the results")
    options = parser.parse_args()
    repeats, rows = (400, ROWS[:2]) if options.quick else (options.repeats, ROWS)
    jobs: list[tuple[Any, ...]] = [
        ("pair", size, prevalence, is_grouped, repeats)
        for size in reversed(rows)
        for prevalence in PREVALENCES
        for is_grouped in (False, True)
    ]
    jobs += [("holm", 1_000, 0.5, False, repeats // 2), ("crossvalidation", 200, 0.5, False, repeats // 2)]
    started, lines = time.monotonic(), []
    with ProcessPoolExecutor(options.workers) as pool:
        for number, found in enumerate(pool.map(simulate, jobs), start=1):
            lines += found
            print(f"\r{number} of {len(jobs)}, {time.monotonic() - started:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    report(lines)
    write_json(
        options.out,
        {
            "command": " ".join(["python", "benchmarks/paired_size.py", *sys.argv[1:]]),
            "machine": describe_machine(),
            "versions": package_versions(),
            "seconds": round(time.monotonic() - started),
            "band": BAND,
            "lines": lines,
        },
    )


def simulate(job: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return how often each test rejected."""
    kind, rows, prevalence, is_grouped, repeats = job
    rng = np.random.default_rng([rows, int(100 * prevalence), is_grouped, len(kind)])
    rejected: Counter[str] = Counter()
    tested: Counter[str] = Counter()
    for _ in range(repeats):
        for name, p_value in TESTS[kind](rows, prevalence, is_grouped, rng).items():
            tested[name] += not math.isnan(p_value)
            rejected[name] += p_value <= 1 - LEVEL
    return [
        {
            "test": name,
            "rows": rows,
            "prevalence": prevalence,
            "groups": rows // GROUP if is_grouped else None,
            "repeats": tested[name],
            "rate": rejected[name] / tested[name],
            "error": math.sqrt(rejected[name] / tested[name] * (1 - rejected[name] / tested[name]) / tested[name]),
        }
        for name in tested
        if tested[name]
    ]


def pair(rows: int, prevalence: float, is_grouped: bool, rng: np.random.Generator) -> dict[str, float]:
    labels, (a, b), groups = draw(rows, prevalence, is_grouped, rng, models=2)
    return {name: each.p_value for name, each in compare(labels, a, b, groups=groups).metrics.items()}


def several(rows: int, prevalence: float, is_grouped: bool, rng: np.random.Generator) -> dict[str, float]:
    labels, models, _ = draw(rows, prevalence, is_grouped, rng, models=3)
    found = compare_many(labels, {str(number): model for number, model in enumerate(models)})
    return {f"{name}, any of three pairs (Holm)": min(found.adjusted[name]) for name in ("accuracy", "roc_auc_macro")}


def crossvalidation(rows: int, prevalence: float, is_grouped: bool, rng: np.random.Generator) -> dict[str, float]:
    """Nearest neighbour by one of two features that tell equally much: equally good, on the same folds twice."""
    features = rng.normal(size=(rows, 2))
    labels = features.sum(axis=1) + rng.normal(size=rows) > 0
    differences = []
    for _ in range(2):
        for fold in np.array_split(rng.permutation(rows), 5):
            train = np.setdiff1d(np.arange(rows), fold)
            nearest = [np.abs(features[fold, k, None] - features[train, k]).argmin(axis=1) for k in range(2)]
            right = [(labels[train[found]] == labels[fold]).mean() for found in nearest]
            differences.append(right[1] - right[0])
    found = corrected_resampled_t(differences, train_rows=rows * 4 // 5, test_rows=rows // 5)
    return {"cross-validation, 2 x 5 folds (Nadeau, Bengio)": found.p_value}


TESTS = {"pair": pair, "holm": several, "crossvalidation": crossvalidation}


def draw(
    rows: int, prevalence: float, is_grouped: bool, rng: np.random.Generator, *, models: int
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
    """Return labels [N], the probabilities of each model [N, 2], and the groups."""
    groups = np.arange(rows) // GROUP if is_grouped else None
    labels = (rng.random(rows) < prevalence).astype(np.int64)
    shared = rng.normal(size=rows)
    own = rng.normal(size=(models, rows))
    if groups is not None:  # half of the noise of a model is that of the group
        own = (own + rng.normal(size=(models, rows // GROUP))[:, groups]) / math.sqrt(2)
    score = 1.6 * labels + 0.9 * shared + 0.45 * own
    odds = 1.6 * (score - 0.8) + math.log(prevalence / (1 - prevalence))
    positive = 1 / (1 + np.exp(-odds))
    return labels, [np.stack([1 - each, each], axis=1) for each in positive], groups


def report(lines: list[dict[str, Any]]) -> None:
    """Print each rate with its standard error, and whether it is in the band."""
    print(f"{'test at 5%':<50}{'rows':>8}{'prevalence':>12}{'groups':>8}{'rejected':>10}{'error':>8}  4 to 6%")
    for line in sorted(lines, key=lambda each: (each["test"], each["groups"] is not None, each["rows"])):
        groups = "-" if line["groups"] is None else f"{line['groups']:,}"
        is_in = BAND[0] - 2 * line["error"] <= line["rate"] <= BAND[1] + 2 * line["error"]
        print(
            f"{line['test']:<50}{line['rows']:>8,}{line['prevalence']:>12}{groups:>8}{line['rate']:>10.4f}"
            f"{line['error']:>8.4f}  {'yes' if is_in else 'NO'}"
        )


if __name__ == "__main__":
    main()
