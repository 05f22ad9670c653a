"""Microseconds per row that augmentation takes: every level as a training step meets it, and every operation alone.

    python benchmarks/augmentation.py [--side 32] [--channels 3] [--batch 128] [--repeat 60]

Processor time, on one thread; cases are measured in turn. A level's figures hold everything from the numbers of the
rows to what the network sees, normalization included; an operation's are its own, on a batch of pictures. Prints a
table and writes it, with command and hardware, to benchmarks/results/augmentation.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read when NumPy is loaded
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

from trimtab.machine import describe_machine  # noqa: E402
from trimtab.storage import write_json  # noqa: E402
from trimtab.training import Recipe  # noqa: E402
from trimtab.training.augmentation import LEVELS  # noqa: E402
from trimtab.training.augmentation.color import recolor  # noqa: E402
from trimtab.training.augmentation.cutout import cut_out, square_side  # noqa: E402
from trimtab.training.augmentation.geometry import rotation, shift, warp  # noqa: E402
from trimtab.training.augmentation.mixing import cutmix, draw_boxes, draw_shares, mixup  # noqa: E402
from trimtab.training.batches import Batches, Rows  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "augmentation.json"
ROWS = 20_000
FEATURES = 100  # of a table
LEAST_REPEATS = 5

Cases = Mapping[str, Callable[[int], Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=60)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (ROWS, options.side, options.side, options.channels), dtype=np.uint8)
    cases = {**levels(pictures, options.batch), **operations(pictures[: options.batch], random)}
    measured = measure(cases, max(options.repeat, LEAST_REPEATS), options.batch)
    machine = describe_machine()
    shape = f"{options.side} x {options.side} x {options.channels}, batch {options.batch}"
    write_json(
        RESULTS,
        {
            "command": " ".join(["python", "benchmarks/augmentation.py", *sys.argv[1:]]),
            "machine": machine,
            "numpy": np.__version__,
            "pictures": shape,
            "microseconds_per_row": measured,
        },
    )
    print(machine, shape)
    for name, figures in measured.items():
        print(
            f"{name:<42} {figures['median']:7.2f} us, {figures['low']:.2f} to {figures['high']:.2f} (n {figures['n']})"
        )


def levels(pictures: np.ndarray, batch: int) -> Cases:
    """Return what makes the batch of a step, by level, with mixing, and for half of a batch."""
    labels = np.random.default_rng(1).integers(0, 10, ROWS)
    channels = pictures.shape[3]
    rows = Rows.of(pictures, labels, mean=[0.5] * channels, std=[0.25] * channels)
    table = Rows.of(np.random.default_rng(2).random((ROWS, FEATURES), np.float32), labels)
    cases: dict[str, Callable[[int], Any]] = {}
    for level in LEVELS:
        cases[f"level {level}, with flips"] = Batches(rows, recipe(batch, augment=level, flip=True)).at
    light = Batches(rows, recipe(batch, augment="light", flip=True))
    cases["level light, half of a batch (per row of all)"] = lambda step: light.at(step, slice(0, batch // 2))
    cases["level light and mixup"] = Batches(rows, recipe(batch, augment="light", flip=True, mixup=0.2)).at
    cases["level light and CutMix"] = Batches(rows, recipe(batch, augment="light", flip=True, cutmix=1.0)).at
    for level in LEVELS:
        cases[f"table of {FEATURES} features, level {level}"] = Batches(table, recipe(batch, augment=level)).at
    return cases


def operations(batch: np.ndarray, random: np.random.Generator) -> Cases:
    """Return each operation on a batch of pictures, its random numbers already drawn."""
    count, height, width, channels = batch.shape
    rows, other = np.arange(count), batch[::-1].copy()
    offsets, is_mirrored = random.integers(-4, 5, (count, 2)), random.random(count) < 0.5
    matrices = rotation(random.uniform(-0.3, 0.3, count))
    factors = [random.uniform(0.6, 1.4, count) for _ in range(3)]
    side, fill = square_side(LEVELS["strong"].cutout, height, width), np.zeros(channels, np.uint8)
    corners = random.integers(0, [height - side + 1, width - side + 1], (count, 2))
    shares, boxes = draw_shares(0.2, count, random), draw_boxes(1.0, count, height, width, random)
    scratch = batch.copy()
    return {
        "shift and mirror image, in the gather": lambda step: shift(batch, rows, offsets, is_mirrored),
        "rotation, shear and crop, bilinear": lambda step: warp(batch, matrices),
        "brightness, contrast and saturation": lambda step: recolor(batch, *factors),
        "cutout": lambda step: cut_out(scratch, corners, side, fill),
        "mixup": lambda step: mixup(batch, other, shares),
        "CutMix": lambda step: cutmix(batch, other, boxes),
    }


def recipe(batch_size: int, **settings: Any) -> Recipe:
    return Recipe(
        engine="numpy",
        steps=None,
        epochs_at_most=1,
        batch_size=batch_size,
        optimizer="adamw",
        learning_rate=0.001,
        weight_decay=0.0,
        schedule="one-cycle",
        label_smoothing=0.0,
        precision="float32",
        patience=0,
        threads=1,
        seed=0,
        **settings,
    )


def measure(cases: Cases, repeat: int, batch: int) -> dict[str, dict[str, float]]:
    """Return median and quartiles of the processor time for a row, the first run of each case not counted."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for step in range(repeat + 1):
        for name, action in cases.items():
            started = time.process_time()
            action(step)
            times[name].append(1e6 * (time.process_time() - started) / batch)
    found = {}
    for name, values in times.items():
        low, median, high = statistics.quantiles(values[1:], n=4)
        found[name] = {"median": round(median, 2), "low": round(low, 2), "high": round(high, 2), "n": repeat}
    return found


if __name__ == "__main__":
    main()
