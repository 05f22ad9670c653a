"""What keeping memory and multiplying matrices save of a training step of the network that pictures get by default.

    python benchmarks/resnet_step.py [--rounds 7] [--width 64] [--rows 512]

A `resnet` of stages width, 4 width, 4 width takes steps on made-up pictures of 32 x 32 pixels, in bfloat16 where the
processor has it. Three variants take a step each in turn, back and forth, in one process: as torch does it, with
`trimtab.training.memory.keeping_memory`, and with the weight gradients of small pictures from matrix products
(`trimtab.training.torch_convolution`) as well, which is how trimtab trains. Times are processor time; the ratio is the
median over the rounds. Measured with one thread, and with two while one or two other processes keep processors busy,
as on the machine of somebody who works on. Prints a table and writes it to benchmarks/results/resnet_step.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as a run does, before torch is loaded

import numpy as np

from trimtab.machine import describe_machine, has_bfloat16, package_versions
from trimtab.planning.measured import LEARNING_RATES, MEASURED, WEIGHT_DECAYS
from trimtab.storage import write_json
from trimtab.training import Recipe, torch_convolution
from trimtab.training.memory import keeping_memory
from trimtab.training.rows import Rows
from trimtab.training.torch_steps import TorchStepper, make_stepper, using_threads

RESULTS = Path(__file__).parent / "results" / "resnet_step.json"
WARM_STEPS = 1


def as_torch_convolves() -> AbstractContextManager[Any]:
    """Return a context in which no weight gradient counts as slow."""
    return patch.object(torch_convolution.Conv2d, "_is_slow", lambda *_: False)


VARIANTS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], ...]] = {
    "as torch does it": (nullcontext, as_torch_convolves),
    "memory kept": (keeping_memory, as_torch_convolves),
    "and matrix products": (keeping_memory, nullcontext),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    table = []
    for threads, busy in ((1, 0), (2, 1), (2, 2)):
        print(f"{threads} thread(s), {busy} busy process(es) beside them, n = {options.rounds}")
        with using_threads(threads), busy_processes(busy):
            rows = measure(make(options, threads), options.rounds)
        for row in rows:
            print("  {variant:<22} {milliseconds:8.0f} ms  {ratio:5.2f}  {faults:8d} page faults".format(**row))
        table += [{"threads": threads, "busy": busy, **row} for row in rows]
    write_json(
        options.out,
        {
            "command": f"python benchmarks/resnet_step.py --rounds {options.rounds} --width {options.width} "
            f"--rows {options.rows}",
            "machine": describe_machine(),
            "versions": package_versions(),
            "table": table,
        },
    )


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep so many processors busy within this context."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def make(options: argparse.Namespace, threads: int) -> TorchStepper:
    """Return the network, ready to step."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (options.rows, 32, 32, 3), dtype=np.uint8)
    even = [0.5, 0.5, 0.5]
    rows = Rows.of(pictures, rng.integers(0, 10, options.rows), num_classes=10, mean=even, std=even)
    precision = "bfloat16" if has_bfloat16() else "float32"
    recipe = Recipe(
        engine="torch",
        steps=1,
        epochs_at_most=1,
        batch_size=options.rows,
        **MEASURED["resnet"],
        learning_rate=LEARNING_RATES["muon"],
        weight_decay=WEIGHT_DECAYS["muon"],
        precision=precision,
        patience=0,
        threads=threads,
        seed=0,
    )
    kwargs = {
        "in_channels": 3,
        "image_size": 32,
        "num_classes": 10,
        "channels": [options.width, *[4 * options.width] * 2],
    }
    stepper = make_stepper("resnet", kwargs, rows, recipe)
    assert isinstance(stepper, TorchStepper)  # noqa: S101 - for the type checker
    return stepper


def measure(stepper: TorchStepper, rounds: int) -> list[dict[str, Any]]:
    """Return milliseconds, ratio and page faults of each variant; all learn in turn in one network."""
    names = list(VARIANTS)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    faults: dict[str, list[int]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names if turn % 2 else reversed(names):
            with ExitStack() as stack:
                for context in VARIANTS[name]:
                    stack.enter_context(context())
                for step in range(WARM_STEPS):
                    stepper.step(step, 0.0)
                before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
                stepper.step(WARM_STEPS, 0.0)
                seconds[name].append(time.process_time() - start)
                faults[name].append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    first = seconds[names[0]]
    return [
        {
            "variant": name,
            "rounds": rounds,
            "milliseconds": 1000 * statistics.median(seconds[name]),
            "ratio": statistics.median(own / other for own, other in zip(seconds[name], first, strict=True)),
            "faults": int(statistics.median(faults[name])),
        }
        for name in names
    ]


if __name__ == "__main__":
    main()
