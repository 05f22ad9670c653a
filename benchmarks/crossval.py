"""What cross-validation costs beside one training, and the cost model that decides what is trained together.

    python benchmarks/crossval.py                       # digits as a table by the mlp, the cost model, processes
    python benchmarks/crossval.py --data DIR [--rows 6000]   # also DIR/cifar10-train.parquet by the cnn

Ratios: five folds (fitting the preprocessing of each, training, predicting what each is tested on) to one training of
the same number of passes (fitting the preprocessing, training), in turn in one process on one thread, over one
decoded data set. One training is that of `trimtab run` on its training rows: what a user would do instead, and what the
bars are about. It sees more rows in a pass than a fold, so the ratio to one fold alone on its rows stands beside it.
Processor time, so that what else the machine does falls out.

The cost model: processor seconds of a step of one network and of five together, over widths and batches, beside what
`trimtab.training.stacking` forecasts, and the constants that fit these times best.

Processes: seconds by the clock of whole cross-validations of the same steps, folds beside each other in processes of
one thread, and in turn by all threads, round by round. What else the machine does counts here: the load is kept, too.

Prints tables and writes them, with command, versions and hardware, to benchmarks/results/crossval.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as a run does, before torch is loaded

import numpy as np

import trimtab
from trimtab.data import Dataset, Split, make_split
from trimtab.generalization.folds import Fold, Folding, make_folds
from trimtab.machine import available_threads, describe_machine, package_versions
from trimtab.models import measure_size
from trimtab.pipeline import prepare
from trimtab.plan import Plan
from trimtab.planning import Facts
from trimtab.stages import folding
from trimtab.stages.features import features_of
from trimtab.stages.fold_pool import count_processes
from trimtab.stages.following import rows_of
from trimtab.stages.job import Features
from trimtab.storage import write_json
from trimtab.training import Recipe
from trimtab.training.loop import Trained, train
from trimtab.training.order import steps_per_epoch
from trimtab.training.rows import Rows
from trimtab.training.stacked_loop import Member, train_together
from trimtab.training.stacking import how_many_together, step_costs
from trimtab.training.stepper import make_stepper, predict_probabilities, using_threads

RESULTS = Path(__file__).parent / "results" / "crossval.json"
FOLDS = 5
WIDTHS, BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048), (16, 64, 256)
CNN = {"channels": [16, 32, 48]}
PROCESS_STEPS = {"digits": 400, "cifar10": 40}  # of each fold, where processes are compared
INPUTS = 100  # of the networks of the cost model
WARM_STEPS, TIMED_STEPS = 3, 20


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A decoded data set with its plan, parts and folds."""

    name: str
    plan: Plan
    facts: Facts
    dataset: Dataset
    split: Split
    folds: list[Fold]
    passes: int

    def features(self, training: np.ndarray, others: np.ndarray) -> Features:
        """Return what the network reads of two parts."""
        return features_of(self.plan, self.facts, self.dataset, training, others)

    def recipe(self, rows: int) -> Recipe:
        """Return the plan's recipe, as long as so many passes over so many rows."""
        names = Recipe.__dataclass_fields__.keys() & Plan.__dataclass_fields__.keys()
        recipe = Recipe(**{name: getattr(self.plan, name) for name in names})
        return replace(recipe, steps=self.passes * steps_per_epoch(rows, recipe.batch_size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="directory with cifar10-train.parquet")
    parser.add_argument("--rows", type=int, default=6000, help="of CIFAR-10 (default 6000)")
    parser.add_argument("--rounds", type=int, default=5, help="of all ways to train, in turn (default 5)")
    parser.add_argument("--passes", type=int, default=20, help="over the rows (default 20)")
    parts = ["digits", "model", "processes", "cifar"]
    parser.add_argument("--only", choices=parts, help="measure this part again, and leave the others in the file")
    options = parser.parse_args()
    words = ["DIR" if word == str(options.data) else word for word in sys.argv[1:]]  # a path says nothing elsewhere
    result = read_results() if options.only else {}
    command = " ".join(["python benchmarks/crossval.py", *words])
    with tempfile.TemporaryDirectory() as folder:
        for name, measured in measure(options, Path(folder)).items():
            facts = {"command": command, "machine": describe_machine(), "versions": package_versions()}
            result[name] = {**measured, **facts}
    write_json(RESULTS, result)
    print(f"written to {RESULTS}")


def read_results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def measure(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what was measured of each part that was asked for."""
    found: dict[str, dict[str, Any]] = {}
    if options.only in (None, "digits"):
        found["digits"] = compare(digits(folder, options.passes), options.rounds, bar=2.0)
    if options.only in (None, "model"):
        found["model"] = measure_model()
    if options.data is not None and options.only in (None, "cifar"):
        found["cifar"] = compare(cifar(options.data, options.rows, folder, options.passes), options.rounds, bar=5.2)
    if options.only in (None, "processes"):
        found["processes"] = measure_processes(options, folder)
    return found


# ---- ratios ----


def digits(folder: Path, passes: int) -> Setup:
    """Return digits as a table of 64 numbers, for the mlp of width 64."""
    from sklearn.datasets import load_digits

    found = load_digits()
    np.savez(folder / "digits-table.npz", X=found.data, y=found.target)
    options = {"hidden": [64, 32]}
    plan = Plan(data=str(folder / "digits-table.npz"), model="mlp", options=options, threads=1, patience=0)
    return setup("mlp 64-32 on digits", plan, passes=passes)


def cifar(directory: Path, rows: int, folder: Path, passes: int) -> Setup:
    """Return the first rows of CIFAR-10, decoded once, for a cnn."""
    data = cut_cifar(directory, rows, folder)
    plan = Plan(data=str(data), model="cnn", options=CNN, threads=1, patience=0)
    return setup("cnn 16-32-48 on CIFAR-10", plan, passes=passes)


def cut_cifar(directory: Path, rows: int, folder: Path) -> Path:
    from pyarrow import parquet

    table = parquet.read_table(directory / "cifar10-train.parquet").slice(0, rows)
    parquet.write_table(table, folder / "cifar10.parquet")
    return folder / "cifar10.parquet"


def setup(name: str, plan: Plan, *, passes: int) -> Setup:
    source, facts, resolved, _ = prepare(plan)
    resolved = replace(resolved, test_time="none")
    dataset = source.load(image_size=resolved.image_size)
    fractions = {"validation_fraction": resolved.validation_fraction, "test_fraction": resolved.test_fraction}
    split = make_split(dataset, seed=0, **fractions)
    pool = np.sort(np.concatenate([split.train, split.validation]))
    share = float(resolved.validation_fraction or 0.15)
    folds = make_folds(dataset, pool, Folding(folds=FOLDS), selection_fraction=share, seed=0)
    return Setup(name=name, plan=resolved, facts=facts, dataset=dataset, split=split, folds=folds, passes=passes)


def train_one(setup: Setup, training: np.ndarray, others: np.ndarray) -> Trained:
    features = setup.features(training, others)
    recipe = setup.recipe(len(training))
    return train(str(setup.plan.model), features.kwargs, features.training, features.validation, recipe)


def train_folds(setup: Setup, *, may_stack: bool = True) -> float:
    """Return the share of right out-of-fold answers."""
    waiting, right = list(setup.folds), 0
    while waiting:
        first = setup.features(waiting[0].learned, waiting[0].selection)
        recipe = setup.recipe(len(waiting[0].learned))
        counts = [len(fold.learned) for fold in waiting]
        count = how_many_together(str(setup.plan.model), first.kwargs, recipe, counts, rows=first.training)
        group, waiting = waiting[: count if may_stack else 1], waiting[count if may_stack else 1 :]
        features = [first, *(setup.features(fold.learned, fold.selection) for fold in group[1:])]
        if len(group) > 1:
            members = [Member(kwargs=f.kwargs, training=f.training, validation=f.validation) for f in features]
            results = train_together(members, recipe)
        else:
            results = [train(str(setup.plan.model), first.kwargs, first.training, first.validation, recipe)]
        for fold, each, trained in zip(group, features, results, strict=True):
            right += answer(setup, fold, each, trained)
    return right / sum(len(fold.test) for fold in setup.folds)


def answer(setup: Setup, fold: Fold, features: Features, trained: Trained) -> int:
    """Return how many test rows of a fold are answered right."""
    from trimtab.artifact import Artifact

    artifact = Artifact(
        builder=str(setup.plan.model), kwargs=features.kwargs, arrays=trained.arrays, meta=features.meta
    )
    rows = rows_of(setup.dataset, fold.test, features.meta)
    answers = predict_probabilities(artifact, rows, engine=str(setup.plan.engine), threads=1)
    return int((answers.argmax(1) == rows.labels).sum())


def compare(setup: Setup, rounds: int, *, bar: float) -> dict[str, Any]:
    """Return the times of the ways to train, in turn, with their ratios, and print them."""
    fold = setup.folds[0]
    ways: dict[str, Callable[[], Any]] = {
        "one training of a run": lambda: train_one(setup, setup.split.train, setup.split.validation),
        "one fold alone": lambda: train_one(setup, fold.learned, fold.selection),
        "five folds": lambda: train_folds(setup),
    }
    ways["one fold alone"]()  # torch is loaded, kernels are made
    if setup.plan.model == "mlp":
        ways["five folds in turn"] = lambda: train_folds(setup, may_stack=False)
        ways["five folds"]()  # torch is loaded, kernels are made
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in ways if number % 2 == 0 else reversed(ways):
            seconds[name].append(timed(ways[name]))
    ratios = {
        name: spread([ours / one for ours, one in zip(seconds["five folds"], seconds[name], strict=True)])
        for name in ways
        if name != "five folds"
    }
    print(f"{setup.name}, {setup.passes} passes, {FOLDS} folds, one thread, n = {rounds}")
    for name, times in seconds.items():
        ratio = f"   five folds take {ratios[name]['median']:.2f} of it" if name in ratios else ""
        print(f"  {name:<24}{statistics.median(times):8.2f} s of processor time{ratio}", flush=True)
    found = ratios["one training of a run"]["median"]
    print(f"  bar: at most {bar:g} of one training of a run, {'met' if found <= bar else 'MISSED'}")
    shown = {"name": setup.name, "passes": setup.passes, "n": rounds, "rows": len(setup.dataset)}
    judged = {"bar": {"of": "one training of a run", "at_most": bar, "is_met": found <= bar}}
    return {**shown, "options": setup.plan.options, "seconds": seconds, "five_folds_to": ratios, **judged}


def timed(way: Callable[[], Any]) -> float:
    started = time.process_time()
    way()
    return time.process_time() - started


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


# ---- processes ----


def measure_processes(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return seconds of cross-validations in turn and beside each other, and print them."""
    cases: dict[str, tuple[str | Path, dict[str, Any]]] = {"digits": ("digits", {"options": {"channels": [32, 64]}})}
    if options.data is not None:
        cases["cifar10"] = cut_cifar(options.data, options.rows, folder), {"options": CNN}
    found = {}
    for name, (data, network) in cases.items():
        settings = {**network, "model": "cnn", "steps": PROCESS_STEPS[name], "minutes": 60.0, "folds": FOLDS}
        decided = count_processes_of(data, settings, folder / f"{name}-warm")
        seconds: dict[str, list[float]] = {"in turn": [], "beside each other": []}
        for number in range(options.rounds):
            for way in seconds if number % 2 == 0 else reversed(seconds):
                processes = 1 if way == "in turn" else min(FOLDS, available_threads())
                with patch.object(folding, "count_processes", lambda *_, n=processes, **__: n):
                    done = trimtab.crossval(data, out=folder / f"{name}-{number}-{processes}", **settings)
                seconds[way].append(done.seconds)
        pairs = zip(seconds["beside each other"], seconds["in turn"], strict=True)
        ratio = spread([beside / turn for beside, turn in pairs])
        medians = ", ".join(f"{way} {statistics.median(values):.1f} s" for way, values in seconds.items())
        range_ = f"{ratio['low']:.2f} to {ratio['high']:.2f}"
        print(f"{FOLDS} folds of {name}, n = {options.rounds}: {medians}; ratio {ratio['median']:.2f} ({range_})")
        print(f"  a cross-validation decides for {decided} at a time", flush=True)
        found[name] = {**settings, "seconds": seconds, "ratio": ratio, "decided": decided}
    return {**found, "n": options.rounds, "load": os.getloadavg()}


def count_processes_of(data: str | Path, settings: dict[str, Any], out: Path) -> int:
    """Return how many processes a cross-validation decides for; libraries and caches are warm afterwards."""
    decided: list[int] = []

    def noting(*arguments: Any, **rest: Any) -> int:
        decided.append(count_processes(*arguments, **rest))
        return 1

    with patch.object(folding, "count_processes", noting):
        trimtab.crossval(data, out=out, **{**settings, "steps": 2})
    return decided[0]


# ---- the cost model ----


def measure_model() -> dict[str, Any]:
    """Return times of steps beside what is forecast, with the constants that fit best, and print them."""
    rows = []
    print(f"steps of {FOLDS} networks {INPUTS}-W-W/2-10: in turn, together, and the ratio as measured and forecast")
    with using_threads("torch", 1):
        for batch in BATCHES:
            for width in WIDTHS:
                rows.append(measure_steps(width, batch))
                measured, forecast = (rows[-1][key] for key in ("measured", "forecast"))
                print(
                    f"  batch {batch:<4} width {width:<4} {1000 * measured['in_turn']:7.2f} ms"
                    f" {1000 * measured['together']:7.2f} ms   {measured['together'] / measured['in_turn']:.2f}"
                    f"   {forecast['together'] / forecast['in_turn']:.2f}",
                    flush=True,
                )
    constants = fit_constants(rows)
    print(f"  constants that fit best: {constants}")
    return {"rows": rows, "constants": constants}


def measure_steps(width: int, batch: int) -> dict[str, Any]:
    from trimtab.training.torch_stacked import make_stacked

    kwargs = {"in_features": INPUTS, "hidden": [width, width // 2], "num_classes": 10, "dropout": 0.2}
    random = np.random.default_rng(0)
    labels = np.arange(20 * batch) % 10
    data = [Rows.of(random.random((len(labels), INPUTS), np.float32), labels) for _ in range(FOLDS)]
    plan = {"engine": "torch", "steps": 1, "epochs_at_most": 1, "batch_size": batch, "optimizer": "adamw"}
    plan |= {"learning_rate": 0.001, "weight_decay": 0.1, "schedule": "one-cycle", "label_smoothing": 0.0}
    recipe = Recipe(**plan, augment="none", precision="float32", patience=0, threads=1, seed=0)
    members = [Member(kwargs=kwargs, training=rows, validation=rows) for rows in data]
    alone, together = make_stepper("mlp", kwargs, data[0], recipe), make_stacked(members, recipe)
    times: dict[str, list[float]] = {"in_turn": [], "together": []}
    for step in range(WARM_STEPS + TIMED_STEPS):
        for name, stepper in (("in_turn", alone), ("together", together)):
            started = time.process_time()
            stepper.step(step, 1e-3)
            times[name].append(time.process_time() - started)
    measured = {name: statistics.median(values[WARM_STEPS:]) for name, values in times.items()}
    measured["in_turn"] *= FOLDS
    size = measure_size("mlp", kwargs, (INPUTS,))
    forecast = asdict(step_costs(kwargs, batch=batch, count=FOLDS))
    facts = {"width": width, "batch": batch, "macs": size.macs, "parameters": size.parameters}
    return {**facts, "measured": measured, "forecast": forecast}


def fit_constants(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return seconds of an empty step, multiplications per second and seconds per parameter, fitted relatively."""
    found = {}
    for name in ("in_turn", "together"):
        share = FOLDS if name == "in_turn" else 1
        seconds = np.array([row["measured"][name] for row in rows]) / share
        work = np.array([[1, 3 * row["batch"] * row["macs"], row["parameters"]] for row in rows], np.float64)
        work[:, 1:] *= FOLDS / share
        step, mac, parameter = np.linalg.lstsq(work / seconds[:, None], np.ones(len(rows)), rcond=None)[0]
        found[name] = {"step": float(step), "macs": float(1 / mac) if mac > 0 else 0.0, "parameter": float(parameter)}
    return found


if __name__ == "__main__":
    main()
