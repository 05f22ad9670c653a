"""Training steps in every mode side by side: precision, memory format and, if asked for, compilation.

    python benchmarks/step_speed.py [--rounds 15] [--threads 1] [--compile] [--only cnn]

Three networks on made-up rows: a plain CNN 3-64-128-256 at 32 x 32 pixels, batch 128; a small separable CNN of
trimtab's; its network for tables. The modes take one step each, back and forth, in one process, and are compared by
the processor time of that process in the same round, so that what else the machine does falls out. Also which mode
the probe of a run would pick. Prints a table and writes it, with command, versions and hardware, to
benchmarks/results/step_speed.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as a run does, before torch is loaded

import numpy as np
import torch

from trimtab.machine import describe_machine, has_bfloat16, package_versions
from trimtab.models import build
from trimtab.storage import write_json
from trimtab.training import Recipe, torch_nn
from trimtab.training.mode import Mode
from trimtab.training.probe import probe
from trimtab.training.rows import Rows
from trimtab.training.stepper import Stepper
from trimtab.training.torch_steps import TorchStepper, using_threads

RESULTS = Path(__file__).parent / "results" / "step_speed.json"
WARM_STEPS = 3
PROBE_SECONDS = 3.0  # as in a run of several minutes
ROWS = 1024


@dataclass(frozen=True)
class Case:
    """A network, what it reads, and its batch."""

    make: Callable[[], torch.nn.Module]
    row_shape: tuple[int, ...]
    num_classes: int
    batch_size: int


def plain_cnn() -> torch.nn.Module:
    """Return three 3x3 convolutions 3-64-128-256, each normalized and halved, the mean and a linear head."""
    layers: list[torch.nn.Module] = []
    for before, after in pairwise((3, 64, 128, 256)):
        convolution = torch.nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [convolution, torch.nn.BatchNorm2d(after), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(256, 10))


def small_separable() -> torch.nn.Module:
    """Return trimtab's separable CNN in a small width."""
    kwargs = {"in_channels": 3, "image_size": 32, "channels": [16, 32, 48], "num_classes": 10, "dropout": 0.0}
    network: torch.nn.Module = build(torch_nn, "separable_cnn", kwargs)
    return network


def table_network() -> torch.nn.Module:
    """Return trimtab's network for tables."""
    kwargs = {"in_features": 100, "hidden": [256, 128], "num_classes": 2, "dropout": 0.2}
    network: torch.nn.Module = build(torch_nn, "mlp", kwargs)
    return network


CASES = {
    "cnn": Case(plain_cnn, (32, 32, 3), 10, 128),
    "separable_cnn": Case(small_separable, (32, 32, 3), 10, 64),
    "mlp": Case(table_network, (100,), 2, 256),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="also compiled modes: a minute more for each network")
    parser.add_argument("--only", choices=list(CASES), help="only this network, and write no file")
    options = parser.parse_args()
    rows = []
    with using_threads(options.threads):
        for name, case in CASES.items():
            if options.only in (None, name):
                rows += measure(name, case, options)
    if options.only:
        return
    command = " ".join(["python benchmarks/step_speed.py", *sys.argv[1:]])
    result = {"command": command, "machine": describe_machine(), "has_bfloat16": has_bfloat16()}
    write_json(RESULTS, {**result, "versions": package_versions(), "rows": rows})
    print(f"written to {RESULTS}")


def measure(name: str, case: Case, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row per mode of one network, and print them."""
    torch.manual_seed(0)
    stepper = TorchStepper(case.make(), make_rows(case), make_recipe(case, options))
    modes = stepper.modes()
    if options.compile and stepper.compilation_obstacle() is None:
        modes += [replace(mode, is_compiled=True) for mode in modes]
    times = time_in_turn([stepper.copy(mode) for mode in modes], options.rounds)
    picked = probe(stepper, make_rows(case), seconds=PROBE_SECONDS, seconds_left=600.0)
    rows = []
    print(f"{name}, batch {case.batch_size}, {options.threads} threads, n = {options.rounds}")
    for mode, seconds in zip(modes, times, strict=True):
        ratios = [base / own for base, own in zip(times[0], seconds, strict=True)]
        row = {
            "network": name,
            **asdict(mode),
            "n": len(seconds),
            "images_per_processor_second": case.batch_size / statistics.median(seconds),
            "times_eager_float32": spread(ratios),
            "is_picked": mode == picked.mode,
        }
        rows.append(row)
        print(format_row(mode, row), flush=True)
    print(f"  picked {picked.mode}: {picked.reason}")
    return rows


def time_in_turn(twins: list[Stepper], rounds: int) -> list[list[float]]:
    """Return the processor seconds of each twin's steps, round by round."""
    times: list[list[float]] = [[] for _ in twins]
    for twin in twins:
        for step in range(WARM_STEPS):
            twin.step(step, 0.0)
    for number in range(rounds):
        for index in range(len(twins)) if number % 2 else reversed(range(len(twins))):
            started = time.process_time()
            twins[index].step(WARM_STEPS + number, 0.0)
            times[index].append(time.process_time() - started)
    return times


def make_rows(case: Case) -> Rows:
    """Return rows of random numbers: steps take as long whatever they say."""
    random = np.random.default_rng(0)
    labels = random.integers(0, case.num_classes, ROWS)
    if len(case.row_shape) == 1:
        return Rows.of(random.standard_normal((ROWS, *case.row_shape), np.float32), labels)
    pictures = random.integers(0, 256, (ROWS, *case.row_shape), np.uint8)
    return Rows.of(pictures, labels, mean=[0.5] * 3, std=[0.25] * 3)


def make_recipe(case: Case, options: argparse.Namespace) -> Recipe:
    """Return the settings of a usual run on such rows."""
    are_pictures = len(case.row_shape) == 3
    return Recipe(
        engine="torch",
        steps=None,
        epochs_at_most=100,
        batch_size=case.batch_size,
        optimizer="adamw",
        learning_rate=0.003,
        weight_decay=0.05,
        schedule="one-cycle",
        label_smoothing=0.05,
        augment="light" if are_pictures else "none",
        flip=are_pictures,
        precision="bfloat16" if has_bfloat16() else "float32",
        patience=0,
        threads=options.threads,
        seed=0,
    )


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the middle half."""
    low, median, high = statistics.quantiles(values, n=4)
    return {"median": median, "low": low, "high": high}


def format_row(mode: Mode, row: dict[str, Any]) -> str:
    ratio = row["times_eager_float32"]
    return (
        f"  {mode!s:<36} {row['images_per_processor_second']:9.0f} rows per processor second"
        f"  {ratio['median']:5.2f} times ({ratio['low']:.2f}-{ratio['high']:.2f})"
        f"{'  <- picked' if row['is_picked'] else ''}"
    )


if __name__ == "__main__":
    main()
